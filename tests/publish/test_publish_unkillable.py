"""A line that breaks, stalls or dribbles, a server that is stopped, full, or not to be written to, a publish killed.

Each ends in bounded time with a message that names what was being done; the site that was there stays whole, and
without the fault the next publish succeeds, and goes on from what arrived.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish import release
from deepspeech_wer.publish.release import Manner, publish
from publish.ground import Ground
from publish.lying import Linking
from publish.proxy import Fault, Proxy, proxied
from publish.standing import BOUND, CHANGED, NEW, OLD, TIMEOUT, Standing, as_root, small_disk
from publish.versions import write
from ssh_servers import new_key, public_line

Start = Callable[..., Any]

#: Bytes after which the uploads are under way.
MIDDLE = 120_000


@pytest.fixture(params=["atomic", "plain"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(way: str, start_server: Start) -> Any:
    """OpenSSH's, and for the plain way one that does not work in order."""
    return start_server("openssh") if way == "atomic" else start_server("asyncssh", sftp=Linking)


@pytest.fixture
def openssh(start_server: Start) -> Any:
    return start_server("openssh")


@pytest.fixture
def proxy(server: Any) -> Iterator[Proxy]:
    with proxied(server.port) as line:
        yield line


@pytest.fixture
def standing(server: Any, tmp_path: Path, way: str) -> Standing:
    return Standing.begin(tmp_path, server.target(), server.home / "www", way)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between tries; no time passes."""
    waited: list[float] = []

    class Clock:
        monotonic = staticmethod(time.monotonic)
        sleep = staticmethod(waited.append)

    monkeypatch.setattr(release, "time", Clock)
    return waited


def sessions(server: Any) -> list[int]:
    """The processes of sshd's sessions, the newest last."""
    found, parents = [], [server.pid]
    while parents:
        below = Path(f"/proc/{parents[0]}/task/{parents[0]}/children").read_text().split()
        found += [int(pid) for pid in below]
        parents = [*parents[1:], *map(int, below)]
    return found


# The line ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "after"),
    [
        *(("stall", n) for n in (0, 1500, 5000, 20_000, MIDDLE, 250_000)),
        *(("dribble", n) for n in (0, 1500, 5000, MIDDLE)),
    ],
)
def test_a_line_that_falls_silent(server: Any, proxy: Proxy, standing: Standing, act: Any, after: int) -> None:
    proxy.plan = lambda number: Fault(after, act)
    standing.fails(proxy.target(server, timeout=TIMEOUT), within=3 * BOUND)
    proxy.plan = lambda number: None
    standing.is_made_good(proxy.target(server))


def test_what_was_under_way_is_named(server: Any, proxy: Proxy, standing: Standing) -> None:
    proxy.plan = lambda number: Fault(MIDDLE, "stall")
    words = (f"{server.username}@127.0.0.1:{proxy.port}: could not ", " www/")
    assert isinstance(
        standing.fails(proxy.target(server, timeout=TIMEOUT), *words, "said nothing for"), ConnectionFailed
    )
    proxy.plan = lambda number: Fault(MIDDLE)
    assert isinstance(standing.fails(proxy.target(server), *words, "the connection was lost"), ConnectionFailed)


def test_one_stall_is_got_over_by_trying_again(
    server: Any, proxy: Proxy, standing: Standing, waits: list[float]
) -> None:
    told: list[str] = []
    proxy.plan = lambda number: Fault(MIDDLE, "stall") if number == 0 else None
    standing.publish(proxy.target(server, timeout=TIMEOUT), manner=Manner(retries=3), tell=told.append)
    assert standing.ground.differs(NEW) == [] and waits == [2.0]
    assert len(told) == 1 and "said nothing" in told[0] and "trying again in 2 s" in told[0]


def test_cut_each_ten_kilobytes_later(server: Any, proxy: Proxy, standing: Standing, waits: list[float]) -> None:
    proxy.plan = lambda number: Fault(10_000 * (number + 1))
    standing.publish(proxy.target(server), manner=Manner(retries=60))
    assert (standing.ground.differs(NEW), standing.ground.leftovers()) == ([], [])
    assert proxy.connections > 5, "or the test shows nothing"
    assert waits[:6] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0] and max(waits) == 60.0


def test_a_line_that_carries_a_megabyte_at_a_time(openssh: Any, tmp_path: Path, way: str, waits: list[float]) -> None:
    # Of 5 MB; what is on its way at a time is lost each time, and what arrived must not be read again and again.
    standing = Standing.begin(tmp_path, openssh.target(), openssh.home / "www", way, times=20)
    with proxied(openssh.port) as proxy:
        proxy.plan = lambda number: Fault(1_000_000)
        standing.publish(proxy.target(openssh), manner=Manner(retries=40))
        assert proxy.connections > 5, "or the test shows nothing"
    assert (standing.ground.differs(standing.ground.versions[1]), standing.ground.leftovers()) == ([], [])


@pytest.mark.parametrize("kilobytes", [10, 30, 60])
def test_cut_so_early_that_nothing_can_arrive(
    server: Any, proxy: Proxy, standing: Standing, waits: list[float], kilobytes: int
) -> None:
    proxy.plan = lambda number: Fault(kilobytes * 1000)
    with contextlib.suppress(ConnectionFailed):
        standing.publish(proxy.target(server), manner=Manner(retries=3))
    assert standing.ground.wrong() == []
    proxy.plan = lambda number: None
    standing.is_made_good(proxy.target(server))


def test_tries_are_counted_and_each_waits_longer(
    server: Any, proxy: Proxy, standing: Standing, waits: list[float]
) -> None:
    told: list[str] = []
    proxy.plan = lambda number: Fault(3000)
    standing.fails(proxy.target(server), manner=Manner(retries=4), tell=told.append)
    assert proxy.connections == 5 and waits == [2.0, 4.0, 8.0, 16.0] and len(told) == 4


def test_a_server_that_is_not_there_is_tried_again(
    server: Any, proxy: Proxy, standing: Standing, waits: list[float]
) -> None:
    target = proxy.target(server)
    proxy.end()
    standing.fails(target, "cannot connect", manner=Manner(retries=2))
    assert waits == [2.0, 4.0]


def test_a_refused_login_is_not_tried_again(server: Any, proxy: Proxy, standing: Standing, waits: list[float]) -> None:
    (server.known_hosts.parent / "authorized_keys").write_text(public_line(new_key("ed25519")) + "\n")
    error = standing.fails(proxy.target(server), "refuses the user", "authorized_keys", manner=Manner(retries=3))
    assert proxy.connections == 1 and waits == [] and not isinstance(error, ConnectionFailed)


def test_an_unknown_host_is_not_tried_again(server: Any, proxy: Proxy, standing: Standing, waits: list[float]) -> None:
    target = proxy.target(server)
    server.known_hosts.write_text("")
    error = standing.fails(target, "trust-host", manner=Manner(retries=3))
    assert proxy.connections == 1 and waits == [] and not isinstance(error, ConnectionFailed)


def test_the_time_limit_ends_it_and_the_next_goes_on(openssh: Any, tmp_path: Path, way: str) -> None:
    standing = Standing.begin(tmp_path, openssh.target(), openssh.home / "www", way, times=20)
    with proxied(openssh.port, rate=1_000_000) as thin:
        target = thin.target(openssh, time_limit=2.0, compression="no")
        standing.fails(target, "took longer than 2 s", "ds_website_time_limit", manner=Manner(retries=3))
        while thin.connections < 15:
            with contextlib.suppress(PublishError):
                standing.publish(target)
                break
        assert 2 < thin.connections < 15
    assert (standing.ground.differs(standing.ground.versions[1]), standing.ground.leftovers()) == ([], [])


# The server ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [2500, 40_000, MIDDLE, 250_000])
def test_a_server_process_that_is_stopped(openssh: Any, tmp_path: Path, way: str, after: int) -> None:
    standing = Standing.begin(tmp_path, openssh.target(), openssh.home / "www", way)
    stopped: list[int] = []

    def stop() -> None:
        for pid in sessions(openssh):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

    with proxied(openssh.port) as proxy:
        proxy.plan = lambda number: Fault(after, stop) if number == 0 else None
        try:
            target = proxy.target(openssh, timeout=TIMEOUT)
            standing.fails(target, f"said nothing for {TIMEOUT:g} s", within=2 * BOUND)
            assert stopped
            # The next has a process of its own, and succeeds beside the one that still hangs.
            standing.is_made_good(target)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.3)
    assert standing.ground.differs(NEW) == [], "what the stopped one had been told before harms nothing"


@as_root
def test_a_disk_that_is_full(start_server: Start, tmp_path: Path, way: str) -> None:
    server = start_server("openssh")
    with small_disk(server.home / "disk", 640) as resize:
        standing = Standing.begin(tmp_path, server.target("disk/www"), server.home / "disk/www", way)
        error = standing.fails(server.target("disk/www"), "could not upload", "of the site", "is full", "df -h")
        assert not isinstance(error, ConnectionFailed)
        resize("size=4000k")
        with proxied(server.port) as proxy:
            standing.is_made_good(proxy.target(server, "disk/www"))
            assert proxy.up < 0.9 * CHANGED, "what arrived before is not sent again"


@pytest.mark.parametrize("largest", [20_000])
def test_a_quota_that_is_reached(start_server: Start, tmp_path: Path, way: str, largest: int) -> None:
    server = start_server("openssh", largest_file=largest)
    ground = Ground(server.home / "www", [NEW])
    standing = Standing(ground, write(tmp_path / "new", NEW), Manner(way=way, retries=0))
    with pytest.raises(PublishError, match=r"could not upload .*of the site") as caught:
        standing.publish(server.target())
    assert "df -h, quota" in caught.value.hint and not (server.home / "www/index.html").exists()


@as_root
def test_a_folder_that_may_not_be_written_to_any_more(start_server: Start, tmp_path: Path, way: str) -> None:
    # That user cannot look into this test's folder, so the key comes from a command.
    keys = f"AuthorizedKeysCommand /bin/cat {tmp_path}/server1/authorized_keys"
    settings = ("AuthorizedKeysFile none", keys, "AuthorizedKeysCommandUser root")
    server = start_server("openssh", username="nobody", settings=settings)
    with tempfile.TemporaryDirectory() as folder, proxied(server.port) as proxy:
        os.chown(folder, 65534, 65534)
        root = Path(folder) / "www"
        standing = Standing.begin(tmp_path, server.target(str(root)), root, way)
        mode = Fault(40_000, lambda: [path.chmod(0o555) for path in (root / ".deepspeech-wer").iterdir()])
        proxy.plan = lambda number: mode
        standing.fails(proxy.target(server, str(root)), str(root), "permission denied", "nobody", "chmod")
        proxy.plan = lambda number: None
        for path in (root / ".deepspeech-wer").iterdir():
            path.chmod(0o755)
        standing.is_made_good(proxy.target(server, str(root)))


@as_root
@pytest.mark.parametrize("root", ["www", "/site/www"])
def test_a_user_who_is_shut_into_a_folder(start_server: Start, tmp_path: Path, way: str, root: str) -> None:
    keys = f"AuthorizedKeysCommand /bin/cat {tmp_path}/server1/authorized_keys"
    with tempfile.TemporaryDirectory(dir="/run") as jail:  # all folders on the way to it have to be root's alone
        Path(jail).chmod(0o755)
        for name in ("www", "site"):
            (Path(jail) / name).mkdir()
            os.chown(Path(jail) / name, 65534, 65534)
        settings = ["AuthorizedKeysFile none", keys, "AuthorizedKeysCommandUser root", "Subsystem sftp internal-sftp"]
        settings += [f"ChrootDirectory {jail}", "ForceCommand internal-sftp"]
        server = start_server("openssh", username="nobody", settings=settings)
        standing = Standing.begin(tmp_path, server.target(root), Path(jail) / root.lstrip("/"), way)
        with proxied(server.port) as proxy:
            proxy.plan = lambda number: Fault(MIDDLE)
            standing.fails(proxy.target(server, root), "the connection was lost")
            proxy.plan = lambda number: None
            standing.is_made_good(proxy.target(server, root))


# This machine --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [60_000, MIDDLE, 250_000])
def test_a_publish_that_is_killed(
    server: Any, proxy: Proxy, standing: Standing, way: str, after: int, tmp_path: Path
) -> None:
    target = proxy.target(server)
    begun: list[subprocess.Popen[str]] = []
    proxy.plan = lambda number: Fault(after, lambda: begun[0].send_signal(signal.SIGKILL))
    settings = {
        "server_fqdn": target.host,
        "server_port": target.port,
        "server_root": target.root,
        "username": target.username,
        "privkey": target.privkey,
        "known_hosts": target.known_hosts,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ds_")}
    environment |= {f"ds_website_{name}": str(value) for name, value in settings.items()} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-m", "deepspeech_wer.publish", str(standing.new / "index.html")]
    with subprocess.Popen(command, env=environment, text=True) as process:
        begun.append(process)
        assert process.wait(30) == -signal.SIGKILL
    assert standing.ground.wrong() == []
    proxy.plan = lambda number: None
    standing.is_made_good(proxy.target(server))


def test_the_old_site_is_published_first_or_these_tests_show_nothing(standing: Standing) -> None:
    assert standing.ground.differs(OLD) == [] and len(standing.ground.differs(NEW)) > 10


def test_publishing_what_is_there_sends_next_to_nothing(server: Any, proxy: Proxy, standing: Standing) -> None:
    release = publish(write(standing.new.with_name("same"), OLD), proxy.target(server), manner=standing.manner)
    assert not release.is_new and proxy.up < 30_000
