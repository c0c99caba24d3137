"""What the user's known_hosts files say about one server, and whether the key it shows is the right one.

The format is that of sshd(8), SSH_KNOWN_HOSTS FILE FORMAT, one key a line:

    [@revoked|@cert-authority] PATTERN[,PATTERN...] KEYTYPE BASE64 [comment]

A pattern is a name (``host`` for port 22, ``[host]:port`` for others) with the wildcards ``*`` and ``?``,
negated by ``!``, or a hashed name, ``|1|SALT|HMAC-SHA1(SALT, name)``. A server may have several lines.
Nothing is ever added to a file: a server that is not known is not trusted on first use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from deepspeech_wer.errors import PublishError

SYSTEM_FILE = Path("/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True)
class HostKey:
    """A public host key: its kind (``ssh-ed25519``) and its SSH wire form."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it: ``SHA256:`` and unpadded base64."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii")
        return "SHA256:" + digest.rstrip("=")

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


@dataclass(frozen=True)
class Trust:
    """What is known of one server: the name it was looked up by, where, and what was found."""

    host: str
    port: int
    files: tuple[Path, ...]
    trusted: tuple[HostKey, ...]
    revoked: tuple[HostKey, ...]
    has_authority: bool

    @property
    def name(self) -> str:
        return host_name(self.host, self.port)


def host_name(host: str, port: int) -> str:
    """The name of a server in a known_hosts file."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def lookup(host: str, port: int, known_hosts: Path | None = None) -> Trust:
    """What ``known_hosts`` (by default the user's file and the system's) says about ``host``.

    Lines that cannot be read are passed over, as ssh does. Raises PublishError if a named file, or an
    existing default one, cannot be read.
    """
    files = (known_hosts.expanduser(),) if known_hosts else (Path.home() / ".ssh" / "known_hosts", SYSTEM_FILE)
    name = host_name(host, port)
    trusted: list[HostKey] = []
    revoked: list[HostKey] = []
    has_authority = False
    for file in files:
        for marker, patterns, key in _lines(file, must_exist=known_hosts is not None):
            # A revocation of the bare name holds for every port: stricter than ssh, never laxer.
            if marker == "@revoked" and (_matches(name, patterns) or _matches(host.lower(), patterns)):
                revoked.append(key)
            elif marker == "@cert-authority" and _matches(name, patterns):
                has_authority = True
            elif not marker and _matches(name, patterns):
                trusted.append(key)
    return Trust(host, port, files, tuple(trusted), tuple(revoked), has_authority)


def verify(trust: Trust, shown: HostKey) -> None:
    """Returns if ``shown``, the key that the server proved to have, is trusted; else raises PublishError."""
    if shown in trust.revoked:
        raise PublishError(
            f"{trust.name} shows the host key {shown}, which is marked @revoked in {_names(trust.files)}",
            "do not publish there: whoever holds a revoked key may be anybody; ask who runs the server",
        )
    if shown in trust.trusted:
        return
    file, host = shlex.quote(str(trust.files[0])), shlex.quote(trust.host)
    keyscan = f"ssh-keyscan -p {trust.port} {host}"
    add = f"{keyscan} >> {file} (or: ssh -p {trust.port} {host})"
    if trust.trusted:
        known = ", ".join(str(key) for key in trust.trusted)
        raise PublishError(
            f"THE HOST KEY OF {trust.name} HAS CHANGED: it shows {shown}, but {_names(trust.files)} "
            f"knows {known}. Somebody may be listening in between; nothing was sent",
            f"ask who runs the server; only if it was set up anew: ssh-keygen -R {shlex.quote(trust.name)} "
            f"-f {file}, then {add}",
        )
    authority = (
        " (its certificate authority is known, but host certificates are not supported here)"
        if trust.has_authority
        else ""
    )
    raise PublishError(
        f"the host key of {trust.name} is not known{authority}: it shows {shown}, and no line for "
        f"{trust.name} is in {_names(trust.files)}",
        f"compare that fingerprint with the server's own, as printed there by ssh-keygen -lf "
        f"/etc/ssh/ssh_host_{_short_kind(shown.kind)}_key.pub; if they are the same: {add}",
    )


def _names(files: tuple[Path, ...]) -> str:
    return " or ".join(str(file) for file in files)


def _short_kind(kind: str) -> str:
    """``ecdsa-sha2-nistp256`` -> ``ecdsa``: as sshd names its key files."""
    return next((short for short in ("ed25519", "ecdsa", "rsa") if short in kind), kind)


def _lines(file: Path, *, must_exist: bool) -> list[tuple[str, str, HostKey]]:
    """(marker or "", patterns, key) of each line of ``file`` that holds a key."""
    try:
        text = file.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        if must_exist:
            raise PublishError(
                f"the known_hosts file {file} does not exist",
                "name a file that has the server's host key, made by ssh-keyscan -p PORT HOST",
            ) from None
        return []
    except OSError as error:
        raise PublishError(
            f"cannot read the known_hosts file {file}: {error.strerror}",
            f"make it a file that you can read: ls -ld {shlex.quote(str(file))}",
        ) from error
    found = []
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        try:
            key = host_key(base64.b64decode(fields[2], validate=True))
        except (binascii.Error, ValueError):
            continue
        if key.kind == fields[1]:
            found.append((marker, fields[0], key))
    return found


def host_key(blob: bytes) -> HostKey:
    """The key whose wire form is ``blob``: a string (uint32 length, bytes) with its kind comes first.

    Raises ValueError if it does not.
    """
    length = int.from_bytes(blob[:4], "big")
    if not 0 < length <= len(blob) - 4:
        raise ValueError("not a public key")
    return HostKey(blob[4 : 4 + length].decode("ascii"), blob)


def _matches(name: str, patterns: str) -> bool:
    matched = False
    for pattern in patterns.split(","):
        if pattern.startswith("|1|"):
            matched = matched or _matches_hash(name, pattern)
        elif pattern.startswith("!"):
            if _matches_wildcard(name, pattern[1:]):
                return False
        else:
            matched = matched or _matches_wildcard(name, pattern)
    return matched


def _matches_hash(name: str, pattern: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        expected = base64.b64decode(digest, validate=True)
        found = hmac.new(base64.b64decode(salt, validate=True), name.encode(), hashlib.sha1).digest()
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(found, expected)


def _matches_wildcard(name: str, pattern: str) -> bool:
    # Not fnmatch: it would read the brackets of "[host]:port" as a set of letters.
    parts = ("[^\n]*" if c == "*" else "[^\n]" if c == "?" else re.escape(c) for c in pattern.lower())
    return re.fullmatch("".join(parts), name) is not None
