"""Best-path decoding, times and confidence."""

from __future__ import annotations

import numpy as np
import pytest

from deepspeech_train.decoding import Greedy, Hypothesis
from deepspeech_train.errors import RecipeError
from deepspeech_train.text import ENGLISH, Alphabet

SECONDS = 0.04


def _logits(path: str, alphabet: Alphabet = ENGLISH) -> np.ndarray:
    """Frames whose likeliest output spells ``path``; ``_`` is the blank."""
    outputs = [alphabet.blank if symbol == "_" else alphabet.characters.index(symbol) for symbol in path]
    logits = np.random.default_rng(0).uniform(-1, 0, (len(path), alphabet.size)).astype(np.float32)
    logits[np.arange(len(path)), outputs] = 1
    return logits


def _decode(*paths: str, lengths: list[int] | None = None) -> list[Hypothesis]:
    logits = np.stack([_logits(path) for path in paths])
    return Greedy(ENGLISH, SECONDS).decode(logits, np.array(lengths or [len(path) for path in paths], np.int32))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ggo__", "go"),
        ("thre_e", "three"),
        ("three", "thre"),
        ("_____", ""),
        ("  _  ", ""),
        (" _go_  lleft ", "go left"),
        ("a_ _ _b", "a b"),
        ("don't", "don't"),
    ],
)
def test_repeats_merge_blanks_vanish_spaces_are_single(path: str, expected: str) -> None:
    (hypothesis,) = _decode(path)
    assert hypothesis.text == expected
    assert [word.text for word in hypothesis.words] == expected.split()


def test_padding_is_not_read() -> None:
    assert [one.text for one in _decode("gozzz", "lefty", lengths=[2, 4])] == ["go", "left"]


def test_what_is_past_the_length_may_be_anything() -> None:
    logits = _logits("gozzz")[None]
    logits[:, 2:] = np.nan
    assert Greedy(ENGLISH, SECONDS).decode(logits, np.array([2], np.int32))[0].text == "go"


def test_an_alphabet_without_a_space_gives_one_word() -> None:
    alphabet = Alphabet("äbc")
    hypothesis = Greedy(alphabet, 0.5).decode(_logits("_ä_bb", alphabet)[None], np.array([5], np.int32))[0]
    assert [(word.text, word.start, word.end) for word in hypothesis.words] == [("äb", 0.5, 2.5)]


def test_a_word_lasts_from_its_first_characters_first_frame_to_its_lasts_last() -> None:
    (hypothesis,) = _decode("__gg_oo_ _left")
    assert [(word.start, word.end) for word in hypothesis.words] == [
        pytest.approx((2 * SECONDS, 7 * SECONDS)),
        pytest.approx((10 * SECONDS, 14 * SECONDS)),
    ]


def test_confidence_is_the_paths_probability_for_a_character() -> None:
    alphabet = Alphabet(" ab")
    probabilities = np.array([[0, 0.9, 0, 0.1], [0.2, 0, 0, 0.8], [0, 0.25, 0.5, 0.25], [0.7, 0, 0, 0.3]])  # a_b" "
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities).astype(np.float32)[None]
    hypothesis = Greedy(alphabet, 1.0).decode(logits, np.array([4], np.int32))[0]
    assert hypothesis.text == "ab"
    assert hypothesis.words[0].confidence == pytest.approx((0.9 * 0.8 * 0.5) ** (1 / 2))
    assert hypothesis.confidence == pytest.approx((0.9 * 0.8 * 0.5 * 0.7) ** (1 / 2))


def test_silence_has_a_confidence_and_no_frames_have_none() -> None:
    silent, empty = _decode("_____", "_____", lengths=[5, 0])
    assert silent.text == empty.text == ""
    assert silent.confidence is not None
    assert 0 < silent.confidence < 1
    assert empty.confidence is None


def test_no_utterances_and_no_frames_at_all() -> None:
    decoder = Greedy(ENGLISH, SECONDS)
    assert decoder.decode(np.zeros((0, 5, 29), np.float32), np.zeros(0, np.int32)) == []
    assert decoder.decode(np.zeros((1, 0, 29), np.float32), np.zeros(1, np.int32)) == [Hypothesis("")]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_told(value: float) -> None:
    logits = np.stack([_logits("left"), _logits("left")])
    logits[1, 2, 7] = value
    with pytest.raises(RecipeError, match=r"Utterance 2 of the batch .* in 1 of 4 frames, first in frame 2"):
        Greedy(ENGLISH, SECONDS).decode(logits, np.array([4, 4], np.int32))


def test_outputs_of_another_alphabet_and_impossible_lengths_are_told() -> None:
    decoder = Greedy(Alphabet("ab"), SECONDS)
    with pytest.raises(RecipeError, match="the alphabet asks for"):
        decoder.decode(_logits("left")[None], np.array([4], np.int32))
    for lengths in ([5], [-1], [1, 1]):
        with pytest.raises(RecipeError, match="with the lengths"):
            decoder.decode(np.zeros((1, 4, 3), np.float32), np.array(lengths))
