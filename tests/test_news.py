"""What is news about landings: told to a command that keeps each message."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

import site_records
from deepspeech_wer import news, page
from deepspeech_wer.config import Settings
from deepspeech_wer.journal import Journal, State
from deepspeech_wer.log import Log
from deepspeech_wer.notify import Notifier
from deepspeech_wer.results.archive import RunRecord

Telling = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def tell(tmp_path: Path) -> Telling:
    """Tells news of runs as a tick does, and gives what was said so far, in no order."""
    told = tmp_path / "told"
    told.mkdir()
    settings = Settings(dataroot=tmp_path / "data", notify_command=f"cat > $(mktemp -p '{told}')")

    def telling(
        records: Sequence[RunRecord], shas: Collection[str], pending: Collection[str] = ()
    ) -> list[dict[str, Any]]:
        news.tell(settings, Notifier(settings, Log(tmp_path / "log")), records, shas, pending)
        return [json.loads(file.read_text()) for file in told.iterdir()]

    return telling


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return sorted(message["kind"] for message in messages)


def test_no_recovery_from_a_failure_that_nobody_heard_of(tell: Telling, tmp_path: Path) -> None:
    fails = [site_records.failed(tmp_path, 1)]
    second = site_records.trained(tmp_path, 2, site_records.hyper(0.2))
    first, sha = fails[0].sha, second.sha
    assert tell([*fails, second], {sha}, {first}) == []
    fails.append(site_records.failed(tmp_path, 1, attempt=2))
    assert kinds(tell([*fails, second], {first})) == ["failure"]
    third = site_records.failed(tmp_path, 3)
    assert kinds(tell([*fails, second, third], {third.sha})) == ["failure", "failure"]
    fourth = site_records.trained(tmp_path, 4, site_records.hyper(0.2))
    messages = tell([*fails, second, third, fourth], {fourth.sha})
    assert kinds(messages) == ["failure", "failure", "recovery"]
    (recovery,) = (message for message in messages if message["kind"] == "recovery")
    assert recovery["sha"] == fourth.sha and third.sha[:7] in recovery["text"]


def test_a_pending_landing_hides_no_failure_before_it(tell: Telling, tmp_path: Path) -> None:
    failed, pending = site_records.failed(tmp_path, 1), site_records.failed(tmp_path, 2)
    well = site_records.trained(tmp_path, 3, site_records.hyper(0.2))
    (message,) = tell([failed, pending, well], {well.sha}, {pending.sha})
    assert message["kind"] == "recovery" and failed.sha[:7] in message["text"]


def test_the_page_tells_which_landings_are_tried_again(
    tell: Telling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, well = site_records.failed(tmp_path, 1), site_records.trained(tmp_path, 2, site_records.hyper(0.2))
    settings, log = Settings(dataroot=tmp_path), Log(tmp_path / "log")
    journal = Journal(*settings.journal_files)
    journal.note(failed.sha, State.FAILED, failed.run_id, "w", seed=0, landing=failed.landing)
    journal.note(well.sha, State.TRAINED, well.run_id, seed=0, landing=well.landing)
    seen: list[tuple[set[str], set[str]]] = []
    monkeypatch.setattr(news, "tell", lambda *given: seen.append(given[3:]))
    monkeypatch.setattr(page, "build", lambda *_: [])
    page.show(settings, journal, Notifier(settings, log), log)
    assert seen == [({well.sha}, {failed.sha})]


def test_several_seeds_are_told_by_their_mean(tell: Telling, tmp_path: Path) -> None:
    first = site_records.failed(tmp_path, 1)
    second = site_records.seeds(tmp_path, 2, 0.18, 0.22, 0.20)
    third = site_records.seeds(tmp_path, 3, 0.40, 0.50)
    (recovery,) = tell([first, *second], {second[0].sha})
    assert recovery["test_wer"] == pytest.approx(0.2) and recovery["seeds"] == 3
    assert recovery["spread"] == pytest.approx(0.02)
    assert "has a test WER of 20.0 % (mean of 3 seeds)" in recovery["text"]
    messages = tell([first, *second, *third], {third[0].sha})
    (worse,) = (message for message in messages if message["kind"] == "regression")
    assert (worse["test_wer"], worse["before_wer"]) == (pytest.approx(0.45), pytest.approx(0.2))
    assert "20.0 % (mean of 3 seeds) before, 45.0 % (mean of 2 seeds) after" in worse["text"]


def test_a_single_seed_is_no_mean(tell: Telling, tmp_path: Path) -> None:
    runs = [site_records.failed(tmp_path, 1), site_records.trained(tmp_path, 2, site_records.hyper(0.2))]
    (message,) = tell(runs, {runs[1].sha})
    assert message["test_wer"] == 0.2
    assert not {"seeds", "spread"} & set(message)
    assert "mean of" not in message["text"]


@pytest.mark.parametrize(
    ("before", "after", "is_told"), [(0.40, 0.41, True), (0.40, 0.409, False), (0.41, 0.40, False), (0.2, 0.5, True)]
)
def test_a_regression_is_a_rise_by_so_many_points(
    tell: Telling, tmp_path: Path, before: float, after: float, is_told: bool
) -> None:
    runs = [
        site_records.trained(tmp_path, number, site_records.hyper(wer)) for number, wer in ((1, before), (2, after))
    ]
    assert kinds(tell(runs, {runs[1].sha})) == ["regression"] * is_told


def test_a_rise_that_chance_explains_is_no_regression(tell: Telling, tmp_path: Path) -> None:
    runs = [site_records.trained(tmp_path, number, site_records.hyper(wer)) for number, wer in ((1, 0.20), (2, 0.23))]
    for run, missed in zip(runs, (range(40), range(30, 76)), strict=True):
        lines = [
            {"id": str(n), "words": 5, "substitutions": int(n in missed), "deletions": 0, "insertions": 0}
            for n in range(100)
        ]
        (run.folder / "utterances.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert tell(runs, {runs[1].sha}) == []
