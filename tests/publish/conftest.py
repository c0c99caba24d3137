"""What the publishing tests share: a site, and real SSH servers to publish it to."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from ssh_servers import Server, asyncssh_server, new_key, openssh_server, public_line, ssh_agent


@pytest.fixture(scope="session")
def user_key() -> asyncssh.SSHKey:
    return new_key("ed25519")


@pytest.fixture
def start_server(tmp_path: Path, user_key: asyncssh.SSHKey) -> Iterator[Callable[..., Server]]:
    """start_server("asyncssh" | "openssh", host_keys=..., authorized=..., ...) -> Server; ended with the test."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as stack:

        def start(
            kind: str,
            *,
            host_keys: Sequence[asyncssh.SSHKey] = (),
            authorized: Sequence[asyncssh.SSHKey] = (),
            **options: Any,
        ) -> Server:
            folder = tmp_path / f"server{next(numbers)}"
            home = folder / "home"
            home.mkdir(parents=True)
            host_keys = host_keys or (new_key("ed25519"),)
            privkey = folder / "user_key"
            privkey.write_bytes(user_key.export_private_key())
            privkey.chmod(0o600)
            (folder / "authorized_keys").write_text("".join(public_line(key) + "\n" for key in (user_key, *authorized)))
            begin = {"asyncssh": asyncssh_server, "openssh": openssh_server}[kind]
            server = stack.enter_context(begin(folder, home, host_keys, privkey, **options))
            server.know(*host_keys)
            return server

        yield start


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[asyncssh.SSHKey], None]]:
    """A real, empty ssh-agent; call it with a key to add that."""

    def add(key: asyncssh.SSHKey) -> None:
        subprocess.run(["ssh-add", "-q", "-"], input=key.export_private_key(), check=True, capture_output=True)

    with ssh_agent(tmp_path / "agent"):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        yield add


@pytest.fixture(params=["asyncssh", "openssh"])
def server(request: pytest.FixtureRequest, start_server: Callable[..., Server]) -> Server:
    return start_server(request.param)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A small site: a page, a style sheet, a script, data, and a second page in a folder."""
    root = tmp_path / "site"
    for path, content in {
        "index.html": '<link rel="stylesheet" href="css/style.css"><script src="js/hyper.js"></script>'
        '<a href="runs/1.html">1</a>',
        "css/style.css": "body { background: url(../img/dot.png) }",
        "img/dot.png": "not really an image",
        "js/hyper.js": "window.ALL_THE_DATA = [\n];\n" + "// \n" * 30000,
        "runs/1.html": '<a href="../index.html">back</a>',
        "unused.txt": "nobody links here",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root


SITE_FILES = {"index.html", "css/style.css", "img/dot.png", "js/hyper.js", "runs/1.html"}


@pytest.fixture
def site_files() -> set[str]:
    return set(SITE_FILES)
