"""A landing's figure: which of its runs count, and what they come to together."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest

import site_records as made
from deepspeech_wer.results.archive import RunRecord
from deepspeech_wer.results.landed import Landed, figures_of, measure


def only(records: list[RunRecord]) -> Landed:
    (landed,) = figures_of(records)
    return landed


def test_one_run_is_its_own_figure_and_has_no_spread(tmp_path: Path) -> None:
    record = made.trained(tmp_path, 1, made.hyper(0.173))
    landed = only([record])
    assert (landed.wer, landed.spread, landed.lowest, landed.highest) == (0.173, None, 0.173, 0.173)
    assert landed.landing is record.landing and landed.records == landed.runs == (record,)
    assert (landed.failures, landed.is_failed, landed.data_set) == (0, False, "espeak")


def test_three_seeds_are_their_mean_and_its_spread(tmp_path: Path) -> None:
    landed = only(made.seeds(tmp_path, 1, 0.20, 0.24, 0.19))
    assert landed.wer == pytest.approx(0.21)
    assert landed.spread == pytest.approx(statistics.stdev([0.20, 0.24, 0.19])) and landed.spread > 0.026
    assert (landed.lowest, landed.highest) == (0.19, 0.24)
    assert [run.seed for run in landed.runs] == [0, 1, 2]


def test_the_mean_of_equal_figures_is_that_figure_and_lies_within_what_was_measured() -> None:
    chance = random.Random(1)
    for _ in range(200):
        figure, count = chance.random(), chance.randint(2, 9)
        equal = measure([figure] * count)
        assert equal and (equal.mean, equal.spread) == (figure, 0.0)
        values = [chance.random() for _ in range(count)]
        mixed = measure(values)
        assert mixed and mixed.lowest == min(values) <= mixed.mean <= max(values) == mixed.highest
    assert measure([]) is None


def test_a_seed_that_failed_does_not_count_and_is_counted_as_a_failure(tmp_path: Path) -> None:
    good = made.seeds(tmp_path, 1, 0.2, 0.4)
    landed = only([good[0], good[1], made.failed(tmp_path, 1, seed=2, attempt=3)])
    assert (landed.wer, len(landed.runs), landed.failures) == (pytest.approx(0.3), 2, 1)
    assert not landed.is_failed and landed.newest is good[1]


def test_a_new_run_of_a_seed_replaces_the_old_one(tmp_path: Path) -> None:
    first = made.seeds(tmp_path, 1, 0.2, 0.4)
    again = made.trained(tmp_path, 1, made.hyper(0.3), seed=0, attempt=3)
    landed = only([*first, again])
    assert landed.runs == (again, first[1]) and landed.wer == pytest.approx(0.35)
    assert landed.records == (*first, again) and landed.newest is again


def test_what_was_measured_on_another_data_set_does_not_count(tmp_path: Path) -> None:
    other = {"data_set": {"name": "fsdd", "size": 7}}
    old = made.seeds(tmp_path, 1, 0.2, 0.4)
    new = made.trained(tmp_path, 1, made.hyper(0.05, other), seed=0, attempt=3)
    landed = only([*old, new])
    assert landed.runs == (new,) and (landed.wer, landed.spread, landed.data_set) == (0.05, None, "fsdd")
    newer = made.trained(tmp_path, 1, made.hyper(0.3), seed=0, attempt=4)
    assert only([*old, new, newer]).runs == (newer, old[1])


def test_only_failures(tmp_path: Path) -> None:
    tries = [made.failed(tmp_path, 1, attempt=attempt) for attempt in (1, 2, 3)]
    landed = only(tries)
    assert landed.is_failed and landed.failures == 3 and landed.runs == () and landed.newest is tries[2]
    assert (landed.wer, landed.spread, landed.lowest, landed.highest) == (None, None, None, None)


def test_a_landing_that_failed_and_was_trained_later_has_a_figure(tmp_path: Path) -> None:
    landed = only([made.failed(tmp_path, 1), made.trained(tmp_path, 1, made.hyper(0.2), attempt=2)])
    assert (landed.is_failed, landed.failures, landed.wer) == (False, 1, 0.2)


def test_a_failure_after_a_figure_takes_nothing_from_it(tmp_path: Path) -> None:
    landed = only([made.trained(tmp_path, 1, made.hyper(0.2)), made.failed(tmp_path, 1, attempt=2)])
    assert (landed.is_failed, landed.failures, landed.wer, landed.newest.attempt) == (False, 1, 0.2, 1)


def test_landings_stay_in_commit_order_and_runs_without_one_stand_for_themselves(tmp_path: Path) -> None:
    old = [made.legacy(tmp_path, name, made.hyper(0.5), "a" * 40) for name in ("one", "two")]
    records = [*old, *made.history(tmp_path)]
    table = figures_of(records)
    assert [landed.sha for landed in table] == ["a" * 40] * 2 + [made.sha(number) for number in range(1, 6)]
    assert [landed.wer for landed in table] == [0.5, 0.5, 0.312, 0.194, 0.331, None, 0.173]
    assert table[0].landing is None and table[0].records == (old[0],)


def test_figures_are_compared_on_the_same_data_set_only(tmp_path: Path) -> None:
    other = made.trained(tmp_path, 3, made.hyper(0.1, {"data_set": {"name": "fsdd"}}))
    one, two, third, failed = figures_of([*made.history(tmp_path)[:2], other, made.failed(tmp_path, 4)])
    assert one.is_comparable_with(two) and not one.is_comparable_with(third)
    assert not failed.is_comparable_with(failed)
