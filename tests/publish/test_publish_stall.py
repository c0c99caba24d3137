"""A server that falls silent ends what is asked of it in bounded time, as does the user; one that is slow does not."""

from __future__ import annotations

import asyncio
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

from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish.operations import (
    Attributes,
    Chain,
    Content,
    Digest,
    Link,
    List,
    Look,
    MakeFolder,
    Progress,
    Put,
    Read,
    Remove,
    Rename,
)
from deepspeech_wer.publish.sftp import connect
from deepspeech_wer.publish.ssh import transport
from deepspeech_wer.publish.target import Target
from publish.lying import RUBBISH, answering
from publish.proxy import Fault, proxied
from ssh_servers import Server

Start = Callable[..., Server]

TIMEOUT = 1.0
#: Seconds in which it must have been given up: the silence, its detection, and a busy machine.
BOUND = 8.0
#: More than the buffers of the network take.
LARGE = Content.of_bytes(bytes(40_000_000))
SMALL = Content.of_bytes(b"hallo" * 1000)


def use(target: Target, *chains: Chain, progress: Progress | None = None) -> list[list[Any]]:
    with connect(target) as store:
        return store.run(chains, progress)


def give_up(target: Target, *chains: Chain, progress: Progress | None = None) -> str:
    begin = time.monotonic()
    with pytest.raises(ConnectionFailed) as caught:
        use(target, *chains, progress=progress)
    assert target.timeout * 0.9 <= time.monotonic() - begin < BOUND
    assert f"said nothing for {target.timeout:g} s" in caught.value.message and caught.value.hint
    assert no_worker_is_left()
    return caught.value.message


def no_worker_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("sftp-")]


# On the way in -------------------------------------------------------------------------------------------------------


def test_a_server_that_accepts_and_says_nothing(start_server: Start) -> None:
    server = start_server("asyncssh")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert "could not connect" in give_up(server.target(port=listener.getsockname()[1], timeout=TIMEOUT))


def test_a_server_that_greets_drop_by_drop(start_server: Start) -> None:
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
        begin = time.monotonic()
        try:
            with pytest.raises(ConnectionFailed, match="could not connect"):
                use(server.target(port=listener.getsockname()[1], timeout=TIMEOUT))
        finally:
            end.set()
            thread.join()
    assert time.monotonic() - begin < BOUND


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the end of the test, so that a blocked server can end."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("hook", ["connection_made", "begin_auth", "auth_completed"])
def test_a_server_that_falls_silent_on_the_way_in(start_server: Start, released: threading.Event, hook: str) -> None:
    def block(self: asyncssh.SSHServer, *arguments: Any) -> Any:
        released.wait(60)
        return getattr(asyncssh.SSHServer, hook)(self, *arguments)

    server = start_server("asyncssh", server_factory=type("Blocking", (asyncssh.SSHServer,), {hook: block}))
    try:
        give_up(server.target(timeout=TIMEOUT), [Look(".")])
    finally:
        released.set()


def test_a_server_that_falls_silent_when_asked_for_sftp(start_server: Start, released: threading.Event) -> None:
    def block(channel: Any) -> asyncssh.SFTPServer:
        released.wait(60)
        return asyncssh.SFTPServer(channel)

    server = start_server("asyncssh", sftp_factory=block)
    try:
        assert "could not open an SFTP session" in give_up(server.target(timeout=TIMEOUT), [Look(".")])
    finally:
        released.set()


# In the middle -------------------------------------------------------------------------------------------------------

PUT = Put("new", SMALL, 5)
#: What the server does when it falls silent, what asks for it, and what the user is told about.
MOMENTS: dict[str, tuple[Any, str]] = {
    "lstat": (Look("there"), "look at there"),
    "mkdir": (MakeFolder("folder"), "make the folder folder"),
    "scandir": (List("."), "list the folder ."),
    "open": (PUT, "upload new"),
    "write": (PUT, "upload new"),
    "fsetstat": (PUT, "upload new"),
    "fstat": (PUT, "upload new"),
    "read": (Read("there"), "read there"),
    "close": (PUT, "upload new"),
    "posix_rename": (Rename("there", "here"), "rename there to here"),
    "link": (Link("there", "here"), "make here a hard link to there"),
    "remove": (Remove("there"), "remove there"),
}


@pytest.mark.parametrize("method", MOMENTS)
def test_a_server_that_falls_silent_in_the_middle(start_server: Start, released: threading.Event, method: str) -> None:
    def block(self: asyncssh.SFTPServer, *arguments: Any) -> Any:
        released.wait(60)
        return getattr(asyncssh.SFTPServer, method)(self, *arguments)

    server = start_server("asyncssh", sftp=type("Blocking", (asyncssh.SFTPServer,), {method: block}))
    (server.home / "there").write_text("hallo")
    operation, told = MOMENTS[method]
    try:
        assert f"could not {told}: " in give_up(server.target(timeout=TIMEOUT), [operation])
    finally:
        released.set()


def descendants(pid: int | None) -> list[int]:
    assert pid
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


@pytest.fixture
def stop() -> Iterator[Callable[[list[int]], None]]:
    """Stops processes until the end of the test."""
    stopped: list[int] = []

    def stop(pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

    yield stop
    for pid in reversed(stopped):
        os.kill(pid, signal.SIGCONT)


def test_an_sshd_that_is_stopped_before_the_connection(start_server: Start, stop: Any) -> None:
    server = start_server("openssh")
    stop(descendants(server.pid))
    give_up(server.target(timeout=TIMEOUT))


def test_an_sshd_that_is_stopped_before_the_login(
    start_server: Start, stop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server("openssh")
    # That is when the host key is looked at.
    monkeypatch.setattr(transport, "verify", lambda trust, key: stop(descendants(server.pid)))
    give_up(server.target(timeout=TIMEOUT))


@pytest.mark.parametrize("files", [1, 6])
def test_an_sshd_that_is_stopped_in_the_middle_of_a_file(start_server: Start, stop: Any, files: int) -> None:
    server = start_server("openssh")
    told: list[int] = []

    def progress(size: int) -> None:
        told.append(size)
        if len(told) == 1:
            stop(descendants(server.pid))

    chains = [[Put(f"large{n}", LARGE, 5)] for n in range(files)]
    message = give_up(server.target(timeout=TIMEOUT), *chains, progress=progress)
    assert "could not upload large" in message


def test_an_sshd_that_lives_while_its_sftp_hangs(start_server: Start, stop: Any) -> None:
    # It asks every second whether we are alive, so there is something to hear; but no answer.
    server = start_server("openssh", settings=["ClientAliveInterval 1", "ClientAliveCountMax 100"])
    with connect(server.target(timeout=2 * TIMEOUT)) as store:
        store.run([[Look(".")]])
        stop(descendants(server.pid)[-1:])
        with pytest.raises(ConnectionFailed, match=r"could not look at somewhere: .* said nothing for 2 s"):
            store.run([[Look("somewhere")]])


def test_a_line_that_dribbles_is_no_line(start_server: Start) -> None:
    server = start_server("openssh")
    with proxied(server.port) as proxy:
        proxy.plan = lambda number: Fault(200_000, "dribble")
        give_up(proxy.target(server, timeout=TIMEOUT), [Put("large", LARGE, 5)])


# What is slow, and goes on -------------------------------------------------------------------------------------------


class _Slow(asyncssh.SFTPServer):
    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        time.sleep(0.3)
        return super().write(file_obj, offset, data)  # type: ignore[return-value]


def test_a_slow_server_is_waited_for(start_server: Start) -> None:
    server = start_server("asyncssh", sftp=_Slow)
    begin = time.monotonic()
    [[answer]] = use(server.target(timeout=TIMEOUT), [Put("a", Content.of_bytes(bytes(32768 * 8)), 5)])
    assert isinstance(answer, Attributes)
    assert time.monotonic() - begin > 2 * TIMEOUT, "or the test shows nothing"


@pytest.mark.parametrize("kind", ["openssh", "asyncssh"])
def test_a_thin_line_is_waited_for(start_server: Start, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    # The proxy passes on what it read at once; a thin line has no lumps of 256 KiB.
    monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "max_size", 4096)  # type: ignore[attr-defined]
    server = start_server(kind)
    # What is asked for behind all these uploads waits for all of them.
    chains = [[Put(f"a{n}", Content.of_bytes(os.urandom(size)), 5)] for n, size in enumerate((30_000, 270_000))]
    begin = time.monotonic()
    with proxied(server.port, rate=100_000) as proxy:
        answers = use(proxy.target(server, timeout=2 * TIMEOUT, compression="no"), *chains, [Look("."), Digest("a0")])
    assert all(isinstance(answer, Attributes) for answer, *_ in answers)
    assert time.monotonic() - begin > 2 * TIMEOUT, "or the test shows nothing"


# An end that the user sets -------------------------------------------------------------------------------------------


def test_the_time_limit_ends_what_goes_on(start_server: Start) -> None:
    server = start_server("openssh")
    begin = time.monotonic()
    with proxied(server.port, rate=1_000_000) as proxy:
        target = proxy.target(server, time_limit=1.5, compression="no")
        with pytest.raises(PublishError, match=r"took longer than 1\.5 s") as caught:
            use(target, [Put("large", LARGE, 5)])
    assert not isinstance(caught.value, ConnectionFailed), "another try would take as long"
    assert "ds_website_time_limit" in caught.value.hint
    assert 1.4 < time.monotonic() - begin < BOUND and no_worker_is_left()
    assert 0 < (server.home / "large").stat().st_size < LARGE.size


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("silent", [True, False])
def test_a_signal_ends_it_at_once(start_server: Start, stop: Any, number: signal.Signals, silent: bool) -> None:
    def end(*_: Any) -> None:
        raise SystemExit(3)

    server = start_server("openssh")
    previous = signal.signal(number, end)
    sent: list[float] = []

    def progress(size: int) -> None:
        if not sent:
            if silent:
                stop(descendants(server.pid))
            threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
            sent.append(time.monotonic() + 0.3)

    try:
        with proxied(server.port, rate=2_000_000) as proxy, pytest.raises(SystemExit):
            use(proxy.target(server, timeout=60), [Put("large", LARGE, 5)], progress=progress)
    finally:
        signal.signal(number, previous)
    assert time.monotonic() - sent[0] < 2 and no_worker_is_left()


# A connection that is lost, a server that is none -------------------------------------------------------------------


@pytest.mark.parametrize("after", [10_000, 300_000, 5_000_000])
def test_a_connection_that_is_cut(start_server: Start, after: int) -> None:
    server = start_server("openssh")
    with proxied(server.port) as proxy:
        proxy.plan = lambda number: Fault(after)
        with pytest.raises(ConnectionFailed, match=r"could not .*: the connection was lost") as caught:
            use(proxy.target(server, compression="no"), [Put("large", LARGE, 5)])
        assert "goes on from what is there" in caught.value.hint
        with pytest.raises(ConnectionFailed), connect(proxy.target(server)) as store:
            proxy.cut()
            store.run([[Look(".")]])


def test_an_sftp_server_that_dies(start_server: Start) -> None:
    server = start_server("openssh", settings=["Subsystem sftp /usr/lib/openssh/sftp-server"])
    with connect(server.target()) as store:
        store.run([[Look(".")]])
        os.kill(descendants(server.pid)[-1], signal.SIGKILL)
        with pytest.raises(ConnectionFailed, match="could not look at somewhere"):
            store.run([[Look("somewhere")]])
        with pytest.raises(ConnectionFailed):
            store.run([[Look("somewhere")]])


@pytest.mark.parametrize(
    "subsystem",
    ["sftp /bin/false", "other /bin/true", "sftp {folder}/Welcome"],
    ids=["that ends", "that is not there", "that prints something"],
)
def test_a_server_without_sftp(start_server: Start, tmp_path: Path, subsystem: str) -> None:
    (tmp_path / "Welcome").write_text("#!/bin/sh\necho Welcome to the machine\nsleep 2\n")
    (tmp_path / "Welcome").chmod(0o755)
    server = start_server("openssh", settings=[f"Subsystem {subsystem.format(folder=tmp_path)}"])
    with pytest.raises(PublishError, match="could not open an SFTP session") as caught:
        use(server.target(), [Look(".")])
    assert not isinstance(caught.value, ConnectionFailed)
    assert "Subsystem sftp" in caught.value.hint and f"sftp -P {server.port} {server.username}@" in caught.value.hint
    assert ("Welcome" in caught.value.message) == ("Welcome" in subsystem)


@pytest.mark.parametrize("kind", RUBBISH)
def test_answers_that_are_rubbish(start_server: Start, kind: str) -> None:
    server = start_server("asyncssh", **answering(kind))
    begin = time.monotonic()
    chains = [[Look("a")], [List("a")], [Read("a")], [PUT], [Digest("a")]]
    with pytest.raises(PublishError, match="could not"):
        use(server.target(timeout=TIMEOUT), *chains)
    assert time.monotonic() - begin < BOUND and no_worker_is_left()


def test_a_folder_without_end(start_server: Start) -> None:
    class Endless(asyncssh.SFTPServer):
        async def scandir(self, path: bytes) -> Any:
            while True:
                yield asyncssh.sftp.SFTPName(b"a", attrs=asyncssh.SFTPAttrs())

    with pytest.raises(PublishError, match="the folder a has no end"):
        use(start_server("asyncssh", sftp=Endless).target(), [List("a")])


def test_a_file_in_crumbs(start_server: Start) -> None:
    class Crumbs(asyncssh.SFTPServer):
        def read(self, file_obj: Any, offset: int, size: int) -> bytes:
            return super().read(file_obj, offset, 1)  # type: ignore[return-value]

    server = start_server("asyncssh", sftp=Crumbs)
    (server.home / "a").write_bytes(bytes(100_000))
    with pytest.raises(PublishError, match="a comes in crumbs"):
        use(server.target(), [Digest("a")])
