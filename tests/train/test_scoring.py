"""Error rates against jiwer, and the report."""

from __future__ import annotations

from pathlib import Path

import jiwer
import numpy as np
import pytest

from deepspeech_train import scoring
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.scoring import Score, Transcription

WORDS = ("go", "left", "right", "on", "off", "three")


def _item(name: str, reference: str, hypothesis: str) -> Transcription:
    utterance = Utterance(name, Path(f"{name}.wav"), 1.0, reference, "s")
    return Transcription(utterance, hypothesis, scoring.score(reference, hypothesis))


def _random(count: int) -> list[Transcription]:
    random = np.random.default_rng(5)

    def sentence(least: int) -> str:
        return " ".join(random.choice(WORDS, random.integers(least, 7)))

    return [_item(f"u{number}", sentence(1), sentence(0)) for number in range(count)]


def test_sums_agree_with_jiwer() -> None:
    items = _random(300)
    references = [item.utterance.text for item in items]
    hypotheses = [item.hypothesis for item in items]
    total = scoring.total(items)
    words = jiwer.process_words(references, hypotheses)
    assert total.edits == words.substitutions + words.deletions + words.insertions
    assert total.words == words.hits + words.substitutions + words.deletions
    assert total.wer == pytest.approx(words.wer)
    assert total.cer == pytest.approx(jiwer.cer(references, hypotheses))


def test_the_rate_of_a_set_is_not_the_mean_of_rates() -> None:
    total = scoring.total([_item("a", "go", "left"), _item("b", "one two three", "one two three")])
    assert total.wer == 0.25


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits"),
    [
        ("turn the light on", "turn light off", (1, 1, 0)),
        ("stop", "s top", (1, 0, 1)),
        ("go left", "", (0, 2, 0)),
        ("", "go", (0, 0, 1)),
    ],
)
def test_kinds_of_edits(reference: str, hypothesis: str, edits: tuple[int, int, int]) -> None:
    score = scoring.score(reference, hypothesis)
    assert (score.substitutions, score.deletions, score.insertions) == edits


def test_a_set_without_words_has_no_rate() -> None:
    assert Score().wer is None
    assert scoring.score("", "go").wer is None
    assert scoring.percent(None) == "-"


def test_reference_and_hypothesis_stand_in_columns() -> None:
    assert scoring.align("turn the big light on", "turn big light on now") == (
        "turn the big light on ***",
        "turn *** big light on now",
    )


def test_the_report_shows_count_rates_and_worst_median_and_best() -> None:
    items = [_item(f"u{errors}", "a b c d e", " ".join("abcde"[errors:])) for errors in range(5)]
    lines = scoring.report(items, 1).splitlines()
    assert lines[0] == "Test: 5 utterances, 25 words"
    assert "WER 40.0 %" in lines[1]
    assert "mean of the utterances' WER 40.0 %" in lines[1]
    shown = {name: lines[lines.index(f"{name} 1") + 1].split()[-1] for name in ("Worst", "Median", "Best")}
    assert shown == {"Worst": "u4", "Median": "u2", "Best": "u0"}
    assert "    Ref: a b c d e" in lines
    assert "    Hyp: * * * * e" in lines


@pytest.mark.parametrize("count", [0, 3, 1000])
def test_the_report_takes_any_count(count: int) -> None:
    items = _random(7)
    shown = scoring.report(items, count).count("    Ref: ")
    assert shown == 3 * min(count, 7)


def test_the_report_of_no_utterances() -> None:
    assert scoring.report([], 5) == "Test: no utterances"
