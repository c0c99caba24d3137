"""Private key files of any kind, read for paramiko; and what is public of them.

Kinds: RSA, ECDSA (nistp256, 384, 521) and Ed25519, in OpenSSH's format, PEM (PKCS#1, SEC1) or PKCS#8,
encrypted or not. paramiko reads only some of these; so a file is read with ``cryptography`` and handed
on in OpenSSH's format, in memory.
"""

from __future__ import annotations

import base64
import io
import os
import shlex
import stat
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from deepspeech_wer import secret
from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh.hostkey import HostKey, host_key

#: No private key comes near this size, in bytes.
LARGEST_KEY_FILE = 1 << 20

#: How long a passphrase command may take, in seconds: long enough for a person at a prompt.
PASSPHRASE_SECONDS = 60.0

_PUBLIC_STARTS = (b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUBLIC", b"-----BEGIN PUBLIC", b"-----BEGIN RSA PUBLIC")


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


def is_locked(file: Path) -> bool:
    """Whether it is a private key that takes a passphrase."""
    try:
        _parse(_read(file), None)
    except TypeError:
        return True
    except (PublishError, ValueError, UnsupportedAlgorithm):
        pass
    return False


def first_key(file: Path) -> HostKey | None:
    """The key of a public key file or a certificate file; None if it is none."""
    try:
        kind, text = file.read_text("utf-8").split()[:2]
        key = host_key(base64.b64decode(text, validate=True))
    except (OSError, ValueError):
        return None
    return key if key.kind == kind else None


def public_part(file: Path) -> bytes:
    """The public key of a private key file: OpenSSH's format shows it even if encrypted; else that of ``FILE.pub``."""
    try:
        text = file.read_text("ascii")
        data = base64.b64decode("".join(line for line in text.splitlines() if not line.startswith("-----")))
        if "OPENSSH PRIVATE KEY" in text and data.startswith(b"openssh-key-v1\0"):
            rest = data[15:]
            # The cipher, how its key is made, with what; the number of keys; the first.
            for _ in range(3):
                rest = rest[4 + int.from_bytes(rest[:4], "big") :]
            return rest[8 : 8 + int.from_bytes(rest[4:8], "big")]
    except (OSError, ValueError):
        pass
    beside = first_key(file.with_name(file.name + ".pub"))
    return beside.blob if beside else b""
