"""The alphabet: what a transcript may hold, and which output of the network stands for which character.

Twenty-nine outputs, as in DeepSpeech: the space, a to z, the apostrophe, and last the blank of CTC.

>>> decode(encode("go left"))
'go left'
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .errors import RecipeError

ALPHABET = " abcdefghijklmnopqrstuvwxyz'"
BLANK = len(ALPHABET)
N_CHARACTER = len(ALPHABET) + 1

_INDEX = {character: index for index, character in enumerate(ALPHABET)}


def encode(text: str) -> npt.NDArray[np.int32]:
    """The labels of a transcript, shape ``(len(text),)``; RecipeError for a character outside the alphabet."""
    try:
        return np.array([_INDEX[character] for character in text], dtype=np.int32)
    except KeyError as missing:
        raise RecipeError(
            f"The transcript {text!r} holds {missing.args[0]!r}, which the network has no output for.",
            "Transcripts are lower-case a to z, space and apostrophe: write numbers and symbols out.",
        ) from None


def decode(labels: Iterable[int]) -> str:
    """The text of labels that hold no blank."""
    return "".join(ALPHABET[label] for label in labels)


def frames_needed(labels: npt.NDArray[np.int32]) -> int:
    """The fewest output frames with which CTC can emit ``labels``: one each, and a blank between repeats."""
    return int(labels.size + np.count_nonzero(labels[1:] == labels[:-1]))
