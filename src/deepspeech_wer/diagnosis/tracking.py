"""What is tracked and how it is told: git, the repository, the journal, the lock, what starts ticks, notifications."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from deepspeech_wer import lock, schedule, templates
from deepspeech_wer.config import Settings
from deepspeech_wer.diagnosis import Check, fail, ok, warn, within
from deepspeech_wer.landings.git import find_head, public
from deepspeech_wer.schedule import crontab, start, timer

#: The first git that takes settings, such as a password, from its environment.
_OLDEST_GIT = (2, 31)

#: Seconds that the repository and GitHub get to answer.
_ANSWER = 60.0

#: What the templates must hold.
_TEMPLATES = ("site/index.html", "notebook/DeepSpeech.ipynb", "tracked-repo/README.md")

#: Where sendmail is on most machines, and not in PATH.
_SENDMAIL = ("/usr/sbin", "/usr/lib", "/usr/local/sbin")


def git(settings: Settings) -> Iterator[Check]:
    """Whether git is there, and new enough."""
    path = shutil.which("git")
    if path is None:
        yield fail("git", "git is not installed", "install the system package git")
        return
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30).stdout.strip()
    match = re.search(r"(\d+)\.(\d+)", said)
    if match is None or (int(match[1]), int(match[2])) < _OLDEST_GIT:
        oldest = ".".join(map(str, _OLDEST_GIT))
        yield fail("git", f"{path} says {said[:80]!r}; {oldest} or newer is needed", "install a newer git")
        return
    yield ok("git", f"{said} at {path}")


def repository(settings: Settings) -> Iterator[Check]:
    """Whether the repository can be read, and GitHub's API where that is asked what has landed."""
    url, ref = settings.require_repository(), settings.tracked_ref()
    began = time.monotonic()
    head = within(_ANSWER, public(url), lambda: find_head(url, ref))
    took = time.monotonic() - began
    yield ok("repository", f"{public(url)}, {head.branch} is at {head.sha[:7]}; it answered in {took:.1f} s")


def github(settings: Settings) -> Iterator[Check]:
    """Whether GitHub's API answers, where it is asked what has landed."""
    if settings.landings_source != "github":
        return
    from deepspeech_wer.landings.github import GitHub

    with tempfile.TemporaryDirectory(prefix="deepspeech-wer-doctor-") as folder:  # what it remembers is of no use here
        asked = GitHub.of(settings, Path(folder))
        head = within(_ANSWER, settings.github_api, lambda: asked.find_head(settings.tracked_ref()))
    yield ok("github", f"{settings.github_api} answers; {head.branch} is at {head.sha[:7]}")


def lock_and_journal(settings: Settings) -> Iterator[Check]:
    """Who holds the lock, and whether what the tracker remembers can be read."""
    path = settings.cache / "lock"
    holder, obstacle = lock.holder(path), lock.obstacle(path)
    left = f"free; {path} was left behind by a run that was killed, which the next one takes over"
    if obstacle and not holder:
        yield fail("lock", obstacle, "remove what is there, or check its owner and permissions")
    else:
        yield ok("lock", f"held by {holder}" if holder else left if path.exists() else "free")
    journal = settings.dataroot / "journal.jsonl"
    pointer = settings.cache / "last_sha1"
    try:
        lines = journal.read_bytes().splitlines()
    except FileNotFoundError:
        yield ok("journal", "none yet: the first run trains only the head")
        lines = []
    except OSError as error:
        yield fail("journal", f"{journal} cannot be read: {error.strerror}", f"check its owner: ls -l {journal}")
        return
    else:
        torn = sum(not _is_entry(line) for line in lines)
        mend = "they are passed over; a line that a power cut left half written does no harm, many are another trouble"
        found = f"{journal}, {len(lines)} lines"
        yield warn("journal", f"{found}, {torn} of them not to be read", mend) if torn else ok("journal", found)
    if pointer.exists() and not re.fullmatch(r"\s*[0-9a-fA-F]{40}\s*", pointer.read_text(errors="replace")):
        yield warn(
            "last_sha1",
            f"{pointer} does not hold the SHA of a commit",
            "remove it: the next run goes on from the journal" if lines else "remove it, or write the SHA into it",
        )
    checkpoint_file = settings.cache / "checkpoint_file"
    if checkpoint_file.is_file():
        wanted = Path(checkpoint_file.read_text(errors="replace").strip()).expanduser()
        yield (
            ok("checkpoint_file", f"the next training begins from {wanted}")
            if wanted.is_dir()
            else fail(
                "checkpoint_file", f"{checkpoint_file} names {wanted}, which is not a folder", "mend it, or remove it"
            )
        )


def _is_entry(line: bytes) -> bool:
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and "sha" in value and "state" in value


def page_templates(settings: Settings) -> Iterator[Check]:
    """Whether the installation has what pages are made of."""
    folder = templates.folder()
    missing = [name for name in _TEMPLATES if not (folder / name).is_file()]
    if missing:
        yield fail("templates", f"{', '.join(missing)} not in {folder}", "install deepspeech-wer again")
    else:
        yield ok("templates", str(folder))


def ticks(settings: Settings) -> Iterator[Check]:
    """Whether something starts a tick by itself, and whether it would find the same settings."""
    starters = schedule.planned(datetime.now(UTC))
    if not starters:
        yield warn(
            "schedule",
            "nothing starts a tick by itself: no entry in the crontab, no timer",
            "deepspeech-wer install-cron",
        )
        return
    for starter in starters:
        when = f", next at {starter.next:%Y-%m-%d %H:%M} UTC" if starter.next else ""
        if starter.program is not None and not os.access(starter.program, os.X_OK):
            yield fail(
                "schedule",
                f"{starter.where} starts {starter.program}, which is not there (any more)",
                "write the entry anew: deepspeech-wer install-cron",
            )
        else:
            yield ok("schedule", f"{starter.where}{when}")
    if any("crontab" in starter.where for starter in starters):
        if not crontab.is_daemon_seen():
            yield warn("schedule", "no cron daemon is seen on this machine", "start it, or use install-cron --systemd")
    elif not timer.is_lingering():
        yield warn("schedule", "the timer rests while you are not logged in", "loginctl enable-linger")
    if names := start.unknown_settings():
        yield warn(
            "schedule",
            f"only this shell has {', '.join(names)}, and not what is started by itself",
            "put them into the settings' file, what is the training's into its table [job]",
        )


def notifications(settings: Settings) -> Iterator[Check]:
    """Whether what is to send notifications is there; nothing is sent."""
    if settings.notify_command:
        try:
            words = shlex.split(settings.notify_command)
        except ValueError:
            words = []
        if words and shutil.which(words[0]):  # not the whole command: people write secrets into it
            yield ok("notifications", f"ds_notify_command calls {shutil.which(words[0])}")
        else:
            mend = "see whether it works from a shell: it is called with JSON on its input"
            yield warn("notifications", "ds_notify_command does not begin with a program that is there", mend)
    if settings.notify_mail:
        places = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SENDMAIL])
        sendmail = shutil.which("sendmail", path=places)
        to = f"mail to {len(settings.notify_mail)} address{'es' if len(settings.notify_mail) > 1 else ''}"
        if sendmail:
            yield ok("notifications", f"{to} by {sendmail}")
        else:
            yield fail(
                "notifications", f"{to}, and there is no sendmail", "install one (Debian: apt-get install msmtp-mta)"
            )
    if settings.notify_webhook:
        yield ok("notifications", "ds_notify_webhook is set; nothing was posted to try it")
    if settings.github_status and not _has_token(settings):
        yield fail("notifications", "ds_github_status=1, and there is no token for GitHub", "set ds_github_token")


def _has_token(settings: Settings) -> bool:
    own = settings.github_token or settings.github_token_command
    return bool(own or os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN"))


def programs(settings: Settings) -> Iterator[Check]:
    """Which of the programs are there that only some installations need."""
    uses = {"ssh": "repositories by SSH", "nvidia-smi": "GPU figures without NVML", "crontab": "install-cron"}
    missing = [f"{name} ({use})" for name, use in uses.items() if shutil.which(name) is None]
    there = [name for name in uses if shutil.which(name)]
    yield ok(
        "programs", "; ".join([", ".join(there) or "none", *([f"not there: {', '.join(missing)}"] * bool(missing))])
    )
