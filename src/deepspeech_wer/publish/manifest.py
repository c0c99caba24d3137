"""The manifest: what one release consists of, as it stands beside the release on the server.

::

    {"format": "deepspeech-wer web root", "version": 2, "way": "atomic", "release": "20261121T123456Z-3fa9c2d1",
     "page": "index.html", "published": "2026-11-21T12:34:56Z",
     "files": {"js/hyper.js": {"sha256": "...", "size": 1234, "mtime": 1795264496}, ...}}

Version 1, of older releases of this tool, has no ``way`` (all were plain), no ``release``, ``page`` and ``mtime``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

FORMAT = "deepspeech-wer web root"
VERSION = 2
NAME = ".deepspeech-wer.json"

#: A longer file (bytes) is no manifest of ours: that is some hundred thousand files.
LARGEST = 32 << 20

Way = Literal["atomic", "plain"]


class NotOurs(Exception):
    """Why a text is not a manifest of ours, as the end of a sentence."""


@dataclass(frozen=True)
class Entry:
    """A file of a release. ``mtime`` is the one on the server, in seconds; None in manifests of version 1.

    ``old`` is what only pages of the release before need: it stays for those who have one of them open.
    """

    sha256: str
    size: int
    mtime: int | None = None
    old: bool = False


@dataclass(frozen=True)
class Manifest:
    way: Way
    release: str = ""
    page: str = ""
    published: str = ""
    files: dict[str, Entry] = field(default_factory=dict)

    def dump(self) -> bytes:
        files = {path: _without_defaults(entry) for path, entry in sorted(self.files.items())}
        content = {"format": FORMAT, "version": VERSION, **vars(self), "files": files}
        return (json.dumps(content, indent=None if len(files) > 100 else 1) + "\n").encode()


def now() -> str:
    """The time that stands in a manifest."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def parse(text: bytes) -> Manifest:
    """Raises NotOurs. Of untrusted origin: paths are checked, too."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise NotOurs("is not a manifest of ours")
    version = value.get("version")
    if not isinstance(version, int) or version < 1:
        raise NotOurs("has no version")
    if version > VERSION:
        raise NotOurs(f"has version {version}, and this deepspeech-wer knows {VERSION}: upgrade it")
    way = value.get("way", "plain")
    files = value.get("files")
    if way not in ("atomic", "plain") or not isinstance(files, dict):
        raise NotOurs("is damaged")
    try:
        release, page, published = (str(value.get(name, "")) for name in ("release", "page", "published"))
        entries = {_path(path): _entry(entry) for path, entry in files.items()}
    except (KeyError, TypeError, ValueError):
        raise NotOurs("is damaged") from None
    return Manifest(way, release, page, published, entries)


def _without_defaults(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in vars(entry).items() if value is not None and value is not False}


def _path(path: str) -> str:
    if path.startswith("/") or "\0" in path or not set(path.split("/")).isdisjoint(("", ".", "..")):
        raise ValueError(path)
    return path


def _entry(value: dict[str, Any]) -> Entry:
    sha256, size, mtime = value["sha256"], value["size"], value.get("mtime")
    if not (isinstance(sha256, str) and len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")):
        raise ValueError(sha256)
    if type(size) is not int or size < 0 or not (mtime is None or type(mtime) is int):
        raise ValueError(size)
    return Entry(sha256, size, mtime, value.get("old") is True)
