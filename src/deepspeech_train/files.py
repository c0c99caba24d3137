"""Files that are never seen half written."""

from __future__ import annotations

import contextlib
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
