"""How a tick is started by itself: its command, and what of this shell's environment it takes along.

cron and systemd give a command hardly any environment. What it takes to find the same folders and programs is brought
along: the ``XDG_..._HOME`` variables where they are not the usual ones, and the folders of git and such where cron
would not look. Settings are not, since that is no place for them; they are told by name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

#: What cron, and at the least systemd, have in PATH.
USUAL_PATH = "/usr/bin:/bin"

#: The programs that a tick calls by their names.
_PROGRAMS = ("git", "ssh", "nvidia-smi")

#: Variables, beside ``ds_...``, that git, publishing and trainings work differently without.
_OF_THE_SHELL = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("GITHUB_TOKEN", "GH_TOKEN", "GIT_SSH_COMMAND", "SSH_AUTH_SOCK", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"),
)

#: Seconds that crontab and systemctl get.
PATIENCE = 30


@dataclass(frozen=True)
class Starter:
    """Something that starts ticks: ``where`` it stands and when it does so ``next``, None where that is not known.

    ``program`` is what it starts, where that can be told.
    """

    where: str
    next: datetime | None
    program: Path | None = None


def command(settings_file: Path | None) -> list[str]:
    """The words of one tick's command, called as it was called now: by its script, or by the interpreter."""
    script = Path(sys.argv[0]).absolute()
    if script.name == "deepspeech-wer" and os.access(script, os.X_OK):
        words = [str(script), "run"]
    else:  # -P: no folder of the home folder is imported instead
        words = [sys.executable, "-P", "-m", "deepspeech_wer", "run"]
    return words if settings_file is None else [*words, "--config", str(settings_file.absolute())]


def variables() -> dict[str, str]:
    """The XDG variables that are not what they are by default: without them a tick would find another journal."""
    usual = {"XDG_CONFIG_HOME": ".config", "XDG_DATA_HOME": ".local/share", "XDG_CACHE_HOME": ".cache"}
    set_here = {name: Path(os.environ[name]).absolute() for name in usual if os.environ.get(name)}
    return {name: str(path) for name, path in set_here.items() if path != Path.home() / usual[name]}


def folders() -> list[str]:
    """The folders of the programs that a tick calls and that are in none of the usual ones."""
    found = [shutil.which(name) for name in _PROGRAMS if not shutil.which(name, path=USUAL_PATH)]
    return list(dict.fromkeys(str(Path(program).parent.absolute()) for program in found if program))


def unknown_settings() -> list[str]:
    """The ``ds_`` variables of this process, which a tick that starts by itself does not have."""
    return sorted(name for name, value in os.environ.items() if name.startswith("ds_") and value)


def lost_variables() -> list[str]:
    """The other variables of this process that a tick may miss."""
    return [name for name in _OF_THE_SHELL if os.environ.get(name)]


def warn(text: str) -> None:
    """A line to standard error."""
    print(f"deepspeech-wer: {text}", file=sys.stderr)


def call(*words: str, text: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a program that speaks English and UTC. Raises FileNotFoundError, and TimeoutExpired after PATIENCE."""
    return subprocess.run(
        words,
        env=os.environ | {"LC_ALL": "C", "TZ": "UTC"},
        input=b"" if text is None else text,
        capture_output=True,
        timeout=PATIENCE,
    )
