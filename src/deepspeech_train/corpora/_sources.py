"""Where a corpus comes from: a local copy, told apart from another by a hash or by a stamp."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_CHUNK = 1 << 20

#: What imports leave in a folder, which may be the one that the source is in.
_OURS = re.compile(r"\..*|.*-(unpacked|[0-9a-f]{12})")


def fingerprint(source: Path) -> str:
    """A hash that changes when ``source`` does: a file's content, or the names, sizes and times in a folder."""
    digest = hashlib.sha256()
    if source.is_dir():
        for path in _theirs(source.rglob("*"), source):
            status = path.stat()
            digest.update(f"{path.relative_to(source)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    else:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def stamp(source: Path) -> str:
    """As :func:`fingerprint`, in no time for fifty gigabytes: path, size and time of ``source`` and what is in it.

    What changes further down in a folder is not seen: take the imported corpus away to have it looked at again.
    """
    digest = hashlib.sha256()
    digest.update(f"{source.absolute()}\n".encode())
    for path in _theirs(source.iterdir(), source) if source.is_dir() else [source]:
        status = path.stat()
        size = 0 if path.is_dir() else status.st_size
        digest.update(f"{path.name}\0{size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _theirs(paths: Iterable[Path], source: Path) -> Iterator[Path]:
    """``paths`` under ``source`` by name, without what imports have written there, and without hidden files."""
    for path in sorted(paths):
        if not any(_OURS.fullmatch(part) for part in path.relative_to(source).parts):
            yield path
