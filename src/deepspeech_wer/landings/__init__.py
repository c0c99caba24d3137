"""What has landed on the tracked branch: the value that every other part speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Landing:
    """One step of the branch's first-parent history: a merge, a squash, a rebased or a pushed commit.

    ``date`` is when it was committed (ISO 8601, UTC); ``position`` counts the first-parent history from its
    root, the root being 1, so that landings sort in commit order whatever their clocks said; ``url`` is the
    commit's page on the web, or None.
    """

    sha: str
    parents: tuple[str, ...]
    author: str
    date: str
    subject: str
    position: int
    url: str | None = None

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
