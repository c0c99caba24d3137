"""The recordings of the Free Spoken Digit Dataset, read from a folder or straight out of an archive.

Nothing is unpacked: of an archive the members whose file name is a recording's are read into memory, so
that no member can be written anywhere. One that pretends to be a recording from outside the archive (an
absolute path, ``..``, a link) is refused all the same: such an archive was made to do harm.
"""

from __future__ import annotations

import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepspeech_train.corpora._checks import Problem
from deepspeech_train.data import audio
from deepspeech_train.errors import RecipeError

#: The dataset's sample rate, which the strings keep.
RATE = 8_000

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[a-z]+)_(?P<index>[0-9]{1,4})\.wav")

#: Bytes; one spoken digit takes a hundredth of it. A member larger than that is not one.
LARGEST = 4 << 20


@dataclass(frozen=True, eq=False)
class Recording:
    """One spoken digit: ``samples`` are float32 ``(n,)`` at :data:`RATE`."""

    name: str
    digit: int
    speaker: str
    index: int
    samples: audio.Samples


def recordings_of(source: Path) -> tuple[list[Recording], list[Problem]]:
    """The recordings in ``source``, ordered by name, and what is wrong with those that cannot be used.

    Raises :class:`RecipeError` if ``source`` is no archive that can be read to its end, or is hostile.
    """
    files = _files_in_folder(source) if source.is_dir() else _members(source)
    recordings: dict[str, Recording] = {}
    problems = []
    for name, content in files:
        fields = _NAME.fullmatch(name)
        assert fields
        if name in recordings:
            problems.append(Problem("recording twice", name))
            continue
        try:
            samples, rate = audio.read(io.BytesIO(content))
        except ValueError as error:
            problems.append(Problem("bad recording", name, str(error)))
            continue
        recordings[name] = Recording(
            name, int(fields["digit"]), fields["speaker"], int(fields["index"]), audio.resample(samples, rate, RATE)
        )
    return [recordings[name] for name in sorted(recordings)], problems


def _files_in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*.wav")):
        if _NAME.fullmatch(path.name):
            yield path.name, path.read_bytes()


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of the recordings in a tar or zip archive."""
    hint = "get the archive again, or name a folder of the recordings as the source"
    try:
        if zipfile.is_zipfile(archive):
            yield from _zip_members(archive)
        else:
            yield from _tar_members(archive)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise RecipeError(f"{archive} is not an archive that can be read to its end: {error}", hint) from error
    except OSError as error:
        # A gzip or bzip2 stream that is damaged is an OSError without a number.
        if error.errno is not None:
            raise
        raise RecipeError(f"{archive} is damaged: {error}", hint) from error


def _tar_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isdir() and _is_recording(archive, member.name, member.size, member.isreg()):
                file = tar.extractfile(member)
                assert file
                yield PurePosixPath(member.name).name, file.read()
        _must_be_whole(tar)


def _must_be_whole(tar: tarfile.TarFile) -> None:
    """Raises ReadError unless ``tar``, read to its last member, ends as an archive does.

    tarfile takes a damaged header for the end. The end is a block of zeros; and a compressed stream tells
    of damage only when it is read to its last byte, where its checksum is.
    """
    assert tar.fileobj
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no member and no end at byte {tar.offset}")
    while tar.fileobj.read(1 << 20):
        pass


def _zip_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            # The upper half holds the Unix mode; zero where the archive was made elsewhere.
            kind = stat.S_IFMT(member.external_attr >> 16)
            if not member.is_dir() and _is_recording(
                archive, member.filename, member.file_size, kind in (0, stat.S_IFREG)
            ):
                yield PurePosixPath(member.filename).name, zipped.read(member)


def _is_recording(archive: Path, name: str, size: int, regular: bool) -> bool:
    """Whether a member is a recording; raises :class:`RecipeError` if it only pretends to be one."""
    path = PurePosixPath(name)
    if not _NAME.fullmatch(path.name):
        return False
    why = ""
    if path.is_absolute() or ".." in path.parts:
        why = "its path leads out of the archive"
    elif not regular:
        why = "it is a link or a device, not a file"
    elif size > LARGEST:
        why = f"it has {size} bytes, too many for one digit"
    if why:
        raise RecipeError(
            f"{archive} was refused: {name!r} is no recording, {why}", "get the archive from where it is published"
        )
    return True
