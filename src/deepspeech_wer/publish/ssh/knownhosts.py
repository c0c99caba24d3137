"""What the user's known_hosts files say about one server, and whether the key it shows is the right one.

The format is that of sshd(8), SSH_KNOWN_HOSTS FILE FORMAT, one key a line:

    [@revoked|@cert-authority] PATTERN[,PATTERN...] KEYTYPE BASE64 [comment]

A pattern is a name (``host`` for port 22, ``[host]:port`` for others) with the wildcards ``*`` and ``?``,
negated by ``!``, or a hashed name, ``|1|SALT|HMAC-SHA1(SALT, name)``. A server may have several lines.
The key of a ``@cert-authority`` line is not a server's own: it vouches for servers, by certificates.
Only ``trust`` ever adds a line, and only what the user has agreed to: nothing is trusted on first use.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import shlex
from dataclasses import dataclass
from pathlib import Path

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh.certificates import SUFFIX, host_problem, parse
from deepspeech_wer.publish.ssh.config import Hop
from deepspeech_wer.publish.ssh.configfile import matches
from deepspeech_wer.publish.ssh.hostkey import HostKey, host_key


@dataclass(frozen=True)
class Trust:
    """What is known of one server: the name it is looked up by, where, and what was found.

    ``host`` is that name without the port, as certificates have it.
    """

    name: str
    host: str
    files: tuple[Path, ...]
    trusted: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = ()
    authorities: tuple[HostKey, ...] = ()

    def __str__(self) -> str:
        known = [str(key) for key in self.trusted]
        known += [f"certificates of the authority {key}" for key in self.authorities]
        return ", ".join(known) or "no key"


class UnknownHost(PublishError):
    """Nothing is known of a server that shows ``key``."""

    def __init__(self, message: str, hint: str, key: HostKey) -> None:
        super().__init__(message, hint)
        self.key = key


def lookup(hop: Hop, *, named_must_exist: bool = True) -> Trust:
    """What the known_hosts files of ``hop`` say about it.

    Lines that cannot be read are passed over, as ssh does. Raises PublishError if a named file does not exist, or one
    that exists cannot be read.
    """
    host = (hop.key_name or hop.address).lower()
    name = host if hop.key_name or hop.port == 22 else f"[{host}]:{hop.port}"
    trusted: list[HostKey] = []
    revoked = list(_revoked(hop.revoked_keys)) if hop.revoked_keys else []
    authorities: list[HostKey] = []
    for file in hop.known_hosts:
        for marker, patterns, key in _lines(file, must_exist=hop.known_hosts_named and named_must_exist):
            # A revocation of the bare name holds for every port: stricter than ssh, never laxer.
            if marker == "@revoked" and (_matches(name, patterns) or _matches(host, patterns)):
                revoked.append(key)
            elif marker == "@cert-authority" and _matches(name, patterns):
                authorities.append(key)
            elif not marker and _matches(name, patterns):
                trusted.append(key)
    return Trust(name, host, hop.known_hosts, tuple(trusted), tuple(revoked), tuple(authorities))


def verify(trust: Trust, shown: HostKey) -> None:
    """Returns if ``shown``, the key or certificate that the server proved to have, is trusted.

    Raises PublishError if it is not. A certificate that is not good does no harm to a server whose own key is known,
    as with ssh.
    """
    certificate = None
    wrong = ""
    if shown.kind.endswith(SUFFIX):
        try:
            certificate = parse(shown.blob)
        except ValueError as error:
            raise PublishError(
                f"{trust.name} shows a host certificate that is not valid: {error}",
                "ask who runs the server to have its host key signed again (ssh-keygen -s CA -h)",
            ) from None
        wrong = host_problem(certificate, trust.host)
        shown = certificate.key
    for key in (shown, *([certificate.authority] if certificate else [])):
        if key in trust.revoked:
            what = "the host key" if key == shown else "a host certificate of the authority"
            raise PublishError(
                f"{trust.name} shows {what} {key}, which is revoked (marked @revoked in {_names(trust)}, or "
                "listed in the file that RevokedHostKeys names)",
                "do not publish there: whoever holds a revoked key may be anybody; ask who runs the server",
            )
    if shown in trust.trusted:
        return
    if certificate and certificate.authority in trust.authorities:
        if not wrong:
            return
        raise PublishError(
            f"{trust.name} shows the host {certificate}, but it {wrong}",
            "ask who runs the server to have its host key signed again: ssh-keygen -s CA -h -I ID -n NAME -V +52w KEY",
        )
    file = shlex.quote(str(trust.files[0])) if trust.files else "~/.ssh/known_hosts"
    if trust.trusted:
        raise PublishError(
            f"THE HOST KEY OF {trust.name} HAS CHANGED: it shows {shown}, but {_names(trust)} "
            f"knows {trust}. Somebody may be listening in between; nothing was sent",
            f"ask who runs the server; only if it was set up anew: ssh-keygen -R {shlex.quote(trust.name)} "
            f"-f {file}, then deepspeech-wer trust-host",
        )
    raise UnknownHost(
        f"the host key of {trust.name} is not known: it shows {shown}{_about_authorities(trust, certificate)}, and no "
        f"line for {trust.name} is in {_names(trust)}",
        f"deepspeech-wer trust-host shows it, asks and notes it down; compare the fingerprint with the server's own, "
        f"as printed there by ssh-keygen -lf {server_file(shown)}",
        shown,
    )


def server_file(key: HostKey) -> str:
    """Where a server has that key of its own."""
    return f"/etc/ssh/ssh_host_{key.short_kind}_key.pub"


def _about_authorities(trust: Trust, certificate: object) -> str:
    if not trust.authorities:
        return ""
    known = ", ".join(str(key) for key in trust.authorities)
    shown = f"with the {certificate}" if certificate else "without a certificate"
    return f" {shown}, where {known} {'is' if len(trust.authorities) == 1 else 'are'} known as certificate authority"


def _names(trust: Trust) -> str:
    return " or ".join(str(file) for file in trust.files) or "any known_hosts file (the ssh config names none)"


def _revoked(file: Path) -> list[HostKey]:
    """The keys of a RevokedHostKeys file. Raises PublishError: as with ssh, no server is trusted without it."""
    try:
        data = file.read_bytes()
        if data.startswith(b"SSHKRL"):
            raise PublishError(
                f"the RevokedHostKeys file {file} is a binary revocation list, which cannot be read here",
                "list the public keys in it one a line, or publish with ds_website_ssh_config=FILE without it",
            )
        lines = [line.split() for line in data.decode("utf-8", errors="replace").splitlines()]
        return [_key(*line[:2]) for line in lines if len(line) >= 2 and not line[0].startswith("#")]
    except (OSError, ValueError) as error:
        raise PublishError(
            f"cannot read the RevokedHostKeys file {file}: {error}",
            "make it a readable file with one public key a line (RevokedHostKeys in the ssh config)",
        ) from error


def _key(kind: str, text: str) -> HostKey:
    """The key of a line's two fields. Raises ValueError."""
    try:
        key = host_key(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if key.kind != kind:
        raise ValueError(f"{kind} is in truth {key.kind}")
    return key


def _lines(file: Path, *, must_exist: bool) -> list[tuple[str, str, HostKey]]:
    """(marker or "", patterns, key) of each line of ``file`` that holds a key."""
    try:
        text = file.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        if must_exist:
            raise PublishError(
                f"the known_hosts file {file} does not exist",
                "deepspeech-wer trust-host makes it, when you agree to the server's key (ds_website_known_hosts)",
            ) from None
        return []
    except OSError as error:
        raise PublishError(
            f"cannot read the known_hosts file {file}: {error.strerror}",
            f"make it a file that you can read, or name one: ds_website_known_hosts; ls -ld {shlex.quote(str(file))}",
        ) from error
    found = []
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        with contextlib.suppress(ValueError):
            found.append((marker, fields[0], _key(fields[1], fields[2])))
    return found


def _matches(name: str, patterns: str) -> bool:
    matched = False
    for pattern in patterns.split(","):
        if pattern.startswith("|1|"):
            matched = matched or _matches_hash(name, pattern)
        elif pattern.startswith("!"):
            if matches(name, pattern[1:].lower()):
                return False
        else:
            matched = matched or matches(name, pattern.lower())
    return matched


def _matches_hash(name: str, pattern: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        expected = base64.b64decode(digest, validate=True)
        found = hmac.new(base64.b64decode(salt, validate=True), name.encode(), hashlib.sha1).digest()
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(found, expected)
