"""Bytes of large files, read where they lie: what shards are read with.

A file is opened once a process and read with ``pread``, which moves no shared position: any number of threads, and
the processes forked from this one, read through one descriptor. So many files stay open at most; one that is dropped
while a thread still reads from it is closed when that read is done.

>>> read(Path("shard-000000.tar"), offset=1024, size=96044)  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

#: Files kept open; a process may have 1,024 by default.
_OPEN_FILES = 256


class _Handle:
    """A descriptor that is closed when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self.descriptor)


@functools.lru_cache(maxsize=_OPEN_FILES)
def _handle(path: Path) -> _Handle:
    return _Handle(path)


def read(path: Path, offset: int, size: int) -> bytes:
    """The ``size`` bytes of ``path`` from ``offset`` on; fewer if the file ends before. Raises OSError."""
    handle = _handle(path)
    content = os.pread(handle.descriptor, size, offset)
    if len(content) < size and content:
        # The kernel gives two gigabytes at most at once, a network file system sometimes less than there is.
        parts, done = [content], len(content)
        while done < size and (more := os.pread(handle.descriptor, size - done, offset + done)):
            parts.append(more)
            done += len(more)
        content = b"".join(parts)
    return content


def will_need(path: Path, offset: int, size: int) -> None:
    """Has the system begin to read these bytes, and does not wait for them; raises nothing: it is a hint."""
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(_handle(path).descriptor, offset, size, os.POSIX_FADV_WILLNEED)


def forget() -> None:
    """Lets go of every open file: for a program that writes files anew under names that it has read."""
    _handle.cache_clear()
