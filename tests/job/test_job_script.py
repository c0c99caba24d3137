"""A repository's own script as a job, run by the local engine: what it is given, and how it can fail."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from deepspeech_wer.engines.local import LocalEngine
from deepspeech_wer.errors import EnvironmentFailure, TrackerError
from deepspeech_wer.job import processes
from deepspeech_wer.job.spec import FAILED, TRAINED

#: Loses its parent, its session and its environment, and does not mind SIGTERM.
STUBBORN = 'env -i setsid sh -c \'trap "" TERM; echo $$ > "$0"; while :; do sleep 0.1; done\' "$PWD/pid" &\n'


def wait_for(path: Path) -> str:
    """The content of a file that somebody is about to write."""
    for _ in range(500):
        if path.exists() and path.read_text().strip():
            return path.read_text().strip()
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


def is_gone(pid: str) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def test_script_trains(bench, shell_write_hyper, monkeypatch):
    monkeypatch.setenv("ds_website_privkey", "secret")
    monkeypatch.setenv("ds_train_batch_size", "inherited")
    monkeypatch.setenv("ds_restore_checkpoint", "0")
    bench.settings |= {
        "environment": {"ds_epochs": "3", "ds_website_username": "secret as well"},
        "withheld": ("ds_website_privkey", "ds_website_username"),
    }
    bench.script(
        "#!/bin/sh\necho \"$@\"; pwd; env | sort\ncat /proc/$PPID/environ | tr '\\0' '\\n'\n"
        'echo \'{"epoch": 1, "epochs": 2, "eta_seconds": 5}\' > $ds_result_dir/learning.jsonl\n' + shell_write_hyper
    )
    status = bench.run()
    assert (status.state, status.why, status.hint) == (TRAINED, "", "")
    log = bench.result("log.txt").splitlines()
    assert f"--checkpoint_dir {bench.spec.checkpoint_dir}" in log
    assert bench.spec.checkpoint_dir.is_dir()
    assert str(bench.checkout) in log
    assert f"ds_run_id={bench.spec.run_id}" in log
    assert f"ds_checkpoint_dir={bench.spec.checkpoint_dir}" in log
    assert f"ds_result_dir={bench.spec.partial}" in log
    assert {"ds_epochs=3", "ds_restore_checkpoint=1", "PYTHONUNBUFFERED=1", "ds_train_batch_size=inherited"} <= {*log}
    assert "secret" not in bench.result("log.txt")
    assert bench.hyper()["results"]["test_wer"] == 0.25
    assert bench.printed() == log
    last = bench.seen[-1]
    assert (last.cell, last.cells, last.epoch, last.epochs, last.eta) == (0, 0, 1, 2, 5.0)


def test_the_script_goes_before_the_notebook(bench, shell_write_hyper):
    bench.notebook("raise RuntimeError")
    bench.script("#!/bin/sh\n" + shell_write_hyper)
    assert bench.run().state == TRAINED
    assert not (bench.spec.result / "notebook.ipynb").exists()


def test_output_is_seen_while_the_script_runs_and_progress_bars_are_collapsed(bench, shell_write_hyper):
    bench.script(
        "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9; do printf '\\r%s0%%' $i; done; echo\n"
        "while ! test -e seen; do sleep 0.05; done\nprintf 'no line end'\n" + shell_write_hyper
    )

    def watch(progress):
        bench.seen.append(progress)
        if "90%" in progress.lines:
            (bench.checkout / "seen").touch()  # without which the script goes on for ever

    bench.watch = watch
    bench.settings["run_seconds"] = 60.0
    assert bench.run().state == TRAINED
    jobs_own = [line for line in bench.printed() if not line.startswith("20")]
    assert jobs_own == ["90%", "no line end"]


def test_an_exit_code_is_a_failure_and_told_with_the_last_lines(bench, shell_write_hyper):
    bench.script(f"#!/bin/sh\n{shell_write_hyper}\necho one; echo two; echo; echo three; echo four >&2\nexit 3\n")
    status = bench.run()
    assert status.state == FAILED
    assert status.why == "./bin/run-wer-automation.sh ended with exit code 3; it last printed: two / three / four"
    assert "log.txt" in status.hint


def test_a_signal_is_told_by_its_name(bench):
    bench.script("#!/bin/sh\nkill -KILL $$\n")
    status = bench.run()
    assert "was ended by SIGKILL" in status.why
    assert "dmesg" in status.hint


@pytest.mark.parametrize(
    ("text", "mode", "why", "hint"),
    [
        ("#!/bin/sh\n", 0o644, "is not executable", "chmod +x ./bin/run-wer-automation.sh"),
        ("echo\n", 0o755, "neither a program nor a script", "#!/bin/sh"),
        ("#!/bin/sh\r\necho\r\n", 0o755, "interpreter", "line ends of Windows"),
    ],
)
def test_a_script_that_cannot_be_started(bench, text, mode, why, hint):
    bench.script(text, mode)
    status = bench.run()
    assert status.state == FAILED
    assert why in status.why and hint in status.hint


def test_nothing_to_run(bench):
    status = bench.run()
    assert status.state == FAILED
    assert "./bin/run-wer-automation.sh" in status.why and "DeepSpeech.ipynb" in status.why
    assert "ds_wer_automation" in status.hint and "ds_notebook" in status.hint


@pytest.mark.parametrize("name", ["../outside.sh", "/bin/true", "link.sh", "circle"])
@pytest.mark.parametrize("setting", ["script", "notebook"])
def test_only_what_is_in_the_checkout_is_run(bench, name, setting):
    outside = bench.root / "outside.sh"
    outside.write_text("#!/bin/sh\ntouch ran\n")
    outside.chmod(0o755)
    (bench.checkout / "link.sh").symlink_to(outside)
    (bench.checkout / "circle").symlink_to("circle")
    bench.settings[setting] = name
    status = bench.run()
    assert status.state == FAILED
    assert f"{name} leads out of the checkout" in status.why
    assert {"script": "ds_wer_automation", "notebook": "ds_notebook"}[setting] in status.hint
    assert not (bench.checkout / "ran").exists()


def test_an_endless_script_ends_at_the_limit_with_all_that_it_started(bench):
    bench.settings["run_seconds"] = 1.0
    bench.script("#!/bin/sh\ntrap '' TERM\n" + STUBBORN + "while :; do echo on; sleep 0.1; done\n")
    status = bench.run()
    assert status.state == FAILED
    assert "when the whole run had taken 1 s" in status.why and "ds_run_timeout" in status.hint
    assert is_gone(wait_for(bench.checkout / "pid"))


def test_what_a_script_leaves_running_is_ended_and_holds_nothing_up(bench, shell_write_hyper):
    bench.script("#!/bin/sh\n" + STUBBORN + "while ! test -s pid; do sleep 0.02; done\n" + shell_write_hyper)
    assert bench.run().state == TRAINED
    assert is_gone(wait_for(bench.checkout / "pid"))


def test_a_job_that_removes_its_result_folder_is_its_own_fault(bench):
    bench.script("#!/bin/sh\nrm -rf \"$ds_result_dir\"\necho '{}' > hyper.json\n")
    status = bench.run()
    assert status.state == FAILED
    assert "removed its own result folder" in status.why


def test_a_full_disk_is_not_the_landings_fault(bench, shell_write_hyper):
    """A limit on the size of a file stands in for a full disk: the log takes no more."""
    bench.script(f"#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' '\\n'\n{shell_write_hyper}\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(EnvironmentFailure, match="could not be written") as caught:
            LocalEngine().run(bench.spec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "make room" in caught.value.hint
    assert not bench.spec.result.exists()
    assert processes.marked(bench.spec.run_id) == []


def test_a_result_folder_that_cannot_be_made(bench):
    bench.script("#!/bin/sh\n")
    (bench.root / "runs").write_text("a file where the folder of runs should be")
    with pytest.raises(EnvironmentFailure, match="runs"):
        LocalEngine().run(bench.spec)


def test_python_that_cannot_be_started(bench, monkeypatch):
    bench.script("#!/bin/sh\n")
    monkeypatch.setattr("sys.executable", str(bench.root / "no-python"))
    with pytest.raises(EnvironmentFailure, match="no-python"):
        LocalEngine().run(bench.spec)
    assert not bench.spec.result.exists()


def test_a_run_is_not_overwritten(bench, shell_write_hyper):
    bench.script("#!/bin/sh\n" + shell_write_hyper)
    bench.run()
    before = bench.result("status.json")
    with pytest.raises(TrackerError, match="has a result already"):
        LocalEngine().run(bench.spec)
    assert bench.result("status.json") == before


def test_an_interrupt_leaves_no_process_and_no_result_and_the_next_try_succeeds(
    bench, shell_write_hyper, interrupt, interrupted
):
    bench.script("#!/bin/sh\ntrap '' TERM\n" + STUBBORN + "echo started; while :; do sleep 0.1; done\n")

    def watch(progress):
        if "started" in progress.lines:
            wait_for(bench.checkout / "pid")
            interrupt()

    began = time.monotonic()
    with pytest.raises(interrupted):
        LocalEngine().run(bench.spec, watch)
    assert time.monotonic() - began < 9
    assert processes.marked(bench.spec.run_id) == []
    assert is_gone((bench.checkout / "pid").read_text().strip())
    assert not bench.spec.result.exists()
    log = (bench.spec.partial / "log.txt").read_text()
    assert "started" in log and "ended by SIGTERM" in log

    (bench.spec.partial / "hyper.json").write_text(json.dumps("left by the first try"))
    bench.script("#!/bin/sh\n" + shell_write_hyper)
    assert bench.run().state == TRAINED
    assert "started" not in bench.result("log.txt")


@pytest.mark.parametrize(("number", "hint"), [(signal.SIGKILL, "dmesg"), (signal.SIGTERM, "again")])
def test_a_worker_that_is_ended_from_outside_leaves_a_failure_and_no_process(bench, number, hint):
    bench.script("#!/bin/sh\necho $PPID; exec sleep 1000\n")

    def kill(progress):
        for line in progress.lines:
            if line.isdigit():
                os.kill(int(line), number)

    bench.watch = kill
    status = bench.run()
    assert status.state == FAILED
    assert number.name in status.why and hint in status.hint


def test_the_worker_ends_with_the_tracker(bench):
    """The tracker killed outright: the system tells the worker, which ends the job and leaves the partial folder."""
    bench.script("#!/bin/sh\necho started; exec sleep 1000\n")
    child = os.fork()
    if child == 0:
        LocalEngine().run(bench.spec, lambda progress: "started" in progress.lines and os.kill(os.getpid(), 9))
        os._exit(1)
    os.waitpid(child, 0)
    for _ in range(400):
        if not processes.marked(bench.spec.run_id):
            break
        time.sleep(0.02)
    assert processes.marked(bench.spec.run_id) == []
    assert bench.spec.partial.is_dir() and not bench.spec.result.exists()


@pytest.mark.parametrize(
    "make",
    [
        'mkfifo "$1"',
        'ln -s /dev/zero "$1"',
        'ln -s "$1" "$1"',
        'mkdir "$1"',
        "head -c 300000 /dev/zero | tr '\\0' '[' > \"$1\"",
        'truncate -s 1T "$1"',
        'echo \'{"state": 1, "started": [], "why": {}, "cell": "x", "cells": true, "epoch": "y"}\' > "$1"',
        'echo \'{"state": "x", "started": "", "cell": 1e400, "eta_seconds": 1\'"$(printf %0500d 0)"\'}\' > "$1"',
    ],
    ids=["pipe", "device", "circle", "folder", "deep", "huge", "kinds", "numbers"],
)
def test_what_tells_of_progress_may_be_anything(bench, shell_write_hyper, make):
    bench.script(
        f"#!/bin/sh\nset -- $ds_result_dir/learning.jsonl\n{make}\n"
        f"rm $ds_result_dir/status.json; set -- $ds_result_dir/status.json\n{make}\necho seen; sleep 0.3\n"
        f"{shell_write_hyper}"
    )
    assert bench.run().state == TRAINED
    assert "seen" in bench.printed()
    assert all(type(progress.cell) is int and type(progress.cells) is int for progress in bench.seen)
