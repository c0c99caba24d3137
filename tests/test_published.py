"""The way of a landing to a real SFTP server, by the tick and by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer.results import hyperjs
from history import BROKEN, Repository
from installation import Installation
from ssh_servers import Server, asyncssh_server, new_key, public_line


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    (folder / "home").mkdir(parents=True)
    key, host_key = new_key("ed25519"), new_key("ed25519")
    (folder / "user_key").write_bytes(key.export_private_key())
    (folder / "user_key").chmod(0o600)
    (folder / "authorized_keys").write_text(public_line(key) + "\n")
    with asyncssh_server(folder, folder / "home", (host_key,), folder / "user_key") as server:
        server.know(host_key)
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.begun(tmp_path / "repository")


@pytest.fixture
def installation(tmp_path: Path, repository: Repository, server: Server) -> Installation:
    website = {
        "ds_repository": str(repository.path),
        "ds_website_server_fqdn": "127.0.0.1",
        "ds_website_server_port": str(server.port),
        "ds_website_server_root": "www/",
        "ds_website_username": server.username,
        "ds_website_privkey": str(server.privkey),
        "ds_website_known_hosts": str(server.known_hosts),
    }
    return Installation(tmp_path / "home", website)


def published(server: Server) -> list[str]:
    text = (server.home / "www" / "js" / "hyper.js").read_text()
    return [run["context"]["git_hash"] for run in hyperjs.read(text)]


def test_every_landing_is_published_with_its_log(
    repository: Repository, installation: Installation, server: Server
) -> None:
    first = repository.train("Good", 0.5)
    assert installation.run("run").returncode == 0
    assert published(server) == [first]
    broken = repository.land("Break it", {"bin/run-wer-automation.sh": BROKEN})
    second = repository.train("Mend it", 0.3)
    assert installation.run("run").returncode == 70
    assert published(server) == [first, second]
    www = server.home / "www"
    assert broken[:7] in (www / "index.html").read_text()
    assert "no such corpus" in "".join(path.read_text() for path in www.glob("runs/*/log.txt"))
    (www / "index.html").unlink()
    assert installation.run("publish").returncode == 0
    assert (www / "index.html").exists()


def test_a_web_root_with_somebody_elses_files_stays_as_it_is(
    repository: Repository, installation: Installation, server: Server
) -> None:
    repository.train("Good", 0.5)
    (server.home / "www").mkdir()
    (server.home / "www" / "thesis.tex").write_text("mine")
    done = installation.run("run")
    assert done.returncode == 76
    assert "thesis.tex" in done.stderr
    assert [path.name for path in (server.home / "www").iterdir()] == ["thesis.tex"]
    assert not (installation.cache / "last_sha1").exists()
    (server.home / "www" / "thesis.tex").unlink()
    assert installation.run("run").returncode == 0
    assert len(list((installation.data / "runs").iterdir())) == 1, "trained once, published when it could be"


def test_what_waited_is_published_before_the_next_training(
    repository: Repository, installation: Installation, server: Server
) -> None:
    port = installation.variables["ds_website_server_port"]
    first = repository.train("Good", 0.5)
    installation.variables |= {"ds_website_server_port": "1", "ds_website_retries": "0"}
    assert installation.run("run").returncode == 76
    installation.variables |= {"ds_website_server_port": port, "ds_disk_free": "1e9"}  # nothing can be trained
    repository.train("Better", 0.4)
    assert installation.run("run").returncode == 70
    assert published(server) == [first]
    assert installation.last_sha1() == first


def by_hand(installation: Installation, folder: Path, result: Path) -> subprocess.CompletedProcess[str]:
    code = f"import deepspeech_wer; raise SystemExit(deepspeech_wer.maybe_publish({str(result)!r}))"
    return subprocess.run(
        [sys.executable, "-c", code], env=installation.environment(), cwd=folder, capture_output=True, text=True
    )


@pytest.fixture
def result(tmp_path: Path, repository: Repository) -> Path:
    """What the notebook leaves behind when it is run by hand."""
    folder = repository.path / "logs" / "20261121-120000"
    folder.mkdir(parents=True)
    context = {
        "git_hash": repository.git("rev-parse", "HEAD"),
        "git_branch": "main",
        "time_started": "2026-11-21T12:00",
    }
    content = {"context": context, "parameters": {"n_hidden": 8}, "results": {"test_wer": 0.25}}
    (folder / "hyper.json").write_text(json.dumps(content))
    (folder / "utterances.jsonl").write_text("{}\n")
    return folder


def test_a_run_by_hand_is_merged_with_the_trackers_own(
    repository: Repository, installation: Installation, server: Server, result: Path
) -> None:
    begin = repository.git("rev-parse", "HEAD")
    head = repository.train("Good", 0.5)
    assert installation.run("run").returncode == 0
    done = by_hand(installation, repository.path, result)
    assert done.returncode == 0, done.stderr
    assert published(server) == [begin, head], "in commit order"
    assert any((folder / "utterances.jsonl").exists() for folder in (installation.data / "runs").iterdir())
    assert (result / "hyper.json").exists(), "the results stay where they are"


def test_by_hand_outside_a_work_tree(installation: Installation, server: Server, result: Path, tmp_path: Path) -> None:
    done = by_hand(installation, tmp_path, result)
    assert done.returncode == 0, done.stderr
    assert len(published(server)) == 1


def test_by_hand_without_the_variables_says_which_are_missing(installation: Installation, result: Path) -> None:
    del installation.variables["ds_website_username"]
    done = by_hand(installation, result, result)
    assert done.returncode == 0
    assert "ds_website_username" in done.stdout
    assert "ds_website_server_root" not in done.stdout
    assert not installation.data.exists()


def test_by_hand_with_the_login_of_the_configuration_of_ssh(
    installation: Installation, server: Server, result: Path, tmp_path: Path
) -> None:
    del installation.variables["ds_website_username"], installation.variables["ds_website_privkey"]
    config = tmp_path / "ssh_config"
    config.write_text(f"Host 127.0.0.1\n  User {server.username}\n  IdentityFile {server.privkey}\n")
    installation.variables["ds_website_ssh_config"] = str(config)
    done = by_hand(installation, tmp_path, result)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(published(server)) == 1


def test_by_hand_to_a_folder_of_this_machine(installation: Installation, result: Path, tmp_path: Path) -> None:
    installation.variables = {"ds_website_folder": str(tmp_path / "srv")}
    done = by_hand(installation, tmp_path, result)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(hyperjs.read((tmp_path / "srv" / "js" / "hyper.js").read_text())) == 1


def test_by_hand_under_the_tracker_does_nothing(installation: Installation, result: Path) -> None:
    installation.variables["ds_run_id"] = "20261121-120000-aaaaaaa"
    done = by_hand(installation, result, result)
    assert done.returncode == 0
    assert not installation.data.exists()


def test_by_hand_with_a_broken_result(installation: Installation, result: Path) -> None:
    (result / "hyper.json").write_text('{"context": {}, "parameters": {}, "results": {"test_wer": NaN}}')
    done = by_hand(installation, result, result)
    assert done.returncode == 70
    assert "NaN" in done.stdout
    assert done.stderr == ""
