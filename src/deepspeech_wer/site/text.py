"""Words and figures as a person reads them, made from values that nobody has checked.

What comes from a tracked repository is hostile: a subject may be 100 kB long, hold control characters, half a
surrogate pair or marks that turn the direction of writing round; an address may be ``javascript:`` or carry a
password. Nothing here escapes for HTML or JavaScript: that is done where the text is written.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

#: Marks that override the direction of writing, with which a subject could rearrange the text around it.
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

#: What a data set is called that a run does not name.
UNNAMED = "an unnamed data set"

_HOST_AND_PATH = re.compile(r"[^/]+:(?!//)")

NO_BREAK = "\u00a0"
MINUS = "\u2212"


@dataclass(frozen=True)
class Moment:
    """A point in time: ``iso`` for machines, or an empty string where it could not be read; ``text`` for people."""

    iso: str
    text: str


def plain(value: Any, limit: int = 200) -> str:
    """``value`` as one line of at most ``limit`` characters that can be written as UTF-8.

    Control characters and marks of direction are left out, runs of white space become one space, half a
    surrogate pair becomes the replacement character, and what is too long ends in an ellipsis.
    """
    # Ten times the limit is plenty of raw text even where white space collapses; 100 kB need no more work.
    raw = str(value)[: 10 * limit]
    kept = "".join(_character(c) for c in raw if c not in _BIDI)
    line = " ".join(kept.split())
    return line if len(line) <= limit and len(str(value)) <= len(raw) else line[: limit - 1].rstrip() + "…"


def _character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if category in {"Zl", "Zp"}:
        return " "
    if category == "Cc":
        return " " if character in "\t\n\r\v\f" else ""
    return character


def value(thing: Any, limit: int = 80) -> str:
    """A parameter's value in a few words: a data set is its name, other structures are their JSON."""
    if isinstance(thing, dict) and isinstance(thing.get("name"), str):
        return plain(thing["name"], limit)
    if isinstance(thing, str):
        return plain(thing, limit)
    return plain(json.dumps(thing, sort_keys=True, ensure_ascii=False), limit)


def link(address: Any) -> str | None:
    """``address`` if it is one of http or https, without a user name or a password in it; else None."""
    parts = _split(address)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def address(text: str) -> str:
    """A repository's address as it may be shown: a URL without user name and password, a path without its folders.

    How a machine's folders are called is nobody's business but its own. What git takes for ``host:path``, with a
    colon before the first slash, is no path of this machine and stays as it is.
    """
    parts = _split(text)
    if parts is not None and parts.scheme and parts.netloc:
        return plain(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    if _HOST_AND_PATH.match(text) and not text.startswith("file:"):
        return plain(text)
    return plain(PurePosixPath(text).name)


def _split(text: Any) -> SplitResult | None:
    # A browser drops control characters and white space inside an address before it reads the scheme.
    if not isinstance(text, str) or len(text) > 2000 or any(c.isspace() or not c.isprintable() for c in text):
        return None
    try:
        parts = urlsplit(text)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts


def percent(ratio: float | None) -> str:
    """0.1734 as ``17.3 %``; a dash where there is no figure. Below one per cent a second digit is shown."""
    if ratio is None:
        return "–"
    digits = 2 if 0 < ratio < 0.01 else 1
    return f"{100 * ratio:.{digits}f}{NO_BREAK}%"


def points(difference: float) -> str:
    """A difference of two ratios as signed percentage points: ``+2.1``, ``−0.4``, ``0.0``."""
    rounded = f"{abs(100 * difference):.1f}"
    if rounded == "0.0":
        return rounded
    return f"{MINUS if difference < 0 else '+'}{rounded}"


def spread(deviation: float) -> str:
    """A standard deviation of ratios in percentage points: ``± 0.4``; below 0.1 a second digit is shown."""
    digits = 2 if 0 < deviation < 0.001 else 1
    return f"±{NO_BREAK}{100 * deviation:.{digits}f}"


def energy(kwh: float | None) -> str:
    """0.0123 kWh as ``12.3 Wh``, 1.234 as ``1.23 kWh``: three digits; a dash where there is no figure."""
    if kwh is None:
        return "–"
    number, unit = (kwh, "kWh") if kwh >= 0.1 else (1000 * kwh, "Wh")
    digits = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f}{NO_BREAK}{unit}"


def duration(seconds: float | None) -> str:
    """224684 as ``2 d 14 h``: the two largest units that count; a dash where there is no figure."""
    if seconds is None or seconds < 0:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f}{NO_BREAK}s" if seconds >= 10 else f"{seconds:.1f}{NO_BREAK}s"
    left = round(seconds)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{NO_BREAK}{unit}")
    return " ".join(parts[:2])


def count(number: float | None) -> str:
    """14820 as ``14 820`` with a narrow space that does not break; a dash where there is no figure."""
    return "–" if number is None else f"{number:,.0f}".replace(",", "\u202f")


def moment(iso: str) -> Moment:
    """An ISO 8601 time, in UTC if it names a zone (the runs of 2016 name none); any other text as it is."""
    try:
        when = datetime.fromisoformat(iso)
        zone = "" if when.tzinfo is None else " UTC"
        when = when.astimezone(UTC) if zone else when
    except (ValueError, OverflowError):
        return Moment("", plain(iso, 40))
    return Moment(when.isoformat(timespec="seconds"), f"{when:%Y-%m-%d %H:%M}{zone}")
