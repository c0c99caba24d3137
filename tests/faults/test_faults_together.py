"""Two ticks that are started at the same moment, many times: one works, the other is told so and leaves."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from faults.landings import TRAINING, Tracker
from history import Repository

ROUNDS = 25

#: For each line on its standard input, two processes that wait until both are there and then run the command. What
#: they need is imported before, so that nothing lies between that moment and the lock; their exit codes are printed.
TWINS = """
import os, sys
from deepspeech_wer import attempt, cli, discovery, housekeeping, page, tick

for _ in sys.stdin:
    read, write = os.pipe()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(write)
                os.read(read, 1)
                code = cli.main(["run"])
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    os.close(read)
    os.close(write)  # now both read the end of the pipe
    print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), flush=True)
"""


def test_of_two_ticks_at_once_one_works(tmp_path: Path) -> None:
    repository = Repository.begun(tmp_path / "repository")
    tracker = Tracker.of(tmp_path, repository)
    repository.land("Train", {"bin/run-wer-automation.sh": TRAINING.format(wer=0.5)})
    landings, codes = [], []
    lock = tracker.installation.cache / "lock"
    lock.parent.mkdir(parents=True)
    with (
        (tmp_path / "stderr").open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-c", TWINS],
            env=tracker.installation.environment(),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as twins,
    ):
        assert twins.stdin is not None and twins.stdout is not None
        for number in range(ROUNDS):
            landings.append(repository.commit(f"Number {number}"))
            if number % 2:
                lock.write_text("pid 1 on nowhere since 2026-01-01T00:00:00+00:00: left behind by kill -9\n")
            print("go", file=twins.stdin, flush=True)
            codes.append(tuple(sorted(map(int, twins.stdout.readline().split()))))
            assert not lock.exists()
            assert tracker.installation.last_sha1() == landings[-1]
        twins.stdin.close()
    told = (tmp_path / "stderr").read_text()
    assert "Traceback" not in told, told
    # Where one was done before the other looked, that one had nothing to do.
    assert set(codes) <= {(0, 75), (0, 0)}, Counter(codes)
    assert Counter(codes)[0, 75] > ROUNDS / 2
    assert tracker.trainings() == dict.fromkeys(landings, 1)
    assert tracker.installation.trained() == landings
    assert told.count("another run holds the lock") == Counter(codes)[0, 75]
