"""A part of a set of utterances: some of them, spread evenly, so that a set sorted by speaker is still represented."""

from __future__ import annotations

from typing import Any

from .manifest import Utterance, Utterances


class Part(list[Utterance]):
    """Some utterances of a set; ``features`` says, as that of a folder of shards, that features are stored in place of
    audio (None: audio is)."""

    features: Any = None


def spread(utterances: Utterances, count: int) -> Utterances:
    """``count`` of the utterances, in their order; all, where there are no more, or for 0."""
    total = len(utterances)
    if not count or count >= total:
        return utterances
    part = Part(utterances[place * total // count] for place in range(count))
    part.features = getattr(utterances, "features", None)
    return part
