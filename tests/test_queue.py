from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deepspeech_wer import queue
from deepspeech_wer.config import Settings
from deepspeech_wer.journal import Entry, State

A, B, C = "a" * 40, "b" * 40, "c" * 40
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SETTINGS = Settings(retries=2, retry_wait=600)


def failed(times: int, ago: float) -> Entry:
    return Entry(State.FAILED, (NOW - timedelta(seconds=ago)).isoformat(), failures=times)


def test_what_waits_does_not_hold_up_what_came_after_it() -> None:
    entries = {A: failed(1, 10), B: Entry(State.FOUND), C: Entry(State.PUBLISHED)}
    line = queue.of(entries, SETTINGS, NOW)
    assert line.now == (B,)
    assert line.later == {A: NOW + timedelta(seconds=590)}
    assert queue.of(entries, SETTINGS, NOW + timedelta(seconds=590)).now == (A, B)


@pytest.mark.parametrize(("times", "wait"), [(1, 600), (2, 1200), (3, 2400), (9, 86400), (1000, 86400)])
def test_each_wait_is_twice_as_long_up_to_a_day(times: int, wait: int) -> None:
    assert queue.due_at(failed(times, 1), SETTINGS, NOW) == NOW + timedelta(seconds=wait - 1)
    assert queue.due_at(failed(times, wait), SETTINGS, NOW) is None


def test_a_clock_that_was_set_back_makes_nobody_wait() -> None:
    assert queue.due_at(failed(1, -3600), SETTINGS, NOW) is None


def test_it_is_given_up_after_the_last_retry() -> None:
    assert [queue.is_given_up(failed(times, 0), SETTINGS) for times in (1, 2, 3)] == [False, False, True]
    assert queue.is_given_up(failed(1, 0), replace(SETTINGS, retries=0))
    assert not queue.is_given_up(replace(failed(3, 0), state=State.ASKED), SETTINGS)


@pytest.mark.parametrize("state", [State.ASKED, State.PUT_OFF, State.CUT_OFF])
def test_only_a_failure_makes_wait(state: State) -> None:
    assert queue.due_at(replace(failed(2, 0), state=state), SETTINGS, NOW) is None


@pytest.mark.parametrize("time", ["", "yesterday", "9999-99-99"])
def test_a_time_that_is_none_makes_nobody_wait(time: str) -> None:
    assert queue.due_at(replace(failed(1, 0), time=time), SETTINGS, NOW) is None
