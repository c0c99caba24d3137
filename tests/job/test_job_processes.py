"""Finding and ending the processes of a job, with real ones."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time

import pytest

from deepspeech_wer.job import processes

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(1000)"
)


@pytest.fixture
def run_id(request):
    name = f"run-{os.getpid()}-{request.node.name}"
    yield name
    processes.end_run(name, grace=0)


def start(run_id, *command):
    """A process that carries the run's mark, once it has printed its first line."""
    environment = os.environ | {processes.RUN_ID: run_id}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline()
    return process


def pids(found):
    return {process.pid for process in found}


def test_marked_finds_those_of_the_run_and_no_others(run_id):
    own = start(run_id, "sh", "-c", "echo; sleep 1000 & wait")
    other = start(run_id + "-other", "sh", "-c", "echo; sleep 1000 & wait")
    try:
        for _ in range(250):  # the shell starts its second process in its own time
            found = pids(processes.marked(run_id))
            if len(found) == 2:
                break
            time.sleep(0.02)
        assert own.pid in found and len(found) == 2
        assert processes.end_run(run_id) == []
        assert processes.marked(run_id) == []
        assert own.wait(1) is not None
        assert other.poll() is None
    finally:
        processes.end_run(run_id + "-other", grace=0)


def test_a_process_does_not_end_itself_and_what_is_above_it(run_id):
    """What a tick does that was started by hand in a job's notebook: it sweeps, and lives on to tell."""
    sweep = f"from deepspeech_wer.job import processes; print(processes.end_run({run_id!r}), flush=True)"
    shell = start(run_id, "sh", "-c", f'sleep 1000 & "{sys.executable}" -c "{sweep}"; echo alive')
    assert shell.stdout.read() == b"alive\n"  # communicate() would lose what readline() took in advance
    assert processes.marked(run_id) == []


def test_sigterm_then_sigkill(run_id):
    polite = start(run_id, "sh", "-c", "trap 'echo bye; exit 7' TERM; echo; while :; do sleep 0.02; done")
    stubborn = start(run_id, sys.executable, "-c", STUBBORN)
    began = time.monotonic()
    assert processes.end_run(run_id, grace=1.0) == []
    assert 1.0 <= time.monotonic() - began < 3.0
    assert polite.stdout.read() == b"bye\n"
    assert stubborn.stdout.read() == b""


def test_what_is_started_meanwhile_is_ended_as_well(run_id):
    start(run_id, "sh", "-c", "trap 'sleep 1000 & exit' TERM; echo; while :; do sleep 0.02; done")
    assert processes.end_run(run_id, grace=2.0) == []
    assert processes.marked(run_id) == []


def test_descendants_are_found_below_other_sessions_and_strange_names(run_id, tmp_path):
    odd = tmp_path / "a) Z 1 (b"
    odd.symlink_to("/bin/sleep")
    top = start(run_id, "sh", "-c", f"setsid sh -c 'echo; \"{odd}\" 1000 & wait' & wait")
    for _ in range(250):
        found = pids(processes.descendants(top.pid))
        if len(found) == 2:
            break
        time.sleep(0.02)
    assert len(found) == 2 and top.pid not in found
    assert found < pids(processes.marked(run_id))


def found_in(*folders):
    return pids(processes.working_in(folders))


def test_who_works_in_a_folder_is_found_also_when_it_is_deleted(run_id, tmp_path):
    folder = tmp_path / "a folder"
    below = folder / "below"
    below.mkdir(parents=True)
    beside = tmp_path / "a folder beside"
    beside.mkdir()
    there = start(run_id, "sh", "-c", f'cd "{below}"; echo; exec sleep 1000')
    writing = start(run_id, "sh", "-c", f'exec 7>> "{folder}/log"; echo; exec sleep 1000')
    start(run_id, "sh", "-c", f'exec 7< "{folder}/log"; echo; exec sleep 1000')  # who only reads
    start(run_id, "sh", "-c", f'cd "{beside}"; echo; exec sleep 1000')
    assert found_in(folder) == {there.pid, writing.pid}
    assert found_in(folder / "log") == {writing.pid}
    assert found_in() == found_in(tmp_path / "elsewhere") == set()
    link = tmp_path / "linked"
    link.symlink_to(tmp_path)
    assert found_in(link / "a folder") == {there.pid, writing.pid}
    shutil.rmtree(folder)
    assert found_in(folder) == {there.pid, writing.pid}
    assert processes.end_run("no such run", [folder]) == []
    assert there.wait(1) is not None and writing.wait(1) is not None


def test_a_link_in_the_place_of_a_folder_leads_nowhere(run_id, tmp_path):
    """A job may put one there that leads to the user's home, where everything else of the user works."""
    home, folder = tmp_path / "home", tmp_path / "result"
    home.mkdir()
    folder.symlink_to(home)
    start(run_id, "sh", "-c", f'cd "{home}"; echo; exec sleep 1000')
    assert found_in(folder) == set()


def test_who_sits_at_a_terminal_there_and_the_one_who_asks_are_left_alone(run_id, tmp_path, monkeypatch):
    master, slave = pty.openpty()
    shell = subprocess.Popen(
        ["setsid", "--ctty", "sh", "-c", "echo; exec sleep 1000"],
        cwd=tmp_path,
        env=os.environ | {processes.RUN_ID: run_id},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    try:
        assert os.read(master, 1)
        monkeypatch.chdir(tmp_path)
        assert found_in(tmp_path) == set()
        assert shell.poll() is None
    finally:
        os.close(master)
        os.close(slave)
