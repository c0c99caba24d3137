"""Which parameters differ from the training before, in the words of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepspeech_wer.site import text

#: The recipe's numbers of batches follow from the data and the batch sizes: their change is no news of its own.
_DERIVED = "total_batches_"


@dataclass(frozen=True)
class Change:
    """One parameter that differs from the run before; an empty string means that it was not there."""

    name: str
    before: str
    after: str


def changes(previous: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[Change]:
    """What differs in ``now`` from ``previous``; nothing where one of them is not known.

    Values that changed come first, then what is new, then what is gone, each by name.
    """
    if previous is None or now is None:
        return []
    names = {name for name in previous.keys() | now.keys() if not _same(previous, now, name)}
    return [
        Change(
            text.plain(name, 60),
            text.value(previous[name], 40) if name in previous else "",
            text.value(now[name], 40) if name in now else "",
        )
        for name in sorted(names, key=lambda name: (name not in now, name not in previous, name))
        if not name.startswith(_DERIVED)
    ]


def _same(previous: Mapping[str, Any], now: Mapping[str, Any], name: str) -> bool:
    if name not in previous or name not in now:
        return False
    before, after = previous[name], now[name]
    if name == "data_set":
        return text.value(before) == text.value(after)
    # In Python True == 1, and a parameter that turned from one into the other has changed.
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)
