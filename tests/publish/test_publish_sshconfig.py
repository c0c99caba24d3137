"""What ~/.ssh/config says of a host: as ssh itself reads it, and what is said of one that cannot be read."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

import support
from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh.config import resolve, route
from deepspeech_wer.publish.ssh.configfile import lookup
from deepspeech_wer.publish.target import Target


def target(config: Path | str, host: str = "web", **changes: object) -> Target:
    settings: dict[str, object] = {"port": None, "username": "", "root": "www", "ssh_config": Path(config)}
    return Target(host, **settings | changes)  # type: ignore[arg-type]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file of its own, in a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return tmp_path / ".ssh" / "config"


CONFIGS = {
    "nothing": "",
    "first wins": "Host web\n  Port 1\n  Port 2\nHost *\n  Port 3\n  User all\n",
    "equals and case": "hOsT=web\nPORT = 2022\nuser\t=\twer\n",
    "patterns": "Host *.example.org !web other\n Port 1\nHost w?b\n Port 2\nHost * !other\n User a\n",
    "negated": "Host !web *\n Port 1\nHost *\n Port 2\n",
    "brackets are no sets": "Host [w]eb\n Port 1\n",
    "host name": "Host web\n HostName %h.example.org\n",
    "percent": "Host web\n HostName a%%b\n",
    "comments": "# one\n\n  # two\nHost web # three\n User me # four\n Port 22 #five\n",
    "quotes": 'Host "web"\n User "a b"\n IdentityFile "~/a key"\n',
    "several keys": "Host web\n IdentityFile ~/a\n IdentityFile %d/.ssh/%h-%n-%p-%r-%u\nHost *\n IdentityFile /b\n",
    "same key twice": "IdentityFile /a\nHost web\n IdentityFile /a\n",
    "certificates": "CertificateFile /a-cert.pub\nCertificateFile ${HOME}/b-cert.pub\nIdentitiesOnly yes\n",
    "before any host": "Port 7\nHost other\n Port 8\n",
    "known hosts": "UserKnownHostsFile /a ~/.ssh/b\nGlobalKnownHostsFile /c\nHostKeyAlias other\nHashKnownHosts yes\n",
    "jump": "Host web\n ProxyJump a@b:7,c\nHost *\n ProxyCommand none\n",
    "command first": "Host web\n ProxyCommand nc -X 5 '%h' %p # not a comment\n ProxyJump b\n",
    "no command, then a jump": "ProxyCommand none\nProxyJump b\n",
    "match host": "Host web\n HostName www.example.org\nMatch host *.example.org,!a.example.org\n Port 5\n",
    "match negated": "Match !host web\n Port 1\nMatch !host other user wer\n Port 2\nMatch all\n User x\n",
    "match original host": "HostName other\nMatch originalhost web host other\n Port 4\n",
    "match user": "Host web\n User wer\nMatch user wer,x\n Port 6\n",
    "match local user": "Match localuser *\n Port 9\n",
    "match all": "Match all\n Port 9\n",
    "match exec": 'Match exec "test %h = web"\n Port 5\nMatch exec false\n User no\n',
    "match final": "Match final host www.example.org\n Port 4\nHost web\n HostName www.example.org\n",
    "final sees the address": "Host www.*\n User late\nMatch final\n Port 4\nHost web\n HostName www.example.org\n",
    "agent": "IdentityAgent ~/agent.sock\n",
    "unknown to us": "ServerAliveInterval 5\nSendEnv LANG LC_*\nLocalForward 8080 localhost:80\nPort 3\n",
}
COMPARED = {
    "hostname", "port", "user", "identityfile", "certificatefile", "identitiesonly", "proxyjump", "proxycommand",
    "hostkeyalias", "userknownhostsfile", "globalknownhostsfile", "hashknownhosts", "identityagent",
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_as_ssh_reads_it(config: Path, name: str) -> None:
    config.write_text(CONFIGS[name])
    agree_with_ssh(config)


def test_files_that_are_included(config: Path) -> None:
    (config.parent / "conf.d").mkdir()
    (config.parent / "conf.d" / "20.conf").write_text("Host web\n Port 20\n User twenty\n")
    (config.parent / "conf.d" / "10.conf").write_text("Host other\n Port 9\nHost web\n Port 10\n")
    (config.parent / "of-web").write_text("HostName inner\nHost other\n IdentityFile /no\nHost *\n IdentityFile /yes\n")
    (config.parent / "never").write_text("Port 1\nHost *\n HostKeyAlias never\nMatch all\n CertificateFile /never\n")
    config.write_text(
        "Include conf.d/*.conf ~/.ssh/absent\nHost other\n Include never\n"
        "Host web\n Include of-web\n HashKnownHosts yes\n"
    )
    agree_with_ssh(config)
    assert lookup("web", [config]).first("port") == "10"


def agree_with_ssh(config: Path) -> None:
    """What ``ssh -G`` prints of what we use, is what we find."""
    ssh = support.system_program("openssh-client", "/usr/bin/ssh")
    done = subprocess.run([ssh, "-F", str(config), "-G", "web"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        theirs.setdefault(keyword, []).append(value)
    answers = lookup("web", [config])
    for keyword in sorted(COMPARED):
        ours = [answers.address] if keyword == "hostname" else answers.values.get(keyword)
        if ours is None:
            defaults = subprocess.run([ssh, "-F", "none", "-G", "web"], capture_output=True, text=True).stdout
            ours = [line.partition(" ")[2] for line in defaults.splitlines() if line.startswith(keyword + " ")]
        if keyword in ("userknownhostsfile", "globalknownhostsfile"):
            ours = [" ".join(ours)]
        if keyword in ("proxyjump", "proxycommand") and ours == ["none"]:
            ours = []
        if keyword in ("userknownhostsfile", "identityagent", "certificatefile"):
            # Whether ssh -G prints these before or after it has read the tilde (not by HOME) depends on the version.
            home = pwd.getpwuid(os.getuid()).pw_dir
            ours = [word.replace("~", home) for word in ours]
            theirs[keyword] = [word.replace("~", home) for word in theirs.get(keyword, [])]
        assert ours == theirs.get(keyword, []), keyword


def test_what_the_settings_say_wins(config: Path, tmp_path: Path) -> None:
    config.write_text(
        "Host web\n HostName www.example.org\n Port 7\n User config\n IdentityFile ~/a\n IdentityFile ~/b\n"
        " UserKnownHostsFile ~/k ~/l\n CertificateFile ~/c-%r\n"
    )
    resolved = resolve(target(config))
    assert (resolved.host, resolved.port, resolved.username) == ("web", 7, "config")
    (hop,) = route(target(config))
    assert (str(hop), hop.address) == ("config@web:7", "www.example.org")
    assert hop.identity_files == (tmp_path / "a", tmp_path / "b") and hop.privkey is None
    assert hop.known_hosts == (tmp_path / "k", tmp_path / "l", Path("/etc/ssh/ssh_known_hosts"))
    assert hop.certificate_files == (tmp_path / "c-config",)
    (hop,) = route(
        target(config, port=9, username="me", privkey=tmp_path / "mine", known_hosts=tmp_path / "known_hosts")
    )
    assert (str(hop), hop.privkey, hop.identity_files) == ("me@web:9", tmp_path / "mine", ())
    assert hop.known_hosts == (tmp_path / "known_hosts",) and hop.known_hosts_named


def test_the_users_own_file_is_the_default_and_the_systems_comes_after(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system"
    system.write_text("Port 1\nUser system\nInclude absent.d/*\n")
    monkeypatch.setattr("deepspeech_wer.publish.ssh.configfile.SYSTEM_FILE", system)
    assert resolve(Target("web", None, "", "www")).username == "system"
    config.write_text("Port 2\n")
    resolved = resolve(Target("web", None, "", "www"))
    assert (resolved.port, resolved.username) == (2, "system")
    config.chmod(0o666)
    with pytest.raises(PublishError, match="can be changed by others") as caught:
        resolve(Target("web", None, "", "www"))
    assert caught.value.hint == f"chmod 600 {config}"
    # What it includes, too; but not a file that the settings name, nor the system's.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("Port 3\n")
    elsewhere.chmod(0o666)
    config.write_text(f"Include {elsewhere}\n")
    config.chmod(0o600)
    with pytest.raises(PublishError, match="elsewhere can be changed by others"):
        resolve(Target("web", None, "", "www"))
    assert resolve(target(elsewhere)).port == 3


def test_a_user_without_a_name(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", fail)
    config.write_text("Match localuser x\n Port 1\nHost *\n IdentityFile ~/%u-%r\n")
    (hop,) = route(target(config, username="me"))
    assert hop.identity_files[0].name == f"{os.getuid()}-me"


def test_without_any_config_there_is_a_port_and_no_user() -> None:
    resolved = resolve(target(os.devnull))
    assert (resolved.port, resolved.username) == (22, "")
    with pytest.raises(PublishError, match="as which user") as caught:
        route(target(os.devnull))
    assert "ds_website_username" in caught.value.hint and "~/.ssh/config" in caught.value.hint
    assert str(route(target(os.devnull), to_log_in=False)[-1]) == "web:22"


# Jump hosts ----------------------------------------------------------------------------------------------------------


def hops(config: Path, text: str, **changes: object) -> list[str]:
    config.write_text(text)
    return [f"{hop} {hop.address}" for hop in route(target(config, username="wer", **changes))]


def test_jump_hosts_have_their_own_config(config: Path) -> None:
    text = (
        "Host web\n ProxyJump one,ssh://u@two:2222/,[2001:db8::1]:7\n"
        "Host one\n HostName 192.0.2.1\n User first\n ProxyJump zero\n"
        "Host two\n User ignored\n Port 1\n ProxyJump ignored\n"
        "Host zero\n Port 5\nHost *\n User all\n"
    )
    assert hops(config, text) == [
        "all@zero:5 zero",
        "first@one:22 192.0.2.1",
        "u@two:2222 two",
        "all@2001:db8::1:7 2001:db8::1",
        "wer@web:22 web",
    ]


def test_the_key_of_the_settings_is_for_jump_hosts_that_have_none(config: Path, tmp_path: Path) -> None:
    config.write_text("Host web\n ProxyJump one,two\nHost two\n IdentityFile /two\nHost web\n IdentityFile /web\n")
    one, two, web = route(target(config, username="wer", privkey=tmp_path / "key"))
    assert one.privkey == tmp_path / "key" and web.privkey == tmp_path / "key"
    assert two.privkey is None and two.identity_files == (Path("/two"),)


def test_no_jump_and_no_command(config: Path) -> None:
    assert hops(config, "Host web\n ProxyJump none\nHost *\n ProxyJump other\n") == ["wer@web:22 web"]
    config.write_text("Host web\n ProxyCommand none\nHost *\n ProxyCommand nc %h %p\n")
    assert route(target(config, username="wer"))[0].command == ""
    assert route(target(config, "other", username="wer"))[0].command == "nc other 22"


def test_jump_hosts_that_lead_in_a_circle(config: Path) -> None:
    with pytest.raises(PublishError, match="in a circle") as caught:
        hops(config, "Host *\n ProxyJump bastion\n")
    assert "ProxyJump none" in caught.value.hint


# What cannot be read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Host web\n Port many\n", "line 2: 'many' is not a port"),
        ("Port 0\n", "line 1: '0' is not a port"),
        ("Host\n", "line 1: there is nothing behind Host"),
        ("\nUser\n", "line 2: there is nothing behind User"),
        ("Match nonsense x\n", "Match nonsense is not known here"),
        ("Match host\n", "nothing behind Match host"),
        ('User "open\n', "a quotation mark is open"),
        ("IdentityFile ~/%q\n", "%q is not known here"),
        ("IdentityFile ~/${NO_SUCH_THING}\n", "no variable NO_SUCH_THING"),
        ("ProxyJump a:b:c\n", "'a:b:c' is not of the form"),
        ("ProxyJump -oProxyCommand=x\n", "is not the name of a server"),
        ("User -l\n", "is not a user's name"),
        ("HostName -x\n", "is not the name of a server"),
        ("===\n", "is not a keyword and its value"),
        ("Include config\n", "include each other too deep"),
    ],
)
def test_a_config_that_is_wrong_is_told_with_its_line(config: Path, text: str, told: str) -> None:
    config.write_text(text)
    with pytest.raises(PublishError) as caught:
        route(target(config, username="" if text.startswith("User") else "wer"))
    assert told in caught.value.message and caught.value.hint
    assert str(config) in caught.value.message or "ProxyJump" in text


def test_what_does_not_count_need_not_be_right(config: Path) -> None:
    assert hops(config, "Host other\n Port many\nMatch user nobody exec 'touch ~/ran'\n User x\n") == ["wer@web:22 web"]
    assert not (config.parents[1] / "ran").exists()


def test_a_command_that_never_ends(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepspeech_wer.publish.ssh.configfile.EXEC_SECONDS", 0.3)
    config.write_text('Match exec "sleep 60"\n Port 1\n')
    with pytest.raises(PublishError, match=r"line 1: the command of Match exec did not end"):
        resolve(target(config))


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(PublishError, match="cannot read the ssh config file") as caught:
            resolve(target(path))
        assert "ds_website_ssh_config" in caught.value.hint


def test_commands_are_not_in_the_repr(config: Path) -> None:
    config.write_text("ProxyCommand nc --password hunter2 %h %p\n")
    assert "hunter2" not in repr(route(target(config, username="wer")))
