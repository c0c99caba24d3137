"""Where a corpus comes from: a local copy, or a download that is checked."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.errors import RecipeError

#: Seconds without a byte after which a download is given up.
TIMEOUT = 30
_CHUNK = 1 << 16


def fingerprint(source: Path) -> str:
    """A hash that changes when ``source`` does: a file's content, or the names, sizes and times in a folder."""
    digest = hashlib.sha256()
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            status = path.stat()
            digest.update(f"{path.relative_to(source)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    else:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def download(url: str, target: Path, progress: Progress, how_to_give: str, sha256: str | None = None) -> None:
    """Writes what ``url`` gives to ``target``.

    Raises :class:`RecipeError` if it cannot be had, is shorter than the server says, or is not what
    ``sha256`` says; ``how_to_give`` is the hint that tells how to use a local copy instead.
    """
    digest = hashlib.sha256()
    received = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, target.open("wb") as file:
            promised = int(answer.headers.get("Content-Length") or 0)
            with progress.steps(f"downloading {url}", promised, "B") as advance:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    advance(len(chunk))
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise RecipeError(f"cannot download {url}: {reason}", how_to_give) from error
    if received < promised:
        raise RecipeError(
            f"the download of {url} ended early: {received} of {promised} bytes",
            f"try again, or {how_to_give}",
        )
    if sha256 and digest.hexdigest() != sha256:
        raise RecipeError(
            f"{url} gave something else than the file it was ({received} bytes, SHA-256 {digest.hexdigest()})",
            how_to_give,
        )
