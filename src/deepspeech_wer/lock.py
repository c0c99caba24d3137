"""The lock: one run at a time, whatever dies.

``fcntl.flock`` on a file whose place old crontab lines know. The kernel drops the lock with the process, so a file that
``kill -9`` left behind is simply taken over. The file is unlinked before it is closed; whoever waited on the old inode
sees by comparing inodes that the path is no longer its own, and tries again. What is written in the file is for people.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import gmtime, strftime

from deepspeech_wer.errors import LockHeld, TrackerError


@contextmanager
def held(path: Path, purpose: str) -> Iterator[None]:
    """Hold the lock at ``path`` for the time of the block. Raises LockHeld, at once, where another process has it."""
    descriptor = _take(path)
    try:
        os.ftruncate(descriptor, 0)
        now = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
        os.write(descriptor, f"pid {os.getpid()} on {os.uname().nodename} since {now}: {purpose}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """What the process that holds the lock wrote of itself, or None where nobody holds it. Changes nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        return os.pread(descriptor, 1000, 0).decode(errors="replace").strip() or "a run that has just begun"
    finally:
        os.close(descriptor)


def obstacle(path: Path) -> str | None:
    """Why no run can open the lock at ``path``, such as a folder in its place; None where it can. Changes nothing."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the lock {path} cannot be opened: {error.strerror}"
    return None


def _take(path: Path) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise TrackerError(
                f"the lock {path} cannot be opened: {error.strerror}", "check the folder's owner and permissions"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            who = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise LockHeld(
                f"another run holds the lock {path}{f' ({who})' if who else ''}",
                "wait for it; it is let go by itself, also when that run is killed",
            ) from error
        try:
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)
