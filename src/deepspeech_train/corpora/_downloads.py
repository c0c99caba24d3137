"""Downloads of many gigabytes over lines that break: resumed, checked, and never half there under their name.

What has come so far is ``NAME.part``; ``NAME.part.json`` beside it says of which file of the server it is the
beginning (address, ETag or date, size). After a cut, at once or in another run, the rest is asked for with ``Range``.
A server that knows no ranges, or has another file by now, starts over.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.errors import RecipeError

#: Seconds without a byte after which a connection is given up.
TIMEOUT = 30

#: Seconds to wait after each cut in a row that brought nothing new; then the download fails, and can be resumed.
WAITS = (1.0, 5.0, 15.0, 30.0)

_CHUNK = 1 << 18


@dataclass(frozen=True)
class _Beginning:
    """Of which file a ``.part`` is the beginning. ``size`` is 0 where the server does not tell it."""

    url: str
    validator: str
    size: int


class _Cut(Exception):
    """The connection ended before the file did; the message says how."""


def download(url: str, target: Path, progress: Progress, how_to_give: str, sha256: str | None = None) -> str:
    """Writes what ``url`` gives to ``target``, whose folder is there; goes on where an earlier call was cut.

    Gives the SHA-256 of it. Raises :class:`RecipeError` if it cannot be had, is shorter than the server says, is too
    much for the disk, or is not what ``sha256`` says; ``how_to_give`` is the hint that tells how to use a local copy
    instead.
    """
    part = target.with_name(f"{target.name}.part")
    waits = list(WAITS)
    while True:
        before = _size(part)
        try:
            _fetch(url, part, progress)
            break
        except _Cut as cut:
            size = _size(part)
            if size > before:
                waits = list(WAITS)
            if size == 0 or not waits:
                promised = _beginning_of(part)
                of = f" of {promised.size}" if promised and promised.size else ""
                raise RecipeError(
                    f"cannot download {url}: {cut}"
                    if not size
                    else f"the download of {url} ended early: {size}{of} bytes: {cut}",
                    how_to_give if not size else f"run it again, it goes on from there; or {how_to_give}",
                ) from cut
            progress.say(f"the connection was cut ({cut}), going on from byte {size}")
            time.sleep(waits.pop(0) if size == before else 0)
        except (urllib.error.URLError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise RecipeError(f"cannot download {url}: {reason}", how_to_give) from error
    found = _sha256(part, progress)
    if sha256 and found != sha256:
        size = _size(part)
        part.unlink()
        _beginning_path(part).unlink(missing_ok=True)
        raise RecipeError(
            f"{url} gave something else than the file it was ({size} bytes, SHA-256 {found})",
            f"it was thrown away: try again, or {how_to_give}",
        )
    part.replace(target)
    _beginning_path(part).unlink(missing_ok=True)
    return found


def _fetch(url: str, part: Path, progress: Progress) -> None:
    """Brings ``part`` to its full length, or raises :class:`_Cut` (then ``part`` may have grown)."""
    known = _beginning_of(part)
    have = _size(part) if known and known.url == url else 0
    if have and known and have == known.size:
        return
    # Some servers refuse what calls itself Python.
    request = urllib.request.Request(url, headers={"User-Agent": "deepspeech-train"})
    if have and known:
        request.add_header("Range", f"bytes={have}-")
        if known.validator:
            request.add_header("If-Range", known.validator)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            have = _resumed_at(answer, have)
            length = int(answer.headers.get("Content-Length") or 0)
            total = have + length if length else 0
            _must_fit(part, length, url)
            if not have:
                part.unlink(missing_ok=True)
                tag = answer.headers.get("ETag") or ""
                # A weak tag does not promise the same bytes.
                validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified") or ""
                _beginning_path(part).write_text(json.dumps(asdict(_Beginning(url, validator, total))))
            _receive(answer, part, have, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            # The file on the server has become shorter.
            part.unlink(missing_ok=True)
            _fetch(url, part, progress)
            return
        if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Cut(f"{error.code} {error.reason}") from error
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, (TimeoutError, ConnectionError)):
            raise _Cut(str(error.reason)) from error
        raise
    except (http.client.IncompleteRead, TimeoutError, ConnectionError) as error:
        raise _Cut(str(error) or type(error).__name__) from error


def _receive(answer: http.client.HTTPResponse, part: Path, have: int, total: int, progress: Progress) -> None:
    name = part.name.removesuffix(".part")
    with part.open("ab") as file, progress.steps(f"downloading {name}", total, "B") as advance:
        advance(have)
        # read() would wait for a whole chunk, and lose the beginning of it when the line breaks.
        while chunk := answer.read1(_CHUNK):
            file.write(chunk)
            have += len(chunk)
            advance(len(chunk))
    if have < total:
        raise _Cut("the server closed the connection")


def _resumed_at(answer: http.client.HTTPResponse, asked: int) -> int:
    """From which byte on the server sends: ``asked``, or 0 where it sends the whole file."""
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    place = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    if not place or int(place[1]) != asked:
        raise http.client.HTTPException(f"it was asked for the bytes from {asked} on and sent others")
    return asked


def _must_fit(part: Path, length: int, url: str) -> None:
    free = shutil.disk_usage(part.parent).free
    if length > free:
        raise RecipeError(
            f"{url} has {length / 1e9:.1f} GB to go, and the disk of {part.parent} has room for {free / 1e9:.1f} GB",
            "make room, or name another folder",
        )


def _sha256(part: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    with part.open("rb") as file, progress.steps("computing the checksum", _size(part), "B") as advance:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _beginning_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _beginning_of(part: Path) -> _Beginning | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return _Beginning(**json.loads(_beginning_path(part).read_text()))
    return None
