"""A lock between processes that import into one folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepspeech_train.corpora._progress import Progress


@contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """Holds the lock ``path`` for the block; the kernel lets go of it however the process ends.

    The file stays: removing it would let a third process lock another file of the same name.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another process is importing this corpus, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
