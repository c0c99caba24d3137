"""The kernel of a notebook is killed in the middle of an epoch: the retry goes on from the last checkpoint."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import nbformat

from faults.landings import Tracker
from faults.waiting import until
from history import Repository

#: Four epochs, each noted as begun outside and, once it is done, in the checkpoint. The first time it stays in the
#: third of them.
TRAINING = """\
import json, os, pathlib, time
begun, held = pathlib.Path({begun!r}), pathlib.Path({held!r})
checkpoint = pathlib.Path(os.environ["ds_checkpoint_dir"], "epoch")
done = int(checkpoint.read_text()) if checkpoint.exists() else 0
for epoch in range(done + 1, 5):
    with begun.open("a") as file:
        print(epoch, file=file)
    if epoch == 3 and not held.exists():
        held.with_suffix(".new").write_text(str(os.getpid()))
        held.with_suffix(".new").rename(held)
        time.sleep(1000)
    checkpoint.write_text(str(epoch))
hyper = {{"context": {{}}, "parameters": {{}}, "results": {{"test_wer": 0.25}}}}
pathlib.Path(os.environ["ds_result_dir"], "hyper.json").write_text(json.dumps(hyper))
"""


def test_a_kernel_that_is_killed_in_mid_epoch(tmp_path: Path, repository: Repository) -> None:
    begun, held = tmp_path / "begun", tmp_path / "held"
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(TRAINING.format(begun=str(begun), held=str(held)))]
    head = repository.land("Train", {"DeepSpeech.ipynb": nbformat.writes(notebook)})
    tracker = Tracker.of(tmp_path / "tracker", repository)
    tick = tracker.installation.start("run")
    until(held.exists, tick)
    os.kill(int(held.read_text()), signal.SIGKILL)
    _, told = tick.communicate(timeout=60)
    assert tick.returncode == 70
    assert "the kernel was ended by SIGKILL" in told
    assert tracker.states(head)[:3] == ["found", "running", "failed"]
    assert not (tracker.installation.cache / "last_sha1").exists(), "it is to be tried again"
    assert tracker.processes() == []

    assert tracker.tick().returncode == 0
    assert begun.read_text().split() == ["1", "2", "3", "3", "4"], "what was done is not done again"
    assert tracker.whole_results() == {head: 1}
    assert tracker.installation.last_sha1() == head
    assert "nothing new" in tracker.tick().stderr
    assert tracker.left_over() == []
