"""trust-host: what is shown, what is asked, and what is written where; and that nothing else is ever written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import support
from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh import trust
from deepspeech_wer.publish.ssh.connection import Connection
from ssh_servers import new_key, public_line


class Person:
    """Answers, one after the other, and remembers what was said."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.told: list[str] = []

    def trust(self, target: Any, **options: Any) -> None:
        trust.trust_host(target, ask=self.ask, tell=self.told.append, **options)

    def ask(self, text: str) -> str:
        self.asked += 1
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


def refusal(target: Any, person: Person, **options: Any) -> PublishError:
    before = [file.read_bytes() for file in (target.known_hosts,) if file.exists()]
    with pytest.raises(PublishError) as caught:
        person.trust(target, **options)
    assert caught.value.hint
    assert [file.read_bytes() for file in (target.known_hosts,) if file.exists()] == before, "nothing is written"
    return caught.value


def test_a_person_is_asked_once_and_then_it_is_known(server: Any) -> None:
    server.known_hosts.unlink()
    # No login: neither a user nor a key is needed.
    stranger = server.target(username="", privkey=Path("/absent"))
    person = Person("", "yes")
    assert "not trusted" in refusal(stranger, Person("no")).message
    person = Person("maybe", "y", " Yes ")
    person.trust(stranger)
    assert person.asked == 3
    told = "\n".join(person.told)
    assert f"ssh-ed25519 {server.host_keys[0].get_fingerprint()}" in told
    assert f"127.0.0.1, port {server.port}" in told and "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in told
    assert server.known_hosts.read_text() == f"[127.0.0.1]:{server.port} {public_line(server.host_keys[0])}\n"
    assert server.known_hosts.stat().st_mode & 0o777 == 0o600
    Connection(server.target()).close()
    again = Person()
    again.trust(stranger)
    assert again.asked == 0 and "known already" in again.told[-1]


@pytest.mark.parametrize("form", ["{}", "256 {} root@server (ED25519)"])
def test_the_fingerprint_is_an_answer_too(server: Any, form: str) -> None:
    server.know()
    person = Person(form.format("SHA256:" + "A" * 43), form.format(server.host_keys[0].get_fingerprint()))
    person.trust(server.target())
    assert person.asked == 2 and "That is another one!" in person.told
    Connection(server.target()).close()


def test_a_script_gives_the_fingerprint(server: Any) -> None:
    server.know()
    fingerprint = server.host_keys[0].get_fingerprint()
    for wrong, told in [("SHA256:abc", "not SHA256:abc"), ("MD5:aa:bb", "not a fingerprint"), ("yes", "not a finger")]:
        assert told in refusal(server.target(), Person("yes"), fingerprint=wrong).message
    silent = Person()
    silent.trust(server.target(), fingerprint=fingerprint)
    assert silent.asked == 0
    Connection(server.target()).close()
    # Known, and by the wrong one, is not fine either.
    assert "is known, but by" in refusal(server.target(), silent, fingerprint="SHA256:abc").message
    silent.trust(server.target(), fingerprint=f"SHA256:abc,{fingerprint}")


def test_nobody_to_ask(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server.know()
    with pytest.raises(PublishError, match="no terminal to ask") as caught:
        trust.run(server.target())
    assert "--fingerprint SHA256:" in caught.value.hint
    assert "not trusted" in refusal(server.target(), Person()).message, "an end of input is a no"
    assert server.known_hosts.read_text() == ""


def test_on_a_terminal(server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    server.know()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: print(text) or "yes")
    assert trust.run(server.target()) == 0
    assert "Is it the same?" in capsys.readouterr().out
    assert trust.run(server.target()) == 0


def test_a_changed_and_a_revoked_key_are_refused(server: Any) -> None:
    server.know(new_key("ed25519"))
    assert "HAS CHANGED" in refusal(server.target(), Person("yes")).message
    server.know(*server.host_keys, marker="@revoked ")
    assert "@revoked" in refusal(server.target(), Person("yes")).message


def test_a_line_without_an_end_is_ended_first(server: Any) -> None:
    server.known_hosts.write_text("other.example.org " + public_line(new_key("rsa")))
    Person("yes").trust(server.target())
    assert len(server.known_hosts.read_text().splitlines()) == 2
    Connection(server.target()).close()


def test_it_goes_where_the_config_says_hashed_if_it_says_so(server: Any, tmp_path: Path) -> None:
    config, file = tmp_path / "config", tmp_path / "new" / "folder" / "hosts"
    config.write_text(f"Host www\n HostName 127.0.0.1\n UserKnownHostsFile {file} /b\n HashKnownHosts yes\n")
    target = server.target(host="www", ssh_config=config, known_hosts=None)
    Person("yes").trust(target)
    assert file.parent.stat().st_mode & 0o777 == 0o700 and file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("|1|") and "127.0.0.1" not in file.read_text()
    keygen = support.system_program("openssh-client", "/usr/bin/ssh-keygen")
    name = f"[127.0.0.1]:{server.port}"
    found = subprocess.run([keygen, "-F", name, "-f", str(file)], check=True, capture_output=True, text=True)
    assert public_line(server.host_keys[0]) in found.stdout
    Connection(target).close()


def test_the_alias_of_the_config_is_its_name(server: Any, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("HostKeyAlias behind-the-tunnel\n")
    server.know()
    Person("yes").trust(server.target(ssh_config=config))
    assert server.known_hosts.read_text() == f"behind-the-tunnel {public_line(server.host_keys[0])}\n"
    Connection(server.target(ssh_config=config)).close()


def test_without_a_file_of_its_own_it_is_the_users(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(server.home / "user"))
    Person("yes").trust(server.target(known_hosts=None))
    assert (server.home / "user/.ssh").stat().st_mode & 0o777 == 0o700
    assert len((server.home / "user/.ssh/known_hosts").read_text().splitlines()) == 1


def test_a_file_that_cannot_be_written(server: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, told in [
        (Path(os.devnull), "not a file"),
        (tmp_path / "file" / "below", "Not a directory"),
        (Path("/proc/absent"), "cannot note the host key"),
    ]:
        with pytest.raises(PublishError, match=told) as caught:
            Person("yes").trust(server.target(known_hosts=path))
        assert "ds_website_known_hosts" in caught.value.hint


def test_jump_hosts_are_asked_about_first(start_server: Callable[..., Any], tmp_path: Path) -> None:
    jump, server = start_server("openssh"), start_server("openssh")
    config = tmp_path / "config"
    config.write_text(
        f"Host jump\n HostName 127.0.0.1\n Port {jump.port}\n User {jump.username}\n IdentityFile {jump.privkey}\n"
        "Host 127.0.0.1\n ProxyJump jump\n"
    )
    target = server.target(ssh_config=config)
    server.know()
    assert str(jump.port) in refusal(target, Person("no")).message
    person = Person("yes", "yes")
    person.trust(target)
    ports = [line.split()[0] for line in server.known_hosts.read_text().splitlines()]
    assert ports == [f"[127.0.0.1]:{jump.port}", f"[127.0.0.1]:{server.port}"]
    Connection(target).close()
