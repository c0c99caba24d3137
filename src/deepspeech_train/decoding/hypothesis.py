"""A hypothesis: the text that was recognised, its words with their times, and how sure the network was of them.

All decoders make it in the same way, from a *path*: one output of the network for each frame (Graves et al., 2006).
Repeats of an output are one character, blanks are none, runs of spaces are one space, spaces at the ends are none.

**Words** are what spaces separate, as in ``text.split()``; where the alphabet has no space the text is one word. A
word's ``start`` is that of the first frame of its first character, its ``end`` that of the last frame of its last one,
in seconds from the start of the audio. A network trained with CTC emits a character in few frames, often one, some
time after it is first heard, so that words look shorter than they were spoken.

**Confidence** is the probability that the network gives to the path, to the power of one over the number of characters:
its geometric mean for a character, in 0 to 1. Of a word it is taken over the word's frames and characters (spaces do
not count), of the utterance over all of its frames and characters, so that 0.5 in an utterance of twenty characters is
a path of probability 0.5 ** 20. A text without characters counts as one. A language model has no part in it. Utterances
of one network can be ranked by it; it is not the probability of the words being right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import RecipeError
from ..text import Alphabet

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Word:
    """One word; ``start`` and ``end`` in seconds, ``confidence`` in 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """What was recognised. ``confidence`` is None where there was no frame to recognise anything in."""

    text: str
    confidence: float | None = None
    words: tuple[Word, ...] = ()


def log_probabilities(
    logits: npt.NDArray[np.floating], lengths: npt.NDArray[np.integer], alphabet: Alphabet
) -> list[Floats]:
    """For each utterance of a batch the logarithms of its outputs' probabilities, shape ``(length, alphabet.size)``.

    ``logits`` (batch, frames, alphabet.size), ``lengths`` (batch,) in frames; what is past a length is not looked at.
    Raises RecipeError where the shapes do not fit, and where an output is not a number or infinite. (Minus infinity, a
    probability of 0, is one that can be used, if it is not all of a frame.)
    """
    logits, lengths = np.asarray(logits), np.asarray(lengths)
    if logits.ndim != 3 or logits.shape[-1] != alphabet.size:
        raise RecipeError(
            f"Outputs of the shape {logits.shape} cannot be decoded: the alphabet asks for "
            f"(utterances, frames, {alphabet.size}).",
            f"The alphabet is {alphabet.characters!r} and the blank (ds_alphabet). Is it the one of the training?",
        )
    if lengths.shape != logits.shape[:1] or np.any((lengths < 0) | (lengths > logits.shape[1])):
        raise RecipeError(
            f"Outputs of the shape {logits.shape} cannot be decoded with the lengths {lengths.tolist()}.",
            f"Each utterance has one length, from 0 to {logits.shape[1]} frames.",
        )
    return [_log_softmax(row[:length], place) for place, (row, length) in enumerate(zip(logits, lengths, strict=True))]


def _log_softmax(outputs: npt.NDArray[np.floating], place: int) -> Floats:
    outputs = outputs.astype(np.float64)
    highest = outputs.max(axis=-1, keepdims=True, initial=-np.inf)
    wrong = ~np.isfinite(highest[:, 0])  # a maximum is not a number where one of its numbers is not
    if wrong.any():
        frame = int(np.argmax(wrong))
        raise RecipeError(
            f"Utterance {place + 1} of the batch cannot be decoded: the network's outputs are not finite in "
            f"{wrong.sum()} of {len(outputs)} frames, first in frame {frame}.",
            "Its weights or its input are broken: look whether the loss became nan in training, and go back to an "
            "earlier checkpoint; a smaller ds_learning_rate or ds_max_gradient_norm keeps that from happening.",
        )
    outputs -= highest
    normaliser: Floats = np.log(np.exp(outputs).sum(axis=-1, keepdims=True))
    return outputs - normaliser


def from_path(
    path: npt.NDArray[np.integer], log_probs: Floats, alphabet: Alphabet, seconds_per_frame: float
) -> Hypothesis:
    """The hypothesis of ``path`` (frames,), outputs of the network, given ``log_probs`` (frames, alphabet.size)."""
    if not len(path):
        return Hypothesis("")
    starts = np.flatnonzero(np.r_[True, path[1:] != path[:-1]])
    ends = np.r_[starts[1:], len(path)]
    # What the path has cost before each frame: a stretch costs the difference of two of them.
    spent = np.r_[0.0, np.cumsum(log_probs[np.arange(len(path)), path])]
    words: list[Word] = []
    letters: list[str] = []
    first = last = 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        output = path[start]
        if output == alphabet.blank:
            continue
        character = alphabet.characters[output]
        if character == " ":
            _close(words, letters, first, last, spent, seconds_per_frame)
            continue
        if not letters:
            first = start
        letters.append(character)
        last = end
    _close(words, letters, first, last, spent, seconds_per_frame)
    text = " ".join(word.text for word in words)
    return Hypothesis(text, float(np.exp(spent[-1] / max(1, len(text)))), tuple(words))


def _close(
    words: list[Word], letters: list[str], first: int, last: int, spent: Floats, seconds_per_frame: float
) -> None:
    """Makes a word of ``letters`` in the frames from ``first`` to before ``last``, if there are any."""
    if letters:
        confidence = float(np.exp((spent[last] - spent[first]) / len(letters)))
        words.append(Word("".join(letters), first * seconds_per_frame, last * seconds_per_frame, confidence))
        letters.clear()
