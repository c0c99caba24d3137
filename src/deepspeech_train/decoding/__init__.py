"""From a network's outputs to text: greedy, or by beam search with a language model or a list of words.

>>> decoder = from_settings(settings, seconds_per_frame=0.04)  # doctest: +SKIP
>>> decoder.decode(logits, lengths)[0].text  # doctest: +SKIP
'go left'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from .greedy import Greedy
from .hypothesis import Hypothesis, Word, from_path, log_probabilities

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = ["Decoder", "Greedy", "Hypothesis", "Word", "from_path", "from_settings", "log_probabilities"]


class Decoder(Protocol):
    """What makes text of a network's outputs."""

    def decode(self, logits: npt.NDArray[np.float32], lengths: npt.NDArray[np.int32]) -> list[Hypothesis]:
        """One hypothesis an utterance from ``logits`` (batch, frames, characters and blank) and ``lengths`` (batch,).

        RecipeError for outputs that are not finite.
        """
        ...


def from_settings(settings: Settings, seconds_per_frame: float) -> Decoder:
    """The decoder that ``settings`` ask for; ``seconds_per_frame`` is from one output of the network to the next."""
    return Greedy(settings.characters, seconds_per_frame)
