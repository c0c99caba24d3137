"""The alignment of a text with the frames: of all the paths that spell it, the likeliest (Viterbi).

The states are those of CTC's forward algorithm (Graves et al., 2006, section 4.1): each character of the text, and a
gap before, between and after them, in which the network emits blanks. As hypotheses hold no spaces at their ends and no
two in a row, the gaps there and beside a space may hold spaces too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import RecipeError
from ..text import Alphabet
from .hypothesis import Floats


def best_path(log_probs: Floats, text: str, alphabet: Alphabet) -> npt.NDArray[np.int64]:
    """The output of each frame, shape ``(frames,)``, on the likeliest path that spells ``text``.

    ``log_probs`` (frames, alphabet.size), ``text`` without spaces at its ends or two in a row. Raises RecipeError for a
    character outside the alphabet, and where no path spells the text: it needs ``text.frames_needed`` frames. Takes
    ``frames * (2 * len(text) + 1)`` bytes, eight times that while it begins.
    """
    labels = alphabet.encode(text)
    states = np.full(2 * len(labels) + 1, alphabet.blank, np.int64)
    states[1::2] = labels
    emitted = log_probs[:, states]
    space = alphabet.characters.find(" ")
    wide = np.zeros(len(states), bool)  # the gaps that may hold spaces
    if space >= 0:
        wide[[0, -1]] = True
        wide[:-1:2][labels == space] = wide[2::2][labels == space] = True
        emitted[:, wide] = np.maximum(emitted[:, wide], log_probs[:, [space]])
    came_by, final = _forward(emitted, labels)
    path = np.empty(len(log_probs), np.int64)
    state = len(states) - 1
    if len(labels) and final[-2] > final[-1]:
        state -= 1
    if len(path) and final[state] == -np.inf:
        raise RecipeError(
            f"The text {text!r} cannot be aligned with {len(path)} frames: no path spells it.",
            "It needs a frame for each character, and one more between two that are equal.",
        )
    for frame in range(len(path) - 1, -1, -1):
        spaces = wide[state] and log_probs[frame, space] > log_probs[frame, alphabet.blank]
        path[frame] = space if spaces else states[state]
        state -= int(came_by[frame, state])
    return path


def _forward(emitted: Floats, labels: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int8], Floats]:
    """By how many states the best way came to each state in each frame, and each state's score in the last frame."""
    came_by = np.zeros(emitted.shape, np.int8)
    score = np.full(emitted.shape[1], -np.inf)
    score[:1] = 0.0  # before the first frame: as if in the first gap
    # A character is reached past the gap before it only from another character.
    barred = np.full(emitted.shape[1], -np.inf)
    barred[1:2] = 0.0
    barred[3::2][labels[1:] != labels[:-1]] = 0.0
    for frame, emission in enumerate(emitted):
        best = score.copy()
        step = score[:-1] > best[1:]
        best[1:][step] = score[:-1][step]
        came_by[frame, 1:] = step
        past = score[:-2] + barred[2:]
        leap = past > best[2:]
        best[2:][leap] = past[leap]
        came_by[frame, 2:][leap] = 2
        score = best + emission
    return came_by, score
