"""The log of one landing's newest run, for ``deepspeech-wer log SHA``; also of a run that is on.

A run's folder is written by code of the tracked repository: a link in the place of the log is not followed, and what a
terminal would obey is taken out.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from difflib import SequenceMatcher
from pathlib import Path
from typing import BinaryIO

from deepspeech_wer import lock
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import EXIT_DONE, SettingsError, TrackerError
from deepspeech_wer.job.output import plain
from deepspeech_wer.job.spec import JobSpec, partial_folder
from deepspeech_wer.journal import Journal

#: The name of a run's folder, whole or growing: its time, the commit, digits by chance.
_RUN = re.compile(r"\.?(?P<run>\d{8}-\d{6}-(?P<short>[0-9a-f]{7})(?:-[0-9a-f]+)?)(?:\.partial)?")

#: Seconds between two looks at a log that is followed.
_POLL = 0.3

_CHUNK = 1 << 16

#: Landings that are named where none fits.
_NAMED = 5


def log_of(settings: Settings, sha: str, follow: bool = False) -> int:
    """Print the log of the newest run of the landing ``sha``, a whole or a shortened SHA.

    With ``follow``, what comes is printed as it comes until the run is whole, or its tick is gone. Raises SettingsError
    where no landing or several are meant, TrackerError where the run has no log.
    """
    run = _newest_run(settings, sha)
    whole = settings.dataroot / "runs" / run
    is_growing = follow and not whole.is_dir()
    while (file := _open(whole)) is None:
        if not (is_growing and _is_on(settings, whole)):
            raise TrackerError(
                f"the run {run} has no log (any more)",
                "it had not begun to print, or it was too old to be kept whole (ds_keep_runs)",
            )
        time.sleep(_POLL)
    with file:
        text = _Text()
        while is_growing and _is_on(settings, whole):
            text.print(file)
            time.sleep(_POLL)
        text.print(file, is_last=True)
    if is_growing and not whole.is_dir():
        print(f"deepspeech-wer: the run {run} was cut off; the next tick goes on", file=sys.stderr)
    return EXIT_DONE


class _Text:
    """Bytes of a log as text on standard output, harmless to a terminal: in lines, so that no escape is cut in two."""

    def __init__(self) -> None:
        self._rest = b""

    def print(self, file: BinaryIO, is_last: bool = False) -> None:
        """Print the lines that have come since the last time; with ``is_last`` also one that does not end."""
        while data := file.read(_CHUNK):
            lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
            self._show(lines + newline)
            if len(self._rest) >= _CHUNK:  # no line of ours
                self._show(self._rest)
                self._rest = b""
        if is_last:
            self._show(self._rest)
            self._rest = b""
        sys.stdout.flush()

    def _show(self, data: bytes) -> None:
        sys.stdout.write(plain(data.decode(errors="replace")))


def _is_on(settings: Settings, whole: Path) -> bool:
    return partial_folder(whole).is_dir() and lock.holder(settings.cache / "lock") is not None


def _open(whole: Path) -> BinaryIO | None:
    for folder in (whole, partial_folder(whole), whole):  # it may be made whole just now
        try:
            handle = os.open(folder / "log.txt", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return os.fdopen(handle, "rb")
        os.close(handle)
    return None


def _newest_run(settings: Settings, name: str) -> str:
    """The id of the newest run of the landing that ``name`` means. Raises SettingsError."""
    wanted = name.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{4,40}", wanted):
        raise SettingsError(f"{name!r} is not the SHA of a landing", "give 4 to 40 hexadecimal digits")
    entries = Journal(settings.dataroot / "journal.jsonl", settings.cache / "last_sha1").entries()
    runs = _runs(settings, wanted)
    found = {sha for sha in entries if sha.startswith(wanted)} | set(runs)
    if len(found) > 1:
        several = ", ".join(sorted(found)[:_NAMED])
        raise SettingsError(f"{name} means several landings: {several}", "give more digits")
    if not found:
        raise SettingsError(f"no landing {name} is known here", _near(wanted, list(entries)))
    (sha,) = found
    entry = entries.get(sha)
    # The journal's word comes first, since it is in the order of things even where the clock was set back.
    if entry is not None and entry.run and any(folder.is_dir() for folder in _places(settings, entry.run)):
        return entry.run
    if not runs.get(sha):
        why = f": it is {entry.state}" + (f", {entry.why}" if entry.why else "") if entry else ""
        put_off = settings.dataroot / "logs" / "put-off.txt"
        also = f"; what the last run that was put off had printed is in {put_off}" if put_off.is_file() else ""
        raise SettingsError(f"{sha[:7]} has no run{why}", f"`deepspeech-wer status` tells when it is its turn{also}")
    return max(runs[sha])


def _places(settings: Settings, run: str) -> tuple[Path, Path]:
    whole = settings.dataroot / "runs" / run
    return whole, partial_folder(whole)


def _runs(settings: Settings, wanted: str) -> dict[str, list[str]]:
    """The runs on this machine of the landings whose SHA begins with ``wanted``."""
    found: dict[str, list[str]] = {}
    try:
        names = os.listdir(settings.dataroot / "runs")  # noqa: PTH208 - there may be thousands
    except FileNotFoundError:
        return {}
    for name in names:
        match = _RUN.fullmatch(name)
        if match is None or not (match["short"].startswith(wanted[:7]) or wanted.startswith(match["short"])):
            continue
        try:
            spec = JobSpec.from_json((settings.dataroot / "runs" / name / "job.json").read_text())
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if spec.landing.sha.startswith(wanted):
            found.setdefault(spec.landing.sha, []).append(match["run"])
    return found


def _near(wanted: str, known: list[str]) -> str:
    """A hint that names the landings that are most like ``wanted``, else the newest."""
    if not known:
        return "nothing has been trained yet: deepspeech-wer run"
    like = sorted(known, key=lambda sha: SequenceMatcher(None, wanted, sha[: len(wanted)]).ratio(), reverse=True)
    close = [sha for sha in like if SequenceMatcher(None, wanted, sha[: len(wanted)]).ratio() >= 0.6]
    names = ", ".join(sha[: max(7, len(wanted))] for sha in (close or known[::-1])[:_NAMED])
    return f"{'like it are' if close else 'the newest are'} {names}; `deepspeech-wer landings` lists more"
