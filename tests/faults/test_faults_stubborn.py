"""A trainer that forks away, takes the run's mark out of its environment and ignores SIGTERM: nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.landings import TRAINING, Tracker
from faults.waiting import until, with_argument
from history import Repository

#: The first time: a child, a child in a session of its own whose parents are gone and which has no environment, and
#: the script itself, all deaf to SIGTERM. Each says who it is by its one argument. Later times it trains.
STUBBORN = """#!/bin/sh
if ! test -e {mark}; then
    trap "" TERM INT HUP
    sleep {seconds} &
    (setsid env -i "$(command -v sh)" -c 'sleep {seconds} & sleep {seconds}' > /dev/null 2>&1 &) &
    echo $PPID $$ > {mark}.new; mv {mark}.new {mark}
    while :; do sleep {seconds}; done
fi
"""

#: The processes of that argument: the child, the two below the one that forked away, and what the script waits for.
SLEEPERS = 4


class Stubborn:
    """The trainer, and how to find all of it."""

    def __init__(self, tmp_path: Path, repository: Repository) -> None:
        self.seconds = f"5000.{secrets.randbelow(10**12):012}"
        self.mark = tmp_path / "mark"
        script = STUBBORN.format(mark=self.mark, seconds=self.seconds)
        training = TRAINING.format(wer=0.5).removeprefix("#!/bin/sh\n")
        self.head = repository.land("Train", {"bin/run-wer-automation.sh": script + training})
        self.tracker = Tracker.of(tmp_path / "tracker", repository)

    def start(self) -> subprocess.Popen[str]:
        """A tick in which all of it is running."""
        tick = self.tracker.installation.start("run")
        until(lambda: len(with_argument(self.seconds)) == SLEEPERS, tick)
        until(self.mark.exists, tick)
        return tick

    def pids(self) -> tuple[int, int]:
        """The worker and the script."""
        worker, script = map(int, self.mark.read_text().split())
        return worker, script

    def assert_gone_and_mended(self) -> None:
        """After the next tick nothing is left alive, and the landing is trained."""
        done = self.tracker.tick()
        assert done.returncode == 0, done.stderr
        assert with_argument(self.seconds) == []
        assert self.tracker.processes() == []
        assert self.tracker.whole_results() == {self.head: 1}
        assert self.tracker.left_over() == []


@pytest.fixture
def stubborn(tmp_path: Path, repository: Repository) -> Iterator[Stubborn]:
    made = Stubborn(tmp_path, repository)
    yield made
    for pid in with_argument(made.seconds):  # only where a test has failed
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_over_its_limit_it_is_ended_with_all_that_it_started(stubborn: Stubborn) -> None:
    stubborn.tracker.installation.variables["ds_run_timeout"] = "4"
    tick = stubborn.start()
    _, told = tick.communicate(timeout=60)
    assert tick.returncode == 70
    assert "was not done when the whole run had taken 4 s, its limit" in told
    assert with_argument(stubborn.seconds) == []
    assert stubborn.tracker.states(stubborn.head)[2] == "failed"
    stubborn.assert_gone_and_mended()


def test_its_worker_is_killed(stubborn: Stubborn) -> None:
    tick = stubborn.start()
    worker, _ = stubborn.pids()
    os.kill(worker, signal.SIGKILL)
    _, told = tick.communicate(timeout=60)
    assert tick.returncode == 70
    assert "the process that ran the job was ended by SIGKILL" in told
    assert with_argument(stubborn.seconds) == [], "the tick that is left ends it"
    stubborn.assert_gone_and_mended()


def test_the_tick_is_killed(stubborn: Stubborn) -> None:
    tick = stubborn.start()
    tick.kill()
    tick.communicate(timeout=60)
    stubborn.assert_gone_and_mended()


def test_the_tick_and_the_worker_are_killed_at_once(stubborn: Stubborn) -> None:
    tick = stubborn.start()
    worker, _ = stubborn.pids()
    os.kill(worker, signal.SIGSTOP)  # it is not to end its job when it sees that the tick is gone
    tick.kill()
    os.kill(worker, signal.SIGKILL)
    tick.communicate(timeout=60)
    assert len(with_argument(stubborn.seconds)) == SLEEPERS, "nobody was there to end it"
    stubborn.assert_gone_and_mended()


def test_the_script_itself_is_killed(stubborn: Stubborn) -> None:
    tick = stubborn.start()
    _, script = stubborn.pids()
    os.kill(script, signal.SIGKILL)
    _, told = tick.communicate(timeout=60)
    assert tick.returncode == 70
    assert "was ended by SIGKILL" in told
    assert with_argument(stubborn.seconds) == []
    stubborn.assert_gone_and_mended()
