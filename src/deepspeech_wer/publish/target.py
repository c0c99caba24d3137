"""Where a site is published to: a folder on an SSH server, and how to get there; or a folder of this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_wer.errors import PublishError


@dataclass(frozen=True)
class Target:
    """A folder on an SSH server, and how to prove who we are and who it is.

    ``root`` is the web root on the server; relative to the login folder if it does not begin with ``/``.
    ``privkey`` is a private key file of any kind; without one the SSH agent's keys are tried.
    ``passphrase_command`` prints the passphrase of an encrypted ``privkey``; it is split as a shell
    would, but no shell runs it. ``known_hosts`` replaces ``~/.ssh/known_hosts`` and
    ``/etc/ssh/ssh_known_hosts``. ``ssh_config`` replaces ``~/.ssh/config`` and ``/etc/ssh/ssh_config``, in which
    ``host`` is looked up and which give what is not given here: the address, ``port`` (else 22), ``username``, keys,
    jump hosts; ``/dev/null`` for none.
    ``timeout`` is in seconds without progress; ``time_limit`` in seconds for one connection in all, 0 for none.
    ``compression`` is "yes", "no", or "auto" for when it pays.
    """

    host: str
    port: int | None
    username: str
    root: str
    privkey: Path | None = None
    # Not in the repr: people write secrets into commands.
    passphrase_command: str | None = field(default=None, repr=False)
    known_hosts: Path | None = None
    ssh_config: Path | None = None
    timeout: float = 30.0
    time_limit: float = 0.0
    compression: str = "auto"

    def __str__(self) -> str:
        """``wer@www.example.org:22``, without what is not given."""
        user, port = f"{self.username}@" if self.username else "", f":{self.port}" if self.port else ""
        return f"{user}{self.host}{port}"


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, such as one that a web server here shows, or that is mounted."""

    root: Path
    time_limit: float = 0.0

    def __str__(self) -> str:
        return "this machine"


Place = Target | Folder


def check(target: Target) -> None:
    """Raises PublishError if ``target`` cannot be connected to, whatever the config and the server say."""
    # A host or user beginning with "-" would be read as an option in the commands that hints give.
    if not target.host or target.host.startswith("-") or any(c.isspace() or c in "/@," for c in target.host):
        raise PublishError(
            f"cannot publish to the host {target.host!r}: it is not the name of a server",
            "set the web server's name (ds_website_server_fqdn), such as www.example.org",
        )
    if target.port is not None and not 0 < target.port < 65536:
        raise PublishError(
            f"cannot publish to port {target.port} of {target.host}: there is no such port",
            "set the SSH port of the web server (ds_website_server_port), a number from 1 to 65535",
        )
    if target.username.startswith("-"):
        raise PublishError(
            f"cannot publish to {target.host} as user {target.username!r}: it is not a user's name",
            "set the user to log in as (ds_website_username)",
        )
    if not target.timeout > 0:
        raise PublishError(
            f"cannot publish to {target} with a timeout of {target.timeout} s",
            "set a timeout of more than 0 seconds",
        )
