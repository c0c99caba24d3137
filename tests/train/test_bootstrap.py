"""The bootstrap, against kaldialign and against what must hold for any set."""

from __future__ import annotations

from pathlib import Path

import kaldialign
import numpy as np
import numpy.typing as npt
import pytest

from deepspeech_train import scoring
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.scoring import Transcription, bootstrap

Counts = npt.NDArray[np.int64]


def _sentences(count: int, rate: float, seed: int) -> tuple[list[str], list[str]]:
    """References, and hypotheses with words changed at ``rate``, the same ones for a rate and seed."""
    random = np.random.default_rng(3)
    references = [" ".join(f"w{word}" for word in random.integers(0, 50, random.integers(2, 12))) for _ in range(count)]
    random = np.random.default_rng(seed)
    return references, [
        " ".join("x" if random.random() < rate else word for word in sentence.split()) for sentence in references
    ]


def _set(references: list[str], hypotheses: list[str], speakers: int = 1) -> list[Transcription]:
    return [
        Transcription(
            Utterance(f"u{place}", Path(), 1.0, said, f"s{place % speakers}"), heard, scoring.score(said, heard)
        )
        for place, (said, heard) in enumerate(zip(references, hypotheses, strict=True))
    ]


def _counts(count: int, rate: float, seed: int = 1) -> tuple[Counts, Counts]:
    random = np.random.default_rng(seed)
    words = random.integers(3, 20, count)
    return random.binomial(words, rate), words


def test_an_interval_agrees_with_kaldialign() -> None:
    references, hypotheses = _sentences(200, 0.2, seed=1)
    ours = scoring.confidence_interval(_set(references, hypotheses))
    theirs = kaldialign.bootstrap_wer_ci(
        [said.split() for said in references], [heard.split() for heard in hypotheses], replications=2000
    )
    assert ours is not None
    width = 2 * theirs["ci95"]
    assert ours.low == pytest.approx(theirs["ci95min"], abs=0.04 * width)
    assert ours.high == pytest.approx(theirs["ci95max"], abs=0.04 * width)


def test_a_comparison_agrees_with_kaldialign() -> None:
    references, first = _sentences(200, 0.2, seed=1)
    _, second = _sentences(200, 0.185, seed=2)
    found = scoring.compare(_set(references, first), _set(references, second))
    theirs = kaldialign.bootstrap_wer_ci(
        *([text.split() for text in texts] for texts in (references, first, second)), replications=2000
    )
    assert found is not None
    assert 0.1 < theirs["p_s2_improv_over_s1"] < 0.99  # a case that is not clear
    assert found.probability == pytest.approx(theirs["p_s2_improv_over_s1"], abs=0.04)


def test_an_interval_holds_the_true_rate_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        found = bootstrap.interval(*_counts(100, 0.15, seed), resamples=400)
        assert found is not None
        held += found.low <= 0.15 <= found.high
    assert 0.9 <= held / 200 <= 0.985


def test_more_utterances_make_it_narrower_and_a_higher_level_wider() -> None:
    few, many = (bootstrap.interval(*_counts(count, 0.2)) for count in (50, 5000))
    sure = bootstrap.interval(*_counts(50, 0.2), level=0.99)
    assert few and many and sure
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(10, rel=0.3)
    assert sure.low < few.low < few.high < sure.high


def test_the_same_seed_gives_the_same_interval() -> None:
    edits, words = _counts(60, 0.3)
    assert bootstrap.interval(edits, words, seed=4) == bootstrap.interval(edits, words, seed=4)
    assert bootstrap.interval(edits, words, seed=4) != bootstrap.interval(edits, words, seed=5)


def test_where_speakers_differ_and_are_many_they_are_drawn() -> None:
    words = np.full(400, 10)
    edits = np.where(np.arange(400) % 20 < 10, 0, 4)  # ten speakers without an error, ten with many
    alone = bootstrap.interval(edits, words)
    blocks = bootstrap.interval(edits, words, [f"s{place % 20}" for place in range(400)])
    assert alone and blocks
    assert (alone.drawn, alone.count) == ("utterances", 400)
    assert (blocks.drawn, blocks.count) == ("speakers", 20)
    assert blocks.high - blocks.low > 3 * (alone.high - alone.low)


@pytest.mark.parametrize("speakers", [[f"s{place % 9}" for place in range(90)], ["", *[f"s{p}" for p in range(89)]]])
def test_few_speakers_and_unknown_ones_are_not_drawn(speakers: list[str]) -> None:
    found = bootstrap.interval(*_counts(90, 0.2), speakers)
    assert found is not None
    assert found.drawn == "utterances"


def test_putting_blocks_together_leaves_the_width() -> None:
    counts = _counts(4000, 0.2)
    whole = bootstrap.interval(*counts, resamples=4000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "MOST_BLOCKS", 500)
        merged = bootstrap.interval(*counts, resamples=4000)
    assert whole and merged
    assert merged.count == 4000
    assert merged.high - merged.low == pytest.approx(whole.high - whole.low, rel=0.15)


def test_drawing_in_pieces_draws_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = _counts(100, 0.2)
    monkeypatch.setattr(bootstrap, "_AT_A_TIME", 700)
    found = bootstrap.interval(*counts, resamples=2003)
    assert found is not None
    rate = counts[0].sum() / counts[1].sum()
    assert found.low < rate < found.high


def test_two_that_are_equal_are_even() -> None:
    edits, words = _counts(50, 0.2)
    found = bootstrap.difference(edits, edits, words)
    assert found is not None
    assert (found.difference, found.interval.low, found.interval.high, found.probability) == (0, 0, 0, 0.5)


def test_a_comparison_is_narrower_than_the_intervals_of_both() -> None:
    edits, words = _counts(300, 0.2)
    better = np.maximum(edits - (np.arange(300) % 5 == 0), 0)
    found, alone = bootstrap.difference(edits, better, words), bootstrap.interval(edits, words)
    assert found and alone
    assert found.interval.high < 0
    assert found.probability == 1
    assert found.difference == pytest.approx((better.sum() - edits.sum()) / words.sum())
    assert found.interval.high - found.interval.low < (alone.high - alone.low) / 2


@pytest.mark.parametrize("counts", [_counts(9, 0.2), (np.ones(20, np.int64), np.zeros(20, np.int64))])
def test_too_few_utterances_and_no_words_give_no_interval(counts: tuple[Counts, Counts]) -> None:
    assert bootstrap.interval(*counts) is None
    assert bootstrap.difference(counts[0], counts[0], counts[1]) is None


def test_one_utterance_with_words_among_many_without() -> None:
    words = np.zeros(20, np.int64)
    words[3] = 5
    found = bootstrap.interval(np.ones(20, np.int64), words)
    assert found is not None
    assert np.isfinite([found.low, found.high]).all()


def test_a_comparison_wants_the_same_utterances() -> None:
    references, hypotheses = _sentences(20, 0.2, seed=1)
    items = _set(references, hypotheses)
    with pytest.raises(ValueError, match="same utterances"):
        scoring.compare(items, items[1:])
