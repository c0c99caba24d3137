"""Prefix beam search, checked against all paths there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepspeech_train.decoding import Beam, Greedy, Prior, best_path
from deepspeech_train.decoding.language_model import LN10, Arpa
from deepspeech_train.decoding.lexicon import Lexicon
from deepspeech_train.decoding.prior import UNKNOWN_WORD
from deepspeech_train.errors import RecipeError
from deepspeech_train.text import ENGLISH, Alphabet

SPACED = Alphabet(" ab")
SPACELESS = Alphabet("abc")

ARPA = """\\data\\
ngram 1=6
ngram 2=5

\\1-grams:
-1.5 <unk>
-99 <s> -0.4
-0.9 </s>
-0.5 a -0.3
-0.8 ab -0.2
-0.7 b -0.1

\\2-grams:
-0.2 <s> ab
-0.6 a b
-0.3 ab a
-0.9 b </s>
-1.1 a a

\\end\\
"""


@pytest.fixture
def model(tmp_path: Path) -> Arpa:
    (tmp_path / "lm.arpa").write_text(ARPA)
    return Arpa(tmp_path / "lm.arpa")


def _log_probs(seed: int, frames: int, alphabet: Alphabet, sharpness: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, sharpness, (frames, alphabet.size))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _spelled(path: tuple[int, ...], alphabet: Alphabet) -> str:
    """What a path says, by the definition of CTC and of a hypothesis' spaces."""
    text = "".join(alphabet.characters[one] for one, _ in itertools.groupby(path) if one != alphabet.blank)
    return " ".join(text.split(" ")).strip() if " " not in alphabet.characters else " ".join(text.split())


def _texts(log_probs: np.ndarray, alphabet: Alphabet) -> dict[str, float]:
    """The log probability of every text, summed over all paths."""
    texts: dict[str, float] = {}
    for path in itertools.product(range(alphabet.size), repeat=len(log_probs)):
        text = _spelled(path, alphabet)
        score = float(log_probs[np.arange(len(path)), list(path)].sum())
        texts[text] = float(np.logaddexp(texts.get(text, -np.inf), score))
    return texts


def _exact(alphabet: Alphabet, prior: Prior | None = None) -> Beam:
    return Beam(alphabet, 0.04, 100_000, prior, least_probability=0.0, spread=np.inf)


def _same(found: Beam, log_probs: np.ndarray, expected: dict[str, float], acoustic: dict[str, float]) -> None:
    candidates = found.candidates(log_probs)
    assert {one.text for one in candidates} == set(expected)
    for one in candidates:
        assert one.score == pytest.approx(expected[one.text], abs=1e-9), one
        assert one.log_probability == pytest.approx(acoustic[one.text], abs=1e-9), one
    assert candidates[0].text == max(expected, key=expected.__getitem__)


@pytest.mark.parametrize("alphabet", [SPACED, SPACELESS], ids=["with a space", "without one"])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_probability_of_every_text(seed: int, alphabet: Alphabet) -> None:
    log_probs = _log_probs(seed, 6, alphabet)
    texts = _texts(log_probs, alphabet)
    _same(_exact(alphabet), log_probs, texts, texts)
    assert math.fsum(math.exp(value) for value in texts.values()) == pytest.approx(1)


def _with_model(text: str, model: Arpa, alpha: float, beta: float) -> float:
    """The bonus of a text by the definition, with none of the code that is tested."""
    listed = {"a": -0.5, "b": -0.7, "ab": -0.8, "</s>": -0.9}
    back_off = {"<s>": -0.4, "a": -0.3, "ab": -0.2, "b": -0.1, "<unk>": 0.0}
    pairs = {("<s>", "ab"): -0.2, ("a", "b"): -0.6, ("ab", "a"): -0.3, ("b", "</s>"): -0.9, ("a", "a"): -1.1}
    total, before, words = 0.0, "<s>", text.split()
    for word in [*words, "</s>"]:
        known = word if word in listed else "<unk>"
        total += pairs.get((before, known), back_off[before] + listed.get(known, -1.5)) * LN10
        total -= UNKNOWN_WORD if known == "<unk>" else 0.0
        before = known
    return alpha * total + beta * len(words)


@pytest.mark.parametrize("vocabulary", [False, True], ids=["words not told", "words told"])
@pytest.mark.parametrize("seed", range(3))
def test_a_language_model_is_added_as_defined(seed: int, vocabulary: bool, model: Arpa) -> None:
    log_probs = _log_probs(seed, 6, SPACED)
    own = Lexicon.of(model.vocabulary or (), SPACED) if vocabulary else None
    texts = _texts(log_probs, SPACED)
    expected = {text: score + _with_model(text, model, 0.7, 0.9) for text, score in texts.items()}
    _same(_exact(SPACED, Prior(SPACED, model, 0.7, 0.9, own)), log_probs, expected, texts)


@pytest.mark.parametrize("with_model", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_word_list_lets_nothing_else_through(seed: int, with_model: bool, model: Arpa) -> None:
    log_probs = _log_probs(seed, 6, SPACED)
    words = {"ab", "b", "bba"}
    texts = {text: score for text, score in _texts(log_probs, SPACED).items() if words.issuperset(text.split())}
    assert 3 < len(texts) < 40
    bonus = {text: _with_model(text, model, 0.5, 1.0) if with_model else 0.0 for text in texts}
    prior = Prior(SPACED, model if with_model else None, 0.5, 1.0, Lexicon.of(words, SPACED), True)
    _same(_exact(SPACED, prior), log_probs, {text: score + bonus[text] for text, score in texts.items()}, texts)


@pytest.mark.parametrize("seed", range(3))
def test_without_a_space_the_model_is_one_of_characters_and_an_entry_is_a_whole_text(seed: int, model: Arpa) -> None:
    log_probs = _log_probs(seed, 5, SPACELESS)
    texts = _texts(log_probs, SPACELESS)
    bonus = {text: _with_model(" ".join(text), model, 0.5, 1.0) for text in texts}
    expected = {text: score + bonus[text] for text, score in texts.items()}
    _same(_exact(SPACELESS, Prior(SPACELESS, model, 0.5, 1.0)), log_probs, expected, texts)
    closed = Prior(SPACELESS, model, 0.5, 1.0, Lexicon.of(["ab", "cab", "c"], SPACELESS), True)
    entries = {text: expected[text] for text in ("", "ab", "cab", "c")}
    _same(_exact(SPACELESS, closed), log_probs, entries, texts)


@pytest.mark.parametrize("seed", range(4))
def test_tensorflow_finds_the_same(seed: int) -> None:
    import tensorflow as tf

    log_probs = _log_probs(seed, 30, SPACELESS, 1.0)
    paths, scores = tf.nn.ctc_beam_search_decoder(log_probs[:, None].astype(np.float32), [30], beam_width=300)
    beam = Beam(SPACELESS, 0.04, 300, least_probability=0.0, spread=np.inf)
    best = beam.candidates(log_probs)[0]
    assert best.text == SPACELESS.decode(paths[0].values.numpy())
    assert best.log_probability == pytest.approx(float(scores[0, 0]), abs=1e-2)


def test_a_text_that_no_single_path_is_best_for() -> None:
    # Graves (2008): blank blank is the likeliest path (0.36), but "a" has three paths of 0.24, 0.24 and 0.16.
    log_probs = np.log(np.array([[0.4, 1e-9, 0.6], [0.4, 1e-9, 0.6]]))
    alphabet = Alphabet("ab")
    one = np.array([2], np.int32)
    assert Greedy(alphabet, 0.04).decode(log_probs[None], one)[0].text == ""
    assert Beam(alphabet, 0.04).decode(log_probs[None], one)[0].text == "a"
    assert Beam(alphabet, 0.04, 8).candidates(log_probs)[0].log_probability == pytest.approx(math.log(0.64))


def _spoken(path: str, sure: float = 6.0, seed: int = 0) -> np.ndarray:
    """Logits of frames that say ``path``; ``_`` is the blank."""
    outputs = [ENGLISH.blank if symbol == "_" else ENGLISH.characters.index(symbol) for symbol in path]
    logits = np.random.default_rng(seed).normal(0, 1, (len(path), ENGLISH.size)).astype(np.float32)
    logits[np.arange(len(path)), outputs] += sure
    return logits[None]


@pytest.mark.parametrize("width", [1, 2, 64])
def test_of_sure_outputs_all_widths_and_greedy_make_the_same(width: int) -> None:
    logits, length = _spoken("__gg_o_  __ll__e_ft_ ", 9.0), np.array([21], np.int32)
    (greedy,) = Greedy(ENGLISH, 0.04).decode(logits, length)
    (found,) = Beam(ENGLISH, 0.04, width).decode(logits, length)
    assert greedy.text == found.text == "go left"
    assert [(one.text, one.start, one.end) for one in found.words] == [
        (one.text, one.start, one.end) for one in greedy.words
    ]
    assert found.confidence == pytest.approx(greedy.confidence)
    assert [one.confidence for one in found.words] == pytest.approx([one.confidence for one in greedy.words])


def test_nothing_said_no_frames_and_padding() -> None:
    logits = np.concatenate([_spoken("_____"), _spoken("go___"), _spoken("go___")])
    logits[1, 2:] = np.nan
    found = Beam(ENGLISH, 0.04).decode(logits, np.array([5, 2, 0], np.int32))
    assert [one.text for one in found] == ["", "go", ""]
    assert found[2].confidence is None
    assert Beam(ENGLISH, 0.04).decode(np.zeros((1, 0, 29), np.float32), np.array([0], np.int32))[0].text == ""


def test_outputs_that_are_not_finite_are_told() -> None:
    logits = _spoken("left")
    logits[0, 3, 3] = np.nan
    with pytest.raises(RecipeError, match=r"Utterance 1 of the batch cannot be decoded"):
        Beam(ENGLISH, 0.04).decode(logits, np.array([4], np.int32))


def test_a_word_that_is_cut_off_is_left_out_if_there_is_nothing_better() -> None:
    prior = Prior(ENGLISH, lexicon=Lexicon.of(["go", "lefthand"], ENGLISH), closed=True)
    (found,) = Beam(ENGLISH, 0.04, 1, prior).decode(_spoken("go_ _left"), np.array([9], np.int32))
    assert found.text == "go"
    assert [word.text for word in found.words] == ["go"]


def test_what_no_path_can_spell_is_empty_with_a_confidence_of_nothing() -> None:
    log_probs = np.full((1, 3, ENGLISH.size), -np.inf, np.float32)
    log_probs[..., ENGLISH.characters.index("x")] = 0
    prior = Prior(ENGLISH, lexicon=Lexicon.of(["go"], ENGLISH), closed=True)
    (found,) = Beam(ENGLISH, 0.04, 8, prior).decode(log_probs, np.array([3], np.int32))
    assert (found.text, found.confidence) == ("", 0.0)


def _best_path_by_force(log_probs: np.ndarray, text: str, alphabet: Alphabet) -> float:
    paths = itertools.product(range(alphabet.size), repeat=len(log_probs))
    of_text = (path for path in paths if _spelled(path, alphabet) == text)
    return max(float(log_probs[np.arange(len(path)), list(path)].sum()) for path in of_text)


@pytest.mark.parametrize("alphabet", [SPACED, SPACELESS], ids=["with a space", "without one"])
@pytest.mark.parametrize("seed", range(3))
def test_the_alignment_is_the_likeliest_of_all_paths(seed: int, alphabet: Alphabet) -> None:
    log_probs = _log_probs(seed, 6, alphabet)
    for text in ("", "a", "aa", "ab", *(["a b", "a ab"] if alphabet is SPACED else ["abca"])):
        path = best_path(log_probs, text, alphabet)
        assert _spelled(tuple(path.tolist()), alphabet) == text
        assert log_probs[np.arange(6), path].sum() == pytest.approx(_best_path_by_force(log_probs, text, alphabet))


@pytest.mark.parametrize("make", [lambda: "aaaa", lambda: "abcabca"])
def test_a_text_too_long_for_its_frames_is_told(make: Callable[[], str]) -> None:
    with pytest.raises(RecipeError, match="no path spells it"):
        best_path(_log_probs(0, 6, SPACELESS), make(), SPACELESS)


def test_a_long_text_is_found_and_aligned() -> None:
    # More than 64 states back, and more prefixes than the tree has room for at first.
    said = "the quick brown fox jumps over the lazy dog and " * 4
    path = "".join(f"{character}_" for character in said)
    (found,) = Beam(ENGLISH, 0.04).decode(_spoken(path, 4.0), np.array([len(path)], np.int32))
    assert len(found.text) > 150
    assert [word.text for word in found.words] == found.text.split()
    assert all(before.end <= after.start for before, after in itertools.pairwise(found.words))


def test_the_beam_says_what_the_language_model_knows(model: Arpa) -> None:
    # "a" and "ab" sound alike here; after the beginning the model has "ab".
    log_probs = np.log(np.array([[0.0001, 0.9, 0.0001, 0.0998], [0.0001, 0.0001, 0.45, 0.5498]]))
    lengths = np.array([2], np.int32)
    assert Beam(SPACED, 0.04).decode(log_probs[None], lengths)[0].text == "a"
    assert Beam(SPACED, 0.04, 8, Prior(SPACED, model, 2.0, 0.0)).decode(log_probs[None], lengths)[0].text == "ab"
