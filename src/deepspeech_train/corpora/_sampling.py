"""Drawing with a seed: what is drawn depends on the seed and the label alone, on every version of Python."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def generator(seed: int, *label: str) -> random.Random:
    """A generator of its own for each label, so that one part's draws do not move another's."""
    return random.Random("/".join((str(seed), *label)))


def evenly(items: Sequence[T], draw: random.Random) -> Iterator[T]:
    """``items`` for ever in random order, each as often as every other: one shuffled pass after another."""
    while items:
        yield from draw.sample(items, len(items))
