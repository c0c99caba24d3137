"""Certificates made by ssh-keygen: of hosts, checked by us, and of users, checked by a real sshd."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

import support
from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish.ssh.certificates import host_problem, parse, user_problem
from deepspeech_wer.publish.ssh.connection import Connection
from deepspeech_wer.publish.ssh.keys import first_key
from ssh_servers import KINDS, new_key, public_line, write_key


def sign(key: Path, authority: Path, *options: str, host: bool = False) -> Path:
    """The certificate of a key file, as ssh-keygen makes it."""
    keygen = support.system_program("openssh-client", "/usr/bin/ssh-keygen")
    public = key.with_name(key.name + ".pub")
    done = subprocess.run([keygen, "-y", "-f", str(key)], check=True, capture_output=True, text=True)
    public.write_text(done.stdout)
    command = [keygen, "-q", "-s", str(authority), "-I", "its name", *(["-h"] if host else []), *options, str(public)]
    subprocess.run(command, check=True, capture_output=True)
    return key.with_name(key.name + "-cert.pub")


def listing(target: Any) -> list[str]:
    with Connection(target) as connection:
        names: list[str] = connection.listdir(".")
        return names


def refusal(target: Any) -> PublishError:
    with pytest.raises(PublishError) as caught:
        listing(target)
    assert caught.value.hint and not isinstance(caught.value, ConnectionFailed), "not worth another try"
    return caught.value


# Hosts ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certified(start_server: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """certified(*ssh-keygen options, kind=..., by=...) -> a server whose key a known authority has signed."""

    def start(*options: str, kind: str = "ed25519", by: str = "ed25519", host: bool = True) -> Any:
        authority, key = new_key(by), new_key(kind)
        sign(write_key(tmp_path / "host", key), write_key(tmp_path / "ca", authority), *options, host=host)
        server = start_server("openssh", host_keys=[key], settings=[f"HostCertificate {tmp_path / 'host-cert.pub'}"])
        server.know(authority, marker="@cert-authority ")
        return server

    return start


@pytest.mark.parametrize(("kind", "by"), [*((kind, "ed25519") for kind in KINDS), ("ed25519", "rsa"), ("rsa", "ecdsa")])
def test_a_server_that_a_known_authority_vouches_for(certified: Callable[..., Any], kind: str, by: str) -> None:
    assert listing(certified("-n", "other,127.0.0.1", "-V", "-1h:+1h", kind=kind, by=by).target()) == []


def test_wildcards_in_a_certificate(certified: Callable[..., Any]) -> None:
    assert listing(certified("-n", "127.0.0.?").target()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-n", "127.0.0.1", "-V", "20200101000000Z:20200102000000Z"], "it expired at 2020-01-02T00:00:00Z"),
        (["-n", "127.0.0.1", "-V", "20990101000000Z:20990102000000Z"], "it is not valid before 2099-01-01T00:00:00Z"),
        (["-n", "www.example.org,b"], "it is for www.example.org, b, not for 127.0.0.1"),
        ([], "it is for no host at all, not for 127.0.0.1"),
        (
            ["-n", "127.0.0.1", "-O", "critical:what@example.org=x"],
            "options that are not known here (what@example.org)",
        ),
    ],
)
def test_a_certificate_that_is_not_good(certified: Callable[..., Any], options: list[str], told: str) -> None:
    server = certified(*options)
    error = refusal(server.target())
    assert told in error.message and "'its name'" in error.message and "ssh-keygen -s" in error.hint
    # As with ssh it does no harm where the key itself is known.
    server.know(server.host_keys[0])
    authority = server.known_hosts.read_text()
    server.known_hosts.write_text(authority + authority.replace("[", "@cert-authority [", 1))
    assert listing(server.target()) == []


def test_another_authority_is_none(certified: Callable[..., Any], tmp_path: Path) -> None:
    server = certified("-n", "127.0.0.1")
    theirs = asyncssh.read_private_key(tmp_path / "ca")
    other = new_key("ed25519")
    server.know(other, marker="@cert-authority ")
    error = refusal(server.target())
    assert theirs.get_fingerprint() in error.message and other.get_fingerprint() in error.message
    assert "is known as certificate authority" in error.message and "trust-host" in error.hint


def test_an_authority_is_known_for_its_hosts_alone_and_vouches_for_none_by_itself(
    certified: Callable[..., Any], start_server: Callable[..., Any]
) -> None:
    server = certified("-n", "127.0.0.1")
    text = server.known_hosts.read_text()
    server.known_hosts.write_text(text.replace("[127.0.0.1]", "[127.0.0.2]"))
    assert "is not known" in refusal(server.target()).message
    # Its key as a host key is not a host's key.
    authority = new_key("ed25519")
    impostor = start_server("openssh", host_keys=[authority])
    impostor.know(authority, marker="@cert-authority ")
    assert "without a certificate" in refusal(impostor.target()).message


@pytest.mark.parametrize("what", ["ca", "host"])
def test_a_revoked_authority_or_key(certified: Callable[..., Any], tmp_path: Path, what: str) -> None:
    server = certified("-n", "127.0.0.1")
    line = public_line(asyncssh.read_private_key(tmp_path / what))
    server.known_hosts.write_text(f"{server.known_hosts.read_text()}@revoked * {line}\n")
    assert "@revoked" in refusal(server.target()).message


def test_revoked_by_the_ssh_config(certified: Callable[..., Any], tmp_path: Path) -> None:
    server = certified("-n", "127.0.0.1")
    config, revoked = tmp_path / "config", tmp_path / "revoked"
    config.write_text(f"RevokedHostKeys {revoked}\n")
    assert "cannot read the RevokedHostKeys" in refusal(server.target(ssh_config=config)).message
    revoked.write_text(f"# none\n{public_line(new_key('ed25519'))}\n")
    assert listing(server.target(ssh_config=config)) == []
    revoked.write_text(public_line(asyncssh.read_private_key(tmp_path / "ca")))
    assert "revoked" in refusal(server.target(ssh_config=config)).message
    revoked.write_bytes(b"SSHKRL\n\0")
    assert "binary revocation list" in refusal(server.target(ssh_config=config)).message


def test_asyncssh_shows_certificates_too(start_server: Callable[..., Any]) -> None:
    authority, key = new_key("ed25519"), new_key("ecdsa")
    certificate = authority.generate_host_certificate(key, "its name", principals=["127.0.0.1"])
    server = start_server("asyncssh", host_keys=[key], server_host_certs=[certificate])
    server.know(authority, marker="@cert-authority ")
    assert listing(server.target()) == []


def test_an_authority_that_signs_with_sha1(tmp_path: Path) -> None:
    key, authority = write_key(tmp_path / "key", new_key("ed25519")), write_key(tmp_path / "ca", new_key("rsa"))
    good = first_key(sign(key, authority, "-h", "-n", "a", "-t", "rsa-sha2-256"))
    assert good and parse(good.blob).is_host
    bad = first_key(sign(key, authority, "-h", "-n", "a", "-t", "ssh-rsa"))
    assert bad
    with pytest.raises(ValueError, match="SHA-1"):
        parse(bad.blob)


def test_a_certificate_that_was_changed_is_none(tmp_path: Path) -> None:
    key, authority = write_key(tmp_path / "key", new_key("ed25519")), write_key(tmp_path / "ca", new_key("ed25519"))
    line = first_key(sign(key, authority, "-h", "-n", "host.example.org"))
    assert line and host_problem(parse(line.blob), "HOST.example.org") == ""
    with pytest.raises(ValueError, match="signature is wrong"):
        parse(line.blob.replace(b"host.example.org", b"evil.example.org"))
    for length in range(0, len(line.blob), 7):
        with pytest.raises(ValueError):
            parse(line.blob[:length])
    with pytest.raises(ValueError, match="no kind of certificate"):
        parse(first_key(key.with_suffix(".pub")).blob)  # type: ignore[union-attr]


def test_each_kind_is_for_its_own_use(tmp_path: Path) -> None:
    key, authority = write_key(tmp_path / "key", new_key("ed25519")), write_key(tmp_path / "ca", new_key("ed25519"))
    of_user, of_host = (first_key(sign(key, authority, "-n", "a", host=host)) for host in (False, True))
    assert of_user and of_host
    assert "user's certificate" in host_problem(parse(of_user.blob), "a")
    assert "host's certificate" in user_problem(parse(of_host.blob))
    assert user_problem(parse(of_user.blob)) == ""


# Users ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def by_certificate(start_server: Callable[..., Any], tmp_path: Path) -> Any:
    """A server that trusts an authority's certificates; (server, the authority's file)."""
    authority = write_key(tmp_path / "user_ca", new_key("ed25519"))
    (tmp_path / "user_ca.pub").write_text(public_line(asyncssh.read_private_key(authority)))
    return start_server("openssh", settings=[f"TrustedUserCAKeys {tmp_path / 'user_ca.pub'}"]), authority


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_beside_the_key_logs_in(by_certificate: Any, tmp_path: Path, kind: str) -> None:
    server, authority = by_certificate
    key = write_key(tmp_path / "mine", new_key(kind))
    assert "refuses the user" in refusal(server.target(privkey=key)).message
    sign(key, authority, "-n", server.username, "-V", "-1h:+1h")
    assert listing(server.target(privkey=key)) == []


def test_a_certificate_that_the_config_names(by_certificate: Any, tmp_path: Path) -> None:
    server, authority = by_certificate
    key = write_key(tmp_path / "mine", new_key("ed25519"))
    sign(key, authority, "-n", server.username).rename(tmp_path / "elsewhere.pub")
    config = tmp_path / "config"
    config.write_text(f"IdentityFile {key}\nCertificateFile {tmp_path / 'elsewhere.pub'}\nIdentityAgent none\n")
    assert listing(server.target(privkey=None, ssh_config=config)) == []
    (tmp_path / "elsewhere.pub").write_text("nonsense")
    assert "elsewhere.pub cannot be read" in refusal(server.target(privkey=None, ssh_config=config)).message


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-n", "{user}", "-V", "20200101000000Z:20200102000000Z"], "expired at 2020-01-02T00:00:00Z"),
        (["-n", "{user}", "-V", "20990101000000Z:20990102000000Z"], "is not valid before 2099"),
        (["-n", "{user}", "-h"], "is a host's certificate"),
        (["-n", "somebody,else"], "for somebody, else"),
    ],
)
def test_a_certificate_that_does_not_let_in_is_told_and_the_plain_key_is_tried(
    by_certificate: Any, tmp_path: Path, user_key: asyncssh.SSHKey, options: list[str], told: str
) -> None:
    server, authority = by_certificate
    key = write_key(tmp_path / "mine", new_key("ed25519"))
    options = [option.format(user=server.username) for option in options]
    sign(key, authority, *options)
    error = refusal(server.target(privkey=key))
    assert told in error.message and "'its name'" in error.message and "mine-cert.pub" in error.message
    assert f"the key {key} (" in error.message
    sign(server.privkey, authority, *options)
    assert listing(server.target()) == []


def test_a_certificate_of_another_key(by_certificate: Any, tmp_path: Path) -> None:
    server, authority = by_certificate
    key, other = (write_key(tmp_path / name, new_key("ed25519")) for name in ("mine", "other"))
    sign(other, authority, "-n", server.username).rename(tmp_path / "mine-cert.pub")
    assert "is for a key that is not here" in refusal(server.target(privkey=key)).message


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_in_the_agent(by_certificate: Any, tmp_path: Path, agent: Any, kind: str) -> None:
    server, authority = by_certificate
    key = write_key(tmp_path / "mine", new_key(kind))
    agent(asyncssh.read_private_key(key))
    assert "refuses the user" in refusal(server.target(privkey=None)).message
    certificate = sign(key, authority, "-n", server.username)
    # The key in the agent, the certificate in a file.
    config = tmp_path / "config"
    config.write_text(f"CertificateFile {certificate}\n")
    assert listing(server.target(privkey=None, ssh_config=config)) == []
    # Both in the agent.
    subprocess.run(["ssh-add", "-q", "-D"], check=True, capture_output=True)
    subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)
    assert listing(server.target(privkey=None)) == []
