"""What was told: notes that outlive a tick, so that nobody hears of the same thing twice."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from deepspeech_wer.files import write_atomically
from deepspeech_wer.log import Log

#: Times that a notification is tried that no channel takes.
MOST_TRIES = 5

#: Causes that are remembered.
MOST_CAUSES = 1000


class Memory:
    """What was told, in ``<folder>/notified.json``, and what waits, in ``<folder>/unsent.json``. Methods raise OSError.

    ``told`` holds when a cause was told, ``ticks`` how often in a row a tick failed, ``statuses`` the last status of a
    commit. On a disk that is full an empty file, ``.notified-<cause>``, takes the note's place: that needs no room, and
    a full disk is just what has to be told, once.
    """

    def __init__(self, folder: Path, log: Log) -> None:
        self.path = folder / "notified.json"
        self._waiting = folder / "unsent.json"
        self._log = log

    def note(self, cause: str) -> bool:
        """Note that ``cause`` is told now; False if it was before, and is not waiting."""
        with self._alone():
            tables = self._read()
            if cause in tables["told"]:
                return cause in self._read_waiting()
            tables["told"][cause] = now()
            try:
                self._write(tables)
            except OSError:
                self._marker(cause).touch(exist_ok=False)
            return True

    def note_sent(self, cause: str) -> None:
        """Note that ``cause`` does not wait any more."""
        with self._alone():
            waiting = self._read_waiting()
            if waiting.pop(cause, None):
                self._write_waiting(waiting)

    def keep(self, cause: str, message: dict[str, Any]) -> None:
        """Keep ``message``, which no channel took, unless that was the last try."""
        with self._alone():
            waiting = self._read_waiting()
            tries = 1 + waiting.pop(cause, {"tries": 0})["tries"]
            if tries < MOST_TRIES:
                waiting[cause] = {"tries": tries, "message": message}
            self._marker(cause).unlink(missing_ok=True)  # what cannot be kept, the disk being full, is told anew
            self._write_waiting(waiting)

    def unsent(self) -> dict[str, dict[str, Any]]:
        """The messages that wait, by their cause, oldest first."""
        return {cause: entry["message"] for cause, entry in self._read_waiting().items()}

    def forget(self, prefix: str) -> bool:
        """Forget all about the causes with ``prefix``; True if one was told. Where there is none, nothing is written.

        What is over before any channel took it is not told any more.
        """
        tables = self._read()
        if not any(cause.startswith(prefix) for name in ("told", "ticks") for cause in tables[name]):
            return False
        with self._alone():
            tables, waiting = self._read(), self._read_waiting()
            told = [cause for cause in tables["told"] if cause.startswith(prefix)]
            for table in (tables["told"], tables["ticks"]):
                for cause in [cause for cause in table if cause.startswith(prefix)]:
                    del table[cause]
            self._write(tables)
            was_told = any(cause not in waiting for cause in told)
            left = {cause: entry for cause, entry in waiting.items() if not cause.startswith(prefix)}
            if left != waiting:
                self._write_waiting(left)
            return was_told

    def count(self, cause: str) -> int:
        """Count one more tick that failed in a row; gives how many there are."""
        with self._alone():
            tables = self._read()
            tables["ticks"][cause] = tables["ticks"].get(cause, 0) + 1
            self._write(tables)
            return int(tables["ticks"][cause])

    def status(self, sha: str) -> list[str] | None:
        """The state and the description that were last set on a commit."""
        status: list[str] | None = self._read()["statuses"].get(sha)
        return status

    def note_status(self, sha: str, state: str, description: str) -> None:
        """Note that a status was set."""
        with self._alone():
            tables = self._read()
            tables["statuses"].pop(sha, None)
            tables["statuses"][sha] = [state, description]
            self._write(tables)

    def _read(self) -> dict[str, dict[str, Any]]:
        content = self._load(self.path, {"told": str, "ticks": int, "statuses": list})
        for marker in self.path.parent.glob(".notified-*"):
            content["told"].setdefault(unquote(marker.name.removeprefix(".notified-")), now())
        return content

    def _write(self, tables: dict[str, dict[str, Any]]) -> None:
        newest = {name: dict(list(table.items())[-MOST_CAUSES:]) for name, table in tables.items()}
        write_atomically(self.path, json.dumps(newest, indent=1) + "\n")
        for marker in self.path.parent.glob(".notified-*"):
            marker.unlink(missing_ok=True)

    def _read_waiting(self) -> dict[str, dict[str, Any]]:
        return self._load(self._waiting, {"unsent": dict})["unsent"]

    def _write_waiting(self, waiting: dict[str, dict[str, Any]]) -> None:
        if waiting:
            newest = dict(list(waiting.items())[-MOST_CAUSES:])
            write_atomically(self._waiting, json.dumps({"unsent": newest}, indent=1) + "\n")
        else:
            self._waiting.unlink(missing_ok=True)

    def _load(self, path: Path, kinds: dict[str, type]) -> dict[str, dict[str, Any]]:
        """The tables in ``path``, with values of these ``kinds``; empty ones where it is not there, or damaged."""
        try:
            content = json.loads(path.read_bytes())
            tables = {name: dict(content.get(name, {})) for name in kinds}
            if all(isinstance(value, kinds[name]) for name, table in tables.items() for value in table.values()):
                return tables
        except FileNotFoundError:
            return {name: {} for name in kinds}
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass  # told below, with what is JSON and still no table of ours
        self._log.step(f"{path} is damaged and is begun anew: what was notified may be notified once more")
        path.unlink()
        return {name: {} for name in kinds}

    def _marker(self, cause: str) -> Path:
        return self.path.with_name(f".notified-{quote(cause, safe='')}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the files meanwhile: a verb may publish while a tick is on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_name(".notified.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def now() -> str:
    """The time, as it is written in files."""
    return datetime.now(UTC).isoformat(timespec="seconds")
