"""A disk that is really full (a tmpfs of 48 MB): the machine's trouble, no landing's, and nothing is torn by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults.landings import TRAINING, Tracker, torn
from history import Repository

SCRIPT = "bin/run-wer-automation.sh"

#: Bytes that leave less than the 20 MB which a run here is to find.
NEARLY_ALL = 40 << 20

#: Fills the disk before it trains, once: the file {mark} says that it was done.
FILLING = """#!/bin/sh
set -e
if ! test -e {mark}; then
    touch {mark}
    head -c 100M /dev/zero > {filler} || true
    head -c 1M /dev/zero > "$ds_result_dir/model"
fi
"""


@pytest.fixture
def tracker(tmp_path: Path, disk: Path, repository: Repository) -> Tracker:
    return Tracker.of(tmp_path / "tracker", repository, ds_dataroot=str(disk / "data"), ds_disk_free="0.02")


def train(repository: Repository, before: str = "#!/bin/sh\n") -> str:
    training = TRAINING.format(wer=0.5).removeprefix("#!/bin/sh\n")
    return repository.land("Train", {SCRIPT: before + training})


def assert_done(tracker: Tracker, *landings: str, trainings: int = 1) -> None:
    """Once there is room again, everything goes its way."""
    ticks = tracker.tick_until_nothing_is_new()
    assert {done.returncode for done in ticks} == {0}, ticks[0].stderr
    assert tracker.whole_results() == dict.fromkeys(landings, 1)
    assert tracker.trainings() == dict.fromkeys(landings, trainings)
    assert tracker.installation.last_sha1() == landings[-1]
    assert not torn(tracker.data / "www")
    assert tracker.left_over() == []


def test_a_disk_that_is_full_before_the_tick(tracker: Tracker, repository: Repository, disk: Path) -> None:
    head = train(repository)
    (disk / "filler").write_bytes(bytes(NEARLY_ALL))
    for _ in range(4):
        done = tracker.tick()
        assert done.returncode == 70
        assert f"too little room for a run: 0.0 GB are free on the disk of {disk / 'data'} (ds_dataroot)" in done.stderr
        assert tracker.states(head) == ["found"]
        assert not (tracker.installation.cache / "last_sha1").exists()
    (disk / "filler").unlink()
    assert_done(tracker, head)


def test_somebody_fills_the_disk_while_a_landing_is_trained(
    tracker: Tracker, repository: Repository, disk: Path, tmp_path: Path
) -> None:
    filler = disk / "filler"
    head = train(repository, FILLING.format(mark=tmp_path / "mark", filler=filler))
    done = tracker.tick()
    assert done.returncode == 70
    assert "could not be written" in done.stderr
    assert "make room on that disk" in done.stderr
    assert tracker.states(head) == ["found", "running", "put off"]
    assert not (tracker.installation.cache / "last_sha1").exists()
    assert tracker.tick().returncode == 70, "it stays so as long as there is no room"
    filler.unlink()
    assert_done(tracker, head)


def test_a_landing_that_fills_the_disk_itself_fails_and_blocks_no_other(
    tracker: Tracker, repository: Repository, tmp_path: Path
) -> None:
    tracker.installation.variables["ds_retries"] = "0"
    train(repository)
    assert tracker.tick().returncode == 0
    greedy = train(repository, "#!/bin/sh\nset -e\nhead -c 100M /dev/zero > $ds_result_dir/model\n")
    good = train(repository)
    done = tracker.tick()
    assert done.returncode == 70
    assert tracker.states(greedy)[-3:] == ["failed", "passed", "published"]
    assert tracker.trainings()[good] == 1
    assert tracker.installation.last_sha1() == good
    assert "nothing new" in tracker.tick().stderr


def fills(tracker: Tracker) -> list[str]:
    """Where to fill the disk: once before and after each kind of line of the journal."""
    return list(dict.fromkeys(f"1 {point}" for point in tracker.points if " journal " in point))


def test_the_disk_is_full_at_a_line_of_the_journal(tmp_path: Path, disk: Path, repository: Repository) -> None:
    head = train(repository)
    counted = Tracker.of(tmp_path / "counted", repository, ds_dataroot=str(disk / "counted" / "data"))
    assert counted.tick().returncode == 0
    places = fills(counted)
    assert len(places) >= 12
    failed = []
    for number, place in enumerate(places):
        root = disk / str(number)
        tracker = Tracker.of(tmp_path / str(number), repository, ds_dataroot=str(root / "data"))
        root.mkdir()
        try:
            full(tracker, head, place, root)
        except AssertionError as error:
            failed.append(f"full at {place}: {error}")
        shutil.rmtree(root)  # makes room for the next one
    assert not failed, "\n\n".join(failed)


def full(tracker: Tracker, head: str, place: str, root: Path) -> None:
    done = tracker.tick(place, f"fill {root}")
    assert (root / "filler").exists()
    # After the last line there is nothing to write any more.
    assert done.returncode == 70 or place.startswith("1 tick after journal settled"), done.stderr
    if done.returncode:
        assert "disk" in done.stderr.lower() or "no space left" in done.stderr.lower(), done.stderr
        assert str(root) in done.stderr
    assert "failed" not in tracker.states(head)
    assert not torn(tracker.data / "www")
    already = tracker.whole_results()
    (root / "filler").unlink()
    ticks = tracker.tick_until_nothing_is_new()
    assert {each.returncode for each in ticks} == {0}, ticks[0].stderr
    assert tracker.whole_results() == {head: 1}
    assert tracker.states(head).count("trained") == 1
    assert tracker.states(head)[-1] == "published"
    assert not already or tracker.trainings() == {head: 1}
    assert tracker.installation.last_sha1() == head
    assert not torn(tracker.data / "www")
    assert tracker.left_over() == []
