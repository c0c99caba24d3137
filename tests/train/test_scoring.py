"""Error rates against jiwer and kaldialign, the breakdown, and the listing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jiwer
import kaldialign
import numpy as np
import pytest

from deepspeech_train import scoring
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.scoring import Part, Score, Transcription

WORDS = ("go", "left", "right", "on", "off", "three")


def _item(name: str, reference: str, hypothesis: str, speaker: str = "s") -> Transcription:
    utterance = Utterance(name, Path(f"{name}.wav"), 1.0, reference, speaker)
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
    assert (total.substitutions, total.deletions, total.insertions) == (
        words.substitutions,
        words.deletions,
        words.insertions,
    )
    assert total.words == words.hits + words.substitutions + words.deletions
    assert total.wer == pytest.approx(words.wer)
    assert total.cer == pytest.approx(jiwer.cer(references, hypotheses))


def test_every_utterance_agrees_with_kaldialign() -> None:
    for item in _random(300):
        words, guesses = item.utterance.text.split(), item.hypothesis.split()
        theirs = kaldialign.edit_distance(words, guesses)
        # Of several minimal alignments each may choose its own; what they have in common is fixed.
        assert item.score.edits == theirs["total"]
        assert item.score.insertions - item.score.deletions == theirs["ins"] - theirs["del"]
        assert item.score.character_edits == kaldialign.edit_distance(" ".join(words), " ".join(guesses))["total"]
        pairs = scoring.aligned(item.utterance.text, item.hypothesis)
        assert len(kaldialign.align(words, guesses, "")) - theirs["ins"] == len(pairs) - item.score.insertions


def test_an_alignment_spells_both_sides_and_has_as_many_errors_as_are_counted() -> None:
    items = _random(100)
    for item in items:
        pairs = scoring.aligned(item.utterance.text, item.hypothesis)
        assert " ".join(said for said, _ in pairs if said) == item.utterance.text
        assert " ".join(heard for _, heard in pairs if heard) == item.hypothesis
        assert sum(said != heard for said, heard in pairs) == item.score.edits


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
        ("go  left", "go left", (0, 0, 0)),
    ],
)
def test_kinds_of_edits(reference: str, hypothesis: str, edits: tuple[int, int, int]) -> None:
    score = scoring.score(reference, hypothesis)
    assert (score.substitutions, score.deletions, score.insertions) == edits


def test_a_set_without_words_has_no_rate() -> None:
    assert Score().wer is None
    assert scoring.score("", "go").wer is None
    assert scoring.percent(None) == "-"


def test_a_sum_of_scores_is_the_total() -> None:
    items = _random(20)
    assert sum((item.score for item in items), Score()) == scoring.total(items)


def test_confusions_are_the_words_of_all_errors() -> None:
    items = [
        _item("a", "turn the light on", "turn a light on"),
        _item("b", "turn the fan on", "turn a fan"),
        _item("c", "the end", "an end now"),
    ]
    found = scoring.confusions(items)
    assert found.substitutions == ((("the", "a"), 2), (("the", "an"), 1))
    assert found.deletions == (("on", 1),)
    assert found.insertions == (("now", 1),)


def test_confusions_are_as_many_as_the_edits_and_those_of_the_alignment() -> None:
    items = _random(200)
    found, total = scoring.confusions(items), scoring.total(items)
    counted = [sum(count for _, count in kind) for kind in (found.substitutions, found.deletions, found.insertions)]
    assert counted == [total.substitutions, total.deletions, total.insertions]
    pairs = Counter(pair for item in items for pair in scoring.aligned(item.utterance.text, item.hypothesis))
    assert dict(found.substitutions) == {pair: n for pair, n in pairs.items() if all(pair) and pair[0] != pair[1]}
    counts = [count for _, count in found.substitutions]
    assert counts == sorted(counts, reverse=True)


def test_parts_by_speaker() -> None:
    items = [_item("a", "go left", "go", "m1"), _item("b", "go", "go", "f1"), _item("c", "on", "off", "m1")]
    assert scoring.by_speaker(items) == (
        Part("f1", 1, Score(words=1, characters=2)),
        Part("m1", 2, scoring.total([items[0], items[2]])),
    )


def test_parts_by_length_run_from_short_to_long_and_leave_none_out() -> None:
    items = [_item(f"u{words}", " ".join(["go"] * words), "") for words in (70, 0, 1, 2, 3, 4, 7, 8, 15, 16, 63, 64)]
    parts = scoring.by_length(items)
    assert [(part.name, part.utterances) for part in parts] == [
        ("0 words", 1),
        ("1 word", 1),
        ("2 to 3 words", 2),
        ("4 to 7 words", 2),
        ("8 to 15 words", 2),
        ("16 to 31 words", 1),
        ("32 to 63 words", 1),
        ("64 or more words", 2),
    ]
    assert sum((part.score for part in parts), Score()) == scoring.total(items)


def test_the_sentence_error_rate_counts_utterances() -> None:
    items = [_item("a", "go left", ""), _item("b", "go", "go"), _item("c", "", "off"), _item("d", "", "")]
    assert scoring.sentence_error_rate(items) == 0.5
    assert scoring.sentence_error_rate([]) is None


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


def test_the_report_tells_how_sure_the_decoder_was() -> None:
    item = _item("a", "go", "go")
    sure = Transcription(item.utterance, item.hypothesis, item.score, confidence=0.75)
    assert "  WER 0.0 %  a  confidence 0.75" in scoring.report([sure], 1)
    assert "confidence" not in scoring.report([item], 1)
