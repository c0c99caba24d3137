"""A tick over three landings is killed with SIGKILL wherever it could hurt, and the next ones mend it.

The points are not chosen by hand: a first tick runs with wrappers around what changes the state (``os.rename`` and
``os.replace``, the lines of the journal, what changes the server, the start of a process, the wiping of a folder, the
unlinking of the lock), see ``injected/sitecustomize.py``, and lists what it reached, in the tick and in the worker. A
point is a process, before or after, what it does to which file (of a run's id, a SHA, an asset one stands for all), and
the function that does it. Each is killed once, at its first, second or third time by turns; every line of the journal
is killed at every time. Each kill has an installation and a web root of its own.

Left out is what leaves the same as its neighbour: a tick that is killed after a rename or after a step of a server,
since it goes on to its next point with nothing in between; and before the start of a process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from faults.landings import Landings, Tracker, Watcher, landings_and_server, torn

#: The points are dealt out to so many classes, which a run with several processes does side by side.
PARTS = 4

#: What the issue asks for at least.
FEWEST_POINTS = 40


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Landings]:
    with landings_and_server(tmp_path_factory.mktemp("killed")) as made:
        yield made


@pytest.fixture(scope="module")
def counted(three: Landings) -> Tracker:
    """A tracker whose one tick was not disturbed."""
    tracker = three.tracker("counted")
    done = tracker.tick()
    assert done.returncode == 0, done.stderr
    return tracker


def kills(points: list[str]) -> list[str]:
    """Where to kill, as FAULTS_AT has it."""
    chosen = []
    left_out = ("tick after rename", "tick before start", "worker before start")
    for number, (point, times) in enumerate(Counter(points).items()):
        if point.startswith(left_out) or (point.startswith("tick after") and "on the server" in point):
            continue
        which = range(1, times + 1) if " journal " in point else [number % times + 1]
        chosen += [f"{time} {point}" for time in which]
    return chosen


def test_the_points_are_found_by_running(counted: Tracker) -> None:
    chosen = kills(counted.points)
    kinds = Counter(" ".join(kill.split()[1:4]) for kill in chosen)
    print(f"{len(chosen)} points:", *(f"{count:4} {kind}" for kind, count in sorted(kinds.items())), sep="\n")
    assert len(chosen) >= FEWEST_POINTS
    for kind in ("tick before rename", "worker before rename", "tick before journal", "tick after journal"):
        assert kinds[kind], kind
    assert not [point for point in counted.points if "unwrapped rename" in point], "a rename is not in the list"


def test_nothing_is_written_under_its_final_name(three: Landings, counted: Tracker) -> None:
    assert not [point for point in counted.points if "write in place" in point]
    assert three.written_in_place == []


def mended(three: Landings, number: int, kill: str, watcher: Watcher) -> None:
    """Kill a new tracker at one point, and have it mended by its next ticks."""
    tracker = three.tracker(f"kill-{number}")
    with watcher.on(*tracker.sites()):
        killed = tracker.tick(kill)
        times, point = kill.split(" ", 1)
        assert tracker.points.count(point) >= int(times), "the point is not reached every time"
        # A worker that dies with its result all but in place has it taken up by the tick, which then has no failure.
        assert killed.returncode in ((-9,) if point.startswith("tick") else (70, 0)), killed.stderr
        assert not [what for site in tracker.sites() if (what := torn(site))]
        already = {sha: tracker.trainings()[sha] for sha in tracker.whole_results()}
        ticks = tracker.tick_until_nothing_is_new()
    assert [done.returncode for done in ticks] == [0] * len(ticks), ticks[0].stderr
    assert {sha: tracker.trainings()[sha] for sha in already} == already, "what was trained is not trained again"
    assert tracker.whole_results() == dict.fromkeys(three.landings, 1)
    for sha in three.landings:
        states = tracker.states(sha)
        assert (states.count("trained"), states[-1]) == (1, "published"), states
    assert tracker.installation.last_sha1() == three.landings[-1]
    assert tracker.installation.trained() == three.landings
    here, there = tracker.sites()
    assert not torn(there)
    assert (here / "js" / "hyper.js").read_bytes() == (there / "js" / "hyper.js").read_bytes()
    assert (here / "index.html").read_bytes() == (there / "index.html").read_bytes()
    assert tracker.left_over() == []
    assert tracker.on_its_way() == []
    assert tracker.processes() == []


class Killed:
    """The points of one part."""

    part: int

    def test_killed_and_mended(self, three: Landings, counted: Tracker) -> None:
        chosen = list(enumerate(kills(counted.points)))[self.part :: PARTS]
        failed = []

        def one(numbered: tuple[int, str]) -> None:
            number, kill = numbered
            try:
                mended(three, number, kill, watcher)
            except AssertionError as error:
                failed.append(f"killed at {kill}: {error}")

        with Watcher() as watcher, ThreadPoolExecutor(2) as pool:
            list(pool.map(one, chosen))
        assert not failed, "\n\n".join(failed)
        assert watcher.looks >= 10 * len(chosen)
        assert watcher.seen == []


class TestKilledAtTheFirstQuarterOfThePoints(Killed):
    part = 0


class TestKilledAtTheSecondQuarterOfThePoints(Killed):
    part = 1


class TestKilledAtTheThirdQuarterOfThePoints(Killed):
    part = 2


class TestKilledAtTheLastQuarterOfThePoints(Killed):
    part = 3
