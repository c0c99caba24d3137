"""The queue: what is to be trained now, what waits, and what is given up. Pure functions on the journal's entries.

A failed landing is tried again ``ds_retries`` times: the first time after ``ds_retry_wait`` seconds, then after twice
that, and so on, but never later than after a day::

    failed ----30 min----> failed ------1 h------> failed -> passed

Landings that come after it do not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deepspeech_wer.config import Settings
from deepspeech_wer.journal import Entry, State

#: Seconds that a retry waits at most: a machine that is mended in the morning should not sit there until the next.
LONGEST_WAIT = 24 * 3600.0

#: Times in a row that a run may be cut off (machine down, out of memory, kill -9) before that counts as a failure: by
#: then it is likely that the training brings the machine down.
MOST_CUT_OFF = 5


@dataclass(frozen=True)
class Queue:
    """SHAs: ``now`` are to be trained, in order, ``later`` wait for the time that stands with them."""

    now: tuple[str, ...]
    later: Mapping[str, datetime]


def of(entries: Mapping[str, Entry], settings: Settings, now: datetime | None = None) -> Queue:
    """What to do with ``entries`` at the time ``now`` (by default that of the machine)."""
    now = now or datetime.now(UTC)
    pending = {sha: entry for sha, entry in entries.items() if entry.missing(settings.seeds)}
    later = {sha: when for sha, entry in pending.items() if (when := due_at(entry, settings, now)) is not None}
    return Queue(tuple(sha for sha in pending if sha not in later), later)


def is_given_up(entry: Entry, settings: Settings) -> bool:
    """Whether a landing has failed as often as the settings let it."""
    return entry.state is State.FAILED and entry.failures > settings.retries


def due_at(entry: Entry, settings: Settings, now: datetime | None = None) -> datetime | None:
    """When a failed landing is to be tried again; None where nothing has to be waited for.

    A failure that lies in the future shows that the clock was set back: then nothing is waited for.
    """
    now = now or datetime.now(UTC)
    if entry.state not in (State.FAILED, State.SHOWN) or not entry.failures:
        return None
    try:
        failed = datetime.fromisoformat(entry.time).astimezone(UTC)
    except ValueError:
        return None
    wait = min(settings.retry_wait * 2 ** min(entry.failures - 1, 30), LONGEST_WAIT)
    due = failed + timedelta(seconds=wait)
    return due if failed <= now < due else None
