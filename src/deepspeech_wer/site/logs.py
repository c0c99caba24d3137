"""The log of a run as it is published: whole if it is small, else its beginning and its end.

A link is not followed, nor is anything read but a plain file: the folder of a run was written by code of the
tracked repository, and what it points to is not for the web.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: Bytes. A log may be a training's progress bar of a hundred megabytes; what matters is how it began and ended.
WHOLE, HEAD, TAIL = 1_000_000, 200_000, 800_000


def is_there(folder: Path) -> bool:
    """Whether ``folder`` has a ``log.txt`` that may be shown."""
    handle = _open(folder)
    if handle is not None:
        os.close(handle)
    return handle is not None


def read(folder: Path) -> bytes:
    """The text of ``folder/log.txt``; empty where there is none that may be shown.

    Over 1 MB it is the first 200 kB and the last 800 kB, in whole lines where lines are of usual length, with a
    line between them that says what was left out.
    """
    handle = _open(folder)
    if handle is None:
        return b""
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        if size <= WHOLE:
            return file.read(WHOLE)
        head = file.read(HEAD)
        file.seek(size - TAIL)
        tail = file.read(TAIL)
    head = head[: head.rfind(b"\n", HEAD // 2) + 1] or head
    tail = tail[tail.find(b"\n", 0, TAIL // 2) + 1 :]
    left_out = size - len(head) - len(tail)
    return head.rstrip(b"\n") + f"\n\n[... {left_out} bytes are left out here ...]\n\n".encode() + tail


def is_copied(folder: Path, copy: Path) -> bool:
    """Whether ``copy`` is what :func:`read` gave, as far as sizes and times tell.

    A site has as many logs as runs, and to read all of them again after every landing would take the longer the more
    there are.
    """
    try:
        source, target = (folder / "log.txt").lstat(), copy.lstat()
    except OSError:
        return False
    alike = source.st_size == target.st_size or source.st_size > WHOLE
    return stat.S_ISREG(target.st_mode) and alike and target.st_mtime_ns >= source.st_mtime_ns


def _open(folder: Path) -> int | None:
    try:
        handle = os.open(folder / "log.txt", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    return None
