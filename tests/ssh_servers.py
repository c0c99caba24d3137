"""Real SSH servers to publish to: asyncssh's in a thread, OpenSSH's sshd as a process; and real keys."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

import support
from deepspeech_wer.publish.target import Target

KINDS = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256", "rsa": "ssh-rsa"}


def new_key(kind: str) -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(KINDS.get(kind, kind), **({"key_size": 2048} if kind == "rsa" else {}))


def public_line(key: asyncssh.SSHKey) -> str:
    """``ssh-ed25519 AAAA...``"""
    return " ".join(key.export_public_key().decode().split()[:2])


def write_key(file: Path, key: asyncssh.SSHKey, passphrase: str | None = None) -> Path:
    """The private key in a file that its owner alone can read."""
    options: dict[str, Any] = {"passphrase": passphrase, "rounds": 50} if passphrase else {}
    file.write_bytes(key.export_private_key(**options))
    file.chmod(0o600)
    return file


@contextlib.contextmanager
def ssh_agent(address: Path) -> Iterator[None]:
    """A real, empty ssh-agent that listens at ``address``."""
    program = support.system_program("openssh-client", "/usr/bin/ssh-agent")
    process = subprocess.Popen([program, "-D", "-a", str(address)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=10)


@dataclass
class Server:
    """A server that listens on 127.0.0.1, and what it takes to log in."""

    port: int
    username: str
    #: The login folder as it is on this machine.
    home: Path
    host_keys: Sequence[asyncssh.SSHKey]
    known_hosts: Path
    privkey: Path
    pid: int | None = None
    logins: list[str] = field(default_factory=list)

    def target(self, root: str = "www", **changes: Any) -> Target:
        settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "username": self.username,
            "root": root,
            "privkey": self.privkey,
            "known_hosts": self.known_hosts,
            # Not what the config of whoever runs the tests says.
            "ssh_config": Path(os.devnull),
            "timeout": 10.0,
        }
        return Target(**settings | changes)

    def know(self, *keys: asyncssh.SSHKey, marker: str = "") -> None:
        """Makes known_hosts hold just these keys."""
        name = f"[127.0.0.1]:{self.port}"
        self.known_hosts.write_text("".join(f"{marker}{name} {public_line(key)}\n" for key in keys))


@contextlib.contextmanager
def asyncssh_server(
    folder: Path,
    home: Path,
    host_keys: Sequence[asyncssh.SSHKey],
    privkey: Path,
    *,
    sftp: type[asyncssh.SFTPServer] = asyncssh.SFTPServer,
    **options: Any,
) -> Iterator[Server]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=list(host_keys),
            authorized_client_keys=str(folder / "authorized_keys"),
            **{"sftp_factory": lambda channel: sftp(channel, chroot=os.fsencode(home))} | options,
        )

    async def close(acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        await acceptor.wait_closed()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    try:
        yield Server(acceptor.get_port(), "tester", home, host_keys, folder / "known_hosts", privkey)
    finally:
        asyncio.run_coroutine_threadsafe(close(acceptor), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def openssh_server(
    folder: Path,
    home: Path,
    host_keys: Sequence[asyncssh.SSHKey],
    privkey: Path,
    *,
    username: str = "",
    settings: Sequence[str] = (),
    largest_file: int | None = None,
) -> Iterator[Server]:
    """sshd as the user who tests; ``largest_file`` (bytes) makes longer writes fail as on a full disk.

    ``settings`` are lines of sshd_config that come first, and so win.
    """
    sshd = support.system_program("openssh-server", "/usr/sbin/sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = [
        "ListenAddress 127.0.0.1",
        f"Port {port}",
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "PermitRootLogin yes",
        "PasswordAuthentication no",
        f"AuthorizedKeysFile {folder / 'authorized_keys'}",
    ]
    if not any(line.startswith("Subsystem ") for line in settings):
        lines.append(f"Subsystem sftp internal-sftp -d {home}")
    for number, key in enumerate(host_keys):
        file = folder / f"host_key{number}"
        file.write_bytes(key.export_private_key())
        file.chmod(0o600)
        lines.append(f"HostKey {file}")
    (folder / "sshd_config").write_text("\n".join([*settings, *lines, ""]))

    def limit() -> None:
        import resource

        if largest_file is not None:
            # Ignored, so that the write fails instead of the server.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(folder / "sshd_config")],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            restore_signals=False,
            preexec_fn=limit,
            start_new_session=True,
        )
    try:
        _wait_until_it_listens(process, port, folder / "log")
        yield Server(port, username or getpass.getuser(), home, host_keys, folder / "known_hosts", privkey, process.pid)
    finally:
        for number in (signal.SIGCONT, signal.SIGTERM):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        process.wait(10)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.02)
