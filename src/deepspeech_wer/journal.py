"""The journal: what became of every landing, and ``last_sha1``, which says how far the tracker has come.

``<data root>/journal.jsonl`` gets a line at each step of a landing and is never rewritten::

    {"time": "2026-11-21T02:30:09+00:00", "sha": "...", "state": "trained", "run": "20261121-023009-1a2b3c4-5d6e7f"}

A landing goes one way::

    found -> running -> trained -> published
                     -> failed  -> running ...           tried again, some times, after a while
                                -> passed  -> published  a failed landing is shown on the page, too
                     -> put off -> running ...           the machine was at fault, or we were told to stop
                     -> cut off -> running ...           we were killed: the next tick finds it so
          -> skipped                                     a limit, a mark in its message, or a person says so

``asked`` means that a person wants it trained, whatever became of it before; ``shown``, that the page knows of its
runs so far, while more are to come or it is skipped. What was ``trained`` and is not ``published`` is published by the
next tick, and not trained again.

Two more lines speak of the branch: ``advanced`` moves ``last_sha1`` to its commit; ``settled`` says that the branch was
at its commit and that nothing was left to do. Where that is the last line and the branch has not moved, a tick has
nothing to do, and knows it from the end of the file alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from deepspeech_wer import settled
from deepspeech_wer.files import write_atomically
from deepspeech_wer.landings import Landing

_SHA = re.compile(r"[0-9a-f]{40}")


class State(StrEnum):
    """Where a landing stands, and what the other lines say."""

    FOUND = "found"
    ASKED = "asked"
    RUNNING = "running"
    CUT_OFF = "cut off"
    PUT_OFF = "put off"
    TRAINED = "trained"
    FAILED = "failed"
    PASSED = "passed"
    SKIPPED = "skipped"
    SHOWN = "shown"
    PUBLISHED = "published"
    ADVANCED = "advanced"
    SETTLED = settled.SETTLED


#: Lines about the branch, not about a landing.
_OF_THE_BRANCH = (State.ADVANCED, State.SETTLED)


@dataclass(frozen=True)
class Entry:
    """What became of one landing; ``time``, ``run``, ``seed`` and ``why`` are those of the last word that had one.

    ``landing`` is None where an old journal knows the SHA only. ``trained`` gives the newest run of each seed;
    ``wanted`` are the seeds that a person asked for and that are not trained yet, None where the settings say how many
    there are. ``failures`` and ``cut_off`` count runs since it was found or asked for, ``attempts`` all of them.
    ``is_shown`` says that the page knows of all of them; ``failed_run`` and ``failed_why`` are of its last failure.
    """

    state: State
    time: str = ""
    landing: Landing | None = None
    run: str = ""
    seed: int = 0
    why: str = ""
    trained: Mapping[int, str] = field(default_factory=dict)
    wanted: tuple[int, ...] | None = None
    failures: int = 0
    cut_off: int = 0
    attempts: int = 0
    is_shown: bool = True
    failed_run: str = ""
    failed_why: str = ""

    def missing(self, seeds: int) -> list[int]:
        """The seeds that are still to be trained, where the settings want ``seeds`` of them."""
        if self.state in (State.PASSED, State.SKIPPED, State.PUBLISHED):
            return []
        if self.wanted is not None:
            return list(self.wanted)
        return [seed for seed in range(seeds) if seed not in self.trained]

    def is_for_the_page(self, seeds: int) -> bool:
        """Whether it came to something that was not published."""
        is_over = self.state is State.PASSED or (bool(self.trained) and not self.missing(seeds))
        return not self.is_shown or (is_over and self.state not in (State.PUBLISHED, State.SKIPPED))

    def after(self, line: Mapping[str, Any]) -> Entry:
        """What ``line`` makes of this. Raises ValueError, TypeError or KeyError for what is no line of a journal."""
        state, run, seed = State(line["state"]), str(line.get("run", "")), int(line.get("seed", self.seed))
        landing = Landing.from_json(line["landing"]) if "landing" in line else self.landing
        why = str(line.get("why", "" if state in (State.FOUND, State.RUNNING) else self.why))
        new = replace(
            self, state=state, time=str(line["time"]), landing=landing, run=run or self.run, why=why, seed=seed
        )
        match state:
            case State.ASKED:
                wanted = tuple(int(each) for each in line["seeds"]) if "seeds" in line else None
                return replace(new, wanted=wanted, failures=0, cut_off=0)
            case State.RUNNING:
                return replace(new, attempts=self.attempts + 1)
            case State.CUT_OFF:
                return replace(new, cut_off=self.cut_off + 1)
            case State.TRAINED:
                wanted = None if self.wanted is None else tuple(each for each in self.wanted if each != seed)
                return replace(new, trained={**self.trained, seed: run}, wanted=wanted, is_shown=False)
            case State.FAILED:
                failed = replace(new, failed_run=run, failed_why=why)
                return replace(failed, failures=self.failures + 1, cut_off=0, is_shown=False)
            case State.SHOWN:
                return replace(self, is_shown=True)
            case State.PUBLISHED:
                return replace(new, is_shown=True)
        return new


class Journal:
    """The journal in the file ``path`` and the pointer in the file ``pointer``. It remembers how far it has read."""

    def __init__(self, path: Path, pointer: Path) -> None:
        self.path = path
        self.pointer = pointer
        self._read_to = 0
        self._entries: dict[str, Entry] = {}
        self._advanced: str | None = None

    def note(
        self,
        sha: str,
        state: State,
        run: str = "",
        why: str = "",
        *,
        seed: int | None = None,
        seeds: tuple[int, ...] | None = None,
        landing: Landing | None = None,
    ) -> None:
        """Append one line and flush it to the disk. Raises OSError where the disk does not take it."""
        line: dict[str, Any] = {"time": _now(), "sha": sha, "state": str(state)}
        line |= {name: value for name, value in (("run", run), ("why", why)) if value}
        line |= {} if seed is None else {"seed": seed}
        line |= {} if seeds is None else {"seeds": list(seeds)}
        line |= {} if landing is None else {"landing": landing.to_json()}
        with self._alone() as descriptor:
            _append(descriptor, [line])

    def note_found(self, landings: Mapping[Landing, str]) -> None:
        """Note landings as found, in their order and all at once; those with a reason as skipped for it."""
        if not landings:
            return
        lines = [
            {"time": _now(), "sha": landing.sha, "state": str(State.SKIPPED if why else State.FOUND)}
            | ({"why": why} if why else {})
            | {"landing": landing.to_json()}
            for landing, why in landings.items()
        ]
        with self._alone() as descriptor:
            _append(descriptor, lines)

    def entries(self) -> dict[str, Entry]:
        """Every landing, in the order in which they were first noted; torn and foreign lines are passed over."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._read_to:  # it was replaced by a shorter one
                    self._read_to, self._entries, self._advanced = 0, {}, None
                file.seek(self._read_to)
                data = file.read()
        except FileNotFoundError:
            return {}
        complete = data[: data.rfind(b"\n") + 1]
        for text in complete.splitlines():
            try:
                self._take(json.loads(text))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
        self._read_to += len(complete)
        return dict(self._entries)

    def entry(self, sha: str) -> Entry | None:
        """What became of one landing; None where it was never noted."""
        return self.entries().get(sha)

    def pending(self, seeds: int) -> list[str]:
        """The landings with something left to be trained, in the order in which they were first noted."""
        return [sha for sha, entry in self.entries().items() if entry.missing(seeds)]

    def unpublished(self, seeds: int) -> list[str]:
        """The landings that came to something that the page does not show yet."""
        return [sha for sha, entry in self.entries().items() if entry.is_for_the_page(seeds)]

    def note_published(self, seeds: int) -> None:
        """Note that the page shows everything that there is so far."""
        for sha in self.unpublished(seeds):
            entry = self._entries[sha]
            is_open = entry.missing(seeds) or entry.state is State.SKIPPED
            self.note(sha, State.SHOWN if is_open else State.PUBLISHED)

    def last_sha1(self) -> str | None:
        """The last landing that is settled: what the pointer says, else what was last noted; None on a first run."""
        text = self._pointer_text()
        if text and _SHA.fullmatch(text):
            return text
        self.entries()
        return self._advanced

    def remark(self) -> str:
        """A sentence for the user where the pointer does not say what it should; empty otherwise."""
        text, sha = self._pointer_text(), self.last_sha1()
        if text == sha or (text is None and sha is None):
            return ""
        what = f"{self.pointer} is missing" if text is None else f"{self.pointer} holds no SHA of a commit"
        return (
            f"{what}: going on from {sha[:7]}, which is the journal's" if sha else f"{what}, nor is one in the journal"
        )

    def _pointer_text(self) -> str | None:
        try:
            return self.pointer.read_text(errors="replace").strip().lower()
        except FileNotFoundError:
            return None

    def advance(self, sha: str) -> None:
        """Move ``last_sha1``: everything up to ``sha`` is settled."""
        self.entries()
        if self._advanced != sha:
            self.note(sha, State.ADVANCED)
        try:
            if self.pointer.read_text() == sha + "\n":
                return
        except (FileNotFoundError, ValueError):
            pass
        self.pointer.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.pointer, sha + "\n")

    def settle(self, sha: str, seeds: int) -> None:
        """Note that nothing is left to do with the branch at ``sha``; nothing is noted where something is."""
        with self._alone() as descriptor:
            if not self.pending(seeds) and not self.unpublished(seeds):
                _append(descriptor, [{"time": _now(), "sha": sha, "state": str(State.SETTLED)}])

    def settled_at(self) -> str | None:
        """The commit at which nothing was left to do, where nothing was noted since; see :mod:`settled`."""
        return settled.settled_at(self.path, self.pointer)

    def _take(self, line: Mapping[str, Any]) -> None:
        sha, state = line["sha"], State(line["state"])
        if not isinstance(sha, str) or not _SHA.fullmatch(sha):
            raise ValueError(sha)
        if state in _OF_THE_BRANCH:
            self._advanced = sha
        else:
            self._entries[sha] = self._entries.get(sha, Entry(State.FOUND)).after(line)

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """The open file, with nobody else writing to it: a verb may note something while a tick is on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _append(descriptor: int, lines: list[dict[str, Any]]) -> None:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"  # a line that a power cut left half written
    data = (("\n" if torn else "") + "".join(json.dumps(line) + "\n" for line in lines)).encode()
    while data:  # a disk that is nearly full takes a part first, and says so for the rest
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
