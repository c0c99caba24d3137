"""The prefixes that a beam search has met: a tree that gives each text, as far as it has come, one number.

A prefix is its parent and one label more. It keeps its number when it leaves the beam and comes back, so that what two
paths have in common is always found to be the same. The arrays have a row for each prefix and room for more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: The empty prefix. Prefix 0 is none: the parent of the empty one.
EMPTY = 1


class Prefixes:
    """``parent``, ``last`` (the last label; that of the empty prefix is ``first``), ``node`` (of the current word in
    the lexicon, -1 outside of it) and ``bonus`` (what the prior adds to the logarithm of the probability) are arrays;
    ``word`` (the current word so far) and ``state`` (of the language model) are lists."""

    def __init__(self, first: int, state: Any) -> None:
        room = 1024
        self.parent = np.zeros(room, np.int64)
        self.last = np.full(room, first, np.int64)
        self.node = np.zeros(room, np.int64)
        self.bonus = np.zeros(room)
        #: Where in the beam a prefix is, -1: it is not.
        self.slot = np.full(room, -1, np.int64)
        self.word: list[str] = ["", ""]
        self.state: list[Any] = [None, state]
        #: What the prior has found out: of the end of a prefix's last word, and of a character after a prefix.
        self.closings: dict[int, tuple[float, Any]] = {}
        self.spoken: dict[tuple[int, str], tuple[float, Any]] = {}
        self._children: dict[tuple[int, int], int] = {}

    def child(self, prefix: int, label: int) -> tuple[int, bool]:
        """The number of ``prefix`` with ``label`` after it, and whether it is new."""
        number = self._children.setdefault((prefix, label), len(self.word))
        if number < len(self.word):
            return number, False
        if number == len(self.parent):
            self._grow()
        self.parent[number] = prefix
        self.last[number] = label
        self.word.append("")
        self.state.append(None)
        return number, True

    def labels(self, prefix: int) -> list[int]:
        """The labels of ``prefix``, from its first."""
        labels = []
        while prefix != EMPTY:
            labels.append(int(self.last[prefix]))
            prefix = int(self.parent[prefix])
        return labels[::-1]

    def _grow(self) -> None:
        more = len(self.parent)
        for name, value in (("parent", 0), ("last", 0), ("node", 0), ("bonus", 0.0), ("slot", -1)):
            array: npt.NDArray[Any] = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.full(more, value, array.dtype)]))
