from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from history import BROKEN, SCRIPT, Repository
from installation import Installation

SLOW = "#!/bin/sh\necho begun > {mark}\nsleep 300\n"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.begun(tmp_path / "repository")


@pytest.fixture
def installation(tmp_path: Path, repository: Repository) -> Installation:
    return Installation(tmp_path / "home", {"ds_repository": str(repository.path)})


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process works; one that is dead and not yet collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_from_the_first_landing_to_nothing_new(repository: Repository, installation: Installation) -> None:
    repository.train("Before the tracker", 0.9)
    first = repository.train("The first that it sees", 0.5)
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [first], "a first run takes only the head"
    assert installation.last_sha1() == first
    assert "test WER of 50.00%" in done.stderr

    second, third = repository.train("Better", 0.4), repository.train("Worse", 0.6)
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [first, second, third]
    assert [run["results"]["test_wer"] for run in installation.runs()] == [0.5, 0.4, 0.6]
    assert installation.last_sha1() == third

    before = sorted(path.name for path in (installation.data / "runs").iterdir())
    done = installation.run("run")
    assert (done.returncode, done.stdout) == (0, "")
    assert len(done.stderr.splitlines()) == 1
    assert "nothing new" in done.stderr
    assert sorted(path.name for path in (installation.data / "runs").iterdir()) == before
    assert not (installation.cache / "lock").exists()
    assert list((installation.cache / "clone").iterdir()) == [], "the checkouts are wiped"
    assert (installation.data / "www" / "index.html").exists()


def test_a_failed_landing_is_recorded_and_the_next_goes_on(repository: Repository, installation: Installation) -> None:
    installation.variables["ds_retries"] = "0"
    first = repository.train("Good", 0.5)
    installation.run("run")
    broken = repository.land("Break it", {"bin/run-wer-automation.sh": BROKEN})
    empty = repository.land("Lose it", {"bin/run-wer-automation.sh": "#!/bin/sh\ntrue\n"})
    good = repository.train("Mend it", 0.3)
    done = installation.run("run")
    assert done.returncode == 70, done.stderr
    assert installation.trained() == [first, good]
    assert installation.last_sha1() == good
    page = (installation.data / "www" / "index.html").read_text()
    assert broken[:7] in page
    assert empty[:7] in page
    assert installation.run("run").returncode == 0, "a failed landing is passed, not tried for ever"


def test_a_job_that_meddles_with_our_files_fails_nobody_but_itself(
    repository: Repository, installation: Installation
) -> None:
    script = '#!/bin/sh\ncd "$ds_result_dir"\necho {} > job.json\nrm -f status.json\nmkdir -p status.json/x\n'
    meddler = repository.land("Meddle", {"bin/run-wer-automation.sh": script})
    installation.run("run")
    good = repository.train("Good", 0.5)
    assert installation.run("run").returncode == 0
    assert installation.trained() == [good]
    assert meddler[:7] in (installation.data / "www" / "index.html").read_text()


@pytest.mark.parametrize(
    "meddling",
    [
        'rm -rf "$ds_result_dir"; touch "$ds_result_dir"',
        'rm -rf "$ds_result_dir"; ln -s {outside} "$ds_result_dir"; echo {hyper} > {outside}/hyper.json',
        'rm -rf "$ds_result_dir"',
        'mkdir "$ds_result_dir/hyper.json"',
        'mkdir "$ds_result_dir/hyper.json.invalid"; echo NaN > "$ds_result_dir/hyper.json"',
    ],
)
def test_a_job_that_replaces_its_result_folder_fails_and_leads_nothing_elsewhere(
    repository: Repository, installation: Installation, tmp_path: Path, meddling: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    hyper = '\'{"context": {}, "parameters": {}, "results": {"test_wer": 0.1}}\''
    line = meddling.replace("{outside}", str(outside)).replace("{hyper}", hyper)
    meddler = repository.land("Meddle", {"bin/run-wer-automation.sh": f"#!/bin/sh\n{line}\n"})
    good = repository.train("Good", 0.5)
    done = installation.run("run", "--sha", f"{meddler},{good}")
    assert done.returncode == 70, done.stderr
    assert "exit code 1" not in done.stderr
    assert installation.trained() == [good]
    assert {path.name for path in outside.iterdir()} <= {"hyper.json"}
    assert not any(path.is_symlink() for path in (installation.data / "runs").iterdir())


class Private(http.server.SimpleHTTPRequestHandler):
    """Files for those who know the password."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == "Basic " + base64.b64encode(b"ada:s3cret").decode():
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_password_in_the_address_opens_the_repository_and_is_nowhere_to_be_found(
    repository: Repository, installation: Installation
) -> None:
    look = "#!/bin/sh\nenv\ncat .git/config\nps -ef\n"
    script = repository.path / "bin" / "run-wer-automation.sh"
    repository.train("Good", 0.5)
    repository.land("Look around", {"bin/run-wer-automation.sh": look + script.read_text()[len("#!/bin/sh\n") :]})
    repository.git("update-server-info")
    handler = functools.partial(Private, directory=str(repository.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}/.git"
        installation.variables["ds_repository"] = f"http://{address}"
        assert installation.run("run").returncode == 70, "without the password it is closed"
        installation.variables["ds_repository"] = f"http://ada:s3cret@{address}"
        done = installation.run("run")
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert f"http://{address}" in "".join(path.read_text() for path in (installation.data / "runs").glob("*/log.txt"))
    assert "s3cret" not in done.stdout + done.stderr
    for path in installation.home.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path


def test_neither_script_nor_notebook(repository: Repository, installation: Installation) -> None:
    installation.variables["ds_retries"] = "0"
    head = repository.land("Only prose", {"README.md": "Hello"})
    done = installation.run("run")
    assert done.returncode == 70
    assert "ds_notebook" in done.stderr
    assert installation.last_sha1() == head


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(repository: Repository, installation: Installation) -> None:
    head = repository.train("Good", 0.5)
    done = installation.run("run", "--dry-run")
    assert done.returncode == 0
    assert f"would train {head[:7]}" in done.stderr
    assert list(installation.home.iterdir()) == []
    installation.run("run")
    before = {path: path.stat().st_mtime_ns for path in installation.home.rglob("*")}
    assert "would do nothing" in installation.run("run", "--dry-run").stderr
    assert {path: path.stat().st_mtime_ns for path in installation.home.rglob("*")} == before


def test_named_commits_are_trained_whatever_has_landed(repository: Repository, installation: Installation) -> None:
    old = repository.train("Old", 0.7)
    middle = repository.train("Middle", 0.6)
    head = repository.train("Head", 0.5)
    installation.run("run")
    done = installation.run("run", "--sha", f"{middle[:9]},{old}")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [old, middle, head], "in commit order, whenever they were trained"
    assert installation.last_sha1() == head
    installation.variables["ds_automation_force_sha"] = head
    installation.run("run")
    assert installation.trained() == [old, middle, head, head]
    done = installation.run("run", "--sha", "0123456")
    assert done.returncode == 2
    assert "there is no commit 0123456" in done.stderr


def test_parameters_and_settings_of_the_job(repository: Repository, installation: Installation, tmp_path: Path) -> None:
    script = (
        '#!/bin/sh\nenv | grep ^ds_ | sort > "$ds_result_dir/env"; pwd >> "$ds_result_dir/env"\necho "$@"\nexit 1\n'
    )
    head = repository.land("Look around", {"bin/run-wer-automation.sh": script})
    config = tmp_path / "config.toml"
    config.write_text("[job]\nds_epochs = 3\n")
    installation.variables |= {"ds_website_username": "secret-login", "ds_website_privkey": "/secret/key"}
    installation.run("run", "--config", str(config))
    (run,) = (installation.data / "runs").iterdir()
    seen = (run / "env").read_text()
    assert "ds_epochs=3" in seen
    assert f"ds_dataset_path={installation.data / 'datasets'}" in seen
    assert f"ds_checkpoint_dir={installation.data / 'checkpoints' / head}" in seen
    assert "secret" not in seen
    assert f"--checkpoint_dir {installation.data / 'checkpoints' / head}" in (run / "log.txt").read_text()
    assert "secret" not in "".join(path.read_text() for path in run.iterdir())


def test_a_checkpoint_file_counts_once(repository: Repository, installation: Installation, tmp_path: Path) -> None:
    script = '#!/bin/sh\nls "$2" > "$ds_result_dir/seen"\nexit 1\n'
    repository.land("Look", {"bin/run-wer-automation.sh": script})
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "last.keras").write_text("weights")
    installation.cache.mkdir(parents=True)
    (installation.cache / "checkpoint_file").write_text(f"{kept}\n")
    installation.run("run")
    (first,) = (installation.data / "runs").iterdir()
    assert (first / "seen").read_text() == "last.keras\n"
    repository.commit("Look again")
    installation.run("run")
    (second,) = set((installation.data / "runs").iterdir()) - {first}
    assert (second / "seen").read_text() == ""
    assert not (installation.cache / "checkpoint_file").exists()
    assert (kept / "last.keras").exists()


def test_a_server_that_is_away_loses_nothing_and_trains_nothing_twice(
    repository: Repository, installation: Installation
) -> None:
    installation.variables |= {
        "ds_website_server_fqdn": "127.0.0.1",
        "ds_website_server_port": "1",
        "ds_website_server_root": "www",
        "ds_website_username": "wer",
    }
    repository.train("Good", 0.5)
    done = installation.run("run")
    assert done.returncode == 76, done.stderr
    assert not (installation.cache / "last_sha1").exists()
    second = repository.train("Better", 0.4)
    assert installation.run("run").returncode == 76
    assert len(list((installation.data / "runs").iterdir())) == 2
    for name in list(installation.variables):
        if name.startswith("ds_website"):
            del installation.variables[name]
    assert installation.run("run").returncode == 0
    assert len(list((installation.data / "runs").iterdir())) == 2, "nothing was trained again"
    assert installation.last_sha1() == second


def test_half_a_server_is_a_settings_error(repository: Repository, installation: Installation) -> None:
    installation.variables["ds_website_server_fqdn"] = "127.0.0.1"
    done = installation.run("run")
    assert done.returncode == 2
    assert "ds_website_username" in done.stderr
    assert not installation.data.exists()


def test_a_second_tick_is_told_to_wait(repository: Repository, installation: Installation, tmp_path: Path) -> None:
    mark = tmp_path / "begun"
    repository.land("Slow", {"bin/run-wer-automation.sh": SLOW.format(mark=mark)})
    process = installation.start("run")
    try:
        wait_for(mark, process)
        done = installation.run("run")
        assert done.returncode == 75
        assert f"pid {process.pid} " in done.stderr
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_tick_that_is_ended_goes_on_the_next_time(
    repository: Repository, installation: Installation, tmp_path: Path, number: int, code: int
) -> None:
    mark = tmp_path / "begun"
    script = f"#!/bin/sh\ntest -e {mark} && exec sh ./good\necho $$ > {mark}.new; mv {mark}.new {mark}\nsleep 300\n"
    good = 'echo \'{"context": {}, "parameters": {}, "results": {"test_wer": 0.5}}\' > "$ds_result_dir/hyper.json"\n'
    head = repository.land("Slow at first", {"bin/run-wer-automation.sh": script, "good": good})
    process = installation.start("run")
    wait_for(mark, process)
    began = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    if number != signal.SIGKILL:
        assert time.monotonic() - began < 10
        assert not is_running(int(mark.read_text())), "the trainer is ended, too"
        assert not (installation.cache / "lock").exists()
        assert list((installation.cache / "clone").iterdir()) == []
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [head]
    assert not (installation.cache / "lock").exists()
    assert not is_running(int(mark.read_text())), "also what kill -9 left is ended"
    assert [path.name for path in (installation.data / "runs").iterdir() if path.name.startswith(".")] == []


def test_a_trainer_whose_every_keeper_was_killed_is_ended_by_the_next_tick(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    mark = tmp_path / "begun"
    lines = (
        "#!/bin/sh",
        f"test -e {mark} && exit 1",
        "sleep 300 &",
        f"echo $PPID $! > {mark}.new; mv {mark}.new {mark}",
        "wait",
    )
    script = "\n".join(lines) + "\n"
    repository.land("Slow at first", {"bin/run-wer-automation.sh": script})
    process = installation.start("run")
    wait_for(mark, process)
    worker, trainer = map(int, mark.read_text().split())
    os.kill(worker, signal.SIGSTOP)  # so that it cannot clean up when the tick dies
    process.kill()
    process.communicate(timeout=30)
    os.kill(worker, signal.SIGKILL)
    assert is_running(trainer)
    installation.run("run")
    assert not is_running(trainer)


def test_two_installations_that_train_one_commit_at_once_do_not_end_each_others_jobs(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    script = f"#!/bin/sh\nsleep 1\n{SCRIPT.format(wer=0.5)}"
    repository.land("Takes a second", {"bin/run-wer-automation.sh": script})
    installations = [Installation(tmp_path / f"home{n}", installation.variables) for n in range(4)]
    processes = [each.start("run") for each in installations]
    ends = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, ends


def test_a_lost_last_sha1_loses_no_landing(repository: Repository, installation: Installation) -> None:
    first = repository.train("One", 0.5)
    installation.run("run")
    (installation.cache / "last_sha1").unlink()
    second, third = repository.train("Two", 0.4), repository.train("Three", 0.3)
    done = installation.run("run")
    assert done.returncode == 0
    assert installation.trained() == [first, second, third]
    assert f"last_sha1 is missing: going on from {first[:7]}" in done.stderr


def test_a_head_that_is_on_no_branch(repository: Repository, installation: Installation) -> None:
    head = repository.train("Good", 0.5)
    repository.git("checkout", "--quiet", "--detach")
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [head]


def test_the_users_own_git_settings_change_nothing(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[clone]\n\tdefaultRemoteName = upstream\n[safe]\n\tbareRepository = explicit\n")
    installation.variables["GIT_CONFIG_GLOBAL"] = str(settings)
    head = repository.train("Good", 0.5)
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [head]


def test_a_result_that_nobody_lived_to_note_is_taken_up(repository: Repository, installation: Installation) -> None:
    head = repository.train("Good", 0.5)
    installation.run("run")
    journal = installation.data / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    until = next(index for index, line in enumerate(lines) if json.loads(line)["state"] == "running")
    journal.write_text("".join(lines[: until + 1]))
    (installation.cache / "last_sha1").unlink()
    assert installation.run("run").returncode == 0
    assert len(list((installation.data / "runs").iterdir())) == 1
    assert installation.last_sha1() == head


def test_a_branch_that_was_set_back_and_goes_on_trains_only_what_is_new(
    repository: Repository, installation: Installation
) -> None:
    first = repository.train("One", 0.5)
    installation.run("run")
    second = repository.train("Two", 0.4)
    installation.run("run")
    repository.git("reset", "--quiet", "--hard", first)
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.last_sha1() == first
    assert "nothing new" in installation.run("run").stderr
    repository.git("reset", "--quiet", "--hard", second)
    third = repository.train("Three", 0.3)
    assert installation.run("run").returncode == 0
    assert installation.trained() == [first, second, third]


def test_a_tick_that_a_git_hook_starts(repository: Repository, installation: Installation, tmp_path: Path) -> None:
    head = repository.train("Good", 0.5)
    other = Repository.begun(tmp_path / "other")
    installation.variables |= {"GIT_DIR": str(other.path / ".git"), "GIT_WORK_TREE": str(other.path)}
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [head]


def test_no_repository_and_one_that_cannot_be_reached(installation: Installation) -> None:
    installation.variables["ds_repository"] = "/nowhere"
    done = installation.run("run")
    assert done.returncode == 70
    assert "/nowhere cannot be read" in done.stderr
    del installation.variables["ds_repository"]
    done = installation.run("run")
    assert done.returncode == 2
    assert "ds_repository" in done.stderr
