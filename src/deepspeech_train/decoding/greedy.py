"""Greedy decoding: the likeliest output of each frame (Graves et al., 2006, section 3.2: best path decoding)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..text import Alphabet
from .hypothesis import Hypothesis, from_path, log_probabilities


@dataclass(frozen=True)
class Greedy:
    """Takes each frame's likeliest output; ``seconds_per_frame`` is from one output to the next."""

    alphabet: Alphabet
    seconds_per_frame: float
    remarks: tuple[str, ...] = ()

    def decode(self, logits: npt.NDArray[np.float32], lengths: npt.NDArray[np.int32]) -> list[Hypothesis]:
        """One hypothesis an utterance from ``logits`` (batch, frames, alphabet.size) and ``lengths`` (batch,).

        Frames past an utterance's length are padding and are not looked at. RecipeError: outputs that are not finite.
        """
        return [
            from_path(np.argmax(row, axis=-1), row, self.alphabet, self.seconds_per_frame)
            for row in log_probabilities(logits, lengths, self.alphabet)
        ]
