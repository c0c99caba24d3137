"""The keys we prove ourselves with: a private key file of any kind, or what the SSH agent holds.

Kinds: RSA, ECDSA (nistp256, 384, 521) and Ed25519, in OpenSSH's format, PEM (PKCS#1, SEC1) or PKCS#8,
encrypted or not. paramiko reads only some of these; so a file is read with ``cryptography`` and handed
on in OpenSSH's format, in memory.
"""

from __future__ import annotations

import io
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from deepspeech_wer import secret
from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.knownhosts import host_key
from deepspeech_wer.publish.target import Target

#: No private key comes near this size, in bytes.
LARGEST_KEY_FILE = 1 << 20

#: How long a passphrase command may take, in seconds: long enough for a person at a prompt.
PASSPHRASE_SECONDS = 60.0

_PUBLIC_STARTS = (b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUBLIC", b"-----BEGIN PUBLIC", b"-----BEGIN RSA PUBLIC")


@dataclass(frozen=True)
class Identity:
    """A key to log in with, and how to name it to the user (never anything secret)."""

    key: Any
    label: str


@contextmanager
def identities(target: Target) -> Iterator[tuple[Identity, ...]]:
    """The keys to try on ``target``, in order: the one of ``target.privkey``, else the agent's.

    Raises PublishError if there is none, or if the file cannot be used. The agent stays connected
    for as long as the context lasts.
    """
    if target.privkey is not None:
        path = target.privkey.expanduser()
        key = load_private_key(path, target.passphrase_command)
        yield (Identity(key, f"the key {path} ({host_key(key.asbytes())})"),)
        return
    agent = _agent()
    try:
        found = tuple(
            Identity(key, f"the agent's key {key.get_name()} {host_key(key.asbytes()).fingerprint}")
            for key in agent.get_keys()
        )
        if not found:
            raise PublishError(
                f"no key to log in with on {target}: no key file is set, and the SSH agent has no keys",
                "set a private key file (ds_website_privkey), or start an agent and load a key: ssh-add",
            )
        yield found
    finally:
        agent.close()


def _agent() -> Any:
    try:
        return paramiko.Agent()
    except (OSError, paramiko.SSHException) as error:
        raise PublishError(
            f"the SSH agent at {os.environ.get('SSH_AUTH_SOCK', '')!r} does not answer: {error}",
            "set a private key file (ds_website_privkey), or start the agent again: eval $(ssh-agent); ssh-add",
        ) from error


def load_private_key(path: Path, passphrase_command: str | None = None) -> Any:
    """The paramiko key in the file ``path``; ``passphrase_command`` runs only if it is encrypted.

    Raises PublishError: missing, unreadable, readable by others, public, encrypted, of no known kind.
    """
    data = _read(path)
    try:
        loaded = _parse(data, None)
    except TypeError:
        # cryptography's way to say that the key is encrypted and no passphrase was given.
        if passphrase_command is None:
            raise PublishError(
                f"the private key {path} is encrypted, and there is no passphrase for it",
                "set ds_website_privkey_passphrase_command to a command that prints it; or load the key into an SSH "
                "agent (ssh-add) and unset ds_website_privkey; or use a key without a passphrase",
            ) from None
        passphrase = _passphrase(passphrase_command)
        try:
            loaded = _parse(data, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise PublishError(
                f"the private key {path} cannot be opened with the passphrase that the passphrase command prints",
                f"see whether it is the right one: ssh-keygen -y -f {shlex.quote(str(path))}",
            ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PublishError(f"{path} is not a private key that can be read here", _KINDS_HINT) from error
    return _paramiko_key(path, loaded)


_KINDS_HINT = "use an RSA, ECDSA or Ed25519 key in OpenSSH or PEM format; to make one: ssh-keygen -t ed25519 -f FILE"


def _read(path: Path) -> bytes:
    """The bytes of a private key file that only its owner can read."""
    quoted = shlex.quote(str(path))
    try:
        # Not to wait for ever on a named pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PublishError(
            f"the private key {path} does not exist",
            "set ds_website_privkey to the file of a private key; to make one: ssh-keygen -t ed25519 -f FILE",
        ) from None
    except OSError as error:
        raise PublishError(
            f"cannot read the private key {path}: {error.strerror}",
            f"make it a file that the user who publishes can read: ls -ld {quoted}",
        ) from error
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise PublishError(
            f"cannot read the private key {path}: it is not a file",
            "set ds_website_privkey to the file of a private key, not to its folder",
        )
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(LARGEST_KEY_FILE + 1)
    if data.lstrip().startswith(_PUBLIC_STARTS):
        private = path.with_suffix("") if path.suffix == ".pub" else None
        raise PublishError(
            f"{path} is a public key; publishing needs the private one",
            f"set ds_website_privkey to {private}" if private else "set ds_website_privkey to the private key's file",
        )
    # As ssh does: only for files of our own, since others' cannot be changed by the user anyway.
    if info.st_uid == os.geteuid() and info.st_mode & 0o077:
        raise PublishError(
            f"the private key {path} can be read by others (mode {stat.S_IMODE(info.st_mode):04o}); it is not used",
            f"chmod 600 {quoted}",
        )
    if data.startswith(b"PuTTY-User-Key-File"):
        raise PublishError(
            f"the private key {path} is in PuTTY's format",
            f"turn it into OpenSSH's: puttygen {quoted} -O private-openssh -o NEWFILE",
        )
    if len(data) > LARGEST_KEY_FILE:
        raise PublishError(f"{path} is too large for a private key", _KINDS_HINT)
    return data


def _parse(data: bytes, passphrase: bytes | None) -> Any:
    """cryptography's key; TypeError: encrypted and no passphrase; ValueError: damaged, or wrong passphrase."""
    if b"BEGIN OPENSSH PRIVATE KEY" in data:
        return serialization.load_ssh_private_key(data, passphrase)
    return serialization.load_pem_private_key(data, passphrase)


def _paramiko_key(path: Path, loaded: Any) -> Any:
    if isinstance(loaded, rsa.RSAPrivateKey):
        kind = paramiko.RSAKey
    elif isinstance(loaded, ec.EllipticCurvePrivateKey):
        kind = paramiko.ECDSAKey
    elif isinstance(loaded, ed25519.Ed25519PrivateKey):
        kind = paramiko.Ed25519Key
    else:
        raise PublishError(f"the private key {path} is of a kind that is not supported", _KINDS_HINT)
    try:
        text = loaded.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        return kind.from_private_key(io.StringIO(text.decode("ascii")))
    except (ValueError, UnsupportedAlgorithm, paramiko.SSHException) as error:
        # Such as an elliptic curve that SSH does not know.
        raise PublishError(f"the private key {path} is of a kind that SSH does not know", _KINDS_HINT) from error


def _passphrase(command: str) -> bytes:
    """What ``command`` prints, without the line's end. Raises PublishError."""
    return secret.printed_by(command, "the passphrase command", "passphrase", PASSPHRASE_SECONDS, PublishError).rstrip(
        b"\r\n"
    )
