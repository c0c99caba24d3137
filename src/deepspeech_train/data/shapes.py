"""Fixed shapes of batches, for a compiler that compiles anew for each shape (JAX, XLA): a few lengths, each with a
constant number of rows and of labels.

The lengths are those, among quantiles of the set's, that make the padding least (an exact choice by dynamic
programming). Eight of them pad a set like LibriSpeech (2 to 17 s) by 5 % more than the batches' own lengths do, and one
of single words (0.2 to 1.2 s) by 9 %; with one length alone it would be 32 % and 160 %.

>>> few = choose(np.array([50, 90, 95]), np.array([3, 7, 9]), rows=lambda frames: 4, count=2)
>>> few.shapes
(Shape(frames=52, rows=4, labels=8), Shape(frames=96, rows=4, labels=16))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Lengths that are tried for: quantiles of the set's.
_CANDIDATES = 128
#: Durations in manifests are rounded: by so many frames more than they say an utterance still finds its shape.
_FRAMES_ROOM = 1
#: Lengths are multiples of this.
_FRAMES_STEP = 4
_LABELS_STEP = 8


@dataclass(frozen=True)
class Shape:
    """Of a batch: features (rows, frames, size), labels (rows, labels)."""

    frames: int
    rows: int
    labels: int


@dataclass(frozen=True)
class FixedShapes:
    """The shapes, from short to long."""

    shapes: tuple[Shape, ...]

    def fitting(self, rows: int, frames: int, labels: int) -> Shape:
        """The shortest shape that holds so many rows, frames and labels.

        Where none does (audio that is longer than its manifest says), one that is longer in steps of a quarter, so that
        few are compiled beside the planned ones.
        """
        for shape in self.shapes:
            if shape.rows >= rows and shape.frames >= frames and shape.labels >= labels:
                return shape
        last = self.shapes[-1]
        while frames > last.frames or labels > last.labels:
            longer = last.frames if frames <= last.frames else _up(last.frames * 5 // 4 + 1, _FRAMES_STEP)
            more = last.labels if labels <= last.labels else _up(last.labels * 5 // 4 + 1, _LABELS_STEP)
            last = Shape(longer, last.rows, more)
        return Shape(last.frames, max(rows, last.rows), last.labels)

    def padded(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The frames that utterances of ``frames`` take in a batch of their like, same shape."""
        lengths = np.array([shape.frames for shape in self.shapes])
        place = np.searchsorted(lengths, frames + _FRAMES_ROOM)
        padded: npt.NDArray[np.int64] = np.maximum(lengths[np.minimum(place, len(lengths) - 1)], frames)
        return padded


def choose(
    frames: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    rows: Callable[[int], int],
    count: int = 8,
) -> FixedShapes:
    """At most ``count`` shapes for a set of utterances of ``frames`` and ``labels`` (n,), one or more; ``rows`` says
    how many utterances of so many frames stand in a batch."""
    order = np.argsort(frames, kind="stable")
    wanted = frames[order] + _FRAMES_ROOM
    quantiles = wanted[np.linspace(0, len(wanted) - 1, _CANDIDATES).round().astype(np.intp)]
    lengths = np.unique(-(-quantiles // _FRAMES_STEP) * _FRAMES_STEP)
    below = np.searchsorted(wanted, lengths, side="right")  # utterances that each length holds
    most_labels = np.maximum.accumulate(labels[order])[below - 1]
    return FixedShapes(
        tuple(
            Shape(int(lengths[at]), rows(int(lengths[at])), _up(max(1, int(most_labels[at])), _LABELS_STEP))
            for at in _least_padding(lengths, below, count)
        )
    )


def _least_padding(lengths: npt.NDArray[np.int64], below: npt.NDArray[np.intp], count: int) -> list[int]:
    """Which of the ``lengths`` to take, ``count`` at most and the longest among them, so that the sum of all utterances
    rounded up to the next is least; ``below`` are the utterances that each length holds."""
    before = np.concatenate([[0], below])
    # step[i, j]: all that are longer than length i - 1 and not longer than j are rounded up to length j.
    step = np.where(
        np.arange(len(lengths) + 1)[:, None] <= np.arange(len(lengths)),
        lengths * (below - before[:, None]).astype(np.float64),
        np.inf,
    )
    total = step[0]  # with one length
    chosen: list[npt.NDArray[np.intp]] = []
    for _ in range(min(count, len(lengths)) - 1):
        through = total[:, None] + step[1:]
        chosen.append(through.argmin(axis=0))
        total = np.minimum(through.min(axis=0), step[0])
        chosen[-1] = np.where(total == step[0], -1, chosen[-1])
    taken = [len(lengths) - 1]
    for previous in reversed(chosen):
        if previous[taken[-1]] < 0:
            break
        taken.append(int(previous[taken[-1]]))
    return taken[::-1]


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
