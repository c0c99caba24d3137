"""A landing whose run fills the disk (a tmpfs of 48 MB) fails and is passed, wherever it writes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.landings import TRAINING, Tracker
from history import Repository

SCRIPT = "bin/run-wer-automation.sh"
TRAINS = TRAINING.format(wer=0.5)


@pytest.mark.parametrize("where", ["$ds_result_dir", ".", "$ds_checkpoint_dir"])
@pytest.mark.parametrize("then", ["exit 1", "sleep 1"], ids=["and fails", "and goes on"])
def test_a_landing_that_fills_the_disk_fails_and_blocks_no_other(
    tmp_path: Path, disk: Path, repository: Repository, where: str, then: str
) -> None:
    folders = {"ds_dataroot": str(disk / "data"), "ds_clone_path": str(disk / "clone")}
    tracker = Tracker.of(tmp_path / "tracker", repository, ds_disk_free="0.02", ds_retries="1", **folders)
    repository.land("Train", {SCRIPT: TRAINS})
    assert tracker.tick().returncode == 0
    greedy = repository.land("Fill", {SCRIPT: f'#!/bin/sh\ncat /dev/zero > "{where}/model" || {then}\n'})
    good = repository.land("Train again", {SCRIPT: TRAINS})
    assert [tracker.tick().returncode for _ in range(3)] == [70, 70, 0]
    states = [state for state in tracker.states(greedy) if state != "shown"]
    assert states == ["found", "running", "failed", "running", "failed", "passed", "published"]
    assert tracker.trainings()[good] == 1
    assert tracker.installation.last_sha1() == good
    assert "nothing new" in tracker.tick().stderr
