"""A public key as SSH writes it, known by its fingerprint."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class HostKey:
    """A public key: its kind (``ssh-ed25519``) and its SSH wire form."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it: ``SHA256:`` and unpadded base64."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii")
        return "SHA256:" + digest.rstrip("=")

    @property
    def line(self) -> str:
        """As it stands in files: ``ssh-ed25519 AAAA...``"""
        return f"{self.kind} {base64.b64encode(self.blob).decode('ascii')}"

    @property
    def short_kind(self) -> str:
        """``ecdsa-sha2-nistp256`` -> ``ecdsa``: as sshd names its key files."""
        return next((short for short in ("ed25519", "ecdsa", "rsa") if short in self.kind), self.kind)

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


def host_key(blob: bytes) -> HostKey:
    """The key whose wire form is ``blob``: a string (uint32 length, bytes) with its kind comes first.

    Raises ValueError if it does not.
    """
    length = int.from_bytes(blob[:4], "big")
    if not 0 < length <= len(blob) - 4:
        raise ValueError("not a public key")
    return HostKey(blob[4 : 4 + length].decode("ascii"), blob)
