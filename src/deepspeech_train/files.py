"""Files that are never seen half written, and folders that one process writes into."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import RecipeError


@contextmanager
def written_whole(path: Path, what: str, hint: str) -> Iterator[BinaryIO]:
    """A binary file to write ``path`` with: under a temporary name beside it, renamed when all is on the disk.

    Raises RecipeError, which says that ``what`` could not be written and gives ``hint``, where the file system refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise RecipeError(f"{what} {path} could not be written: {error.strerror or error}.", hint) from error


#: Folders that this process has for itself, by device and inode; the kernel lets go of them however it ends.
_claimed: dict[tuple[int, int], int] = {}


def claim(folder: Path) -> bool:
    """Keeps ``folder`` for this process until it ends, or :func:`let_go`; False where another process has it.

    True as well where that cannot be told: the file system knows no locks, or the folder may not be read.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return True
    found = os.fstat(descriptor)
    key = (found.st_dev, found.st_ino)
    free = True
    if key not in _claimed:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _claimed[key] = descriptor
            return True
        except BlockingIOError:
            free = False
        except OSError:
            pass
    os.close(descriptor)
    return free


def let_go() -> None:
    """Whatever this process has claimed is free for others."""
    while _claimed:
        os.close(_claimed.popitem()[1])
