"""What a person sees on a terminal, and what a log gets."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

from history import Repository
from installation import Installation

#: A script that takes its time over three epochs.
SLOW = """#!/bin/sh
for epoch in 1 2 3; do
  echo "{\\"epoch\\": $epoch, \\"epochs\\": 3, \\"eta_seconds\\": 1.5}" >> "$ds_result_dir/learning.jsonl"
  sleep 0.6
done
echo '{"context": {}, "parameters": {}, "results": {"test_wer": 0.25}}' > "$ds_result_dir/hyper.json"
"""


def tracked(tmp_path: Path) -> Installation:
    repository = Repository.new(tmp_path / "repository")
    repository.commit("Begin", {"bin/run-wer-automation.sh": SLOW})
    return Installation(tmp_path / "home", {"ds_repository": str(repository.path)})


def test_a_bar_for_the_epochs_on_a_terminal(tmp_path: Path) -> None:
    installation = tracked(tmp_path)
    installation.home.mkdir()
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 120))
    process = subprocess.Popen(
        [sys.executable, "-m", "deepspeech_wer", "run"],
        env=installation.environment() | {"TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # how a terminal tells that nobody writes to it any more
            break
        if not data:
            break
        shown += data
    os.close(master)
    assert process.wait(timeout=60) == 0, shown.decode()
    text = shown.decode()
    assert "2/3" in text
    assert "epochs" in text
    assert "cells" not in text, "a script has none"
    assert "test WER of 25.00%" in text


def test_lines_for_the_epochs_in_a_log(tmp_path: Path) -> None:
    installation = tracked(tmp_path)
    done = installation.run("run")
    assert done.returncode == 0
    assert "\r" not in done.stderr
    assert "epoch 1 of 3, about 2 s left" in done.stderr or "epoch 2 of 3, about 2 s left" in done.stderr
    for line in done.stderr.splitlines():
        assert line[:4].isdigit(), "each line begins with the time"
        assert line[19] == "Z"
    kept = (installation.data / "logs" / "deepspeech-wer.log").read_text()
    assert kept == done.stderr
