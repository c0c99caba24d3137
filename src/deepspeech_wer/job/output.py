"""What a job prints, on its way into the log.

A line at a time, as it comes. Progress bars print the same line again and again, with a carriage return between:
of those the log keeps the last state, and one state now and then while it goes on. Colours and cursor movements are
taken out, since a log is read in a browser and in ``less``.
"""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from datetime import UTC, datetime
from typing import BinaryIO

from deepspeech_wer.errors import LandingFailed

#: Seconds between two states of one progress bar in the log.
PROGRESS_SECONDS = 30.0

#: Characters after which a line that does not end is written all the same.
LONGEST_LINE = 16384

#: Lines that are remembered in order to tell how a failed job ended.
_REMEMBERED = 20

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def utc_now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(text: str) -> str:
    """``text`` without terminal escapes and control characters; line ends and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def one_line(text: str, limit: int = 300) -> str:
    """``text`` as one line of at most ``limit`` characters."""
    line = " ".join(plain(text.replace("\r", "\n")).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def overwritten(text: str) -> str:
    """``text`` without what a terminal would have overwritten of it, for more text of the same stream to follow."""
    if "\r" not in text:
        return text
    lines = []
    for line in text.split("\n"):
        state = line.rstrip("\r")
        lines.append(_last_state(state) + "\r" * (state != line))
    return "\n".join(lines)


def printed_too_much(limit: int) -> LandingFailed:
    """The failure of a job that printed more than ``limit`` bytes."""
    return LandingFailed(
        f"the job printed more than {limit / 1e6:g} MB, the limit for a log",
        "print less, or raise ds_log_limit (megabytes; 0 means no limit)",
    )


class Output:
    """The log of one job, on a binary file: standard output unless said otherwise.

    ``limit`` is the number of bytes that the job may print, 0 meaning as many as it likes.
    """

    def __init__(self, file: BinaryIO | None = None, limit: int = 0) -> None:
        self._file = file if file is not None else sys.stdout.buffer
        self._limit = limit
        self._written = 0
        self._last: deque[str] = deque(maxlen=_REMEMBERED)

    def write(self, line: str) -> None:
        """Write one line that the job printed, at once.

        Raises OSError where the disk is full, and LandingFailed with the line that passes the limit, of which the rest
        is cut off. That is raised once: the job is then ended, and what it prints meanwhile is dropped.
        """
        if self._limit and self._written > self._limit:
            return
        if line.strip():
            self._last.append(line)
        data = line.encode(errors="backslashreplace") + b"\n"
        room = self._limit - self._written
        self._written += len(data)
        if self._limit and self._written > self._limit:
            self._put(data[:room] + b"\n")
            raise printed_too_much(self._limit)
        self._put(data)

    def step(self, text: str) -> None:
        """Write one line that the tracker has to say, with the time; the limit does not count it."""
        self._put(f"{utc_now()} {text}\n".encode(errors="backslashreplace"))

    def forget(self) -> None:
        """Let :meth:`last` know only of what is printed from now on."""
        self._last.clear()

    def last(self, count: int) -> list[str]:
        """The last lines that the job printed and that are not blank, at most ``count`` and oldest first."""
        return list(self._last)[-count:]

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()


class Stream:
    """One stream of text, in pieces cut anywhere, into the lines of an :class:`Output`."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._rest = ""
        self._shown_at = time.monotonic()

    def feed(self, text: str) -> None:
        """Take the next piece."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._output.write(plain(_last_state(line)))
        if "\r" in self._rest.rstrip("\r"):
            self._rest = _last_state(self._rest) + "\r" * self._rest.endswith("\r")
            if time.monotonic() - self._shown_at >= PROGRESS_SECONDS:
                self._output.write(plain(self._rest))
                self._shown_at = time.monotonic()
        if len(self._rest) > LONGEST_LINE:
            self.close()

    def close(self) -> None:
        """Write what has come without a line end."""
        rest, self._rest = plain(_last_state(self._rest)), ""
        if rest:
            self._output.write(rest)


def _last_state(line: str) -> str:
    """What a terminal would show of a line in which carriage returns go back to its beginning."""
    return line.rstrip("\r").rpartition("\r")[2]
