"""Which keys are tried on a server, in which order, and what is said of those that are not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh.config import route
from deepspeech_wer.publish.ssh.connection import Connection
from deepspeech_wer.publish.ssh.identities import identities
from deepspeech_wer.publish.target import Target
from ssh_servers import KINDS, new_key, public_line, write_key

Add = Callable[[asyncssh.SSHKey], None]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file of its own, in a home of its own, without an agent."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "home" / ".ssh").mkdir(mode=0o700, parents=True)
    return tmp_path / "config"


def tried(config: Path, text: str = "", **changes: Any) -> tuple[list[str], list[str]]:
    """The fingerprints of the keys that are tried, in order; and what is said of the others."""
    config.write_text(text)
    settings: dict[str, Any] = {"port": 22, "username": "me", "root": "www", "ssh_config": config}
    with identities(route(Target("web", **settings | changes))[-1]) as found:
        return [identity.label.rpartition(" ")[2].rstrip(")") for identity in found.tried], list(found.passed_over)


def keys(tmp_path: Path, *names: str) -> dict[str, asyncssh.SSHKey]:
    made = {name: new_key("ed25519") for name in names}
    for name, key in made.items():
        write_key(tmp_path / name, key)
    return made


def prints(*found: asyncssh.SSHKey) -> list[str]:
    return [key.get_fingerprint() for key in found]


def test_files_of_the_config_come_first_then_the_agents(config: Path, agent: Add, tmp_path: Path) -> None:
    made = keys(tmp_path, "a", "b")
    agent(other := new_key("rsa"))
    agent(made["b"])
    text = f"IdentityFile {tmp_path / 'a'}\nIdentityFile {tmp_path / 'absent'}\nIdentityFile {tmp_path / 'b'}\n"
    assert tried(config, text) == (prints(made["a"], made["b"], other), [])
    assert tried(config, text + "IdentitiesOnly yes\n") == (prints(made["a"], made["b"]), [])
    assert tried(config, text + "IdentityAgent none\n") == (prints(made["a"], made["b"]), [])


def test_without_any_the_agents_come_first_then_sshs_own_files(config: Path, tmp_path: Path, agent: Add) -> None:
    own = write_key(tmp_path / "home" / ".ssh" / "id_ed25519", new_key("ed25519"))
    agent(held := new_key("ecdsa"))
    assert tried(config) == (prints(held, asyncssh.read_private_key(own)), [])


def test_the_key_of_the_settings_is_the_only_one(config: Path, tmp_path: Path, agent: Add) -> None:
    made = keys(tmp_path, "mine", "other")
    agent(new_key("ecdsa"))
    text = f"IdentityFile {tmp_path / 'other'}\n"
    assert tried(config, text, privkey=tmp_path / "mine") == (prints(made["mine"]), [])
    with pytest.raises(PublishError, match="does not exist"):
        tried(config, text, privkey=tmp_path / "absent")


def test_another_agent(config: Path, tmp_path: Path, agent: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    agent(held := new_key("ecdsa"))
    monkeypatch.setenv("SSH_AUTH_SOCK", "/absent")
    monkeypatch.setenv("OTHER_AGENT", str(tmp_path / "agent"))
    for name in (tmp_path / "agent", "$OTHER_AGENT", "${OTHER_AGENT}"):
        assert tried(config, f"IdentityAgent {name}\n") == (prints(held), [])
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    assert tried(config, "IdentityAgent SSH_AUTH_SOCK\n") == (prints(held), [])


@pytest.mark.parametrize("beside", [False, True])
def test_an_encrypted_key_that_the_agent_has(config: Path, tmp_path: Path, agent: Add, beside: bool) -> None:
    key = new_key("rsa")
    file = write_key(tmp_path / "key", key, "secret")
    if beside:
        # In PEM the public part is encrypted, too.
        file.write_bytes(key.export_private_key("pkcs8-pem", passphrase="secret"))
        file.with_name("key.pub").write_text(public_line(key))
    agent(new_key("ed25519"))
    agent(key)
    text = f"IdentityFile {file}\nIdentitiesOnly yes\n"
    assert tried(config, text) == (prints(key), [])
    assert tried(config, privkey=file) == (prints(key), [])
    # Of a key that is not here at all the public part is enough.
    file.unlink()
    file.with_name("key.pub").write_text(public_line(key))
    assert tried(config, text) == (prints(key), [])


def test_an_encrypted_key_that_nobody_opens_is_passed_over(config: Path, tmp_path: Path) -> None:
    made = keys(tmp_path, "open")
    locked = write_key(tmp_path / "locked", new_key("ed25519"), "secret")
    text = f"IdentityFile {locked}\n"
    with pytest.raises(PublishError, match="is encrypted") as caught:
        tried(config, text)
    assert "ds_website_privkey_passphrase_command" in caught.value.hint
    found, passed_over = tried(config, f"{text}IdentityFile {tmp_path / 'open'}\n")
    assert found == prints(made["open"]) and f"{locked} is encrypted" in passed_over[0]
    assert len(tried(config, text, passphrase_command="echo secret")[0]) == 1


def test_a_key_of_the_config_that_others_can_read_is_not_used(config: Path, tmp_path: Path) -> None:
    keys(tmp_path, "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(PublishError, match="can be read by others") as caught:
        tried(config, f"IdentityFile {tmp_path / 'key'}\n")
    assert caught.value.hint == f"chmod 600 {tmp_path / 'key'}"


def test_no_key_at_all(config: Path) -> None:
    with pytest.raises(PublishError, match="no key file is set, and there is no SSH agent"):
        tried(config)
    with pytest.raises(PublishError, match="/absent does not exist"):
        tried(config, "IdentityFile /absent\n")


def test_an_agent_that_does_not_answer(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr("deepspeech_wer.publish.ssh.agent.AGENT_SECONDS", 0.3)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "mute"))
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        with pytest.raises(PublishError, match="does not answer: timed out"):
            tried(config)
        made = keys(tmp_path, "key")
        found, passed_over = tried(config, f"IdentityFile {tmp_path / 'key'}\n")
        assert found == prints(made["key"]) and "does not answer" in passed_over[0]


# Against a real server -----------------------------------------------------------------------------------------------


def test_a_named_key_is_tried_before_a_full_agent_makes_the_server_hang_up(
    start_server: Callable[..., Any], config: Path, agent: Add
) -> None:
    server = start_server("openssh")
    for _ in range(8):
        agent(new_key("ed25519"))
    config.write_text(f"IdentityFile {server.privkey}\n")
    Connection(server.target(privkey=None, ssh_config=config)).close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_passed_over_is_told_when_all_is_refused(server: Any, config: Path, tmp_path: Path, kind: str) -> None:
    write_key(tmp_path / "wrong", new_key(kind))
    write_key(tmp_path / "locked", new_key(kind), "secret")
    config.write_text(f"IdentityFile {tmp_path / 'wrong'}\nIdentityFile {tmp_path / 'locked'}\n")
    with pytest.raises(PublishError) as caught:
        Connection(server.target(privkey=None, ssh_config=config))
    assert f"the key {tmp_path / 'wrong'} (" in caught.value.message
    assert "Not tried: the private key" in caught.value.message and "is encrypted" in caught.value.message


def test_the_agents_key_logs_in_for_an_encrypted_file(
    server: Any, config: Path, agent: Add, user_key: asyncssh.SSHKey
) -> None:
    write_key(server.privkey, user_key, "secret")
    agent(user_key)
    Connection(server.target()).close()
    subprocess.run(["ssh-add", "-q", "-D"], check=True, capture_output=True)
    with pytest.raises(PublishError, match="is encrypted"):
        Connection(server.target())
