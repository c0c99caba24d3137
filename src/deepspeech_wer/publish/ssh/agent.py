"""The SSH agent at a socket: the keys it holds and signs with, certificates among them.

paramiko's ``Agent`` knows no other socket than that of the environment, waits for ever for one that says nothing, takes
one that cannot be reached for one that is empty, and offers an RSA certificate as if it were the plain key.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import paramiko
from paramiko.agent import AgentSSH

from deepspeech_wer.errors import PublishError

#: How long an agent may take to list its keys, in seconds; and to sign, long enough for a person whom it asks.
LIST_SECONDS = 5.0
AGENT_SECONDS = 60.0


class AgentKey(paramiko.AgentKey):  # type: ignore[misc]
    """A key of the agent, offered as what the agent calls it: a certificate as a certificate."""

    #: A certificate to offer it with. paramiko 3.5.1 looks for it and does not have it.
    public_blob: Any = None

    def asbytes(self) -> bytes:
        blob: bytes = self.blob
        return blob

    def copy(self) -> AgentKey:
        return AgentKey(self.agent, self.blob, self.comment)


class Agent(AgentSSH):  # type: ignore[misc]
    """The agent at ``address``; connected to when it is first asked. A context manager."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.is_there = False
        self._held: tuple[AgentKey, ...] = ()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def held(self) -> tuple[AgentKey, ...]:
        """What it holds; nothing if there is no agent. Raises PublishError if it does not answer."""
        if not self.address or self.is_there:
            return self._held
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(LIST_SECONDS)
        try:
            connection.connect(self.address)
        except FileNotFoundError:
            connection.close()
            return ()
        except OSError as error:
            connection.close()
            raise self._mute(error) from error
        try:
            self._connect(connection)
        except (OSError, paramiko.SSHException) as error:
            raise self._mute(error) from error
        connection.settimeout(AGENT_SECONDS)
        self.is_there = True
        self._held = tuple(AgentKey(self, key.blob, key.comment) for key in self.get_keys())
        return self._held

    def _mute(self, error: Exception) -> PublishError:
        with contextlib.suppress(OSError):
            self._close()
        return PublishError(
            f"the SSH agent at {self.address!r} does not answer: {error}",
            "set a private key file (ds_website_privkey), or start the agent again: eval $(ssh-agent); ssh-add",
        )
