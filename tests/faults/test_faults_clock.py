"""A clock that jumps, by decades and both ways: the order stays that of the branch, and nothing waits for years.

The jump is injected (see ``injected/sitecustomize.py``): ``datetime.now`` and ``time.time`` of the tick and of the
worker show it, the times of files do not. Nobody would let a test set the clock of the machine.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faults.landings import TRAINING, Tracker
from history import Repository

SCRIPT = "bin/run-wer-automation.sh"
YEAR = 365 * 24 * 3600

#: Fails as long as the file is not there.
FAILING = "#!/bin/sh\ntest -e {mended} || exit 3\n"


class Clocked:
    """A tracker and its clock."""

    def __init__(self, tmp_path: Path, repository: Repository) -> None:
        self.clock = tmp_path / "clock"
        self.clock.write_text("0")
        self.repository = repository
        self.tracker = Tracker.of(tmp_path / "tracker", repository, FAULTS_CLOCK=str(self.clock))
        self.landings: list[str] = []

    def set(self, years: float) -> None:
        """From now on it is so many years later than it is."""
        self.clock.write_text(str(years * YEAR))

    def land(self, before: str = "#!/bin/sh\n", wer: float = 0.5) -> str:
        training = TRAINING.format(wer=wer).removeprefix("#!/bin/sh\n")
        self.landings.append(self.repository.land(f"Number {len(self.landings)}", {SCRIPT: before + training}))
        return self.landings[-1]

    def page(self) -> list[dict[str, object]]:
        """The landings as the page has them, in its order."""
        text = (self.tracker.data / "www" / "js" / "landings.js").read_text()
        rows: list[dict[str, object]] = json.loads(text.removeprefix("window.LANDINGS = ").rstrip().rstrip(";"))
        return rows

    def assert_in_order(self) -> None:
        """All of them trained, in the order of the branch, each by a run of its own; nothing is left to do."""
        assert [row["sha"] for row in self.page()] == self.landings
        assert self.tracker.installation.trained() == self.landings
        runs = [run["run"] for run in self.tracker.installation.runs()]
        assert len(set(runs)) == len(runs)
        assert self.tracker.installation.last_sha1() == self.landings[-1]
        assert "nothing new" in self.tracker.tick().stderr
        assert self.tracker.left_over() == []

    def years(self) -> list[int]:
        """The years in which the journal's lines were written: that the clock was believed to be off at all."""
        lines = (self.tracker.data / "journal.jsonl").read_text().splitlines()
        return sorted({int(json.loads(line)["time"][:4]) for line in lines})


@pytest.fixture
def clocked(tmp_path: Path, repository: Repository) -> Clocked:
    return Clocked(tmp_path, repository)


@pytest.mark.parametrize("jumps", [(0, -25, 0), (0, 10, 0), (10, -25, 10)])
def test_it_jumps_between_ticks(clocked: Clocked, jumps: tuple[int, ...]) -> None:
    for years in jumps:
        clocked.set(years)
        clocked.land()
        done = clocked.tracker.tick()
        assert done.returncode == 0, done.stderr
        assert "nothing new" in clocked.tracker.tick().stderr
    assert len(clocked.years()) >= 2
    clocked.assert_in_order()


def test_it_jumps_in_the_middle_of_a_run(clocked: Clocked) -> None:
    clocked.land()
    clocked.tracker.tick()
    for years in (-25, 10, 0):
        clocked.land(f'#!/bin/sh\necho {years * YEAR} > "$FAULTS_CLOCK"\n')
    clocked.land()
    done = clocked.tracker.tick()
    assert done.returncode == 0, done.stderr
    assert len(clocked.years()) >= 3
    clocked.assert_in_order()


def test_the_newest_run_of_a_landing_stays_the_newest(clocked: Clocked) -> None:
    first = clocked.land(wer=0.5)
    clocked.tracker.tick()
    clocked.land()
    clocked.tracker.tick()
    old = clocked.page()[0]["run"]
    clocked.set(-25)
    clocked.tracker.installation.variables["ds_automation_force_sha"] = first
    assert clocked.tracker.tick().returncode == 0
    row = clocked.page()[0]
    assert row["run"] != old
    runs = row["runs"]
    assert isinstance(runs, list)
    assert [(run["run"], run["counts"]) for run in runs] == [(old, False), (row["run"], True)]


@pytest.mark.parametrize(
    ("failed", "then", "waits"),
    [
        (0, 0, True),  # so that the others show something
        (0, -25, False),
        (10, 0, False),
        (-25, 0, False),
        (-25, 10, False),
    ],
)
def test_a_retry_does_not_wait_for_years(clocked: Clocked, tmp_path: Path, failed: int, then: int, waits: bool) -> None:
    clocked.tracker.installation.variables["ds_retry_wait"] = "1800"
    mended = tmp_path / "mended"
    clocked.set(failed)
    head = clocked.land(FAILING.format(mended=mended))
    assert clocked.tracker.tick().returncode == 70
    mended.touch()
    clocked.set(then)
    done = clocked.tracker.tick()
    assert done.returncode == 0, done.stderr
    assert (clocked.tracker.whole_results() == {}) is waits
    assert ("is tried again after" in done.stderr) is waits
    if not waits:
        assert clocked.page()[0]["state"] == "trained"
        assert clocked.tracker.states(head).count("failed") == 1
        clocked.assert_in_order()


@pytest.mark.parametrize("at", ["1 tick after journal running", "1 tick before journal trained"])
@pytest.mark.parametrize("years", [-25, 10])
def test_what_a_killed_tick_left_is_mended_in_another_year(clocked: Clocked, at: str, years: int) -> None:
    clocked.land()
    assert clocked.tracker.tick(at).returncode == -9
    clocked.set(years)
    assert clocked.tracker.tick().returncode == 0
    clocked.assert_in_order()
