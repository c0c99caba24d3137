"""Our timer among the user's systemd units, ``$XDG_CONFIG_HOME/systemd/user/deepspeech-wer.{service,timer}``."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from deepspeech_wer import config
from deepspeech_wer.errors import SettingsError, TrackerError
from deepspeech_wer.files import write_atomically
from deepspeech_wer.schedule import start
from deepspeech_wer.schedule.start import Starter

SERVICE, TIMER = "deepspeech-wer.service", "deepspeech-wer.timer"

_SERVICE = """\
# Made by `deepspeech-wer install-cron --systemd`, which writes it anew.
# What a tick prints: journalctl --user -u deepspeech-wer.service
[Unit]
Description=One tick of deepspeech-wer: train and publish what has landed

[Service]
Type=oneshot
{environment}ExecStart={command}
# A tick may train for days. Told to stop, it ends its own trainers within ten seconds; what is left then is killed.
TimeoutStartSec=infinity
TimeoutStopSec=30
KillMode=mixed
# Another run, by hand, holds the lock: nothing is wrong.
SuccessExitStatus=75
"""

_TIMER = """\
# Made by `deepspeech-wer install-cron --systemd`, which writes it anew.
[Unit]
Description=A tick of deepspeech-wer every 15 minutes

[Timer]
OnCalendar=*:0/15
Persistent=true
Unit=deepspeech-wer.service

[Install]
WantedBy=timers.target
"""


def units(settings_file: Path | None) -> dict[str, str]:
    """The units' texts by the names of their files. Raises SettingsError for a path that cannot be in one."""
    words = start.command(settings_file)
    if any(c in "\"'\\$" for c in words[0]):
        raise SettingsError(
            f"systemd cannot start {words[0]!r}, which has a quote or the like in its name",
            "install deepspeech-wer in a folder with a plainer name, or use cron",
        )
    variables = start.variables()
    if folders := start.folders():
        variables["PATH"] = ":".join([*folders, "/usr/local/bin", start.USUAL_PATH])
    environment = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in variables.items())
    command = " ".join(_quoted(word).replace("$", "$$") for word in words)
    return {SERVICE: _SERVICE.format(environment=environment, command=command), TIMER: _TIMER}


def install(settings_file: Path | None, print_only: bool) -> None:
    """Write the units and start the timer, or only print them. Raises TrackerError."""
    files = units(settings_file)
    if print_only:
        print("\n".join(f"# {folder() / name}\n{text}" for name, text in files.items()), end="")
        return
    try:
        folder().mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder() / name
            is_there = path.is_file() and path.read_text(errors="replace") == text
            if not is_there:
                write_atomically(path, text)
            print(f"{'is there already' if is_there else 'written'}: {path}")
    except OSError as error:
        raise TrackerError(
            f"the units cannot be written into {folder()}: {error.strerror}", "check the folder's owner, and the disk"
        ) from error
    _systemctl("the timer is written, but not started", ("daemon-reload",), ("enable", "--now", TIMER))
    print(f"the timer is on; to see it: systemctl --user list-timers {TIMER}")
    if not is_lingering():
        start.warn(f"the timer rests while you are not logged in, until you say: loginctl enable-linger {_user()}")


def remove(print_only: bool) -> None:
    """Stop the timer and remove the units, or only say so. Raises TrackerError."""
    enabled = folder() / "timers.target.wants" / TIMER
    there = [path for path in (enabled, folder() / TIMER, folder() / SERVICE) if path.exists() or path.is_symlink()]
    if not there:
        print(f"there is no timer of ours in {folder()}")
        return
    if print_only:
        print("\n".join(f"would remove {path}" for path in there))
        return
    trouble = "the units are removed, but systemd was not told"
    try:
        _systemctl(trouble, ("disable", "--now", TIMER))
    finally:  # where no systemd runs, there is nothing to stop
        for path in there:
            path.unlink(missing_ok=True)
            print(f"removed {path}")
    _systemctl(trouble, ("daemon-reload",))


def is_installed() -> bool:
    """Whether the timer is there, running or not."""
    return (folder() / TIMER).exists()


def planned() -> list[Starter]:
    """The timer, where it is on."""
    if not is_installed():
        return []
    try:
        done = start.call("systemctl", "--user", "show", TIMER, "-p", "ActiveState", "-p", "NextElapseUSecRealtime")
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    values = dict(line.partition("=")[::2] for line in done.stdout.decode(errors="replace").splitlines())
    if done.returncode != 0 or values.get("ActiveState") != "active":
        return []
    try:
        when = datetime.strptime(values.get("NextElapseUSecRealtime", ""), "%a %Y-%m-%d %H:%M:%S UTC")
    except ValueError:  # it is empty while a tick is on
        return [Starter(f"the timer {TIMER}", None)]
    return [Starter(f"the timer {TIMER}", when.replace(tzinfo=UTC))]


def is_lingering() -> bool:
    """Whether the user's systemd runs also while the user is not logged in."""
    return Path("/var/lib/systemd/linger", _user()).exists()


def folder() -> Path:
    """Where the user's units are: beside the folder of our settings."""
    return config.config_file().parents[1] / "systemd" / "user"


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _quoted(text: str) -> str:
    """``text`` as one word of a unit. In a command ``$`` is to be doubled as well."""
    if any(not c.isprintable() for c in text):
        raise SettingsError(f"{text!r} cannot be written into a systemd unit", "give it a name without such characters")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[\w@+=:,./-]+", escaped) else f'"{escaped}"'


def _systemctl(trouble: str, *commands: tuple[str, ...]) -> None:
    """Run ``systemctl --user`` with each of ``commands``. Raises TrackerError that begins with ``trouble``."""
    by_hand = " && ".join(shlex.join(["systemctl", "--user", *command]) for command in commands)
    for command in commands:
        try:
            done = start.call("systemctl", "--user", *command)
        except FileNotFoundError:
            why = "there is no program systemctl on this machine"
        except subprocess.TimeoutExpired:
            why = f"systemctl did not end within {start.PATIENCE} s"
        else:
            if done.returncode == 0:
                continue
            why = " ".join(done.stderr.decode(errors="replace").split()) or f"systemctl ended with {done.returncode}"
        raise TrackerError(f"{trouble}: {why}", f"where systemd runs for you: {by_hand}")
