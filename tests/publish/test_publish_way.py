"""The way to a server: jump hosts, commands, and what is said when either does not get through."""

from __future__ import annotations

import gc
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import support
from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish.ssh.connection import Connection
from ssh_servers import new_key, public_line


def listing(target: Any) -> list[str]:
    with Connection(target) as connection:
        names: list[str] = connection.listdir(".")
        return names


def refusal(target: Any, *, passing: bool) -> PublishError:
    """``passing``: whether another try may help."""
    start = time.monotonic()
    with pytest.raises(PublishError) as caught:
        listing(target)
    assert time.monotonic() - start < 15
    assert caught.value.hint and isinstance(caught.value, ConnectionFailed) == passing, caught.value
    return caught.value


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config"


def host(name: str, server: Any, *lines: str) -> str:
    return "\n ".join(
        [f"Host {name}", "HostName 127.0.0.1", f"Port {server.port}", f"User {server.username}", *lines, ""]
    )


def know(file: Path, *servers: Any) -> Path:
    file.write_text("".join(f"[127.0.0.1]:{s.port} {public_line(s.host_keys[0])}\n" for s in servers))
    return file


# Jump hosts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(start_server: Callable[..., Any], config: Path) -> list[Any]:
    """Two jump hosts, each with a key of its own, and the server behind, all known."""
    servers = [start_server("openssh") for _ in range(3)]
    (servers[2].home / "behind").touch()
    know(servers[2].known_hosts, *servers)
    jumps = (host(name, s, f"IdentityFile {s.privkey}") for name, s in zip(("one", "two"), servers, strict=False))
    config.write_text("".join(jumps) + f"Host web\n HostName 127.0.0.1\n Port {servers[2].port}\n ProxyJump one,two\n")
    return servers


def web(three: list[Any], config: Path, **changes: Any) -> Any:
    return three[2].target(**{"host": "web", "port": None, "ssh_config": config} | changes)


def transports() -> int:
    """paramiko's threads that do not end within a moment."""
    found = [thread for thread in threading.enumerate() if type(thread).__name__ == "Transport"]
    for thread in found:
        thread.join(0.5)
    return sum(thread.is_alive() for thread in found)


def test_through_two_jump_hosts(three: list[Any], config: Path) -> None:
    gc.collect()
    before = transports(), len(list(Path("/proc/self/fd").iterdir()))
    assert listing(web(three, config)) == ["behind"]
    connection = Connection(web(three, config))
    assert str(connection.target) == f"{three[2].username}@web:{three[2].port}"
    connection.close()
    connection.close()
    # Fewer where an earlier test's connections come to their end meanwhile.
    after = transports(), len(list(Path("/proc/self/fd").iterdir()))
    assert after[0] <= before[0] and after[1] <= before[1]


def test_a_transfer_through_a_jump_host_arrives_whole(three: list[Any], config: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(3 << 20))
    with Connection(web(three, config)) as connection:
        connection.put(str(tmp_path / "data"), "data")
    assert (three[2].home / "data").read_bytes() == (tmp_path / "data").read_bytes()


def test_each_jump_host_is_checked_as_strictly(three: list[Any], config: Path) -> None:
    lines = three[2].known_hosts.read_text().splitlines(keepends=True)
    for number, server in enumerate(three):
        three[2].known_hosts.write_text("".join(line for n, line in enumerate(lines) if n != number))
        error = refusal(web(three, config), passing=False)
        assert f"[127.0.0.1]:{server.port} is not known" in error.message and "trust-host" in error.hint
        changed = f"[127.0.0.1]:{server.port} {public_line(new_key('ed25519'))}\n"
        three[2].known_hosts.write_text("".join(changed if n == number else line for n, line in enumerate(lines)))
        assert "HAS CHANGED" in refusal(web(three, config), passing=False).message


def test_a_jump_host_that_refuses_us(three: list[Any], config: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace(str(three[0].privkey), "/absent"))
    error = refusal(web(three, config), passing=False)
    assert "@one:" in error.message and "/absent does not exist" in error.message
    three[1].privkey.write_bytes(new_key("ed25519").export_private_key())
    config.write_text(text)
    assert "@two:" in refusal(web(three, config), passing=False).message


def test_a_jump_host_that_reaches_nobody(three: list[Any], config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = refusal(web(three, config, port=port), passing=True)
    assert "@two:" in error.message and f"does not connect to 127.0.0.1, port {port}" in error.message


def test_a_jump_host_that_lets_nothing_through(start_server: Callable[..., Any], config: Path) -> None:
    jump, server = start_server("openssh", settings=["AllowTcpForwarding no"]), start_server("openssh")
    config.write_text(host("jump", jump, f"IdentityFile {jump.privkey}") + "Host 127.0.0.1\n ProxyJump jump\n")
    know(server.known_hosts, jump, server)
    error = refusal(server.target(ssh_config=config), passing=False)
    assert "the jump host" in error.message and "AllowTcpForwarding" in error.hint


def test_a_jump_host_that_falls_silent(three: list[Any], config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config.write_text(config.read_text().replace(f"Port {three[0].port}", f"Port {mute.getsockname()[1]}", 1))
        error = refusal(web(three, config, timeout=0.5), passing=True)
    assert "@one:" in error.message and "said nothing for 0.5 s" in error.message


# Commands ------------------------------------------------------------------------------------------------------------


def running(marker: str) -> list[str]:
    """The processes that have ``marker`` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marker in line and int(entry.parent.name) != os.getpid():
            found.append(line)
    return found


def test_through_a_command_that_ends_with_the_connection(
    start_server: Callable[..., Any], config: Path, tmp_path: Path
) -> None:
    ssh = support.system_program("openssh-client", "/usr/bin/ssh")
    jump, server = start_server("openssh"), start_server("openssh")
    known = know(tmp_path / "known to ssh", jump)
    config.write_text(
        f"Host web\n HostName 127.0.0.1\n Port {server.port}\n"
        f" ProxyCommand {ssh} -F none -i {jump.privkey} -o 'UserKnownHostsFile=\"{known}\"' -o IdentityAgent=none"
        f" -p {jump.port} -W '[%h]:%p' {jump.username}@127.0.0.1\n"
    )
    target = server.target(host="web", port=None, ssh_config=config)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Connection(target) as connection:
        assert connection.listdir(".") == []
        assert running(str(known))
    assert not running(str(known))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sh -c 'echo no way >&2; exit 3'", "the ProxyCommand says 'no way'; it ended with exit code 3"),
        ("/no/such/program %h", "it ended with exit code 127"),
        ("true", "it ended with exit code 0"),
    ],
)
def test_a_command_that_does_not_get_through(server: Any, config: Path, command: str, told: str) -> None:
    config.write_text(f"ProxyCommand {command}\n")
    assert told in refusal(server.target(ssh_config=config), passing=True).message


def test_a_command_that_says_nothing_and_does_not_want_to_end(server: Any, config: Path, tmp_path: Path) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGHUP, "
        "signal.SIG_IGN)\ntime.sleep(60)\n"
    )
    config.write_text(f"ProxyCommand {sys.executable} {shlex.quote(str(program))}\n")
    error = refusal(server.target(ssh_config=config, timeout=0.5), passing=True)
    assert "said nothing for 0.5 s" in error.message
    assert not running(str(program))


# What a server says before it speaks SSH, and what may pass ----------------------------------------------------------


@pytest.mark.parametrize("words", ["Not allowed at this time", "Exceeded MaxStartups"])
def test_a_server_that_has_too_many_visitors(server: Any, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(words.encode() + b"\r\n")
                time.sleep(0.1)

        thread = threading.Thread(target=answer)
        thread.start()
        error = refusal(server.target(port=listener.getsockname()[1]), passing=True)
        thread.join()
    assert words in error.message


def test_nobody_listens_now(server: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refusal(server.target(port=taken.getsockname()[1]), passing=True)


@pytest.mark.parametrize(("code", "passing"), [(socket.EAI_AGAIN, True), (socket.EAI_NONAME, False)])
def test_a_name_that_is_not_found(server: Any, monkeypatch: pytest.MonkeyPatch, code: int, passing: bool) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "as the resolver says")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert "as the resolver says" in refusal(server.target(host="www.example.org"), passing=passing).message


def test_nothing_in_common(start_server: Callable[..., Any]) -> None:
    server = start_server("openssh", settings=["Ciphers chacha20-poly1305@openssh.com"])
    assert "no way to encrypt in common" in refusal(server.target(), passing=False).message


def test_a_key_that_the_server_does_not_have(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # A server that shows the key of another: the signature is not by it.
    from deepspeech_wer.publish.ssh.transport import paramiko

    monkeypatch.setattr(paramiko.Ed25519Key, "verify_ssh_sig", lambda *_: False)
    error = refusal(server.target(), passing=False)
    assert "does not prove that it has it" in error.message


def test_new_keys_in_the_middle_are_of_the_same_server(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Connection(server.target()) as connection:
        connection.transport.renegotiate_keys()
        assert connection.listdir(".") == []
        connection.transport.shown = object()
        with pytest.raises(Exception, match="another one than at first"):
            connection.transport.renegotiate_keys()
