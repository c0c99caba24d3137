"""The journal: what became of every landing, and ``last_sha1``, which says how far the tracker has come.

``<data root>/journal.jsonl`` gets a line at each step of a landing and is never rewritten::

    {"time": "2026-11-21T02:30:09+00:00", "sha": "...", "state": "trained", "run": "20261121-023009-1a2b3c4-5d6e7f"}

A landing goes one way::

    found -> running -> trained -> published
                     -> failed  -> published     (a failed landing is shown on the page, too)

A run that was interrupted leaves ``running`` as the last word, and the next tick trains that landing again. What was
``trained`` and is not ``published`` is published by the next tick, and not trained again.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from deepspeech_wer.files import write_atomically

_SHA = re.compile(r"[0-9a-f]{40}")


class State(StrEnum):
    """Where a landing stands."""

    FOUND = "found"
    RUNNING = "running"
    TRAINED = "trained"
    FAILED = "failed"
    PUBLISHED = "published"


@dataclass(frozen=True)
class Entry:
    """The last word on one landing; ``run`` is the run that it speaks of, where it speaks of one."""

    state: State
    run: str


@dataclass(frozen=True)
class Journal:
    """The journal in the file ``path`` and the pointer in the file ``pointer``."""

    path: Path
    pointer: Path

    def note(self, sha: str, state: State, run: str = "", why: str = "") -> None:
        """Append one line and flush it to the disk."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "sha": sha, "state": str(state)}
        line |= {name: value for name, value in (("run", run), ("why", why)) if value}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"  # a line that a power cut left half written
            os.write(descriptor, (("\n" if torn else "") + json.dumps(line) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def entries(self) -> dict[str, Entry]:
        """The last word on every landing, in the order in which they were first noted; torn lines are passed over."""
        entries: dict[str, Entry] = {}
        try:
            lines = self.path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return entries
        for text in lines:
            try:
                line = json.loads(text)
                entries[line["sha"]] = Entry(State(line["state"]), str(line.get("run", "")))
            except (ValueError, TypeError, KeyError):
                continue
        return entries

    def unpublished(self) -> list[str]:
        """The landings that are trained or failed and that the page does not show yet."""
        return [sha for sha, entry in self.entries().items() if entry.state in (State.TRAINED, State.FAILED)]

    def last_sha1(self) -> str | None:
        """The last landing that is settled, or None on a first run or where the file holds no SHA."""
        try:
            text = self.pointer.read_text(errors="replace").strip().lower()
        except FileNotFoundError:
            return None
        return text if _SHA.fullmatch(text) else None

    def advance(self, sha: str) -> None:
        """Move ``last_sha1``: everything up to ``sha`` is settled."""
        self.pointer.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.pointer, sha + "\n")
