"""Private key files of every kind and format, and one clear message for each that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

import support
from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh import keys
from deepspeech_wer.publish.ssh.keys import load_private_key

SECRET = "hunter2 \u00fc"
PRINTS_SECRET = f"printf '%s\\n' '{SECRET}'"

MAKERS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "nistp384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "nistp521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
FORMATS = {
    "openssh": serialization.PrivateFormat.OpenSSH,
    "pem": serialization.PrivateFormat.TraditionalOpenSSL,
    "pkcs8": serialization.PrivateFormat.PKCS8,
}


def write(path: Path, key: Any, form: str = "openssh", secret: str = "") -> Path:
    encryption: Any = serialization.NoEncryption()
    if secret:
        encryption = serialization.BestAvailableEncryption(secret.encode())
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, FORMATS[form], encryption))
    path.chmod(0o600)
    return path


def refusal(path: Path, command: str | None = None) -> PublishError:
    with pytest.raises(PublishError) as caught:
        load_private_key(path, command)
    error = caught.value
    assert error.hint
    told = [error.message, error.hint, *map(str, (error.__cause__, error.__context__))]
    assert not any("hunter2" in text for text in told), "no secret is told"
    return error


@pytest.mark.parametrize("secret", ["", SECRET], ids=["plain", "encrypted"])
@pytest.mark.parametrize(("kind", "form"), [(k, f) for k in MAKERS for f in FORMATS if (k, f) != ("ed25519", "pem")])
def test_every_kind_and_format(tmp_path: Path, kind: str, form: str, secret: str) -> None:
    key = MAKERS[kind]()
    path = write(tmp_path / "key", key, form, secret)
    loaded = load_private_key(path, PRINTS_SECRET if secret else "no-such-command: it is not run")
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert f"{loaded.get_name()} {loaded.get_base64()}" == public.decode()
    assert loaded.can_sign()


@pytest.mark.parametrize(
    "arguments", ["-t ed25519", "-t ecdsa -b 384", "-t rsa -m PEM", "-t ed25519 -Z aes256-gcm@openssh.com"]
)
def test_what_ssh_keygen_makes(tmp_path: Path, arguments: str) -> None:
    program = support.system_program("openssh-client", "/usr/bin/ssh-keygen")
    path = tmp_path / "key"
    subprocess.run([program, "-q", *arguments.split(), "-N", SECRET, "-f", str(path)], check=True)
    assert load_private_key(path, PRINTS_SECRET).get_base64() == path.with_suffix(".pub").read_text().split()[1]


def test_an_encrypted_key_without_a_passphrase(tmp_path: Path) -> None:
    error = refusal(write(tmp_path / "key", MAKERS["ed25519"](), secret=SECRET))
    assert "is encrypted" in error.message and "ds_website_privkey_passphrase_command" in error.hint


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("command", ["echo wrong-hunter2", "true"])
def test_a_wrong_or_empty_passphrase(tmp_path: Path, form: str, command: str) -> None:
    error = refusal(write(tmp_path / "key", MAKERS["nistp256"](), form, SECRET), command)
    assert "cannot be opened with the passphrase" in error.message


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("", "not a command"),
        ("'hunter2", "not a command"),
        ("no-such-program hunter2", "no-such-program does not start: No such file"),
        ("sh -c 'echo hunter2 hunter2 >&2; exit 3'", "sh failed with exit code 3"),
    ],
)
def test_a_passphrase_command_that_fails(tmp_path: Path, command: str, told: str, capfd: Any) -> None:
    error = refusal(write(tmp_path / "key", MAKERS["ed25519"](), secret=SECRET), command)
    assert told in error.message
    assert "hunter2" not in "".join(capfd.readouterr())


def test_a_passphrase_command_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "PASSPHRASE_SECONDS", 0.3)
    start = time.monotonic()
    # With a child of its own that holds the pipe open.
    error = refusal(write(tmp_path / "key", MAKERS["ed25519"](), secret=SECRET), "sh -c 'sleep 60 & sleep 60'")
    assert "did not end within 0.3 s" in error.message and time.monotonic() - start < 10


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = write(tmp_path / "a key", MAKERS["ed25519"]())
    path.chmod(0o640)
    error = refusal(path)
    assert "mode 0640" in error.message and error.hint == f"chmod 600 '{path}'"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_key_of_another_user_is_used_as_ssh_does(tmp_path: Path) -> None:
    path = write(tmp_path / "key", MAKERS["ed25519"]())
    os.chown(path, 65534, -1)
    path.chmod(0o440)
    load_private_key(path)


def test_a_public_key(tmp_path: Path) -> None:
    path = tmp_path / "id_ed25519.pub"
    public = MAKERS["ed25519"]().public_key()
    path.write_bytes(public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH))
    error = refusal(path)
    assert "is a public key" in error.message and str(tmp_path / "id_ed25519") in error.hint
    path.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    assert "is a public key" in refusal(path).message


def test_no_such_file_a_folder_and_a_pipe(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "absent").message
    assert "is not a file" in refusal(tmp_path).message
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is not a file" in refusal(tmp_path / "pipe").message


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "key", MAKERS["ed25519"]())
    path.chmod(0)
    if os.geteuid() != 0:
        assert "Permission denied" in refusal(path).message
        return
    # Root may read everything; so as somebody else, who sees this folder and no more.
    code = (
        "import os, sys; from pathlib import Path\n"
        "from deepspeech_wer.publish.ssh.keys import load_private_key, PublishError\n"
        "os.seteuid(65534)\n"
        "try: load_private_key(Path(sys.argv[1]))\n"
        "except PublishError as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "cannot read the private key" in done.stdout and "Permission denied" in done.stdout


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key at all",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        b"\xff\x00" * 1000,
        b"-----BEGIN PRIVATE KEY-----\n" + b"A" * (1 << 20),
    ],
)
def test_what_is_not_a_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    assert "ssh-keygen -t ed25519" in refusal(path).hint


def test_a_damaged_key(tmp_path: Path) -> None:
    path = write(tmp_path / "key", MAKERS["rsa"]())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], *lines[9:]]))
    assert "is not a private key that can be read" in refusal(path).message


def test_kinds_that_ssh_does_not_know(tmp_path: Path) -> None:
    path = write(tmp_path / "dsa", dsa.generate_private_key(1024), "pkcs8")
    assert "not supported" in refusal(path).message
    path = write(tmp_path / "curve", ec.generate_private_key(ec.SECP256K1()), "pkcs8")
    assert "SSH does not know" in refusal(path).message


def test_putty_s_format(tmp_path: Path) -> None:
    path = tmp_path / "key.ppk"
    path.write_text("PuTTY-User-Key-File-3: ssh-ed25519\n")
    path.chmod(0o600)
    assert "puttygen" in refusal(path).hint
