"""Trouble that lies outside of all landings, so that no page shows it: the repository is away, the disk is full.

The file ``<data root>/trouble.json`` is there as long as it lasts: ``{"time": ..., "message": ..., "hint": ...}``, the
time being that of the first tick that met it.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_wer.errors import EnvironmentFailure, TrackerError
from deepspeech_wer.files import write_atomically

if TYPE_CHECKING:
    from deepspeech_wer.config import Settings
    from deepspeech_wer.log import Log

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def watched(settings: Settings, log: Log) -> Iterator[None]:
    """Log, note and notify where the block cannot go on, and where that is over. What it raises goes on.

    An OSError becomes an EnvironmentFailure: what is not where it was, or cannot be written, is no landing's fault.
    """
    path = settings.dataroot / "trouble.json"
    try:
        yield
    except TrackerError as error:
        _begin(settings, log, path, error)
        raise
    except OSError as error:
        failure = _machines(error, settings)
        _begin(settings, log, path, failure)
        raise failure from error
    except Exception as error:
        _begin(settings, log, path, TrackerError(f"a bug in deepspeech-wer: {error!r}", "its traceback is in the log"))
        log.record(traceback_of(error))
        raise
    if path.exists():
        _end(settings, log, path)


def current(settings: Settings) -> dict[str, str] | None:
    """The trouble that is on, as its file tells it, or None."""
    try:
        value = json.loads((settings.dataroot / "trouble.json").read_text())
        return {name: str(value[name]) for name in ("time", "message", "hint")}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _machines(error: OSError, settings: Settings) -> EnvironmentFailure:
    where = error.filename or settings.dataroot
    if error.errno in _NO_ROOM:
        return EnvironmentFailure(
            f"the disk is full: {where} cannot be written", "make room there; the next run goes on from here"
        )
    return EnvironmentFailure(
        f"{error.strerror or error}: {where}",
        "check the disk, and the owner and the permissions of that place; the next run goes on from here",
    )


def traceback_of(error: Exception) -> str:
    """What Python prints of an exception that nobody expected."""
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()


def _begin(settings: Settings, log: Log, path: Path, error: TrackerError) -> None:
    from datetime import UTC, datetime

    from deepspeech_wer.notify import Notifier

    since = (current(settings) or {}).get("time") or datetime.now(UTC).isoformat(timespec="seconds")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"time": since, "message": error.message, "hint": error.hint}) + "\n")
    except OSError:  # the disk may be what the trouble is with; an empty file often fits where no text does
        with suppress(OSError):
            path.touch()
    log.record(f"{error.message}" + (f" ({error.hint})" if error.hint else ""))
    notifier = Notifier(settings, log)
    if isinstance(error, EnvironmentFailure):
        notifier.environment_failed(error)
    else:
        notifier.tick_failed(error)


def _end(settings: Settings, log: Log, path: Path) -> None:
    from deepspeech_wer.notify import Notifier

    notifier = Notifier(settings, log)
    notifier.environment_recovered()
    notifier.tick_recovered()
    path.unlink(missing_ok=True)
