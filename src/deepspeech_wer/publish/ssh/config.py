"""The way to a server: the settings and what ``~/.ssh/config`` says beside them, as :class:`Hop` after hop.

``ds_website_server_fqdn`` is looked up as a ``Host`` of the config, which gives what the settings do not: address,
port, user, keys, certificates, agent, known_hosts files, a command to connect by, and jump hosts. What the settings
give wins. Each jump host is looked up in its turn, and is as strictly checked as the server itself.

Nothing here touches the network or loads an SSH library.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh import configfile
from deepspeech_wer.publish.ssh.configfile import Answers, expanded, local_user, with_variables
from deepspeech_wer.publish.target import Target, check

SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")

#: More jump hosts than anybody has: they lead in a circle.
_MOST_HOPS = 10


@dataclass(frozen=True)
class Hop:
    """One SSH server on the way, the last being the one that is published to; and how to log in there.

    ``name`` is what the user calls it, ``address`` what is connected to. ``privkey`` is the key file that the settings
    name, the only one then; ``identity_files`` are those of the config, which need not exist. ``agent`` is the agent's
    socket, "" for none. ``key_name`` is the name to look host keys up by (HostKeyAlias), if it is another one.
    ``command`` connects in place of TCP (ProxyCommand).
    """

    name: str
    address: str
    port: int
    username: str
    timeout: float
    known_hosts: tuple[Path, ...]
    privkey: Path | None = None
    identity_files: tuple[Path, ...] = ()
    certificate_files: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str = ""
    # Not in the repr: people write secrets into commands.
    passphrase_command: str | None = field(default=None, repr=False)
    command: str = field(default="", repr=False)
    key_name: str = ""
    #: Whether the known_hosts file was named in the settings, and then must be there.
    known_hosts_named: bool = False
    #: Whether names are hashed when they are written to known_hosts.
    hash_names: bool = False
    revoked_keys: Path | None = None

    def __str__(self) -> str:
        return f"{self.username}@{self.name}:{self.port}" if self.username else f"{self.name}:{self.port}"


def resolve(target: Target) -> Target:
    """``target`` with the port and the username that the config gives where it has none; ``username`` may stay empty.

    Raises PublishError where the config cannot be read or understood.
    """
    answers = _lookup(target, target.host, target.username, target.port)
    return replace(target, port=_port(answers), username=answers.first("user"))


def route(target: Target, *, to_log_in: bool = True) -> tuple[Hop, ...]:
    """The hops to ``target``, itself the last. Raises PublishError where settings or config are wrong or incomplete.

    Without a user it is complete only for who does not want ``to_log_in``.
    """
    check(target)
    hops = _route(target, target.host, target.username, target.port, jumps=None, depth=0)
    if to_log_in and not hops[-1].username:
        raise PublishError(
            f"cannot publish to {target.host}: it is not said as which user",
            f"set ds_website_username, or User for Host {target.host} in ~/.ssh/config",
        )
    return hops


def _route(target: Target, name: str, user: str, port: int | None, jumps: str | None, depth: int) -> tuple[Hop, ...]:
    """The hops to the host ``name``; through ``jumps``, if the caller says so, whatever the config says."""
    is_last = depth == 0
    if depth >= _MOST_HOPS:
        raise PublishError(
            f"the jump hosts to {target.host} lead in a circle: {name} comes again and again",
            "mend ProxyJump in ~/.ssh/config; a Host * that jumps needs ProxyJump none for the jump host itself",
        )
    answers = _lookup(target, name, user, port)
    origin = answers.origins.get("proxyjump", "")
    if jumps is None:
        tokens = {token: value for token, value in answers.tokens().items() if token in "%hnpr"}
        jumps = expanded(answers.first("proxyjump"), tokens, origin)
        command = answers.first("proxycommand")
        command = "" if command == "none" else expanded(command, tokens, answers.origins.get("proxycommand", ""))
    else:
        command = ""
    hop = _hop(target, answers, command, is_last=is_last)
    if not jumps or jumps == "none":
        return (hop,)
    *before, jump = jumps.split(",")
    found = re.fullmatch(r"(?:ssh://)?(?:(.+)@)?(\[[^\]]+\]|[^:\[\]/@]+)(?::(\d+))?/?", jump.strip())
    if not found:
        raise configfile.wrong(origin, f"the jump host {jump!r} is not of the form user@host:port")
    address = found[2].strip("[]")
    way = _route(
        target, address, found[1] or "", int(found[3]) if found[3] else None, ",".join(before) or None, depth + 1
    )
    return (*way, hop)


def _lookup(target: Target, name: str, user: str, port: int | None) -> Answers:
    files = (target.ssh_config.expanduser(),) if target.ssh_config else configfile.default_files()
    return configfile.lookup(name, files, user=user, port=port)


def _hop(target: Target, answers: Answers, command: str, *, is_last: bool) -> Hop:
    named = _paths(answers, "identityfile") or ()
    # The key of the settings is for the server; for a jump host if nobody says which one is.
    privkey = target.privkey.expanduser() if target.privkey and (is_last or not named) else None
    if target.known_hosts:
        known_hosts: tuple[Path, ...] = (target.known_hosts.expanduser(),)
    else:
        own, of_all = _paths(answers, "userknownhostsfile"), _paths(answers, "globalknownhostsfile")
        known_hosts = (Path.home() / ".ssh" / "known_hosts",) if own is None else own
        known_hosts += (SYSTEM_KNOWN_HOSTS,) if of_all is None else of_all
    hop = Hop(
        name=answers.name,
        address=answers.address,
        port=_port(answers),
        username=answers.first("user", "" if is_last else local_user()),
        timeout=target.timeout,
        known_hosts=known_hosts,
        privkey=privkey,
        identity_files=() if privkey else named,
        certificate_files=_paths(answers, "certificatefile") or (),
        identities_only=answers.first("identitiesonly").lower() == "yes",
        agent=_agent(answers),
        passphrase_command=target.passphrase_command,
        command=command,
        key_name=answers.first("hostkeyalias"),
        known_hosts_named=target.known_hosts is not None,
        hash_names=answers.first("hashknownhosts").lower() == "yes",
        revoked_keys=next(iter(_paths(answers, "revokedhostkeys") or ()), None),
    )
    _check_hop(hop, answers)
    return hop


def _check_hop(hop: Hop, answers: Answers) -> None:
    # What begins with "-" would be an option in the commands that hints give.
    wrong = hop.address.startswith("-") or any(c.isspace() or c in "/@,\0" for c in hop.address) or not hop.address
    if wrong or hop.username.startswith("-"):
        key = "hostname" if wrong else "user"
        what = f"{hop.address!r} is not the name of a server" if wrong else f"{hop.username!r} is not a user's name"
        raise configfile.wrong(answers.origins.get(key, f"the host {hop.name!r}"), what)


def _port(answers: Answers) -> int:
    text = answers.first("port", "22")
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise configfile.wrong(answers.origins.get("port", answers.name), f"{text!r} is not a port")
    return int(text)


def _paths(answers: Answers, keyword: str) -> tuple[Path, ...] | None:
    """The files that ``keyword`` names, where "none" is none; None if it stands nowhere."""
    if keyword not in answers.values:
        return None
    origin = answers.origins.get(keyword, "")
    return tuple(
        Path(with_variables(expanded(word, answers.tokens(), origin), origin)).expanduser()
        for word in answers.values[keyword]
        if word.lower() != "none"
    )


def _agent(answers: Answers) -> str:
    """The agent's socket, as IdentityAgent says, else the environment."""
    word = answers.first("identityagent", "SSH_AUTH_SOCK")
    if word.lower() == "none":
        return ""
    if word == "SSH_AUTH_SOCK" or re.fullmatch(r"\$\w+", word):
        return os.environ.get(word.removeprefix("$"), "")
    return str((_paths(answers, "identityagent") or ("",))[0])
