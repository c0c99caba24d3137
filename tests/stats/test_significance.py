"""Significance, as properties of the comparison over made test sets, and the file that its counts come from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from deepspeech_wer.results import utterances
from deepspeech_wer.stats import significance
from deepspeech_wer.stats.significance import Counts, Verdict, compare, student_quantile

Run = dict[str, Counts]


def poisson(random: Random, mean: float) -> int:
    """Knuth's method, for small means."""
    count, product, limit = 0, random.random(), math.exp(-mean)
    while product > limit:
        count, product = count + 1, product * random.random()
    return count


def made(
    random: Random, rates: Iterable[float], utterances: int, speakers: int = 0, words: int = 10, spread: float = 0.0
) -> list[Run]:
    """Runs of one test set, one for each rate; each run finds each speaker harder or easier by ``spread``."""
    of = {name: f"speaker {name % speakers}" if speakers else "" for name in range(utterances)}
    length = {name: random.randint(1, 2 * words) for name in of}
    runs = []
    for rate in rates:
        hard = {speaker: math.exp(random.gauss(0, spread)) for speaker in sorted(set(of.values()))}
        runs.append(
            {
                f"{name}": Counts(poisson(random, rate * hard[of[name]] * length[name]), length[name], of[name])
                for name in of
            }
        )
    return runs


def rate(run: Run) -> float:
    return sum(counts.errors for counts in run.values()) / sum(counts.words for counts in run.values())


@pytest.mark.parametrize("speakers", [0, 40])
def test_a_run_and_itself_are_within_noise(speakers: int) -> None:
    (run,) = made(Random(1), [0.1], 500, speakers)
    found = compare(run, dict(run))
    assert found.verdict is Verdict.WITHIN_NOISE
    assert (found.difference, found.low, found.high, found.probability) == (0, 0, 0, 0.5)
    assert (found.utterances, found.speakers) == (500, speakers)


@pytest.mark.parametrize("speakers", [0, 40])
def test_exchanged_they_give_the_mirrored_answer(speakers: int) -> None:
    before, after = made(Random(2), [0.1, 0.13], 400, speakers)
    there, back = compare(before, after), compare(after, before)
    assert there.difference == pytest.approx(rate(after) - rate(before))
    assert there.verdict is Verdict.WORSE
    assert back.verdict is Verdict.BETTER
    assert there.low is not None
    assert there.probability is not None
    assert (back.difference, back.high) == (-there.difference, -there.low)
    assert back.probability == pytest.approx(1 - there.probability)


def test_the_same_runs_get_the_same_answer_in_whatever_order_they_are_given() -> None:
    before, after = made(Random(3), [0.1, 0.11], 300)
    there = compare(before, after)
    assert compare(dict(reversed(before.items())), dict(reversed(after.items()))) == there
    assert compare(before, after, seed=1) != there


def test_more_confidence_is_a_wider_interval() -> None:
    before, after = made(Random(4), [0.1, 0.12], 300)
    wide, narrow = compare(before, after, level=0.99), compare(before, after, level=0.8)
    assert wide.low < narrow.low < narrow.difference < narrow.high < wide.high  # type: ignore[operator]


def test_the_interval_has_the_width_that_theory_gives() -> None:
    before, after = made(Random(5), [0.1, 0.1], 1000)
    found = compare(before, after)
    words = sum(counts.words for counts in before.values())
    scatter = [
        after[name].errors - before[name].errors - found.difference * before[name].words  # type: ignore[operator]
        for name in before
    ]
    error = math.sqrt(sum(each**2 for each in scatter)) / words
    assert found.low == pytest.approx(found.difference - 1.96 * error, abs=0.2 * error)  # type: ignore[operator]
    assert found.high == pytest.approx(found.difference + 1.96 * error, abs=0.2 * error)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("utterances", "speakers", "words", "error_rate", "spread"),
    [(200, 0, 5, 0.1, 0.0), (400, 20, 5, 0.1, 0.3), (200, 10, 5, 0.2, 0.3), (300, 0, 4, 0.01, 0.0)],
    ids=["utterances", "speakers", "ten-speakers", "few-errors"],
)
def test_where_nothing_changed_it_says_so_19_times_in_20(
    utterances: int, speakers: int, words: int, error_rate: float, spread: float
) -> None:
    random, verdicts = Random(6), []
    for seed in range(400):
        before, after = made(random, [error_rate] * 2, utterances, speakers, words, spread)
        verdicts.append(compare(before, after, seed=seed, resamples=250).verdict)
    wrong = 1 - verdicts.count(Verdict.WITHIN_NOISE) / len(verdicts)
    assert Verdict.NOT_ENOUGH_DATA not in verdicts
    assert 0.02 <= wrong <= 0.08, "5 % is aimed at; 400 times scatter by 1.1 %"


def test_speakers_who_scatter_are_no_change() -> None:
    """By utterances alone, a few speakers that one of two models happens to find hard look like a real change."""
    random, called = Random(7), {"by speaker": 0, "by utterance": 0}
    for seed in range(60):
        before, after = made(random, [0.1] * 2, 600, 12, 10, spread=0.5)
        called["by speaker"] += compare(before, after, seed=seed, resamples=250).verdict is not Verdict.WITHIN_NOISE
        before = {name: replace(counts, speaker="") for name, counts in before.items()}
        called["by utterance"] += compare(before, after, seed=seed, resamples=250).verdict is not Verdict.WITHIN_NOISE
    assert called["by speaker"] <= 6
    assert called["by utterance"] >= 20


@pytest.mark.parametrize("speakers", [0, 9, 40])
def test_a_big_change_is_real(speakers: int) -> None:
    before, after = made(Random(8), [0.05, 0.12], 400, speakers, spread=0.2)
    found = compare(before, after)
    assert found.verdict is Verdict.WORSE
    assert found.low > 0  # type: ignore[operator]
    assert found.probability > 0.975  # type: ignore[operator]
    assert compare(after, before).verdict is Verdict.BETTER


def test_the_rates_are_of_sums_and_not_means_of_rates() -> None:
    """Short utterances became worse, long ones better by more words: the mean of rates would say worse."""
    before = {f"short {n}": Counts(0, 1) for n in range(100)} | {f"long {n}": Counts(20, 100) for n in range(100)}
    after = {f"short {n}": Counts(1, 1) for n in range(100)} | {f"long {n}": Counts(15, 100) for n in range(100)}
    found = compare(before, after)
    assert found.difference == pytest.approx((100 - 500) / 10100)
    assert found.verdict is Verdict.BETTER


@pytest.mark.parametrize("changed", [1, 2, 3, 4, 5])
def test_five_utterances_that_changed_are_no_change_whatever_their_direction(changed: int) -> None:
    """Chance alone makes five of five worse, or five of five better, one time in sixteen."""
    (before,) = made(Random(9), [0.1], 1000)
    after = {name: replace(counts, errors=counts.errors + (int(name) < changed)) for name, counts in before.items()}
    assert compare(before, after).verdict is Verdict.WITHIN_NOISE


def test_ten_of_ten_utterances_that_became_worse_are_a_change() -> None:
    (before,) = made(Random(9), [0.1], 1000)
    after = {name: replace(counts, errors=counts.errors + (int(name) < 10)) for name, counts in before.items()}
    assert compare(before, after).verdict is Verdict.WORSE


def test_only_utterances_of_both_with_the_same_reference_are_compared() -> None:
    before, after = made(Random(10), [0.1, 0.1], 400)
    assert compare(before, after | {"new": Counts(50, 50)}) == compare(before, after)
    retold = {name: replace(counts, words=counts.words + (int(name) < 100)) for name, counts in after.items()}
    assert compare(before, retold).utterances == 300


def test_not_enough_data() -> None:
    before, after = made(Random(11), [0.1, 0.9], 400)
    few = dict(list(after.items())[: significance.FEWEST_UTTERANCES - 1])
    others = {f"other {name}": counts for name, counts in before.items()}
    silent = {f"{n}": Counts(1, 0) for n in range(200)}
    for first, second in [
        ({}, {}),
        (before, {}),
        (before, others),
        (few, few),
        (before, few),
        (few, before),
        (silent, silent),
        (before, dict(list(after.items())[:100]) | dict(list(others.items())[:300])),
    ]:
        found = compare(first, second)
        assert found.verdict is Verdict.NOT_ENOUGH_DATA
        assert (found.difference, found.low, found.high, found.probability) == (None,) * 4
        assert "not enough data" in found.text()


def test_draws_without_a_word_are_left_out() -> None:
    """In a third of the draws the only utterance with words is not there, and there is no rate."""
    run = {f"{n}": Counts(n % 2, 1000 if n == 0 else 0) for n in range(60)}
    assert compare(run, {name: replace(counts, errors=0) for name, counts in run.items()}).verdict is Verdict.BETTER


def test_a_set_with_too_many_blocks_gets_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = made(Random(12), [0.1, 0.105], 2000)
    whole = compare(before, after)
    monkeypatch.setattr(significance, "MOST_BLOCKS", 500)
    merged = compare(before, after)
    assert merged.difference == whole.difference
    width = whole.high - whole.low  # type: ignore[operator]
    assert merged.high - merged.low == pytest.approx(width, rel=0.15)  # type: ignore[operator]


def test_the_answer_in_words() -> None:
    before, after = made(Random(13), [0.05, 0.12], 400, 40)
    words = compare(before, after).text()
    assert words.startswith("worse: +")
    assert "percentage points" in words
    assert "95% interval" in words
    assert words.endswith("400 utterances of 40 speakers)")
    assert compare(before, before).text().startswith("within noise: +0.00 percentage points")
    few = {"a": Counts(1, 2)}
    assert compare(few, few).text() == "not enough data: the two runs have only 1 utterance in common"
    assert compare({}, {}).text() == "not enough data"


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 3.1824), (5, 2.5706), (9, 2.2622), (30, 2.0423), (1000, 1.9623)])
def test_students_quantile_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, rel=0.01)


# The file ------------------------------------------------------------------------------------------------

GOOD = {"id": "a", "speaker": "7", "words": 4, "substitutions": 1, "deletions": 2, "insertions": 3, "duration": 1.5}


def write(folder: Path, *lines: object) -> Path:
    (folder / "utterances.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_counts_are_read(tmp_path: Path) -> None:
    unknown = {**GOOD, "id": "b", "speaker": None}
    assert utterances.read_counts(write(tmp_path, GOOD, unknown)) == {"a": Counts(6, 4, "7"), "b": Counts(6, 4)}


@pytest.mark.parametrize(
    "line",
    [
        {**GOOD, "id": "a"},
        {**GOOD, "id": 7},
        {**GOOD, "id": "b", "words": -1},
        {**GOOD, "id": "b", "words": 4.0},
        {**GOOD, "id": "b", "words": True},
        {**GOOD, "id": "b", "insertions": 10**30},
        {**GOOD, "id": "b", "speaker": ["7"]},
        {"id": "b", "reference": "two", "hypothesis": "to"},
        ["b"],
        None,
    ],
)
def test_a_file_with_a_line_that_is_none_counts_as_a_whole_for_nothing(tmp_path: Path, line: object) -> None:
    assert utterances.read_counts(write(tmp_path, GOOD, line)) == {}


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"{", b"[" * 100_000, b'{"id": ' + b"9" * 10_000 + b"}"])
def test_a_file_that_is_something_else_counts_for_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "utterances.jsonl").write_bytes(content)
    assert utterances.read_counts(tmp_path) == {}


def test_a_place_that_leads_elsewhere_or_nowhere_counts_for_nothing(tmp_path: Path) -> None:
    real = write(tmp_path, GOOD)
    linked, piped, folder, huge = (tmp_path / name for name in ("linked", "piped", "folder", "huge"))
    for each in (linked, piped, folder, huge):
        each.mkdir()
    (linked / "utterances.jsonl").symlink_to(real / "utterances.jsonl")
    os.mkfifo(piped / "utterances.jsonl")
    (folder / "utterances.jsonl").mkdir()
    with write(huge, GOOD).joinpath("utterances.jsonl").open("r+b") as file:
        file.truncate(utterances.MOST_BYTES + 1)
    for each in (linked, piped, folder, huge, tmp_path / "not there"):
        assert utterances.read_counts(each) == {}
    assert utterances.read_counts(real) != {}
