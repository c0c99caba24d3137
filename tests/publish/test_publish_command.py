"""The commands that publish, as a shell runs them: the verbs of the tracker, and the module for a page alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from installation import Installation
from ssh_servers import Server

Contents = dict[str, bytes | str]


def contents(folder: Path) -> Contents:
    """Every file and link below a folder, with what is in it."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def shown(web_root: Path) -> str:
    return (web_root / "index.html").read_text()


@pytest.fixture
def web_root(tmp_path: Path) -> Path:
    """Where the tests publish to, when they publish to this machine."""
    return tmp_path / "srv" / "wer"


@pytest.fixture
def installation(tmp_path: Path, web_root: Path) -> Installation:
    web_root.parent.mkdir()
    return Installation(tmp_path / "home", {"ds_website_folder": str(web_root)})


def to(server: Server) -> dict[str, str]:
    """The variables that name a server."""
    return {
        "ds_website_server_fqdn": "127.0.0.1",
        "ds_website_server_port": str(server.port),
        "ds_website_server_root": "www",
        "ds_website_username": server.username,
        "ds_website_privkey": str(server.privkey),
        "ds_website_known_hosts": str(server.known_hosts),
    }


def trained(installation: Installation, wer: float, number: int = 1) -> None:
    """Adds a run to the archive."""
    folder = installation.home / "runs" / str(number)
    folder.mkdir(parents=True)
    context = {"git_hash": f"{number:040x}", "time_started": f"2016-10-{20 + number}T12:47:13"}
    content = {"context": context, "parameters": {"n": number}, "results": {"test_wer": wer}}
    (folder / "hyper.json").write_text(json.dumps(content))
    done = installation.run("import-legacy", str(folder))
    assert done.returncode == 0, done.stderr


def alone(installation: Installation, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """``python -m deepspeech_wer.publish``; no traceback, whatever it was given."""
    installation.home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "deepspeech_wer.publish", *map(str, arguments)],
        env=installation.environment(),
        cwd=installation.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


# The verbs -----------------------------------------------------------------------------------------------------------


def test_a_dry_run_lists_what_would_be_sent_and_changes_nothing(installation: Installation, web_root: Path) -> None:
    trained(installation, 0.5)
    before = contents(installation.home)
    done = installation.run("publish", "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    sent = {line.split()[2]: int(line.split()[1]) for line in lines if line.startswith("send ")}
    assert sent["js/hyper.js"] > 50
    assert "index.html" in sent
    assert lines[-1].startswith(f"would publish to the folder {web_root}, by one switch (atomic): {len(sent)} of")
    assert contents(installation.home) == before, "not even the site is built here"
    assert not web_root.exists()

    published = installation.run("publish")
    assert published.returncode == 0, published.stderr
    assert f"(atomic): {len(sent)} of {len(sent)} files sent" in published.stderr
    assert f"to the folder {web_root}" in published.stderr
    (again,) = installation.run("publish", "--dry-run").stdout.splitlines()
    assert again == f"nothing to publish to the folder {web_root}: what is there is up to date"

    trained(installation, 0.4, 2)
    before = contents(web_root)
    lines = installation.run("publish", "--dry-run").stdout.splitlines()
    assert not [line for line in lines if "plotly" in line], "what did not change is not sent"
    assert [line for line in lines if line.startswith("send ") and line.endswith("js/hyper.js")]
    assert contents(web_root) == before


def test_the_users_own_htaccess_is_seen_by_a_dry_run(installation: Installation) -> None:
    installation.run("site", "build")
    (installation.data / "www" / ".htaccess").write_text("Options +FollowSymLinks\n")
    assert ".htaccess" in installation.run("publish", "--dry-run").stdout
    assert installation.run("publish").returncode == 0
    assert "up to date" in installation.run("publish", "--dry-run").stdout


def test_rollback_and_what_comes_after_it(installation: Installation, web_root: Path) -> None:
    trained(installation, 0.5)
    installation.run("publish")
    first = shown(web_root)
    trained(installation, 0.4, 2)
    installation.run("publish")
    second = shown(web_root)
    assert first != second
    done = installation.run("rollback")
    assert done.returncode == 0, done.stderr
    assert "rolled back from release " in done.stderr
    assert "makes a new release" in done.stderr
    assert shown(web_root) == first
    assert "since it was gone back to" in installation.run("status").stdout
    nothing = installation.run("rollback")
    assert nothing.returncode == 76
    assert shown(web_root) == first
    assert installation.run("publish").returncode == 0
    assert shown(web_root) == second
    assert "gone back to" not in installation.run("status").stdout


def test_verify_mends_what_was_changed_there(installation: Installation, web_root: Path) -> None:
    trained(installation, 0.5)
    installation.run("publish")
    file = web_root / "js" / "hyper.js"
    good, state = file.read_bytes(), file.stat()
    file.write_bytes(good.replace(b"0.5", b"0.1"))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert "would publish" in installation.run("publish", "--verify", "--dry-run").stdout
    assert file.read_bytes() != good
    done = installation.run("publish", "--verify")
    assert done.returncode == 0, done.stderr
    assert (web_root / "js" / "hyper.js").read_bytes() == good


@pytest.mark.parametrize("verb", ["publish", "rollback"])
def test_the_lock_is_respected(installation: Installation, verb: str) -> None:
    from deepspeech_wer import lock

    with lock.held(installation.cache / "lock", "a test"):
        assert installation.run(verb).returncode == 75


@pytest.mark.parametrize("verb", ["publish", "rollback", "trust-host"])
def test_a_verb_without_a_place_names_what_is_missing(installation: Installation, verb: str) -> None:
    installation.variables.clear()
    done = installation.run(verb)
    assert done.returncode == 2
    assert "ds_website_server_fqdn" in done.stderr
    assert not installation.data.exists()


def test_two_places_are_one_too_many(installation: Installation) -> None:
    installation.variables["ds_website_server_fqdn"] = "www.example.org"
    done = installation.run("publish")
    assert done.returncode == 2
    assert "choose one" in done.stderr


def test_a_file_that_a_setting_names_and_that_is_not_there(installation: Installation) -> None:
    installation.variables = {
        "ds_website_server_fqdn": "www.example.org",
        "ds_website_server_root": "www",
        "ds_website_username": "wer",
        "ds_website_ssh_config": "/nowhere/config",
    }
    done = installation.run("publish", "--dry-run")
    assert done.returncode == 2
    assert "ds_website_ssh_config names /nowhere/config, which is not there" in done.stderr


def test_a_host_is_trusted_by_its_fingerprint_and_then_published_to(
    installation: Installation, start_server: Callable[..., Server]
) -> None:
    server = start_server("asyncssh")
    server.known_hosts.unlink()
    installation.variables = to(server)
    for code in (2, 76):
        refused = installation.run("publish")
        assert refused.returncode == code
        assert "deepspeech-wer trust-host" in refused.stderr
        server.known_hosts.touch()
    server.known_hosts.unlink()
    fingerprint = server.host_keys[0].get_fingerprint()
    assert installation.run("trust-host").returncode != 0, "there is no terminal to ask on"
    assert installation.run("trust-host", "--fingerprint", "SHA256:" + "A" * 43).returncode != 0
    assert not server.known_hosts.exists() or server.known_hosts.read_text() == ""
    done = installation.run("trust-host", "--fingerprint", fingerprint)
    assert done.returncode == 0, done.stderr
    assert installation.run("publish").returncode == 0
    assert (server.home / "www" / "index.html").exists()


def test_the_login_may_stand_in_the_configuration_of_ssh(
    installation: Installation, start_server: Callable[..., Server]
) -> None:
    server = start_server("asyncssh")
    config = installation.home / ".ssh" / "config"
    config.parent.mkdir(parents=True, mode=0o700)
    config.write_text(
        f"Host wer\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.username}\n"
        f"  IdentityFile {server.privkey}\n  UserKnownHostsFile {server.known_hosts}\n"
    )
    installation.variables = {"ds_website_server_fqdn": "wer", "ds_website_server_root": "www"}
    environment = installation.environment()
    assert environment["HOME"] == str(installation.home)
    done = installation.run("publish", "--set", f"ds_website_ssh_config={config}")
    assert done.returncode == 0, done.stderr
    assert f"{server.username}@127.0.0.1:{server.port}" in done.stderr or "wer" in done.stderr
    config.write_text(config.read_text().replace(f"  User {server.username}\n", ""))
    done = installation.run("publish", "--set", f"ds_website_ssh_config={config}")
    assert done.returncode == 2
    assert "ds_website_username not set" in done.stderr


# A page alone --------------------------------------------------------------------------------------------------------


def test_a_page_alone(installation: Installation, web_root: Path, site: Path, site_files: set[str]) -> None:
    listed = alone(installation, site / "index.html", "--dry-run")
    assert listed.returncode == 0, listed.stderr
    assert {line.split()[2] for line in listed.stdout.splitlines()[:-1]} == site_files
    assert not web_root.exists()
    done = alone(installation, site / "index.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "5 of 5 files sent" in done.stderr
    assert {name: (web_root / name).read_bytes() for name in site_files} == {
        name: (site / name).read_bytes() for name in site_files
    }
    assert "up to date" in alone(installation, site / "index.html", "--verify").stderr
    (site / "runs" / "1.html").unlink()
    (site / "index.html").write_text("<p>less</p>")
    listed = alone(installation, site / "index.html", "--dry-run")
    assert "send " in listed.stdout
    assert alone(installation, site / "index.html").returncode == 0
    assert shown(web_root) == "<p>less</p>"
    assert not installation.data.exists(), "nothing of the tracker's is made"
    assert not installation.cache.exists()


def test_a_page_in_a_folder_of_the_web_root(installation: Installation, web_root: Path, site: Path) -> None:
    done = alone(installation, site / "runs" / "1.html", "--root", site, "--set", "ds_website_release=plain")
    assert done.returncode == 0, done.stderr
    assert (web_root / "runs" / "1.html").is_file()
    assert "(plain)" in done.stderr


def test_a_page_alone_to_a_server(installation: Installation, server: Server, site: Path) -> None:
    installation.variables = to(server)
    done = alone(installation, site / "index.html")
    assert done.returncode == 0, done.stderr
    assert f"to {server.username}@127.0.0.1:{server.port}, folder www" in done.stderr
    assert shown(server.home / "www") == (site / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "PAGE"),
        (("absent.html",), 2, "there is no page absent.html"),
        (("site",), 2, "such as site/index.html"),
        (("site/index.html", "--root", "elsewhere"), 2, "is not in the folder"),
        (("site/index.html", "--set", "ds_website_release=sometimes"), 2, "ds_website_release"),
        (("site/index.html", "--config", "absent.toml"), 2, "absent.toml"),
        (("site/index.html", "--set", "ds_website_folder=/dev/null/wer"), 76, "/dev/null"),
    ],
)
def test_what_a_page_alone_is_refused_for(
    installation: Installation, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (installation.home / "site").mkdir(parents=True)
    (installation.home / "site" / "index.html").write_text("<p>page</p>")
    done = alone(installation, *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_a_page_alone_without_the_variables_names_them(installation: Installation, site: Path) -> None:
    installation.variables = {"ds_website_server_fqdn": "www.example.org"}
    done = alone(installation, site / "index.html")
    assert done.returncode == 2
    assert "ds_website_username and ds_website_server_root not set" in done.stderr


def test_a_page_alone_loads_nothing_of_the_trackers(installation: Installation, site: Path) -> None:
    installation.home.mkdir()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "deepspeech_wer.publish", str(site / "index.html")],
        env=installation.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    heavy = {"jinja2", "requests", "git", "nbformat", "paramiko", "tqdm"}
    assert {name.partition(".")[0] for name in loaded} & heavy == set()
    assert "deepspeech_wer.journal" not in loaded
