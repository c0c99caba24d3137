"""What a known_hosts line says, by the rules of sshd(8), and as ssh-keygen sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import support
from deepspeech_wer.publish.ssh.config import Hop
from deepspeech_wer.publish.ssh.hostkey import host_key
from deepspeech_wer.publish.ssh.knownhosts import Trust, lookup
from ssh_servers import KINDS, new_key, public_line


def trust_of(host: str, port: int, file: Path, **more: str) -> Trust:
    return lookup(Hop(host, host, port, "me", 1.0, (file,), **more))


@pytest.mark.parametrize(
    ("patterns", "host", "port", "known"),
    [
        ("example.org", "example.org", 22, True),
        ("example.org", "EXAMPLE.org", 22, True),
        ("Example.ORG", "example.org", 22, True),
        ("example.org", "example.org", 2222, False),
        ("[example.org]:2222", "example.org", 2222, True),
        ("[example.org]:2222", "example.org", 22, False),
        ("[example.org]:2222", "e", 2222, False),
        ("other,example.org,192.0.2.1", "192.0.2.1", 22, True),
        ("*.example.org", "www.example.org", 22, True),
        ("*.example.org", "example.org", 22, False),
        ("192.0.2.?", "192.0.2.7", 22, True),
        ("192.0.2.?", "192.0.2.77", 22, False),
        ("*,!www.example.org", "www.example.org", 22, False),
        ("!www.example.org,*", "www.example.org", 22, False),
        ("!www.example.org,*", "ftp.example.org", 22, True),
        ("!www.example.org", "ftp.example.org", 22, False),
        ("example.org", "exampleXorg", 22, False),
        ("[2001:db8::1]:2222", "2001:db8::1", 2222, True),
        ("2001:db8::1", "2001:db8::1", 22, True),
    ],
)
def test_patterns(tmp_path: Path, patterns: str, host: str, port: int, known: bool) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{patterns} {public_line(new_key('ed25519'))} a comment\n")
    assert bool(trust_of(host, port, file).trusted) == known


@pytest.mark.parametrize("name", ["example.org", "[example.org]:2222"])
def test_hashed_names_as_ssh_keygen_makes_them(tmp_path: Path, name: str) -> None:
    program = support.system_program("openssh-client", "/usr/bin/ssh-keygen")
    file = tmp_path / "known_hosts"
    file.write_text(f"{name} {public_line(new_key('ed25519'))}\n")
    subprocess.run([program, "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert name not in file.read_text()
    assert bool(trust_of("example.org", 22, file).trusted) == (name == "example.org")
    assert bool(trust_of("example.org", 2222, file).trusted) == (name != "example.org")


def test_an_alias_stands_for_the_name_and_the_port(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"alias {public_line(new_key('ed25519'))}\n[example.org]:7 {public_line(new_key('rsa'))}\n")
    assert [key.kind for key in trust_of("example.org", 7, file).trusted] == ["ssh-rsa"]
    assert [key.kind for key in trust_of("example.org", 7, file, key_name="Alias").trusted] == ["ssh-ed25519"]


@pytest.mark.parametrize("kind", KINDS)
def test_fingerprints_as_ssh_keygen_prints_them(tmp_path: Path, kind: str) -> None:
    program = support.system_program("openssh-client", "/usr/bin/ssh-keygen")
    key = new_key(kind)
    file = tmp_path / "key.pub"
    file.write_text(public_line(key))
    printed = subprocess.run([program, "-l", "-f", str(file)], check=True, capture_output=True, text=True).stdout
    assert host_key(key.public_data).fingerprint == printed.split()[1]


@pytest.mark.parametrize("blob", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\xffssh", b"\0\0\0\x02\xff\xff"])
def test_what_is_not_a_key_is_not_read_as_one(blob: bytes) -> None:
    with pytest.raises(ValueError):
        host_key(blob)
