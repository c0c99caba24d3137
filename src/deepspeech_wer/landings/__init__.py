"""What has landed on the tracked branch: the value that every other part speaks of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_MARK = re.compile(r"\[(?:skip wer|wer skip)\]", re.IGNORECASE)


@dataclass(frozen=True)
class Landing:
    """One step of the branch's first-parent history: a merge, a squash, a rebased or a pushed commit.

    ``date`` is when it was committed (ISO 8601, UTC); ``position`` counts the first-parent history from its
    root, the root being 1, so that landings sort in commit order whatever their clocks said; ``url`` is the
    commit's page on the web, or None. ``kind`` is ``merge`` (two or more parents), ``commit``, or ``rebase``: the
    ``commits`` commits of one rebased pull request, which only GitHub's API can tell; empty where it is not known.
    ``marked`` says that its message asks for no training, see :func:`is_marked`.
    """

    sha: str
    parents: tuple[str, ...]
    author: str
    date: str
    subject: str
    position: int
    url: str | None = None
    kind: str = ""
    commits: int = 1
    marked: bool = False

    @property
    def short(self) -> str:
        """The first seven digits of the SHA, as people write it."""
        return self.sha[:7]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return asdict(self) | {"parents": list(self.parents)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Landing:
        """The inverse of :meth:`to_json`."""
        return cls(**{**value, "parents": tuple(value["parents"])})


def is_marked(message: str) -> bool:
    """Whether a commit's whole message holds ``[skip wer]`` or ``[wer skip]``, in any case."""
    return _MARK.search(message) is not None
