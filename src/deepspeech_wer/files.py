"""Files that are never seen half written, and files that somebody else wrote, who may mean ill."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

#: Bytes: of what describes one run, a hundred times what the longest training has to say.
MOST_BYTES = 100_000_000


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` under a temporary name beside ``path``, flush it to the disk, rename it into place."""
    import tempfile  # takes as long to import as an idle tick has for all of its own

    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_regular(path: Path, limit: int = MOST_BYTES, *, only_end: bool = False) -> bytes:
    """What the regular file ``path`` holds, of at most ``limit`` bytes; of a larger one ``only_end``, where so asked.

    It is for what a job wrote: no named pipe is waited on, no link followed and no device read. Raises OSError where
    there is no such file, where it is of another kind, or where it is larger and not only its end is asked for.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if state.st_size > limit and not only_end:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            file.seek(max(0, state.st_size - limit))
            return file.read(limit)
    finally:
        os.close(descriptor)
