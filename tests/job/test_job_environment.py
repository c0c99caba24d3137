"""The Python that a job runs under, with real interpreters, virtual environments and kernels."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import pytest

from deepspeech_wer.engines.local import LocalEngine
from deepspeech_wer.errors import EnvironmentFailure, LandingFailed
from deepspeech_wer.job import environment, processes
from deepspeech_wer.job.output import Output
from deepspeech_wer.job.spec import TRAINED

#: Shell that lets a virtual environment import what this one has, ipykernel above all, without a download.
BORROW = (
    "python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))' > where && "
    f'echo {sysconfig.get_path("purelib")} > "$(cat where)/borrowed.pth"'
)


@pytest.fixture
def virtual(tmp_path):
    """A Python in a virtual environment of its own, without pip and without ipykernel."""
    folder = tmp_path / "other python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def bench(bench, monkeypatch):
    """One whose environments are made here, in this process, in a twentieth of the time."""
    monkeypatch.setattr(environment, "_VENV", ("-m", "venv", "--without-pip"))
    for name in ("PATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    bench.settings["environments"] = str(bench.root / "environments")
    bench.spec.partial.mkdir(parents=True)
    return bench


def prepare(bench, deadline=None):
    """Make the environment of the bench's job; returns its Python and what was logged."""
    log = (bench.root / "log.txt").open("w+b")
    with environment.prepared(bench.spec, Output(log), deadline) as python:
        log.seek(0)
        return python, log.read().decode()


def folders(bench):
    return {path.name for path in Path(bench.spec.environments).iterdir() if path.is_dir()}


def test_a_script_finds_the_python_that_is_named(bench, virtual, shell_write_hyper, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/of/the/tracker")
    bench.settings["python"] = str(virtual)
    ask = "-c 'import sys; print(sys.executable, sys.prefix)'"
    bench.script(f"#!/bin/sh\npython {ask}\n/usr/bin/env python3 {ask}\necho $VIRTUAL_ENV\n{shell_write_hyper}")
    assert bench.run().state == TRAINED
    prefix = virtual.parent.parent
    jobs_own = [line for line in bench.printed() if not line.startswith("20")]
    assert jobs_own == [f"{virtual} {prefix}", f"{virtual} {prefix}", str(prefix)]


def test_a_notebook_runs_under_the_python_that_is_named(bench, virtual, write_hyper):
    bench.notebook("import sys; print('under', sys.executable)", write_hyper)
    bench.settings["python"] = str(virtual)
    with pytest.raises(EnvironmentFailure, match="has no ipykernel") as caught:
        bench.run()
    assert "-m pip install ipykernel" in caught.value.hint
    assert "has no ipykernel" in (bench.spec.partial / "log.txt").read_text()

    subprocess.run(BORROW, shell=True, check=True, cwd=bench.root, env={"PATH": f"{virtual.parent}:/usr/bin:/bin"})
    assert bench.run().state == TRAINED
    assert f"under {virtual}" in bench.printed()


def test_a_name_is_looked_up_in_path_and_what_is_found_is_asked_outside_the_checkout(bench, virtual, monkeypatch):
    shim = bench.root / "shims" / "python-of-the-team"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\ntest -e requirements.txt && exit 1\nexec "{virtual}" "$@"\n')
    shim.chmod(0o755)
    (bench.checkout / "requirements.txt").touch()
    monkeypatch.chdir(bench.checkout)
    monkeypatch.setenv("PATH", str(shim.parent), prepend=":")
    found = environment.ask("python-of-the-team")
    assert (found.executable, found.prefix) == (str(virtual), str(virtual.parent.parent))
    assert found.is_virtual and not found.is_set_up


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/no/such/python", "no Python /no/such/python"),
        ("no-such-python", "no Python no-such-python"),
        ("plain-file", "not executable"),
        ("/bin/false", "ended with exit code 1 and said: nothing"),
        ("/bin/echo", "is no Python"),
        ("broken", "cannot be started"),
    ],
)
def test_a_python_that_cannot_be_used_is_no_landings_fault(bench, name, why):
    (bench.root / "plain-file").touch()
    (bench.root / "broken").write_text("neither a script nor a program")
    (bench.root / "broken").chmod(0o755)
    here = bench.root / name
    bench.settings["python"] = str(here) if here.exists() else name
    with pytest.raises(EnvironmentFailure, match=why) as caught:
        prepare(bench)
    assert caught.value.hint


def test_the_worker_tells_the_engine_whose_fault_it_was(bench):
    bench.settings["python"] = "/no/such/python"
    bench.script("#!/bin/sh\n")
    with pytest.raises(EnvironmentFailure, match="/no/such/python") as caught:
        bench.run()
    assert "ds_job_python" in caught.value.hint
    assert bench.spec.partial.is_dir() and not bench.spec.result.exists()


def test_an_environment_is_set_up_once_and_a_notebook_runs_in_it(bench, write_hyper):
    (bench.checkout / "requirements.txt").write_text("left-pad==1.0\n")
    # With pip, as it is made in earnest: this is done by the worker.
    bench.settings["setup_command"] = f"{BORROW}; pip --version; pwd; echo $VIRTUAL_ENV > ran; echo $ds_epochs >> ran"
    bench.settings["environment"] = {"ds_epochs": "3"}
    bench.notebook("import sys; print('under', sys.executable)", write_hyper)
    assert bench.run().state == TRAINED
    (name,) = folders(bench)
    folder = Path(bench.spec.environments, name)
    assert (bench.checkout / "ran").read_text() == f"{folder}\n3\n"
    assert f"under {folder / 'bin' / 'python'}" in bench.printed()
    assert any(line.startswith("pip ") and str(folder) in line for line in bench.printed())
    assert str(bench.checkout) in bench.printed()
    assert bench.spec.setup_command not in bench.result("log.txt")

    (bench.checkout / "ran").unlink()
    bench.settings["result"] = bench.root / "runs" / "second"
    bench.script("#!/bin/sh\npython -c 'import sys; print(sys.prefix)'\n")
    assert "left no hyper.json" in bench.run().why
    assert str(folder) in bench.printed()
    assert not (bench.checkout / "ran").exists()
    assert "is used again" in bench.result("log.txt")


def test_an_environment_without_ipykernel_is_the_landings_own_fault(bench):
    bench.settings["setup_command"] = ":"
    python, _ = prepare(bench)
    with pytest.raises(LandingFailed, match="has no ipykernel") as caught:
        environment.require_ipykernel(python)
    assert "ds_setup_command" in caught.value.hint


def test_what_the_dependencies_are(bench, tmp_path):
    base = environment.ask(sys.executable)
    seen = set()

    def changes():
        name = environment.fingerprint(bench.spec, base)
        is_new = name not in seen
        seen.add(name)
        return is_new

    assert changes() and not changes()
    for name in ("requirements.txt", "requirements/dev.txt", "pyproject.toml", "uv.lock", "environment.yml"):
        path = bench.checkout / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("one")
        assert changes(), name
        path.write_text("two")
        assert changes(), name
        path.write_text("one")
        os.utime(path, (1, 1))
        assert not changes(), name
    for name in ("train.py", "docs/requirements.txt"):
        (bench.checkout / name).parent.mkdir(exist_ok=True)
        (bench.checkout / name).touch()
        assert not changes()
    bench.settings["setup_command"] = "pip install -r requirements.txt"
    assert changes()
    assert environment.fingerprint(bench.spec, environment.Interpreter("/x", "/", base.version, False)) not in seen
    assert environment.fingerprint(bench.spec, environment.Interpreter(base.executable, "/", "4", False)) not in seen

    bench.settings["setup_files"] = ("deps/**/*.in",)
    assert changes()
    (bench.checkout / "requirements.txt").write_text("three")
    assert not changes()
    (bench.checkout / "deps" / "a").mkdir(parents=True)
    (bench.checkout / "deps" / "a" / "b.in").touch()
    assert changes()
    bench.settings["setup_files"] = ("/etc/passwd",)
    with pytest.raises(EnvironmentFailure, match="ds_setup_files"):
        changes()


def test_what_is_outside_the_checkout_is_not_read(bench, tmp_path):
    base = environment.ask(sys.executable)
    secret = tmp_path / "secret.txt"
    secret.write_text("one")
    (bench.checkout / "requirements.txt").symlink_to(secret)
    (bench.checkout / "requirements").symlink_to(tmp_path)
    os.mkfifo(bench.checkout / "requirements-fifo.txt")  # which would be read for ever
    (bench.checkout / "Pipfile").symlink_to("/dev/zero")
    (bench.checkout / "setup.py").symlink_to("setup.py")
    bench.settings["setup_files"] = (*environment.DEPENDENCY_FILES, "../secret.txt")
    before = environment.fingerprint(bench.spec, base)
    secret.write_text("two")
    assert environment.fingerprint(bench.spec, base) == before


def test_a_command_that_fails_fails_the_landing_and_is_tried_again(bench):
    bench.settings["setup_command"] = "echo one; echo no such package >&2; test -e mended"
    with pytest.raises(LandingFailed) as caught:
        prepare(bench)
    assert caught.value.message == ("ds_setup_command ended with exit code 1; it last printed: one / no such package")
    (bench.checkout / "mended").touch()
    _, log = prepare(bench)
    assert "is made" in log and "is used again" not in log
    _, log = prepare(bench)
    assert "is used again" in log


def test_one_that_was_cut_off_is_made_anew(bench):
    bench.settings["setup_command"] = "touch $VIRTUAL_ENV/done"
    folder = Path(bench.spec.environments, environment.fingerprint(bench.spec, environment._running()))
    (folder / "lib").mkdir(parents=True)
    (folder / "left").touch()
    _, log = prepare(bench)
    assert "is made" in log
    assert (folder / "done").exists() and not (folder / "left").exists()


def test_what_the_command_leaves_running_is_ended_with_it(bench):
    bench.settings["setup_command"] = (
        "env -i setsid sh -c 'echo $$ > pid; exec sleep 1000' & while ! test -s pid; do sleep 0.02; done"
    )
    processes.adopt_orphans()  # as the worker does
    try:
        prepare(bench)
    finally:
        processes._prctl(processes._PR_SET_CHILD_SUBREAPER, 0)
    assert not Path("/proc", (bench.checkout / "pid").read_text().strip()).exists()


def test_the_limit_of_the_run_holds_for_the_command_and_for_the_wait_for_another(bench):
    bench.settings |= {"setup_command": "echo $$ > pid; exec sleep 1000", "run_seconds": 1.0}
    with pytest.raises(LandingFailed) as caught:
        prepare(bench, time.monotonic() + 1)
    assert caught.value.message == (
        "the job's virtual environment was not ready when the whole run had taken 1 s, its limit"
    )
    processes.end_all(lambda: processes.descendants(os.getpid()), grace=0)  # as the worker does

    (name,) = folders(bench)
    with Path(bench.spec.environments, f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with pytest.raises(LandingFailed, match="another run was still making"):
            prepare(bench, time.monotonic())


def test_a_tick_that_is_told_to_stop_ends_the_command(bench, interrupt, interrupted):
    bench.settings["setup_command"] = "trap '' TERM; echo $$ > pid; echo started; while :; do sleep 0.1; done"
    bench.script("#!/bin/sh\n")
    began = []

    def watch(progress):
        if "started" in progress.lines:
            began.append(time.monotonic())
            interrupt()

    with pytest.raises(interrupted):
        LocalEngine().run(bench.spec, watch)
    assert time.monotonic() - began[0] < 9
    assert processes.marked(bench.spec.run_id) == []
    assert not Path("/proc", (bench.checkout / "pid").read_text().strip()).exists()


def test_who_waited_to_make_it_uses_what_another_made_meanwhile(bench):
    bench.settings["setup_command"] = "touch ran"
    folder = Path(bench.spec.environments, environment.fingerprint(bench.spec, environment._running()))
    folder.mkdir(parents=True)
    done = threading.Event()

    def make():
        """The other one: it is seen at its work, and has done it when it is."""
        while "which is waited for" not in (bench.root / "log.txt").read_text():
            time.sleep(0.02)
        (folder / "complete").touch()
        other.close()
        done.set()

    (bench.root / "log.txt").touch()
    other = folder.with_name(f"{folder.name}.lock").open("a")
    fcntl.flock(other, fcntl.LOCK_SH)
    thread = threading.Thread(target=make)
    thread.start()
    _, log = prepare(bench, time.monotonic() + 30)
    thread.join()
    assert done.is_set()
    assert "is used again" in log and not (bench.checkout / "ran").exists()


def test_two_that_share_the_folder_make_it_once(bench):
    bench.settings["setup_command"] = "echo x >> ran; while ! test -e go; do sleep 0.02; done"
    logs = []
    # In processes of their own, since a process ends all that it started when the command has ended.
    code = (
        "import sys; from pathlib import Path; from deepspeech_wer.job import environment\n"
        "from deepspeech_wer.job.output import Output; from deepspeech_wer.job.spec import JobSpec\n"
        "environment._VENV += ('--without-pip',)\n"
        "with environment.prepared(JobSpec.from_json(sys.stdin.read()), Output(), None) as python:\n"
        "    print(Path(python.executable).is_file(), flush=True)\n"
    )

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        process.stdin.write(bench.spec.to_json())
        process.stdin.close()
        return process

    def log(process):
        logs.append(process.stdout.read())

    running = [start(), start()]
    threads = [threading.Thread(target=log, args=(process,)) for process in running]
    for thread in threads:
        thread.start()
    while not (bench.checkout / "ran").exists():
        time.sleep(0.02)
    (bench.checkout / "go").touch()
    for thread, process in zip(threads, running, strict=True):
        thread.join()
        assert process.wait() == 0
    assert (bench.checkout / "ran").read_text() == "x\n"
    assert ["True" in log.splitlines() for log in logs] == [True, True]
    assert sorted("ds_setup_command starts" in log for log in logs) == [False, True]


def test_the_newest_are_kept_and_none_that_is_used(bench):
    made = []
    for number in range(environment.KEPT + 3):
        bench.settings["setup_command"] = f": {number}"
        python, _ = prepare(bench)
        made.append(Path(python.prefix))
        os.utime(made[-1] / "complete", (number, number))
    (Path(bench.spec.environments) / "notes").mkdir()
    assert {path.name for path in made[-environment.KEPT - 1 :]} == folders(bench) - {"notes"}

    bench.settings["setup_command"] = f": {environment.KEPT}"  # the oldest but one is used, and so the newest
    prepare(bench)
    oldest = made[2]
    with oldest.with_name(f"{oldest.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        bench.settings["setup_command"] = ": another"
        prepare(bench)
        assert oldest.is_dir()
    bench.settings["setup_command"] = ": one more"
    prepare(bench)
    assert not oldest.exists() and not oldest.with_name(f"{oldest.name}.lock").exists()
    assert made[environment.KEPT].is_dir()
    assert len(folders(bench) - {"notes"}) == environment.KEPT + 1


def test_a_folder_of_environments_that_cannot_be_used_is_no_landings_fault(bench):
    Path(bench.spec.environments).write_text("a file in its place")
    bench.settings["setup_command"] = ":"
    with pytest.raises(EnvironmentFailure, match="environments"):
        prepare(bench)
