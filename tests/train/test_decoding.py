"""Best-path decoding."""

from __future__ import annotations

import numpy as np
import pytest

from deepspeech_train import text
from deepspeech_train.decoding import greedy


def _logits(path: str) -> np.ndarray:
    """Frames whose likeliest output spells ``path``; ``_`` is the blank."""
    outputs = [text.BLANK if symbol == "_" else text.ALPHABET.index(symbol) for symbol in path]
    logits = np.random.default_rng(0).uniform(-1, 0, (len(path), text.N_CHARACTER)).astype(np.float32)
    logits[np.arange(len(path)), outputs] = 1
    return logits


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ggo__", "go"),
        ("thre_e", "three"),
        ("three", "thre"),
        ("_____", ""),
        (" _go_  lleft ", "go left"),
        ("a_ _ _b", "a b"),
        ("don't", "don't"),
    ],
)
def test_repeats_merge_blanks_vanish_spaces_are_single(path: str, expected: str) -> None:
    assert greedy(_logits(path)[None], np.array([len(path)], np.int32)) == [expected]


def test_padding_is_not_read() -> None:
    logits = np.stack([_logits("gozzz"), _logits("lefty")])
    assert greedy(logits, np.array([2, 4], np.int32)) == ["go", "left"]


def test_the_alphabet_round_trips_and_the_blank_is_last() -> None:
    assert text.decode(text.encode(text.ALPHABET)) == text.ALPHABET
    assert (text.N_CHARACTER, text.BLANK) == (29, 28)
