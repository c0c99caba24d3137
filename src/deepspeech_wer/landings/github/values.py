"""Commits, refs and texts out of the API's answers, checked: an answer may be anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deepspeech_wer.errors import RepositoryError

_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Commit:
    """One commit; ``date`` is when it was committed (ISO 8601, UTC), ``subject`` the message's first paragraph."""

    sha: str
    parents: tuple[str, ...]
    author: str
    date: str
    subject: str
    message: str

    @property
    def is_plain(self) -> bool:
        """Whether it has one parent: it is neither a merge nor a root."""
        return len(self.parents) == 1


@contextmanager
def shaped(name: str) -> Iterator[None]:
    """Turn what comes of an answer of another shape into a RepositoryError that names ``name``."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise RepositoryError(
            f"{name}: the API's answer is not what GitHub's documentation says ({type(error).__name__})",
            "check ds_github_api",
        ) from error


def commit_of(value: Any) -> Commit:
    """A commit of a list or of a comparison."""
    about = value["commit"]
    message = text_of(about["message"])
    return Commit(
        sha=sha_of(value["sha"]),
        parents=tuple(sha_of(parent["sha"]) for parent in value["parents"]),
        author=text_of((about["author"] or {}).get("name") or ""),
        date=_date(text_of((about["committer"] or {}).get("date") or "")),
        subject=_subject(message),
        message=message,
    )


def object_of(value: Any) -> str:
    """Kind and SHA of what a ref or a tag points to, parted by a space."""
    return f"{text_of(value['object']['type'])} {sha_of(value['object']['sha'])}"


def is_sha(text: object) -> bool:
    """Whether it is the whole SHA of a commit."""
    return isinstance(text, str) and _SHA.fullmatch(text) is not None


def sha_of(value: Any) -> str:
    """A SHA: it becomes part of addresses and paths."""
    if not is_sha(value):
        raise ValueError("no SHA")
    return str(value)


def text_of(value: Any) -> str:
    """A text that can be written anywhere: half a surrogate pair, which JSON can hold, becomes a question mark."""
    if not isinstance(value, str):
        raise TypeError("no text")
    return value.encode(errors="replace").decode()


def _date(text: str) -> str:
    """A time of the API's as we write it; the epoch where it gives none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(0, UTC).isoformat()


def _subject(message: str) -> str:
    """The first paragraph on one line, as git has it."""
    lines = [line.rstrip() for line in message.lstrip("\n").split("\n")]
    end = lines.index("") if "" in lines else len(lines)
    return " ".join(lines[:end])
