"""Archives (.tar, .tar.gz, .tgz, .tar.xz, .tar.bz2, .zip), read so that none can do harm.

A member whose path leads out of the archive makes the whole archive refused. Links are made when every file is there,
so that nothing is written through one, and only those to something in the same archive; devices never. An archive that
ends early or is damaged is told, and nothing of it is kept.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.errors import RecipeError

_CHUNK = 1 << 20

#: What a name of an archive ends with.
SUFFIXES = (".tar.gz", ".tgz", ".tar", ".tar.xz", ".tar.bz2", ".zip")


class BadArchive(RecipeError):
    """An archive that is damaged or hostile."""


@dataclass(frozen=True)
class Member:
    """A file in an archive, or something that is no file (``regular`` is false). ``open()`` while it is the last.

    ``link`` is what a symbolic link says, and ``original`` the member that a hard link is another name of.
    """

    name: PurePosixPath
    size: int
    regular: bool
    open: Callable[[], IO[bytes]]
    link: str = ""
    original: str = ""

    @property
    def leads_out(self) -> bool:
        return self.name.is_absolute() or ".." in self.name.parts or "\\" in str(self.name)


@contextmanager
def members(archive: Path) -> Iterator[Iterator[tuple[Member, int]]]:
    """Gives (member, bytes of the archive read so far) one after the other, folders left out, to the archive's end.

    Raises :class:`BadArchive` for an archive that cannot be read to its end.
    """
    hint = "get the archive again, or name an unpacked folder as the source"
    try:
        with archive.open("rb") as raw:
            is_zip = zipfile.is_zipfile(raw)
            raw.seek(0)
            yield _zip_members(raw) if is_zip else _tar_members(raw)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadArchive(f"{archive} is not an archive that can be read to its end: {error}", hint) from error
    except OSError as error:
        # A gzip or bzip2 stream that is damaged is an OSError without a number.
        if error.errno is not None:
            raise
        raise BadArchive(f"{archive} is damaged: {error}", hint) from error


def unpack(archive: Path, to: Path, progress: Progress) -> None:
    """Unpacks ``archive`` into the new folder ``to``, whole or not at all; nothing is done if ``to`` is there.

    Raises :class:`BadArchive`, and :class:`RecipeError` where the disk has no room for it.
    """
    if to.is_dir():
        return
    size = archive.stat().st_size
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f".{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed one left
    # What is unpacked is larger than the archive, or as large where it is full of FLAC.
    free = shutil.disk_usage(to.parent).free
    if size > free:
        raise RecipeError(
            f"{archive} needs {size / 1e9:.1f} GB or more,"
            f" and the disk of {to.parent} has room for {free / 1e9:.1f} GB",
            "make room, or name another folder",
        )
    partial.mkdir()
    try:
        passed = _unpack(archive, partial, size, progress)
        partial.rename(to)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if passed:
        progress.say(f"{passed} members of {archive.name} are no files, nor links to one of it, and were passed by")


def _unpack(archive: Path, folder: Path, size: int, progress: Progress) -> int:
    """Writes every file of ``archive`` under ``folder``; gives how many members could not be files."""
    done = 0
    others: list[Member] = []
    with progress.steps(f"unpacking {archive.name}", size, "B") as advance, members(archive) as found:
        for member, position in found:
            if member.leads_out:
                raise BadArchive(
                    f"{archive} was refused: the path of {str(member.name)!r} leads out of the archive",
                    "get the archive from where it is published",
                )
            if member.regular:
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
            else:
                others.append(member)
            advance(max(0, position - done))
            done = max(done, position)
        advance(size - done)
    while left := [member for member in others if not _linked(member, folder)]:
        if len(left) == len(others):
            return len(left)
        others = left  # a link to a link waits for it
    return 0


def _linked(member: Member, folder: Path) -> bool:
    """Makes the link that ``member`` is; False if it is none, or does not lead to something under ``folder``."""
    path = folder / member.name
    target = folder / member.original if member.original else path.parent / member.link
    root = folder.resolve()
    if not (member.link or member.original) or not target.exists() or not target.resolve().is_relative_to(root):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() or not path.parent.resolve().is_relative_to(root):
        return False
    if member.original:
        path.hardlink_to(target.resolve())
    elif not member.link.startswith("/"):
        path.symlink_to(member.link)
    else:
        return False
    return True


def _tar_members(raw: IO[bytes]) -> Iterator[tuple[Member, int]]:
    with tarfile.open(fileobj=raw) as tar:
        while member := tar.next():
            if not member.isdir():
                yield _of_tar(tar, member), raw.tell()
            # An archive of two million clips would be two million of these.
            tar.members.clear()  # type: ignore[attr-defined]
        _must_be_whole(tar)


def _of_tar(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Member:
    def opened() -> IO[bytes]:
        file = tar.extractfile(member)
        assert file
        return file

    link = member.linkname if member.issym() else ""
    original = member.linkname if member.islnk() else ""
    return Member(PurePosixPath(member.name), member.size, member.isreg(), opened, link, original)


def _must_be_whole(tar: tarfile.TarFile) -> None:
    """Raises ReadError unless ``tar``, read to its last member, ends as an archive does.

    tarfile takes a damaged header for the end. The end is a block of zeros; and a compressed stream tells
    of damage only when it is read to its last byte, where its checksum is.
    """
    assert tar.fileobj
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no member and no end at byte {tar.offset}")
    while tar.fileobj.read(_CHUNK):
        pass


def _zip_members(raw: IO[bytes]) -> Iterator[tuple[Member, int]]:
    with zipfile.ZipFile(raw) as zipped:
        for member in zipped.infolist():
            if not member.is_dir():
                # The upper half holds the Unix mode; zero where the archive was made elsewhere.
                kind = stat.S_IFMT(member.external_attr >> 16)
                yield (
                    Member(
                        PurePosixPath(member.filename),
                        member.file_size,
                        kind in (0, stat.S_IFREG),
                        lambda member=member: zipped.open(member),  # type: ignore[misc]
                    ),
                    raw.tell(),
                )
