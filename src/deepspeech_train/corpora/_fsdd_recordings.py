"""The recordings of the Free Spoken Digit Dataset, read from a folder or straight out of an archive.

Nothing is unpacked: of an archive the members whose file name is a recording's are read into memory, so
that no member can be written anywhere. One that pretends to be a recording from outside the archive (an
absolute path, ``..``, a link) is refused all the same: such an archive was made to do harm.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deepspeech_train.corpora import _archives
from deepspeech_train.corpora._problems import Problem
from deepspeech_train.data import audio

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
    with _archives.members(archive) as members:
        for member, _ in members:
            if _is_recording(archive, member):
                with member.open() as file:
                    yield member.name.name, file.read()


def _is_recording(archive: Path, member: _archives.Member) -> bool:
    """Whether a member is a recording; raises :class:`RecipeError` if it only pretends to be one."""
    if not _NAME.fullmatch(member.name.name):
        return False
    why = ""
    if member.leads_out:
        why = "its path leads out of the archive"
    elif not member.regular:
        why = "it is a link or a device, not a file"
    elif member.size > LARGEST:
        why = f"it has {member.size} bytes, too many for one digit"
    if why:
        raise _archives.BadArchive(
            f"{archive} was refused: {str(member.name)!r} is no recording, {why}",
            "get the archive from where it is published",
        )
    return True
