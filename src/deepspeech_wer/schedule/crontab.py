"""Our entry in the user's crontab, two lines: a comment by which it is found again, and the line itself.

::

    # deepspeech-wer install-cron: the next line is ours; ...
    */15 * * * * /opt/wer/bin/deepspeech-wer run --config /etc/wer.toml 2>>/home/ada/.deepspeech_wer.cron.log

All other lines stay as they are, byte for byte.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from deepspeech_wer.errors import SettingsError, TrackerError
from deepspeech_wer.schedule import start
from deepspeech_wer.schedule.start import Starter

MARK = (
    "# deepspeech-wer install-cron: the next line is ours; `deepspeech-wer install-cron` writes it anew, "
    "and takes it out with --remove"
)
_MARK_START = b"# deepspeech-wer install-cron"

WHEN = "*/15 * * * *"

#: Our verb in a line of a crontab, whoever wrote it.
_RUN = re.compile(rb"deepspeech[-_]wer['\"]?\s+run\b|/bootstrap\.py\b")

#: The names of cron's daemon, as its various programs show them.
_DAEMONS = {"cron", "crond", "fcron", "bcron"}


def entry(settings_file: Path | None) -> str:
    """The line for the crontab. Raises SettingsError for a path that cannot be in one."""
    words = [f"{name}={_quoted(value)}" for name, value in start.variables().items()]
    if folders := start.folders():
        words.append(f'PATH={_quoted(":".join(folders))}:"$PATH"')
    words += [_quoted(word) for word in start.command(settings_file)]
    log = _quoted(str(Path.home() / ".deepspeech_wer.cron.log"))
    return f"{WHEN} {' '.join(words)} 2>>{log}"


def install(settings_file: Path | None, print_only: bool) -> None:
    """Put the entry in, in the place of an older one, or only print it. Raises TrackerError."""
    line = entry(settings_file)
    if print_only:
        print(f"{MARK}\n{line}")
        return
    table = _read()
    others, place, ours = _part(table)
    before = b"".join(others[:place])
    if before and not before.endswith(b"\n"):
        before += b"\n"
    wanted = before + f"{MARK}\n{line}\n".encode() + b"".join(others[place:])
    if wanted == table:
        print(f"the crontab has the entry already:\n{line}")
    else:
        _write(wanted)
        print(f"{'replaced the entry in' if ours else 'added to'} the crontab:\n{line}")
    if any(_is_run(other) for other in others):
        start.warn("another line of the crontab starts ticks, too: see `crontab -l`, and take it out with `crontab -e`")
    if not is_daemon_seen():
        start.warn("no cron daemon is seen on this machine: start it, or nothing is started")


def remove(print_only: bool) -> None:
    """Take the entry out, or only say so. Raises TrackerError."""
    others, _, ours = _part(_read())
    if not ours:
        print("the crontab has no entry of ours")
        return
    if not print_only:
        _write(b"".join(others))
    print("would take out of the crontab:" if print_only else "took out of the crontab:")
    print(b"".join(ours).decode(errors="replace").rstrip())


def planned(now: datetime) -> list[Starter]:
    """The lines that start ticks, ours or not; none where there is no cron, or none for this user."""
    try:
        table = _read()
    except TrackerError:
        return []
    found = []
    for number, line in enumerate(table.splitlines(), 1):
        if _is_run(line):
            text = line.decode(errors="replace")
            found.append(Starter(f"line {number} of the crontab", _next(text, now), _program(text)))
    return found


def is_daemon_seen() -> bool:
    """Whether a cron daemon is running, as far as this user is shown."""
    for file in Path("/proc").glob("[0-9]*/comm"):
        try:
            if file.read_text().strip() in _DAEMONS:
                return True
        except (OSError, UnicodeDecodeError):  # it is gone
            continue
    return False


def _quoted(text: str) -> str:
    """``text`` quoted for the shell, and for cron, which takes an unescaped ``%`` for the end of the line.

    cron takes the backslash away, whatever quotes are around it; so the quotes are closed before it.
    """
    if any(c in text for c in "\n\r\0"):
        raise SettingsError(f"{text!r} cannot be written into a crontab", "give it a name without a line's end")
    return r"\%".join(shlex.quote(piece) if piece else "" for piece in text.split("%"))


def _part(table: bytes) -> tuple[list[bytes], int, list[bytes]]:
    """The lines that are not ours, the place among them where ours were or are to go, and ours."""
    others: list[bytes] = []
    ours: list[bytes] = []
    place: int | None = None
    after_mark = False
    for line in table.splitlines(keepends=True):
        is_mark = line.startswith(_MARK_START)
        if is_mark or (after_mark and _RUN.search(line)):
            place = len(others) if place is None else place
            ours.append(line)
        else:
            others.append(line)
        after_mark = is_mark
    return others, len(others) if place is None else place, ours


def _is_run(line: bytes) -> bool:
    return not line.lstrip().startswith(b"#") and _RUN.search(line) is not None


def _next(line: str, now: datetime) -> datetime | None:
    """cron goes by the clock on the wall; so does this, in times without a zone."""
    from cronsim import CronSim, CronSimError

    try:
        wall: datetime = next(CronSim(" ".join(line.split()[:5]), now.astimezone().replace(tzinfo=None)))
    except (CronSimError, StopIteration):
        return None
    return wall.astimezone(UTC)


def _program(line: str) -> Path | None:
    """The program of a line such as ours; None where it is written in another way."""
    try:
        words = shlex.split(line.replace(r"\%", "%"))[5:]
    except ValueError:
        return None
    words = [word for word in words if not re.match(r"[A-Za-z_]+=", word)]
    return Path(words[0]) if words and words[0].startswith("/") else None


def _read() -> bytes:
    """What ``crontab -l`` prints; nothing where the user has none. Raises TrackerError."""
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip()
    if "no crontab" in said.lower() or "No such file" in said:  # the second is what busybox says
        return b""
    raise TrackerError(
        f"the crontab cannot be read: {said or f'crontab -l ended with exit code {done.returncode}'}",
        "see whether you may have one (/etc/cron.allow, /etc/cron.deny), or use a timer: install-cron --systemd",
    )


def _write(table: bytes) -> None:
    done = _crontab("-", table)
    if done.returncode != 0:
        raise TrackerError(
            f"the crontab cannot be written: {done.stderr.decode(errors='replace').strip()}",
            "it is as it was; `install-cron --print` shows the entry, to be put in by hand with `crontab -e`",
        )


def _crontab(argument: str, table: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return start.call("crontab", argument, text=table)
    except FileNotFoundError as error:
        raise TrackerError(
            "there is no program crontab on this machine",
            "install cron (Debian: apt-get install cron), or use a timer of systemd: install-cron --systemd",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise TrackerError(f"crontab {argument} did not end within {start.PATIENCE} s", "call it by hand") from error
