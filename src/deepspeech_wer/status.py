"""How things stand, for a person who asks: while a tick is on as well as between two; nothing is locked or changed.

``deepspeech-wer status --json`` prints one object. Times are ISO 8601 in UTC; what is not known is null::

    time          when this was told
    repository    the tracked repository's address, without a password;  ref  the tracked ref, HEAD for the default one
    lock          what the process that holds the lock says of itself;  lock_trouble  why no process could open it
    last_sha1     how far the tracker has come;  head  the branch's head as it was last fetched
    is_settled    whether nothing was left to do at the last tick
    current       the landing that is being trained: sha, subject, author, run, seed, attempt, since, cell, cells,
                  epoch, epochs, eta_seconds, log (a path), is_cut_off (its tick was killed, and the next one sweeps it)
    queue         [...] what is still to be trained, in order: sha, subject, state, why, failures, seeds (their
                  numbers), due (the time before which it is not tried again; null: the next tick)
    failed        [...] landings that failed, the newest first, at most 5: sha, subject, failures, is_given_up, and of
                  the last run that failed: time (at which it ended), why, log (a path)
    unpublished   [...] what came to something that the page does not show yet: sha, subject
    published     what was published last: sha, subject, time, test_wer (a ratio; null for a failed one)
    gone_back     the earlier release that readers are shown since `rollback`: time, release, published
    publish_trouble  why that could not be published when it was last tried: time, message, hint
    trouble       what keeps ticks from working: time (since when), message, hint
    log           the tracker's log (a path)
    next_tick     when cron or the timer starts the next tick
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepspeech_wer import lock, page, queue, schedule, trouble
from deepspeech_wer.config import Settings
from deepspeech_wer.engines.local import progress_of
from deepspeech_wer.errors import EXIT_DONE, TrackerError
from deepspeech_wer.job.spec import JobSpec, partial_folder
from deepspeech_wer.journal import Entry, Journal, State
from deepspeech_wer.landings.git import Mirror, environment, public
from deepspeech_wer.terminal import printable

#: Landings that failed that are shown: what is older is in the journal.
_FAILED = 5

#: Landings of the queue that are listed on a terminal; JSON has all of them.
_LISTED = 10


def status(settings: Settings, as_json: bool = False) -> int:
    """Print how things stand. Asks nothing of the network."""
    overview = look(settings)
    print(json.dumps(overview, indent=2) if as_json else "\n".join(_lines(overview)))
    return EXIT_DONE


def look(settings: Settings) -> dict[str, Any]:
    """How things stand, as the module's docstring lists it."""
    now = datetime.now(UTC)
    journal = Journal(settings.dataroot / "journal.jsonl", settings.cache / "last_sha1")
    entries = journal.entries()
    holder = lock.holder(settings.cache / "lock")
    running = {sha: entry for sha, entry in entries.items() if entry.state is State.RUNNING}
    pending, unpublished = journal.pending(settings.seeds), journal.unpublished(settings.seeds)
    next_tick = schedule.next_run(now)
    log = settings.dataroot / "logs" / "deepspeech-wer.log"
    return {
        "time": now.isoformat(timespec="seconds"),
        "repository": public(settings.require_repository()) if settings.has_repository else None,
        "ref": settings.tracked_ref(),
        "lock": holder,
        "lock_trouble": None if holder else lock.obstacle(settings.cache / "lock"),
        "last_sha1": journal.last_sha1(),
        "head": _head(settings),
        "is_settled": journal.settled_at() is not None,
        "current": next((_current(settings, *each, holder is None, now) for each in running.items()), None),
        "queue": [_queued(settings, sha, entries[sha], now) for sha in pending if sha not in running],
        "failed": [_failed(settings, sha, entry) for sha, entry in _last_failures(entries)],
        "unpublished": [_named(settings, sha, entries[sha]) for sha in unpublished],
        "publish_trouble": page.last_trouble(settings),
        "published": _published(settings, entries),
        "gone_back": page.gone_back(settings),
        "trouble": trouble.current(settings),
        "log": str(log) if log.is_file() else None,
        "next_tick": next_tick.isoformat(timespec="seconds") if next_tick else None,
    }


def run_folder(settings: Settings, run: str) -> Path:
    """The result folder of a run: the whole one, else where it grows."""
    whole = settings.dataroot / "runs" / run
    return whole if whole.is_dir() else partial_folder(whole)


def _head(settings: Settings) -> str | None:
    """The head that the mirror has, where there is a mirror."""
    if not settings.has_repository:
        return None
    folder = Mirror(settings.cache, settings.require_repository(), settings.commit_url).folder
    command = ["git", "-C", str(folder), "for-each-ref", "--format=%(objectname)", "refs/deepspeech-wer/head"]
    try:
        done = subprocess.run(command, env=os.environ | environment(), capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # without git there is no tick either: doctor tells
        return None
    return done.stdout.strip() or None


def _named(settings: Settings, sha: str, entry: Entry) -> dict[str, Any]:
    return {"sha": sha, "subject": _subject(settings, entry)}


def _subject(settings: Settings, entry: Entry) -> str:
    """The landing's subject; an old journal does not know it, but its run does."""
    if entry.landing is not None:
        return entry.landing.subject
    try:
        return JobSpec.from_json((run_folder(settings, entry.run) / "job.json").read_text()).landing.subject
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _log_of_run(settings: Settings, run: str) -> str | None:
    path = run_folder(settings, run) / "log.txt"
    return str(path) if run and path.is_file() else None


def _current(settings: Settings, sha: str, entry: Entry, is_cut_off: bool, now: datetime) -> dict[str, Any]:
    folder = run_folder(settings, entry.run)
    progress = progress_of(folder)
    eta = progress.eta
    if eta is not None:  # it is the training's word, of the end of its last epoch
        eta = max(0.0, eta - _age(folder / "learning.jsonl", now)) if math.isfinite(eta) else None
    return _named(settings, sha, entry) | {
        "author": entry.landing.author if entry.landing else "",
        "run": entry.run,
        "seed": entry.seed,
        "attempt": entry.attempts,
        "since": entry.time,
        "cell": progress.cell,
        "cells": progress.cells,
        "epoch": progress.epoch,
        "epochs": progress.epochs,
        "eta_seconds": None if eta is None else round(eta),
        "log": _log_of_run(settings, entry.run),
        "is_cut_off": is_cut_off,
    }


def _age(path: Path, now: datetime) -> float:
    """Seconds since ``path``, which says how long it will still take, was written to."""
    try:
        return max(0.0, now.timestamp() - path.stat().st_mtime)
    except FileNotFoundError:  # the run came to its end just now
        return 0.0


def _queued(settings: Settings, sha: str, entry: Entry, now: datetime) -> dict[str, Any]:
    due = queue.due_at(entry, settings, now)
    return _named(settings, sha, entry) | {
        "state": str(entry.state),
        "why": entry.why,
        "failures": entry.failures,
        "seeds": entry.missing(settings.seeds),
        "due": due.isoformat(timespec="seconds") if due else None,
    }


def _last_failures(entries: dict[str, Entry]) -> list[tuple[str, Entry]]:
    failed = [
        (sha, entry)
        for sha, entry in entries.items()
        if entry.failures and not entry.trained and entry.state is not State.SKIPPED
    ]
    return sorted(failed, key=lambda each: each[1].failed_run, reverse=True)[:_FAILED]  # whose names begin with a time


def _failed(settings: Settings, sha: str, entry: Entry) -> dict[str, Any]:
    """The landing's last failure, which its entry tells also while it is tried again."""
    from deepspeech_wer.results import archive

    try:
        time = archive.keep(run_folder(settings, entry.failed_run)).finished
    except TrackerError:  # it was removed by hand
        time = entry.time
    return _named(settings, sha, entry) | {
        "time": time,
        "why": entry.failed_why,
        "failures": entry.failures,
        "is_given_up": not entry.missing(settings.seeds),
        "log": _log_of_run(settings, entry.failed_run),
    }


def _published(settings: Settings, entries: dict[str, Entry]) -> dict[str, Any] | None:
    published = [each for each in entries.items() if each[1].state is State.PUBLISHED]
    if not published:
        return None
    sha, entry = max(published, key=lambda each: each[1].time)
    return _named(settings, sha, entry) | {"time": entry.time, "test_wer": _wer(settings, entry)}


def _wer(settings: Settings, entry: Entry) -> float | None:
    from deepspeech_wer.results import archive, landed

    try:
        records = [archive.keep(run_folder(settings, run)) for run in entry.trained.values()]
    except TrackerError:  # it was removed by hand
        return None
    wers = [record.hyper["results"]["test_wer"] for record in records if record.hyper]
    measured = landed.measure(wers)
    return measured.mean if measured else None


# For a terminal ---------------------------------------------------------------------------------------------------


def _lines(o: dict[str, Any]) -> list[str]:
    """``o``, the object of :func:`look`, as lines."""
    rows: list[tuple[str, list[str]]] = [
        ("tracked", [_tracked_line(o)]),
        ("lock", [o["lock"] or o["lock_trouble"] or "free: no run is on"]),
        ("last_sha1", [o["last_sha1"][:7] if o["last_sha1"] else "none yet: the first run trains only the head"]),
        ("head", [_head_line(o)]),
        ("training", _current_lines(o["current"])),
        ("waiting", _queue_lines(o["queue"], _told(o))),
        ("trouble", _trouble_lines(o["trouble"])),
        ("failed", [line for each in o["failed"] for line in _failed_lines(each)]),
        ("unpublished", _unpublished_lines(o)),
        ("published", [_published_line(o["published"]), _gone_back_line(o["gone_back"])]),
        ("log", [o["log"] or ""]),
        ("next tick", [_next_line(o)]),
    ]
    return [
        f"{label if number == 0 else '':<13}{printable(line)}"
        for label, lines in rows
        for number, line in enumerate(line for line in lines if line)
    ]


def _tracked_line(o: dict[str, Any]) -> str:
    if o["repository"] is None:
        return "no repository is named: set ds_repository"
    return f"{o['repository']}, {'its default branch' if o['ref'] == 'HEAD' else o['ref']}"


def _told(o: dict[str, Any]) -> set[str]:
    """The reasons that have lines of their own, and are not told again with what waits for them."""
    return {each["why"] for each in o["failed"]} | ({o["trouble"]["message"]} if o["trouble"] else set())


def _head_line(o: dict[str, Any]) -> str:
    if not o["head"]:
        return "not fetched yet"
    done = ": nothing is left to do" if o["is_settled"] and o["head"] == o["last_sha1"] else ""
    return f"{o['head'][:7]}, when it was last fetched{done}"


def _trouble_lines(trouble: dict[str, str] | None) -> list[str]:
    return [f"since {_when(trouble['time'])}: {trouble['message']}", trouble["hint"]] if trouble else []


def _current_lines(current: dict[str, Any] | None) -> list[str]:
    if current is None:
        return ["nothing"]
    parts = [f"since {_when(current['since'])}"]
    if current["seed"]:
        parts.append(f"seed {current['seed'] + 1}")
    if current["attempt"] > 1:
        parts.append(f"run {current['attempt']} of this landing")
    parts += [f"{what} {current[what]} of {current[f'{what}s']}" for what in ("cell", "epoch") if current[f"{what}s"]]
    if current["eta_seconds"] is not None:
        parts.append(f"about {duration(current['eta_seconds'])} left")
    if current["is_cut_off"]:
        parts = ["it was cut off; the next tick sweeps what is left of it and goes on"]
    return [_name(current), ", ".join(parts), f"log: {current['log']}" if current["log"] else ""]


def _queue_lines(waiting: list[dict[str, Any]], told: set[str]) -> list[str]:
    lines = []
    for each in waiting[:_LISTED]:
        seeds = f", {len(each['seeds'])} times" if len(each["seeds"]) > 1 else ""
        why = "" if each["why"] in told else each["why"]
        lines.append(f"{_name(each)}: {each['state']}{seeds}" + (f", {why}" if why else ""))
        if each["due"]:
            lines.append(f"        tried again after {_when(each['due'])}")
    return (lines or ["nothing"]) + _more(waiting)


def _failed_lines(failed: dict[str, Any]) -> list[str]:
    times = "once" if failed["failures"] == 1 else f"{failed['failures']} times"
    end = ", and is passed" if failed["is_given_up"] else ""
    return [
        f"{_name(failed)}, {_when(failed['time'])}",
        f"        {times}{end}: {failed['why']}",
        f"        log: {failed['log']}" if failed["log"] else "",
    ]


def _unpublished_lines(o: dict[str, Any]) -> list[str]:
    trouble = o["publish_trouble"]
    why = [f"tried at {_when(trouble['time'])}: {trouble['message']}", trouble["hint"]] if trouble else []
    return [_name(each) for each in o["unpublished"][:_LISTED]] + _more(o["unpublished"]) + why


def _gone_back_line(gone_back: dict[str, Any] | None) -> str:
    if gone_back is None:
        return ""
    return (
        f"readers see release {gone_back['release']}, of {_when(gone_back['published'])}, since it was gone back to "
        f"{_when(gone_back['time'])}; the next publish makes a new one"
    )


def _published_line(published: dict[str, Any] | None) -> str:
    if published is None:
        return "nothing yet"
    wer = "failed" if published["test_wer"] is None else f"test WER {published['test_wer']:.2%}"
    return f"{_name(published)}, {_when(published['time'])}: {wer}"


def _next_line(o: dict[str, Any]) -> str:
    if o["next_tick"] is None:
        return "not known: no entry in the crontab, and no timer; `deepspeech-wer install-cron` installs one"
    wait = datetime.fromisoformat(o["next_tick"]) - datetime.fromisoformat(o["time"])
    return f"{_when(o['next_tick'])}, in {duration(wait.total_seconds())}"


def _name(value: dict[str, Any]) -> str:
    return f"{value['sha'][:7]} {value['subject'][:80]}".rstrip()


def _more(values: list[Any]) -> list[str]:
    return [f"and {len(values) - _LISTED} more"] if len(values) > _LISTED else []


def _when(time: str) -> str:
    """An ISO 8601 time for people; as it is where it cannot be read."""
    try:
        return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return time


def duration(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
