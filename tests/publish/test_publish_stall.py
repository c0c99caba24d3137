"""A server that falls silent ends a release in bounded time; one that is only slow does not."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import connection
from deepspeech_wer.publish.release import publish

TIMEOUT = 1.0
#: Seconds in which a release must have given up: the silence, its detection, and a busy machine.
BOUND = 8.0


def give_up(site: Path, target: Any, **options: Any) -> PublishError:
    start = time.monotonic()
    with pytest.raises(PublishError) as caught:
        publish(site, target, **options)
    assert TIMEOUT * 0.9 <= time.monotonic() - start < BOUND
    assert f"said nothing for {TIMEOUT:g} s" in caught.value.message and caught.value.hint
    return caught.value


def test_a_server_that_accepts_and_says_nothing(start_server: Callable[..., Any], site: Path) -> None:
    server = start_server("asyncssh")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = give_up(site, server.target(port=listener.getsockname()[1], timeout=TIMEOUT))
    assert "could not connect" in error.message


def test_a_server_that_greets_drop_by_drop(start_server: Callable[..., Any], site: Path) -> None:
    server = start_server("asyncssh")
    end = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def dribble() -> None:
            peer, _ = listener.accept()
            with peer:
                while not end.wait(0.1):
                    try:
                        peer.send(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=dribble)
        thread.start()
        start = time.monotonic()
        try:
            with pytest.raises(PublishError, match="could not connect"):
                publish(site, server.target(port=listener.getsockname()[1], timeout=TIMEOUT))
        finally:
            end.set()
            thread.join()
    assert time.monotonic() - start < BOUND


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the end of the test, so that a blocked server can end."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("hook", ["connection_made", "begin_auth", "auth_completed"])
def test_a_server_that_falls_silent_on_the_way_in(
    start_server: Callable[..., Any], site: Path, released: threading.Event, hook: str
) -> None:
    def block(self: asyncssh.SSHServer, *arguments: Any) -> Any:
        released.wait(60)
        return getattr(asyncssh.SSHServer, hook)(self, *arguments)

    server = start_server("asyncssh", server_factory=type("Blocking", (asyncssh.SSHServer,), {hook: block}))
    try:
        give_up(site, server.target(timeout=TIMEOUT))
    finally:
        released.set()


def test_a_server_that_falls_silent_when_asked_for_sftp(
    start_server: Callable[..., Any], site: Path, released: threading.Event
) -> None:
    def block(channel: Any) -> asyncssh.SFTPServer:
        released.wait(60)
        return asyncssh.SFTPServer(channel)

    server = start_server("asyncssh", sftp_factory=block)
    try:
        assert "could not open an SFTP session" in give_up(site, server.target(timeout=TIMEOUT)).message
    finally:
        released.set()


@pytest.mark.parametrize("method", ["stat", "mkdir", "scandir", "open", "write", "close", "lstat", "posix_rename"])
def test_a_server_that_falls_silent_in_the_middle(
    start_server: Callable[..., Any], site: Path, released: threading.Event, method: str
) -> None:
    def block(self: asyncssh.SFTPServer, *arguments: Any) -> Any:
        released.wait(60)
        return getattr(asyncssh.SFTPServer, method)(self, *arguments)

    server = start_server("asyncssh", sftp=type("Blocking", (asyncssh.SFTPServer,), {method: block}))
    try:
        give_up(site, server.target(timeout=TIMEOUT))
    finally:
        released.set()


def descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


@pytest.mark.parametrize("moment", ["before the connection", "before the login", "in the middle of a large file"])
def test_a_stopped_sshd(
    start_server: Callable[..., Any], site: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    server = start_server("openssh")
    stopped: list[int] = []

    def stop() -> None:
        stopped.extend(descendants(server.pid))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    def stop_in_the_middle(path: str, done: int, total: int) -> None:
        if done > 5_000_000 and not stopped:
            stop()

    try:
        if moment == "before the connection":
            stop()
            give_up(site, server.target(timeout=TIMEOUT))
        elif moment == "before the login":
            # That is when the host key is looked at.
            monkeypatch.setattr(connection, "verify", lambda trust, key: stop())
            give_up(site, server.target(timeout=TIMEOUT))
        else:
            # More than the buffers of the network take.
            (site / "js/hyper.js").write_bytes(bytes(40_000_000))
            error = give_up(site, server.target(timeout=TIMEOUT), progress=stop_in_the_middle)
            assert "upload www/js/hyper.js" in error.message
    finally:
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)


def test_an_sshd_that_lives_while_its_sftp_hangs(start_server: Callable[..., Any], site: Path) -> None:
    # It asks every second whether we are alive, so there is something to hear; but no answer.
    server = start_server("openssh", settings=["ClientAliveInterval 1", "ClientAliveCountMax 100"])
    stopped: list[int] = []

    def stop(path: str, done: int, total: int) -> None:
        if not stopped:
            stopped.append(descendants(server.pid)[-1])
            os.kill(stopped[0], signal.SIGSTOP)

    try:
        with pytest.raises(PublishError, match="said nothing for 2 s"):
            publish(site, server.target(timeout=2 * TIMEOUT), progress=stop)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


class _Slow(asyncssh.SFTPServer):
    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        time.sleep(0.3)
        return super().write(file_obj, offset, data)


def test_a_slow_server_is_waited_for(start_server: Callable[..., Any], site: Path) -> None:
    server = start_server("asyncssh", sftp=_Slow)
    (site / "js/hyper.js").write_bytes(bytes(32768 * 8))
    release = publish(site, server.target(timeout=TIMEOUT))
    assert release.seconds > 2 * TIMEOUT, "or the test shows nothing"
