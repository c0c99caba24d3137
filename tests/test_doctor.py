from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import config, doctor, lock, page, schedule
from deepspeech_wer.config import Settings
from deepspeech_wer.diagnosis import Check, Examination, State, machine, publishing, tracking, training, within
from deepspeech_wer.errors import RepositoryError, TrackerError
from deepspeech_wer.job import gpu, processes
from deepspeech_wer.journal import Journal
from deepspeech_wer.log import Log
from github_server import FakeGitHub, Fault
from history import Repository
from installation import Installation
from ssh_servers import Server, asyncssh_server, new_key, public_line

#: A fake of TensorFlow: the real one takes many seconds to import, and no GPU is here for it to see.
TENSORFLOW = """
import os, pathlib
from types import SimpleNamespace
for variable, usual in (("KERAS_HOME", "~/.keras"), ("MPLCONFIGDIR", "~/.config/matplotlib")):  # as the real ones do
    folder = pathlib.Path(os.environ.get(variable) or usual).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "written").write_text("")
__version__ = "2.99.0"
_DEVICES = [SimpleNamespace(name=f"/physical_device:GPU:{{n}}") for n in range({gpus})]
config = SimpleNamespace(
    list_physical_devices=lambda kind: _DEVICES,
    experimental=SimpleNamespace(get_device_details=lambda device: {{"device_name": "H200"}}),
)
print("a line of its own")
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for kind in ("cache", "config", "data"):
        monkeypatch.setattr(f"xdg.BaseDirectory.xdg_{kind}_home", str(tmp_path / kind))
    for name in list(os.environ):
        if name.startswith("ds_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(schedule, "planned", lambda now: [])  # not those of whoever tests
    repository = Repository.begun(tmp_path / "repository")
    return config.load(environment={"ds_repository": str(repository.path), "ds_disk_free": "0"})


def one(examination: Examination, settings: Settings) -> Check:
    """The only finding."""
    (found,) = list(examination(settings))
    return found


def by_name(found: Iterator[Check] | list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_tensorflow(folder: Path, gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "tensorflow.py").write_text(TENSORFLOW.format(gpus=gpus))
    monkeypatch.setenv("PYTHONPATH", str(folder))


# The verb ---------------------------------------------------------------------------------------------------------


def test_the_command_on_a_machine_where_all_is_well_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorflow(tmp_path / "fake", 0, monkeypatch)
    repository = Repository.begun(tmp_path / "repository")
    installation = Installation(tmp_path / "home", {"ds_repository": str(repository.path), "ds_disk_free": "0.001"})
    done = installation.run("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert all(set(each) == {"name", "state", "found", "mend"} for each in found)
    assert {each["name"] for each in found if each["state"] != "ok"} <= {"schedule", "clock"}  # the machine's own
    assert all(each["mend"] for each in found if each["state"] != "ok")
    states = {each["name"]: each["state"] for each in found}
    for name in ("settings", "ds_dataroot", "disk", "git", "repository", "journal", "kernel", "tensorflow", "website"):
        assert states[name] == "ok"
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_what_cannot_be_examined_is_a_finding_and_the_rest_is_examined(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(settings: Settings) -> Iterator[Check]:
        yield Check("a", State.OK, "\x1b[2Jfine")
        raise TrackerError("it is not there", "put it there")

    def breaks(settings: Settings) -> Iterator[Check]:
        yield Check("c", State.WARN, "so so", "do this")
        raise PermissionError(13, "Permission denied", "/x")

    monkeypatch.setattr(doctor, "EXAMINATIONS", (("b", refuses), ("d", breaks)))
    assert doctor.doctor(settings) == 70
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split(None, 2)[:2] for line in lines if line[0] != " "] == [
        ["ok", "a"],
        ["fail", "b"],
        ["warn", "c"],
        ["fail", "d"],
    ]
    assert lines[0].endswith(r"\x1b[2Jfine")
    assert lines[lines.index("fail  b               it is not there") + 1] == "      put it there"
    assert "/x: Permission denied" in "\n".join(lines)
    assert [check.state for check in doctor.check(settings)] == ["ok", "ok", "fail", "warn", "fail"]


def test_warnings_alone_are_no_failure(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXAMINATIONS", (("a", lambda settings: iter([Check("a", State.WARN, "x", "y")])),))
    assert doctor.doctor(settings, as_json=True) == 0


def test_no_repository_is_a_finding(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXAMINATIONS", (("repository", tracking.repository),))
    check = doctor.check(replace(settings, repository=""))[-1]
    assert (check.state, check.found) == (State.FAIL, "no repository is named")
    assert "ds_repository" in check.mend


def test_a_question_that_is_not_answered_ends_with_what_it_started(settings: Settings) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/speech.git"
        before = processes.descendants(os.getpid())
        with pytest.raises(TrackerError, match=r"gave no answer within 0\.5 s"):
            within(0.5, "the server", lambda: tracking.find_head(url, "HEAD"))
        assert processes.descendants(os.getpid()) == before


def test_a_question_that_is_refused() -> None:
    def refuse() -> None:
        raise RepositoryError("away")

    with pytest.raises(RepositoryError, match="away"):
        within(5, "the server", refuse)


# The machine ------------------------------------------------------------------------------------------------------


def test_a_file_with_secrets_that_others_can_read(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "wer.toml"
    file.write_text('ds_github_token = "geheim"\nds_repository = "https://ada:geheim@example.org/x.git"\n')
    file.chmod(0o644)
    loaded = config.load(environment={}, file=file)
    first, second = machine.settings_file(loaded, file)
    assert first.found.startswith(str(file))
    assert second.state is State.WARN
    assert "ds_github_token, ds_repository" in second.found
    assert "geheim" not in first.found + second.found + second.mend
    file.chmod(0o600)
    assert len(list(machine.settings_file(loaded, file))) == 1


def test_the_variables_in_use_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_github_token", "geheim")
    monkeypatch.setenv("ds_epochs", "3")  # the training's
    (check,) = machine.settings_file(settings, Path("/nowhere/config.toml"))
    assert check.found.endswith("from the environment: ds_github_token")


def test_folders_that_take_no_file(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    unusable = replace(settings, dataroot=Path("/proc/wer"), clone_path=tmp_path / "file" / "clone")
    found = by_name(machine.folders(unusable))
    assert "/proc takes no file" in found["ds_dataroot"].found
    assert "is not a folder" in found["ds_clone_path"].found
    assert {found[name].state for name in ("ds_dataroot", "ds_clone_path")} == {State.FAIL}
    assert found["cache"].state is State.OK
    assert not (tmp_path / "cache").exists()


def test_a_lock_on_another_machines_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine._file_system(Path("/proc/self/fd")) == "proc"
    assert by_name(machine.folders(settings)).get("lock") is None
    monkeypatch.setattr(machine, "_file_system", lambda folder: "nfs4")
    assert by_name(machine.folders(settings))["lock"].state is State.WARN


def test_a_disk_without_the_room_that_is_wanted(settings: Settings) -> None:
    assert one(machine.disks, settings).state is State.OK
    check = one(machine.disks, replace(settings, disk_free=1e9))
    assert check.state is State.FAIL
    assert "ds_dataroot, ds_clone_path, cache; 1e+09 GB are wanted" in check.found


def test_a_clock_that_was_set_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_is_synchronised", lambda: None)
    settings.dataroot.mkdir(parents=True)
    journal = settings.dataroot / "journal.jsonl"
    journal.write_text("")
    assert one(machine.clock, settings).state is State.OK
    os.utime(journal, (time.time() + 86400,) * 2)
    check = one(machine.clock, settings)
    assert check.state is State.WARN
    assert str(journal) in check.found
    monkeypatch.setattr(machine, "_FIRST_YEAR", 9999)
    assert one(machine.clock, settings).state is State.FAIL


@pytest.mark.parametrize(("said", "state"), [("yes", State.OK), ("no", State.WARN), ("what?", State.OK)])
def test_a_clock_that_nobody_sets(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, state: State
) -> None:
    program(tmp_path / "bin" / "timedatectl", f"echo '{said}'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert one(machine.clock, settings).state is state


# What is tracked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("echo git version 2.39.5", State.OK),
        ("echo git version 2.30.2", State.FAIL),
        ("echo git version 10.0", State.OK),
        ("echo broken; exit 1", State.FAIL),
        (None, State.FAIL),
    ],
)
def test_git(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, state: State
) -> None:
    (tmp_path / "bin").mkdir()
    if text:
        program(tmp_path / "bin" / "git", text)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert one(tracking.git, settings).state is state


def test_the_repository(settings: Settings, tmp_path: Path) -> None:
    check = one(tracking.repository, settings)
    assert check.state is State.OK
    assert "main is at " in check.found
    with pytest.raises(RepositoryError, match="no branch nowhere"):
        one(tracking.repository, replace(settings, ref="nowhere"))
    secret = replace(settings, repository="https://ada:geheim@127.0.0.1:9/x.git")
    with pytest.raises(RepositoryError) as caught:
        one(tracking.repository, secret)
    assert "geheim" not in caught.value.message + caught.value.hint


def test_github_is_asked_only_where_it_is_the_source(settings: Settings) -> None:
    assert list(tracking.github(settings)) == []
    asked = replace(settings, landings_source="github", github_account="acme", github_project="speech")
    with FakeGitHub(Repository(Path(settings.repository))).serving() as fake:
        check = one(tracking.github, replace(asked, github_api=fake.address))
        assert (check.state, fake.address in check.found) == (State.OK, True)
        assert not settings.cache.exists()
        fake.faults += [Fault(404)] * 5
        with pytest.raises(TrackerError):
            list(tracking.github(replace(asked, github_api=fake.address)))


def test_the_lock_and_the_journal(settings: Settings) -> None:
    path = settings.cache / "lock"
    found = by_name(tracking.lock_and_journal(settings))
    assert (found["lock"].found, found["journal"].state) == ("free", State.OK)
    with lock.held(path, "a test"):
        assert f"held by pid {os.getpid()} " in by_name(tracking.lock_and_journal(settings))["lock"].found
    path.write_text("")
    assert "left behind" in by_name(tracking.lock_and_journal(settings))["lock"].found
    journal = Journal(settings.dataroot / "journal.jsonl", settings.cache / "last_sha1")
    journal.advance("a" * 40)
    assert by_name(tracking.lock_and_journal(settings))["journal"].found.endswith(", 1 lines")
    with journal.path.open("ab") as file:
        file.write(b'{"time": "2026\n[]\n')
    journal.pointer.write_text("garbage \xff")
    (settings.cache / "checkpoint_file").write_text("/nowhere\n")
    found = by_name(tracking.lock_and_journal(settings))
    assert (found["journal"].state, found["last_sha1"].state) == (State.WARN, State.WARN)
    assert ", 2 of them" in found["journal"].found
    assert found["checkpoint_file"].state is State.FAIL
    (settings.cache / "checkpoint_file").write_text(str(settings.cache))
    assert by_name(tracking.lock_and_journal(settings))["checkpoint_file"].state is State.OK


def test_a_folder_in_the_place_of_the_lock(settings: Settings) -> None:
    (settings.cache / "lock").mkdir(parents=True)
    check = by_name(tracking.lock_and_journal(settings))["lock"]
    assert check.state is State.FAIL and "cannot be opened" in check.found and check.mend


def test_templates(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert one(tracking.page_templates, settings).state is State.OK
    monkeypatch.setattr("deepspeech_wer.templates.folder", lambda: tmp_path)
    assert one(tracking.page_templates, settings).state is State.FAIL


def test_what_starts_ticks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepspeech_wer.schedule.crontab.is_daemon_seen", lambda: True)
    assert "install-cron" in one(tracking.ticks, settings).mend
    when = datetime(2026, 11, 21, 2, 45, tzinfo=UTC)
    for path, state in ((sys.executable, State.OK), ("/gone/deepspeech-wer", State.FAIL)):
        starters = [schedule.Starter("line 3 of the crontab", when, Path(path))]
        monkeypatch.setattr(schedule, "planned", lambda now, starters=starters: starters)
        assert one(tracking.ticks, settings).state is state
    monkeypatch.setenv("ds_github_token", "geheim")
    monkeypatch.setattr("deepspeech_wer.schedule.crontab.is_daemon_seen", lambda: False)
    _, daemon, variables = tracking.ticks(settings)
    assert "no cron daemon" in daemon.found
    assert "ds_github_token" in variables.found
    assert "geheim" not in variables.found


def test_notifications(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(tracking, "_SENDMAIL", ())
    for name in ("GITHUB_TOKEN", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert list(tracking.notifications(settings)) == []
    told = replace(
        settings,
        notify_command="notify --password geheim",
        notify_mail=("ada@example.org",),
        notify_webhook="https://example.org/geheim",
        github_status=True,
    )
    found = list(tracking.notifications(told))
    assert [check.state for check in found] == [State.WARN, State.FAIL, State.OK, State.FAIL]
    for name in ("notify", "sendmail"):
        program(tmp_path / "bin" / name, "")
    found += tracking.notifications(replace(told, github_token="geheim"))
    assert [check.state for check in found[4:]] == [State.OK] * 3
    assert "geheim" not in "".join(check.found + check.mend for check in found)


# The training -----------------------------------------------------------------------------------------------------


def test_the_jobs_python(settings: Settings, tmp_path: Path) -> None:
    assert "with ipykernel" in one(training.python, settings).found
    bare = program(tmp_path / "bare", "echo \"ModuleNotFoundError: No module named 'ipykernel'\" >&2; exit 1")
    check = one(training.python, replace(settings, job_python=str(bare)))
    assert check.state is State.WARN
    assert "No module named 'ipykernel'" in check.found
    check = one(training.python, replace(settings, job_python=str(tmp_path / "absent")))
    assert check.state is State.FAIL
    check = one(training.python, replace(settings, setup_command="pip install -r requirements.txt"))
    assert (check.state, "ds_setup_command" in check.found) == (State.OK, True)


def test_a_kernel_by_its_name(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = one(training.python, replace(settings, kernel="julia-9"))
    assert (check.state, check.name) == (State.FAIL, "kernel")
    folder = tmp_path / "jupyter" / "kernels" / "odd"
    folder.mkdir(parents=True)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    for path, state in ((sys.executable, State.OK), ("/gone/python", State.FAIL)):
        kernel = {"argv": [path, "-m", "odd"], "display_name": "Odd", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(kernel))
        assert one(training.python, replace(settings, kernel="odd")).state is state


def test_gpus(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "visible", lambda environment=None: [])
    monkeypatch.setattr(gpu, "why_none", lambda environment=None: "there is no driver")
    assert one(training.gpu, settings).state is State.OK
    check = one(training.gpu, replace(settings, require_gpu=True))
    assert (check.state, "there is no driver" in check.found) == (State.FAIL, True)
    monkeypatch.setattr(gpu, "visible", lambda environment=None: ["NVIDIA H200"])
    assert one(training.gpu, settings).found == "NVIDIA H200"


@pytest.mark.parametrize(
    ("driver", "gpus", "demanded", "state"),
    [
        (["H200"], 1, False, State.OK),
        (["H200"], 0, False, State.WARN),
        (["H200"], 0, True, State.FAIL),
        ([], 0, False, State.OK),
        ([], 0, True, State.FAIL),
    ],
)
def test_whether_tensorflow_sees_the_gpu(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    driver: list[str],
    gpus: int,
    demanded: bool,
    state: State,
) -> None:
    fake_tensorflow(tmp_path / "fake", gpus, monkeypatch)
    monkeypatch.setattr(gpu, "visible", lambda environment=None: driver)
    check = one(training.tensorflow, replace(settings, require_gpu=demanded))
    assert check.state is state
    assert check.found.startswith("2.99.0")


def test_where_tensorflow_is_missing_or_hangs(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = program(tmp_path / "python", "echo \"ModuleNotFoundError: No module named 'tensorflow'\" >&2; exit 1")
    check = one(training.tensorflow, replace(settings, job_python=str(missing)))
    assert (check.state, "No module named 'tensorflow'" in check.found) == (State.WARN, True)
    program(tmp_path / "python", "exec sleep 60")
    monkeypatch.setattr(training, "_HEAVY_IMPORT", 0.2)
    check = one(training.tensorflow, replace(settings, job_python=str(missing)))
    assert (check.state, "not done within 0.2 s" in check.found) == (State.WARN, True)


def test_the_jobs_python_does_not_see_secrets(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_website_username", "geheim")
    spy = program(tmp_path / "python", f"env > {tmp_path / 'seen'}; exit 1")
    one(training.tensorflow, replace(settings, job_python=str(spy), job={"ds_epochs": "3"}))
    seen = (tmp_path / "seen").read_text()
    assert "ds_epochs=3" in seen
    assert "geheim" not in seen


# Publishing -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    (folder / "home").mkdir(parents=True)
    user, host = new_key("ed25519"), new_key("ed25519")
    (folder / "user_key").write_bytes(user.export_private_key())
    (folder / "user_key").chmod(0o600)
    (folder / "authorized_keys").write_text(public_line(user) + "\n")
    with asyncssh_server(folder, folder / "home", (host,), folder / "user_key") as running:
        running.know(host)
        yield running


def publishing_to(server: Server, settings: Settings, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "website_server_fqdn": "127.0.0.1",
        "website_server_port": server.port,
        "website_username": server.username,
        "website_server_root": "www",
        "website_privkey": server.privkey,
        "website_known_hosts": server.known_hosts,
        "website_timeout": 10.0,
    }
    return replace(settings, **values | changes)


def website(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """The findings, with the one of an examination that cannot go on."""
    monkeypatch.setattr(doctor, "EXAMINATIONS", (("website", publishing.website),))
    found = doctor.check(settings)[1:]
    assert len({check.name for check in found}) == len(found), "one line for each name"
    return found


def test_no_server_or_half_of_one(settings: Settings) -> None:
    assert one(publishing.website, settings).state is State.OK
    assert one(publishing.website, replace(settings, website_username="wer")).state is State.WARN
    check = one(publishing.website, replace(settings, website_server_fqdn="www.example.org"))
    assert check.state is State.FAIL
    assert "ds_website_username and ds_website_server_root not set" in check.found


def test_a_server_is_looked_at_and_left_as_it_is(
    settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = website(publishing_to(server, settings), monkeypatch)
    assert [(check.name, check.state) for check in found] == [
        ("website", State.OK),
        ("ssh key", State.OK),
        ("host key", State.OK),
        ("ssh login", State.OK),
        ("web root", State.OK),
    ]
    assert found[-1].found.startswith("www is not there yet, and will be made")
    assert list(server.home.iterdir()) == []
    (server.home / "www").mkdir()
    assert website(publishing_to(server, settings), monkeypatch)[-1].found.startswith("www is empty: ")
    (server.home / "www" / "index.htm").write_text("")
    (server.home / "www" / ".htaccess").write_text("")
    check = website(publishing_to(server, settings), monkeypatch)[-1]
    assert check.found == "www is that of an older installation: plain releases, file by file"
    (server.home / "www" / ".htaccess").unlink()
    check = website(publishing_to(server, settings), monkeypatch)[-1]
    assert (check.name, check.state, "not ours" in check.found) == ("web root", State.FAIL, True)
    assert [path.name for path in (server.home / "www").iterdir()] == ["index.htm"]


def test_what_is_published_is_told(settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    to_server = publishing_to(server, settings)
    page.build(to_server, Log())
    page.publish(to_server, Log())
    check = website(to_server, monkeypatch)[-1]
    assert (check.name, check.state) == ("web root", State.OK)
    told = re.match(r"www is ours: (atomic|plain) releases, showing 20\S+, published 20\S+; 1 kept$", check.found)
    assert told, check.found
    other = {"atomic": "plain", "plain": "atomic"}[told[1]]
    check = website(replace(to_server, website_release=other), monkeypatch)[-1]
    assert (check.name, check.state) == ("web root", State.FAIL)
    assert f"ds_website_release asks for {other} releases" in check.found
    unused = replace(to_server, website_server_root="other", website_release="plain")
    assert website(unused, monkeypatch)[-1].found.endswith("; plain is what ds_website_release asks for")


def test_a_folder_of_this_machine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = replace(settings, website_folder=tmp_path / "www")
    found = website(local, monkeypatch)
    assert [(check.name, check.state) for check in found] == [("website", State.OK), ("web root", State.OK)]
    assert found[0].found == f"the folder {tmp_path / 'www'}"
    assert not (tmp_path / "www").exists()
    (tmp_path / "www").write_text("")
    assert website(local, monkeypatch)[-1].state is State.FAIL
    check = one(publishing.website, replace(local, website_server_fqdn="www.example.org"))
    assert (check.state, "choose one" in check.mend) == (State.FAIL, True)


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The address at which the folder is read."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}/"
        web.shutdown()
        thread.join()


def test_whether_the_page_is_what_is_published(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    www = tmp_path / "www"
    local = replace(settings, website_folder=www)
    page.build(local, Log())
    page.publish(local, Log())
    with web_server(www) as url:
        for address in (url, f"{url}current/", f"{url}index.html"):
            check = website(replace(local, site_url=address), monkeypatch)[-1]
            assert (check.name, check.state) == ("site", State.OK), check
        check = website(replace(local, site_url=f"{url}absent"), monkeypatch)[-1]
        assert (check.state, "answers 404" in check.found) == (State.WARN, True)
        check = website(replace(local, site_url=f"{url}current/js/hyper.js"), monkeypatch)[-1]
        assert (check.state, "something else" in check.found) == (State.WARN, True)
    check = website(replace(local, site_url=url), monkeypatch)[-1]
    assert (check.state, "cannot be read from here" in check.found) == (State.WARN, True)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(publishing, "_PAGE_SECONDS", 0.4)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        check = website(replace(local, site_url=address), monkeypatch)[-1]
    assert (check.name, check.state) == ("site", State.WARN)


def test_keys_that_will_not_do(settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.privkey.chmod(0o644)
    check = website(publishing_to(server, settings), monkeypatch)[-1]
    assert (check.name, check.state) == ("ssh key", State.FAIL)
    assert check.mend == f"chmod 600 {server.privkey}"
    server.privkey.chmod(0o600)
    server.privkey.write_bytes(new_key("ed25519").export_private_key())
    check = website(publishing_to(server, settings), monkeypatch)[-1]
    assert (check.state, "refuses the user" in check.found) == (State.FAIL, True)
    server.known_hosts.write_text("")
    *_, host_key, login = website(publishing_to(server, settings), monkeypatch)
    assert (host_key.name, host_key.state) == ("host key", State.WARN)
    assert (login.state, "trust-host" in login.mend) == (State.FAIL, True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    check = website(publishing_to(server, settings, website_privkey=None), monkeypatch)[-1]
    assert (check.name, check.state) == ("ssh key", State.FAIL)


def test_a_server_that_is_away(settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    check = website(publishing_to(server, settings, website_server_port=port), monkeypatch)[-1]
    assert (check.name, check.state, "cannot connect" in check.found) == ("ssh login", State.FAIL, True)
