"""SIGTERM and Ctrl-C at any moment: the tick ends within 10 seconds, leaves nothing running, and can be gone on with.

The moments are spread evenly over the points that a tick reaches (see ``test_faults_killed.py``), from the first look
at the repository to the last line of the journal: the signal comes just when the tick, or its worker, is there.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from faults.landings import Landings, Tracker, landings_and_server, torn
from faults.waiting import until
from history import Repository

MOMENTS = 10

#: Seconds that the end of a tick may take.
LONGEST_END = 10.0

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}

#: Stays in its cell the first time.
HOLDING = """\
import json, os, pathlib, time
held = pathlib.Path({held!r})
if not held.exists():
    held.touch()
    time.sleep(1000)
hyper = {{"context": {{}}, "parameters": {{}}, "results": {{"test_wer": 0.25}}}}
pathlib.Path(os.environ["ds_result_dir"], "hyper.json").write_text(json.dumps(hyper))
"""


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Landings]:
    with landings_and_server(tmp_path_factory.mktemp("signals"), 1) as made:
        yield made


def moments(points: list[str]) -> list[str]:
    """Evenly spread over the whole of the tick, as FAULTS_AT has them."""
    seen: Counter[str] = Counter()
    numbered = []
    for point in points:
        seen[point] += 1
        numbered.append(f"{seen[point]} {point}")
    return [numbered[len(numbered) * (2 * n + 1) // (2 * MOMENTS)] for n in range(MOMENTS)]


def assert_ended(tracker: Tracker, number: int, returncode: int, seconds: float) -> None:
    assert returncode == CODES[signal.Signals(number)]
    assert seconds < LONGEST_END
    assert tracker.processes() == []
    assert tracker.left_over() == []
    assert not [what for site in tracker.sites() if (what := torn(site))]


def assert_goes_on(tracker: Tracker, head: str) -> None:
    """The next ticks do what is left, and count nothing as a failure."""
    already = {sha: tracker.trainings()[sha] for sha in tracker.whole_results()}
    ticks = tracker.tick_until_nothing_is_new()
    assert {done.returncode for done in ticks} == {0}, ticks[0].stderr
    assert "failed" not in tracker.states(head)
    assert tracker.whole_results() == {head: 1}
    assert not already or tracker.trainings() == already
    assert tracker.installation.last_sha1() == head
    assert tracker.left_over() == []
    assert tracker.on_its_way() == []
    assert tracker.processes() == []


def ended_and_gone_on(landed: Landings, number: int, at: str, name: str) -> None:
    tracker = landed.tracker(name)
    done = tracker.tick(at, f"signal {int(number)}")
    now = time.monotonic()
    signalled = float((tracker.folder / "points.signalled").read_text())
    assert_ended(tracker, number, done.returncode, now - signalled)
    assert_goes_on(tracker, landed.landings[-1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_moments_spread_over_a_tick(landed: Landings, number: int) -> None:
    counted = landed.tracker(f"counted-{number}")
    assert counted.tick().returncode == 0
    chosen = moments(counted.points)
    for where in ("start of git", "worker", "/www/", "on the server", "journal"):
        assert any(where in at for at in chosen), f"no moment has to do with {where}: {chosen}"
    failed = []

    def one(numbered: tuple[int, str]) -> None:
        try:
            ended_and_gone_on(landed, number, numbered[1], f"signal-{number}-{numbered[0]}")
        except (AssertionError, OSError) as error:
            failed.append(f"at {numbered[1]}: {error!r}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, enumerate(chosen)))
    assert not failed, "\n\n".join(failed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_the_result_has_just_become_whole(landed: Landings, number: int) -> None:
    at = "1 worker after rename to HOME/data/deepspeech_wer/runs/RUN"
    ended_and_gone_on(landed, number, at, f"whole-{number}")


@pytest.fixture
def notebook(tmp_path: Path, repository: Repository) -> tuple[Tracker, str, Path]:
    """A tracker, a landing with a notebook, and the file that says that it is in its cell."""
    held = tmp_path / "held"
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(HOLDING.format(held=str(held)))]
    head = repository.land("Train", {"DeepSpeech.ipynb": nbformat.writes(made)})
    return Tracker.of(tmp_path / "tracker", repository), head, held


def test_sigterm_when_the_kernel_has_just_been_started(notebook: tuple[Tracker, str, Path]) -> None:
    tracker, head, held = notebook
    done = tracker.tick(f"1 worker after start of {Path(sys.executable).name}", f"signal {int(signal.SIGTERM)}")
    seconds = time.monotonic() - float((tracker.folder / "points.signalled").read_text())
    assert_ended(tracker, signal.SIGTERM, done.returncode, seconds)
    assert tracker.states(head) == ["found", "running", "put off"]
    held.touch()
    assert_goes_on(tracker, head)


def test_ctrl_c_in_a_cell(notebook: tuple[Tracker, str, Path]) -> None:
    tracker, head, held = notebook
    tick: subprocess.Popen[str] = tracker.installation.start("run")
    until(held.exists, tick)
    began = time.monotonic()
    tick.send_signal(signal.SIGINT)
    tick.communicate(timeout=60)
    assert_ended(tracker, signal.SIGINT, tick.returncode, time.monotonic() - began)
    assert tracker.states(head) == ["found", "running", "put off"]
    assert_goes_on(tracker, head)
