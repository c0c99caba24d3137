"""The stream of bytes to an SSH server: a TCP connection, a channel through a jump host, or what a command gives."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from typing import Any

import paramiko

from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish.ssh.config import Hop
from deepspeech_wer.publish.ssh.watched import WatchedSocket

#: How long a ProxyCommand may take to end when it is asked to, in seconds.
_ENDING_SECONDS = 2.0


def dial(hop: Hop, through: Any = None) -> WatchedSocket:
    """A stream to ``hop``; through paramiko's transport ``through``, where one is given, to the jump host before it.

    Raises ConnectionFailed, and PublishError where trying again does not help.
    """
    if through is not None:
        stream: Any = _forwarded(hop, through)
    elif hop.command:
        stream = CommandStream(hop)
    else:
        stream = _connected(hop)
    return WatchedSocket(stream, hop.timeout)


def _connected(hop: Hop) -> socket.socket:
    where = f"{hop}" if hop.address == hop.name else f"{hop} (at {hop.address})"
    try:
        connected = socket.create_connection((hop.address, hop.port), timeout=hop.timeout)
    except (socket.gaierror, UnicodeError) as error:
        kind = ConnectionFailed if getattr(error, "errno", None) == socket.EAI_AGAIN else PublishError
        raise kind(
            f"cannot find the server {hop.address}: {error}",
            "see whether the name is right (ds_website_server_fqdn, HostName in ~/.ssh/config) and the network is up",
        ) from error
    except TimeoutError as error:
        raise ConnectionFailed(
            f"{where} does not answer: no connection within {hop.timeout:g} s",
            "see whether the server is up, the port is right (ds_website_server_port) and no firewall is between",
        ) from error
    except OSError as error:
        raise ConnectionFailed(
            f"cannot connect to {where}: {error.strerror or error}",
            "see whether an SSH server listens there and the port is right (ds_website_server_port)",
        ) from error
    # Small requests are not to wait for the answers to earlier ones.
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _forwarded(hop: Hop, through: Any) -> Any:
    jump = through.hop
    try:
        return through.open_channel(
            "direct-tcpip", (hop.address, hop.port), ("127.0.0.1", 0), timeout=max(1, round(hop.timeout))
        )
    except paramiko.ChannelException as error:
        refused = error.code == 2
        raise (ConnectionFailed if refused else PublishError)(
            f"the jump host {jump} does not connect to {hop.address}, port {hop.port}: it says {error.text!r}",
            f"see whether an SSH server listens there, as seen from {jump.name}"
            if refused
            else f"let {jump.username} forward TCP connections on {jump.name} (AllowTcpForwarding in sshd_config)",
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise ConnectionFailed(
            f"the jump host {jump} does not connect to {hop.address}, port {hop.port}: {error}",
            f"see whether {jump.name} reaches it, and what its log says",
        ) from error


class CommandStream:
    """What a ProxyCommand reads and writes, as a socket. The command ends with it.

    It is run as ssh runs it, by the user's shell; but in a session of its own, since nobody is there to be asked.
    """

    def __init__(self, hop: Hop) -> None:
        shell = os.environ.get("SHELL") or "/bin/sh"
        self._said = ""
        self._closing = threading.Lock()
        self._stream, its = socket.socketpair()
        # Closed with the stream.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [shell, "-c", f"exec {hop.command}"],
                stdin=its.fileno(),
                stdout=its.fileno(),
                stderr=self._complaints,
                start_new_session=True,
            )
        except OSError as error:
            self._stream.close()
            self._complaints.close()
            raise PublishError(
                f"the shell {shell}, which is to run the ProxyCommand for {hop.name}, does not start: {error.strerror}",
                "set SHELL to a shell that there is",
            ) from error
        finally:
            its.close()

    def said(self) -> str:
        """What the command complained of, and how it ended; nothing is said of the command itself. It is closed."""
        self.close()
        return self._said

    def close(self) -> None:
        # paramiko's thread closes it, too.
        with self._closing:
            if self._complaints.closed:
                return
            self._stream.close()
            # Mostly it ends by itself now, if it has not ended before.
            for number, seconds in ((None, 0.2), (signal.SIGTERM, _ENDING_SECONDS), (signal.SIGKILL, _ENDING_SECONDS)):
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    if number:
                        os.killpg(self._process.pid, number)
                    self._process.wait(seconds)
                    break
            self._complaints.seek(0)
            words = " ".join(self._complaints.read(4096).decode("utf-8", errors="replace").split())[-300:]
            code = self._process.returncode
            self._said = (f"{words!r}; " if words else "") + f"it ended with exit code {code}"
            self._complaints.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
