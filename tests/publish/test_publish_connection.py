"""Connecting to real servers: who they are, who we are, and what is said when either is not so."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

import support
from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh.connection import Connection
from deepspeech_wer.publish.target import Target
from ssh_servers import KINDS, new_key, public_line, write_key


def listing(target: Target) -> list[str]:
    with Connection(target) as connection:
        names: list[str] = connection.listdir(".")
        return names


def refusal(target: Target) -> PublishError:
    with pytest.raises(PublishError) as caught:
        listing(target)
    assert caught.value.hint, "every failure says what to do next"
    return caught.value


def test_importing_the_package_loads_no_ssh() -> None:
    code = (
        "import sys, deepspeech_wer.publish, deepspeech_wer.publish.sftp\n"
        "assert not {'paramiko', 'pysftp', 'cryptography', 'bs4'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pysftp_imports_without_warning_and_paramiko_stays_as_it_was() -> None:
    code = (
        "import paramiko; before = hasattr(paramiko, 'DSSKey')\n"
        "import deepspeech_wer.publish.ssh.connection, pysftp\n"
        "assert hasattr(paramiko, 'DSSKey') == before\n"
        "assert issubclass(deepspeech_wer.publish.ssh.connection.Connection, pysftp.Connection)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# Who the server is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"])
@pytest.mark.parametrize("program", ["asyncssh", "openssh"])
def test_every_kind_of_host_key(start_server: Callable[..., Any], program: str, kind: str) -> None:
    server = start_server(program, host_keys=[new_key(kind)])
    (server.home / "here").touch()
    assert listing(server.target()) == ["here"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program", ["asyncssh", "openssh"])
def test_of_several_host_keys_the_known_one_is_asked_for(
    start_server: Callable[..., Any], program: str, kind: str
) -> None:
    keys = {kind: new_key(kind) for kind in KINDS}
    server = start_server(program, host_keys=list(keys.values()))
    server.know(keys[kind])
    assert listing(server.target()) == []


def test_any_of_several_known_keys_of_one_kind_will_do(server: Any) -> None:
    server.know(new_key("ed25519"), *server.host_keys, new_key("ed25519"))
    assert listing(server.target()) == []


def test_hashed_and_marked_and_damaged_lines(server: Any) -> None:
    server.know(*server.host_keys)
    keygen = support.system_program("openssh-client", "/usr/bin/ssh-keygen")
    subprocess.run([keygen, "-q", "-H", "-f", str(server.known_hosts)], check=True, capture_output=True)
    hashed = server.known_hosts.read_text()
    assert hashed.startswith("|1|")
    server.known_hosts.write_text(
        "# a comment\n\nnonsense\n"
        f"@revoked * {public_line(new_key('ed25519'))}\n"
        f"@cert-authority *.example.org {public_line(new_key('ecdsa'))}\n"
        f"[127.0.0.1]:{server.port} ssh-ed25519 AAAA!!!!\n"
        "|1|broken|hash ssh-ed25519 AAAA\n"
        f"[127.0.0.1]:{server.port} ssh-dss AAAAB3NzaC1kc3MAAAAA\n" + hashed
    )
    assert listing(server.target()) == []


def test_an_unknown_host_is_not_trusted(server: Any) -> None:
    key = server.host_keys[0]
    server.known_hosts.write_text(f"127.0.0.1 {public_line(key)}\nother.example.org {public_line(key)}\n")
    error = refusal(server.target())
    assert f"[127.0.0.1]:{server.port} is not known" in error.message
    assert f"ssh-ed25519 {key.get_fingerprint()}" in error.message and str(server.known_hosts) in error.message
    assert error.hint.startswith("deepspeech-wer trust-host") and "ssh-keygen -lf" in error.hint
    assert server.known_hosts.read_text().count("\n") == 2, "nothing is added by itself"


def test_a_changed_host_key_is_loud(server: Any) -> None:
    old = new_key("ed25519")
    server.know(old)
    error = refusal(server.target())
    assert "HAS CHANGED" in error.message and "nothing was sent" in error.message
    assert old.get_fingerprint() in error.message and server.host_keys[0].get_fingerprint() in error.message
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in error.hint


def test_a_key_of_a_kind_that_is_not_known_is_loud_too(server: Any) -> None:
    server.know(new_key("rsa"))
    assert "HAS CHANGED" in refusal(server.target()).message


@pytest.mark.parametrize("pattern", ["*", "127.0.0.1", "[127.0.0.1]:{port}"])
def test_a_revoked_key_is_refused_though_it_is_known(server: Any, pattern: str) -> None:
    server.know(*server.host_keys)
    line = f"@revoked {pattern.format(port=server.port)} {public_line(server.host_keys[0])}\n"
    server.known_hosts.write_text(server.known_hosts.read_text() + line)
    assert "@revoked" in refusal(server.target()).message


def test_the_users_own_known_hosts_file_is_the_default(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (server.home / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(server.home))
    error = refusal(server.target(known_hosts=None))
    assert str(server.home / ".ssh/known_hosts") in error.message and "/etc/ssh/ssh_known_hosts" in error.message
    server.known_hosts.rename(server.home / ".ssh/known_hosts")
    assert listing(server.target(known_hosts=None)) == [".ssh"]


@pytest.mark.parametrize("what", ["absent", "folder"])
def test_a_known_hosts_file_that_cannot_be_read_is_told(server: Any, tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    assert str(tmp_path / what) in refusal(server.target(known_hosts=tmp_path / what)).message


# Who we are ----------------------------------------------------------------------------------------------


def test_without_a_key_file_the_agents_keys_are_tried(
    server: Any, agent: Callable[[asyncssh.SSHKey], None], user_key: asyncssh.SSHKey
) -> None:
    assert "the SSH agent has no keys" in refusal(server.target(privkey=None)).message
    other = new_key("rsa")
    agent(other)
    assert other.get_fingerprint() in refusal(server.target(privkey=None)).message
    agent(user_key)
    assert listing(server.target(privkey=None)) == []


def test_a_server_that_has_enough_of_our_keys_is_told_as_a_refusal(
    server: Any, agent: Callable[[asyncssh.SSHKey], None]
) -> None:
    for _ in range(8):
        agent(new_key("ed25519"))
    assert "with the agent's key" in refusal(server.target(privkey=None)).message


@pytest.mark.parametrize("address", [None, "absent", "file"])
def test_no_agent_at_all(
    start_server: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "file").touch()
    if address:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / address))
    error = refusal(start_server("asyncssh").target(privkey=None))
    assert "ds_website_privkey" in error.hint and "ssh-add" in error.hint


@pytest.mark.parametrize("kind", [*KINDS, "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"])
@pytest.mark.parametrize("program", ["asyncssh", "openssh"])
def test_every_kind_of_key_logs_in(start_server: Callable[..., Any], tmp_path: Path, program: str, kind: str) -> None:
    key = new_key(kind)
    file = tmp_path / "key"
    file.write_bytes(key.export_private_key(passphrase="correct horse", rounds=50))
    file.chmod(0o600)
    server = start_server(program, authorized=[key])
    assert listing(server.target(privkey=file, passphrase_command="printf '%s\\n' 'correct horse'")) == []


@pytest.mark.parametrize(("program", "kind", "hurries"), [("openssh", "ed25519", True), ("openssh", "rsa", False),
                                                        ("asyncssh", "ed25519", False)])  # fmt: skip
def test_a_round_trip_is_saved_where_the_server_is_known_to_allow_it(
    start_server: Callable[..., Any], tmp_path: Path, program: str, kind: str, hurries: bool
) -> None:
    key = new_key(kind)
    server = start_server(program, authorized=[key])
    with Connection(server.target(privkey=write_key(tmp_path / "key", key))) as connection:
        assert connection.transport._hurries == hurries


def test_an_answer_that_comes_early_is_not_missed(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late() -> threading.Event:
        time.sleep(0.5)
        return threading.Event()

    # paramiko makes the event after it has sent the request; here that takes longer than the answer.
    listing(server.target())
    monkeypatch.setattr("paramiko.auth_handler.threading", types.SimpleNamespace(Event=late))
    start = time.monotonic()
    assert listing(server.target()) == []
    assert "refuses the user" in refusal(server.target(privkey=write_key(tmp_path / "wrong", new_key("rsa")))).message
    assert time.monotonic() - start < 8


def test_a_refused_key_is_named_with_what_to_do(server: Any, tmp_path: Path) -> None:
    key = new_key("ed25519")
    file = tmp_path / "a key"
    file.write_bytes(key.export_private_key())
    file.chmod(0o600)
    error = refusal(server.target(privkey=file))
    assert "with the key" in error.message and str(file) in error.message
    assert key.get_fingerprint() in error.message
    assert f"ssh-copy-id -i '{file}' -p {server.port} {server.username}@127.0.0.1" in error.hint


def test_a_server_that_takes_no_keys_is_told(start_server: Callable[..., Any]) -> None:
    server = start_server("openssh", settings=["PubkeyAuthentication no", "KbdInteractiveAuthentication yes"])
    assert "log in with a key" in refusal(server.target()).message


_PASSWORDS = "PasswordAuthentication yes"


def test_a_server_that_asks_for_more_than_a_key_is_told(start_server: Callable[..., Any]) -> None:
    server = start_server(
        "openssh", settings=["AuthenticationMethods publickey,password", "PasswordAuthentication yes"]
    )
    assert "asks for more: password" in refusal(server.target()).message


# The way there -------------------------------------------------------------------------------------------


def test_nobody_listens(server: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = refusal(server.target(port=taken.getsockname()[1]))
    assert "Connection refused" in error.message and "ds_website_server_port" in error.hint


def test_a_name_that_does_not_exist(server: Any) -> None:
    assert "cannot find the server" in refusal(server.target(host="no-such-host.invalid")).message


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-1.5-ancient\r\n", b"\xff\xfe\x00\r\n", b""]
)
def test_something_else_than_an_ssh_server(start_server: Callable[..., Any], greeting: bytes) -> None:
    # In a process of its own, where nobody has set up logging: paramiko's then goes to standard error.
    code = (
        "import sys; from pathlib import Path; from deepspeech_wer.errors import PublishError\n"
        "from deepspeech_wer.publish.ssh.connection import Connection, Target\n"
        "target = Target('127.0.0.1', int(sys.argv[1]), 'me', 'www', privkey=Path(sys.argv[2]))\n"
        "try: Connection(target)\n"
        "except PublishError as error: print(error.message)"
    )
    privkey = start_server("asyncssh").privkey
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        command = [sys.executable, "-W", "error", "-c", code, str(listener.getsockname()[1]), str(privkey)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        thread.join()
    assert "could not connect" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"host": ""},
        {"host": "-oProxyCommand=x"},
        {"host": "two words"},
        {"port": 0},
        {"port": 70000},
        {"username": ""},
        {"timeout": 0},
    ],
)
def test_settings_that_no_server_can_mend(changes: dict[str, Any]) -> None:
    refusal(Target(**{"host": "127.0.0.1", "port": 22, "username": "me", "root": "www"} | changes))


def test_a_failed_connection_leaves_nothing_behind(
    start_server: Callable[..., Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def left() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    # Not asyncssh's: that one has the other end of the connection in this process.
    server = start_server("openssh")
    gc.collect()
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    before = left()
    server.know(new_key("ed25519"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refusal(server.target())
        refusal(server.target(privkey=Path("/absent")))
        refusal(server.target(known_hosts=Path("/absent")))
        gc.collect()
    assert lost == []
    for thread in threading.enumerate():
        if type(thread).__name__ == "Transport":
            thread.join(5)
    assert left() == before
    assert capfd.readouterr().err == ""


def test_the_passphrase_command_is_not_in_the_target_as_text() -> None:
    assert "hunter2" not in repr(Target("h", 22, "u", "r", passphrase_command="echo hunter2"))
