"""The limits of a job, and whose fault it is that it failed: real processes and kernels, run by the local engine."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import nbformat
import pytest

from deepspeech_wer.engines.local import LocalEngine, progress_of
from deepspeech_wer.job import outcome, processes, worker
from deepspeech_wer.job.output import Output
from deepspeech_wer.job.spec import FAILED, TRAINED

MB = 10**6

#: Loses its parent, its session and its environment.
STRAY = "env -i setsid sh -c 'echo $$ > pid; exec sleep 1000' &\n"

#: A kernel that answers, and never says that this was all.
SILENT = (
    "from ipykernel.kernelapp import IPKernelApp\n"
    "from ipykernel.ipkernel import IPythonKernel\n"
    "class Silent(IPythonKernel):\n"
    "    def _publish_status(self, status, *more, **named):\n"
    "        if status != 'idle' or not self.execution_count:\n"
    "            super()._publish_status(status, *more, **named)\n"
    "IPKernelApp.launch_instance(kernel_class=Silent)\n"
)


def is_gone(pid: str) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def kernel_of(bench, monkeypatch, *argv):
    """Let the bench's notebook run in a kernel that is started as ``argv``."""
    folder = bench.root / "jupyter" / "kernels" / "own"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "own", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder.parent.parent))
    bench.settings["kernel"] = "own"


def test_a_script_that_prints_without_end_is_ended_with_all_that_it_started(bench):
    bench.settings["log_bytes"] = MB
    bench.script("#!/bin/sh\n" + STRAY + "while ! test -s pid; do sleep 0.02; done\nyes | head -c 1000000000\n")
    status = bench.run()
    assert status.state == FAILED
    assert status.why == "the job printed more than 1 MB, the limit for a log"
    assert "ds_log_limit" in status.hint
    size = (bench.spec.result / "log.txt").stat().st_size
    assert 0.9 * MB < size < 1.1 * MB
    assert status.why in bench.result("log.txt").splitlines()[-1]
    assert is_gone((bench.checkout / "pid").read_text().strip())


def test_a_script_that_prints_no_more_than_it_may_trains(bench, shell_write_hyper):
    bench.settings["log_bytes"] = 20
    # A progress bar counts as what is left of it.
    bench.script(f"#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9; do printf '\\r%s0%%' $i; done; echo; {shell_write_hyper}\n")
    assert bench.run().state == TRAINED
    assert "90%" in bench.printed()


@pytest.mark.parametrize(
    "cell",
    [
        "while True: print('x' * 1000)",
        "while True: display({'image/png': 'x' * 1000}, raw=True)",  # of which the log shows nothing
        "import subprocess; subprocess.run(['yes'])",
        "print('x' * 50_000_000)",
    ],
)
def test_a_cell_that_puts_out_without_end_is_ended_at_once(bench, cell):
    # A kernel that finds that variable does not show what its children print.
    bench.settings |= {"log_bytes": MB, "withheld": ("PYTEST_CURRENT_TEST",), "run_seconds": 60.0}
    bench.notebook(cell, "print('after')")
    began = time.monotonic()
    status = bench.run()
    assert time.monotonic() - began < 30
    assert status.state == FAILED
    assert status.why == "the job printed more than 1 MB, the limit for a log"
    assert (bench.spec.result / "log.txt").stat().st_size < 1.1 * MB
    assert "image" in cell or "x" * 100 in bench.result("log.txt") or "y\ny\n" in bench.result("log.txt")
    assert nbformat.read(bench.spec.result / "notebook.ipynb", 4).cells[1].outputs == []


def test_what_is_cleared_or_overwritten_is_not_kept(bench, write_hyper):
    bench.settings["log_bytes"] = 200_000
    bench.notebook(
        "from IPython.display import clear_output\n"
        "for i in range(10): display({'image/png': 'x' * 50_000}, raw=True); clear_output()\n",
        "import sys, time\n"
        "print('begin')\n"
        "for i in range(400):\n"
        "    print('\\r' + str(i) * 500, end=''); sys.stdout.flush()\n"
        "print('\\nend')",
        write_hyper,
    )
    assert bench.run().state == TRAINED
    first, second, _ = nbformat.read(bench.spec.result / "notebook.ipynb", 4).cells
    assert first.outputs == []
    assert "".join(output.text for output in second.outputs) == f"begin\n{'399' * 500}\nend\n"


def test_the_kernels_own_words_do_not_fill_the_disk(bench, monkeypatch):
    loud = "import sys; sys.stderr.write('x' * 30_000_000 + 'last words'); sys.exit(1)"
    kernel_of(bench, monkeypatch, sys.executable, "-c", loud)
    bench.notebook("1")
    with pytest.raises(Exception, match="did not start"):
        bench.run()
    log = bench.spec.partial / "log.txt"
    assert "last words" in log.read_text()
    assert sum(path.stat().st_size for path in bench.spec.partial.rglob("*") if path.is_file()) < 100_000


def test_the_limit_of_the_run_holds_while_the_kernel_starts(bench, monkeypatch):
    kernel_of(bench, monkeypatch, "sh", "-c", "echo $$ > pid; while :; do sleep 0.1; done")
    bench.settings["run_seconds"] = 3.0
    bench.notebook("1")
    status = bench.run()
    assert status.state == FAILED
    assert status.why == "the kernel was still starting when the whole run had taken 3 s, its limit"
    assert "ds_run_timeout" in status.hint
    assert is_gone((bench.checkout / "pid").read_text().strip())


def test_a_tick_that_is_told_to_stop_ends_a_kernel_that_starts(bench, monkeypatch, interrupt, interrupted):
    kernel_of(bench, monkeypatch, "sh", "-c", "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done")
    bench.notebook("1")
    began: list[float] = []

    def watch(progress):
        if not began and (bench.checkout / "pid").exists():
            began.append(time.monotonic())
            interrupt()
        elif not began:  # something new, so that the watcher is asked again
            (bench.spec.partial / "learning.jsonl").write_text(json.dumps({"epoch": time.monotonic_ns()}) + "\n")

    with pytest.raises(interrupted):
        LocalEngine().run(bench.spec, watch)
    assert time.monotonic() - began[0] < 9
    assert is_gone((bench.checkout / "pid").read_text().strip())


def test_the_limit_of_the_run_holds_while_a_kernel_is_waited_for_that_says_no_more(bench, monkeypatch):
    kernel_of(bench, monkeypatch, sys.executable, "-c", SILENT, "-f", "{connection_file}")
    bench.settings["run_seconds"] = 6.0
    bench.notebook("print('done', flush=True)")
    began = time.monotonic()
    status = bench.run()
    assert time.monotonic() - began < 30  # nbclient itself would wait for a minute
    assert status.state == FAILED
    assert status.why == "cell 1 was on when the whole run had taken 6 s, its limit"
    assert "done" in bench.printed()


def test_a_kernel_killed_in_the_middle_leaves_what_it_had_and_no_process(bench):
    bench.notebook(
        "import os, subprocess\n"
        f"subprocess.run({STRAY!r}, shell=True)\n"
        "while not os.path.exists('pid') or not open('pid').read().strip(): pass\n"
        "with open(os.environ['ds_result_dir'] + '/learning.jsonl', 'w') as file:\n"
        '    print(\'{"epoch": 3, "epochs": 9, "eta_seconds": 60}\', file=file)\n'
        "print('epoch 3', os.getpid())",
        "while True: pass",
    )

    def kill(progress):
        bench.seen.append(progress)
        for line in progress.lines:
            if line.startswith("epoch 3"):
                assert progress_of(bench.spec.partial).epochs == 9
                os.kill(int(line.split()[2]), signal.SIGKILL)

    bench.watch = kill
    status = bench.run()
    assert status.state == FAILED
    assert "the kernel was ended by SIGKILL" in status.why
    assert is_gone((bench.checkout / "pid").read_text().strip())
    progress = progress_of(bench.spec.result)
    assert (progress.epoch, progress.epochs, progress.eta, progress.lines) == (3, 9, 60.0, ())


def test_a_worker_killed_outright_leaves_nothing_that_works_in_its_folders(bench):
    """What it leaves here has no mark, no parent and no working directory of the run: only an open file."""
    bench.script(
        "#!/bin/sh\n"
        "env -i setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' > pid &\n"
        "(cd /; env -i setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' > other) &\n".replace(
            "> other", f"> {bench.checkout}/other"
        )
        + "while ! test -s pid || ! test -s other; do sleep 0.02; done\necho $PPID ready; exec sleep 1000\n"
    )

    def kill(progress):
        for line in progress.lines:
            if line.endswith("ready"):
                os.kill(int(line.split()[0]), signal.SIGKILL)

    bench.watch = kill
    assert "SIGKILL" in bench.run().why
    assert is_gone((bench.checkout / "pid").read_text().strip())
    assert is_gone((bench.checkout / "other").read_text().strip())


def test_niceness_and_io_class(bench, shell_write_hyper):
    bench.settings |= {"nice": 7, "ionice": "idle"}
    bench.script(f"#!/bin/sh\nnice; ionice\n{shell_write_hyper}")
    assert bench.run().state == TRAINED
    assert [line for line in bench.printed() if not line.startswith("20")] == ["7", "idle"]


def test_niceness_that_cannot_be_set_is_told_and_no_more(bench, monkeypatch, tmp_path):
    def refuse(_):
        raise PermissionError(1, "Operation not permitted")

    bench.settings |= {"nice": 7, "ionice": "best-effort"}
    monkeypatch.setattr(os, "nice", refuse)
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no ionice
    with (tmp_path / "log").open("w+b") as log:
        worker.be_nice(bench.spec, Output(log))
    told = (tmp_path / "log").read_text()
    assert "ds_nice" in told and "Operation not permitted" in told
    assert "ds_ionice" in told


def test_a_failure_on_a_full_disk_is_told_as_such(bench, monkeypatch):
    """The threshold is moved and not the disk filled: a disk that is full in earnest needs root."""
    bench.spec.partial.mkdir(parents=True)
    assert not outcome.is_disk_full(bench.spec)
    monkeypatch.setattr(outcome, "_FULL", 1 << 70)
    assert outcome.is_disk_full(bench.spec)
    bench.script("#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(processes, "end_all", lambda *_: [])  # this process is not the worker
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with (bench.root / "log").open("wb") as log:
        status = worker.run(bench.spec, Output(log))
    assert (status.state, status.disk_full) == (FAILED, True)


def test_a_worker_killed_on_a_full_disk_is_told_as_such(bench, monkeypatch):
    monkeypatch.setattr(outcome, "_FULL", 1 << 70)
    bench.script("#!/bin/sh\nkill -KILL $PPID\n")
    status = bench.run()
    assert (status.state, status.disk_full) == (FAILED, True)
