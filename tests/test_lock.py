from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepspeech_wer import lock
from deepspeech_wer.errors import EXIT_LOCKED, LockHeld

HOLD = """
import sys, time
from pathlib import Path
from deepspeech_wer import lock
with lock.held(Path(sys.argv[1]), "a test"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_file_is_there_while_the_lock_is_held_and_gone_after_it(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "lock"
    with lock.held(path, "a test"):
        assert f"pid {os.getpid()} " in path.read_text()
        assert f"pid {os.getpid()} " in (lock.holder(path) or "")
    assert not path.exists()
    assert lock.holder(path) is None


def test_a_second_process_is_told_at_once_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = hold(path)
    try:
        with pytest.raises(LockHeld, match=f"pid {process.pid} ") as caught, lock.held(path, "another"):
            pass
        assert caught.value.exit_code == EXIT_LOCKED
        assert path.exists()
    finally:
        process.kill()
        process.wait()


def test_what_a_killed_process_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = hold(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.exists()
    assert lock.holder(path) is None
    with lock.held(path, "the next"):
        pass
    assert not path.exists()


def test_the_lock_is_let_go_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), lock.held(path, "a test"):
        _ = 1 / 0
    assert not path.exists()


def compete(path: Path, counter: Path, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    for _ in range(200):
        try:
            with lock.held(path, "a race"):
                number = int(counter.read_text())
                counter.write_text(str(number + 1))
                with counter.with_suffix(".log").open("a") as file:
                    file.write("x")
        except LockHeld:
            continue


def test_two_never_have_it_at_once_though_the_file_is_unlinked_each_time(tmp_path: Path) -> None:
    path, counter = tmp_path / "lock", tmp_path / "counter"
    counter.write_text("0")
    start = time.time() + 0.5
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=compete, args=(path, counter, start)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    assert int(counter.read_text()) == len(counter.with_suffix(".log").read_text())
