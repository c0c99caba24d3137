"""From the network's outputs to text: the best path (Graves et al., 2006, section 3.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import text


def greedy(logits: npt.NDArray[np.float32], lengths: npt.NDArray[np.int32]) -> list[str]:
    """One hypothesis an utterance from ``logits`` (batch, frames, characters) and ``lengths`` (batch,).

    Takes the likeliest output of each frame, merges repeats, removes blanks. Frames past an utterance's
    length are padding and are not looked at. Runs of spaces become one; the ends are stripped.
    """
    best = np.argmax(logits, axis=-1)
    hypotheses = []
    for path, length in zip(best, lengths, strict=True):
        path = path[:length]
        changes = np.ones(path.shape, dtype=bool)
        changes[1:] = path[1:] != path[:-1]
        labels = path[changes & (path != text.BLANK)]
        hypotheses.append(" ".join(text.decode(labels).split()))
    return hypotheses
