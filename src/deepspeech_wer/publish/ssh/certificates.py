"""OpenSSH certificates: a public key that an authority has signed, for whom and for how long.

The format is that of OpenSSH's PROTOCOL.certkeys. One is read by :func:`parse`, which also checks the authority's
signature; whether it is good for a host or for a user is then said by :func:`host_problem` and :func:`user_problem`.
A certificate without principals is good for nobody, and a host's principals may have wildcards: as OpenSSH has it
since 10.3. A signature by RSA with SHA-1 is none: as since 8.2.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from deepspeech_wer.publish.ssh.configfile import matches
from deepspeech_wer.publish.ssh.hostkey import HostKey, host_key

#: What the kinds of certificates end in: ``ssh-ed25519-cert-v01@openssh.com``.
SUFFIX = "-cert-v01@openssh.com"


@dataclass(frozen=True)
class Certificate:
    """``key`` is the key that is certified, ``authority`` the one that signed; times are in seconds since 1970."""

    key: HostKey
    authority: HostKey
    is_host: bool
    identity: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: tuple[str, ...]

    def __str__(self) -> str:
        return f"certificate {self.identity!r} of the authority {self.authority}"


def parse(blob: bytes) -> Certificate:
    """The certificate in its wire form. Raises ValueError: it is none, of no known kind, or wrongly signed."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    signature_kind = _signature_kind(blob)
    line = host_key(blob).kind.encode() + b" " + base64.b64encode(blob)
    try:
        certificate = serialization.load_ssh_public_identity(line)
        if not isinstance(certificate, serialization.SSHCertificate):
            raise ValueError("it is a plain key")
        certificate.verify_cert_signature()
        kind = serialization.PublicFormat.OpenSSH
        key, authority = (
            host_key(base64.b64decode(public.public_bytes(serialization.Encoding.OpenSSH, kind).split()[1]))
            for public in (certificate.public_key(), certificate.signature_key())
        )
    except InvalidSignature:
        raise ValueError("its authority's signature is wrong") from None
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    if signature_kind == "ssh-rsa":
        raise ValueError("it is signed with SHA-1, which can be forged")
    return Certificate(
        key=key,
        authority=authority,
        is_host=certificate.type is serialization.SSHCertificateType.HOST,
        identity=certificate.key_id.decode("utf-8", errors="replace"),
        principals=tuple(name.decode("utf-8", errors="replace") for name in certificate.valid_principals),
        valid_after=certificate.valid_after,
        valid_before=certificate.valid_before,
        critical=tuple(name.decode("utf-8", errors="replace") for name in certificate.critical_options),
    )


def host_problem(certificate: Certificate, host: str, now: float | None = None) -> str:
    """Why ``certificate`` is not good for the host of that name (without a port), after "it"; "" if it is."""
    if not certificate.is_host:
        return "is a user's certificate, not a host's"
    problem = _untimely(certificate, now)
    if problem:
        return problem
    if certificate.critical:
        return f"has options that are not known here ({', '.join(certificate.critical)})"
    if not any(matches(host.lower(), name.lower()) for name in certificate.principals):
        return f"is for {', '.join(certificate.principals) or 'no host at all'}, not for {host}"
    return ""


def user_problem(certificate: Certificate, now: float | None = None) -> str:
    """Why ``certificate`` cannot be good for a login, whatever the server thinks of it; "" if it may be."""
    if certificate.is_host:
        return "is a host's certificate, not a user's"
    return _untimely(certificate, now)


def _untimely(certificate: Certificate, now: float | None) -> str:
    now = time.time() if now is None else now
    if now < certificate.valid_after:
        return f"is not valid before {_time(certificate.valid_after)}"
    if now >= certificate.valid_before:
        return f"expired at {_time(certificate.valid_before)}"
    return ""


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError):
        return "the end of time"


def _signature_kind(blob: bytes) -> str:
    """How the authority signed, such as ``rsa-sha2-512``: the last field, of which cryptography does not tell."""
    rest = blob

    def string() -> bytes:
        nonlocal rest
        length = int.from_bytes(rest[:4], "big")
        if len(rest) < 4 + length:
            raise ValueError("it is cut off")
        value, rest = rest[4 : 4 + length], rest[4 + length :]
        return value

    kind = string().decode("ascii", errors="replace")
    fields = {"ssh-ed25519": 1, "ssh-rsa": 2}.get(kind.removesuffix(SUFFIX), 2 if kind.startswith("ecdsa-") else 0)
    if not kind.endswith(SUFFIX) or not fields:
        raise ValueError(f"{kind[:60]!r} is no kind of certificate that is known here")
    # The nonce, the numbers of the key; serial and type; identity and principals; from and to; options, extensions,
    # a reserved field, the authority.
    for _ in range(1 + fields):
        string()
    rest = rest[12:]
    for _ in range(2):
        string()
    rest = rest[16:]
    for _ in range(4):
        string()
    rest = string()
    return string().decode("ascii", errors="replace")
