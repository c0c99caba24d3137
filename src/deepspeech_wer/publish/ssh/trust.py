"""``deepspeech-wer trust-host``: who a server is, shown to a person who can compare it, and noted down if they agree.

The only way in which this program comes to know a host key. It connects without logging in (to jump hosts, which are
asked about first, it must log in to come any further), and writes one line to the known_hosts file.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepspeech_wer.errors import EXIT_DONE, PublishError
from deepspeech_wer.publish.ssh.config import Hop, route
from deepspeech_wer.publish.ssh.hostkey import HostKey
from deepspeech_wer.publish.ssh.knownhosts import Trust, UnknownHost, lookup, server_file, verify
from deepspeech_wer.publish.target import Target

if TYPE_CHECKING:
    from deepspeech_wer.publish.ssh.transport import Transport

#: Asks a person with this text; gives the answer.
Ask = Callable[[str], str]

_QUESTION = "Is it the same? (yes, no, or the fingerprint as the server prints it) "


def run(target: Target, fingerprint: str = "") -> int:
    """The verb: asks on the terminal; with ``fingerprint`` (``SHA256:...``) compares in place of asking.

    Raises PublishError where the server is not trusted in the end; then nothing is written.
    """
    trust_host(target, ask=input if sys.stdin and sys.stdin.isatty() else None, fingerprint=fingerprint)
    return EXIT_DONE


def trust_host(target: Target, *, ask: Ask | None, fingerprint: str = "", tell: Callable[[str], None] = print) -> None:
    """Asks about each host on the way to ``target`` that is not known, and notes down what is agreed to.

    ``fingerprint`` may be several, with commas between them, one a host. Raises PublishError.
    """
    from deepspeech_wer.publish.ssh.dial import dial
    from deepspeech_wer.publish.ssh.identities import identities
    from deepspeech_wer.publish.ssh.transport import Transport

    given = fingerprint.replace(",", " ").split()
    if not all(word.startswith("SHA256:") for word in given):
        raise PublishError(
            f"{fingerprint!r} is not a fingerprint", "give it as ssh-keygen -lf prints it: --fingerprint SHA256:..."
        )
    hops = route(target, to_log_in=False)
    with ExitStack() as way:
        through: Transport | None = None
        for hop in hops:
            transport = Transport(hop, dial(hop, through))
            way.callback(transport.close)
            trust = lookup(hop, named_must_exist=False)
            transport.greet(trust)
            try:
                verify(trust, transport.host_key_shown)
            except UnknownHost as unknown:
                _agree(hop, trust, unknown.key, _address(transport), ask, given, tell)
                file = note(hop, trust, unknown.key)
                tell(f"{trust.name} is trusted from now on: {unknown.key}, noted in {file}")
            else:
                _known(trust, transport.host_key_shown, given if hop is hops[-1] else [], tell)
            if hop is not hops[-1]:
                with identities(hop) as ours:
                    transport.log_in(ours)
            through = transport


def _known(trust: Trust, shown: HostKey, given: list[str], tell: Callable[[str], None]) -> None:
    if given and shown.fingerprint not in given and not any(key.fingerprint in given for key in trust.authorities):
        raise PublishError(
            f"{trust.name} is known, but by {trust}, not by {' or '.join(given)}",
            "see which one is right, before anything is published there: ssh-keygen -lf FILE on the server",
        )
    tell(f"{trust.name} is known already: {trust}, in {' or '.join(map(str, trust.files))}")


def _agree(
    hop: Hop,
    trust: Trust,
    key: HostKey,
    address: str,
    ask: Ask | None,
    given: list[str],
    tell: Callable[[str], None],
) -> None:
    """Returns if the key is the right one. Raises PublishError if not, or if nobody can say."""
    if given:
        if key.fingerprint in given:
            return
        raise PublishError(
            f"{trust.name} shows the host key {key}, not {' or '.join(given)}; it is not trusted, nothing was written",
            "see which one the server has: ssh-keygen -lf " + server_file(key) + ", there",
        )
    if ask is None:
        raise PublishError(
            f"the host key of {trust.name} is not known, and there is no terminal to ask; nothing was written",
            "run deepspeech-wer trust-host in a terminal, or give the fingerprint that the server itself prints: "
            "deepspeech-wer trust-host --fingerprint SHA256:...",
        )
    tell(f"{hop.name} ({address}, known as {trust.name}) shows the host key")
    tell(f"    {key}")
    tell("which is not known here. Whoever runs the server can print its own there:")
    tell(f"    ssh-keygen -lf {server_file(key)}")
    while True:
        try:
            answer = ask(_QUESTION).strip()
        except EOFError:
            answer = "no"
        # ssh-keygen's whole line may be pasted.
        if answer.lower() == "yes" or key.fingerprint in answer.split():
            return
        if answer.lower() in ("no", ""):
            raise PublishError(
                f"{trust.name} is not trusted; nothing was written",
                "ask who runs the server for the fingerprint of its host key",
            )
        tell("That is another one!" if "SHA256:" in answer else "Please answer yes or no, or paste the fingerprint.")


def _address(transport: Any) -> str:
    """Where the server was found, as far as can be said."""
    hop: Hop = transport.hop
    try:
        found = transport.sock.getpeername()
    except (OSError, AttributeError):
        found = ""
    address = found[0] if isinstance(found, tuple) else ""
    # Through a jump host or a command the other end is not the server.
    return f"{address or hop.address}, port {hop.port}"


def note(hop: Hop, trust: Trust, key: HostKey) -> Path:
    """Adds the key to the known_hosts file of ``hop``, which is made where there is none. Raises PublishError."""
    file = hop.known_hosts[0] if hop.known_hosts else Path(os.devnull)
    hint = f"make it a file that you can write: ls -ld {shlex.quote(str(file))}; or name one: ds_website_known_hosts"
    if file.exists() and not file.is_file():
        raise PublishError(f"cannot note the host key of {trust.name} down: {file} is not a file", hint)
    name = _hashed(trust.name) if hop.hash_names else trust.name
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as opened:
            # ssh does not lock; among ourselves the newline is not to be written twice.
            fcntl.flock(opened, fcntl.LOCK_EX)
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - 1))
            newline = "" if size == 0 or opened.read(1) == b"\n" else "\n"
            opened.write(f"{newline}{name} {key.line}\n".encode())
            os.fsync(opened.fileno())
    except OSError as error:
        raise PublishError(
            f"cannot note the host key of {trust.name} down in {file}: {error.strerror}", hint
        ) from error
    return file


def _hashed(name: str) -> str:
    """The name as HashKnownHosts has it."""
    salt = os.urandom(hashlib.sha1().digest_size)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode("ascii") for part in (salt, digest))
