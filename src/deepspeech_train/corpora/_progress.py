"""Progress of a long step: a bar on a terminal, a few plain lines in a log or a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

#: In a log, one line each time another quarter is done, and when so many seconds have gone by without one.
LOG_LINES = 4
SECONDS = 60.0


class Progress:
    """Where an importer says what it is doing: on stderr, or nowhere if ``enabled`` is false."""

    def __init__(self, name: str, enabled: bool) -> None:
        self._name = name
        self._enabled = enabled

    def say(self, message: str) -> None:
        """One line."""
        if self._enabled:
            tqdm.write(f"{self._name}: {message}", file=sys.stderr)

    @contextmanager
    def steps(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Gives the function to call with the number of ``unit`` done since the last call; 0 in all: unknown."""
        if not self._enabled:
            yield lambda count: None
        elif sys.stderr.isatty():
            scaled = unit == "B"
            with tqdm(
                total=total or None,
                desc=f"{self._name}: {what}",
                unit=unit if scaled else f" {unit}",
                unit_scale=scaled,
            ) as bar:
                yield bar.update
        else:
            yield self._lines(what, total, unit)

    def _lines(self, what: str, total: int, unit: str) -> Callable[[int], None]:
        done = 0
        last = time.monotonic()

        def advance(count: int) -> None:
            nonlocal done, last
            before, done = done, done + count
            quarter = total and done * LOG_LINES // total > before * LOG_LINES // total
            if quarter or time.monotonic() - last > SECONDS:
                last = time.monotonic()
                self.say(f"{what}, {_amount(done, unit)}{f' of {_amount(total, unit)}' if total else ''} {unit}")

        return advance


def _amount(count: int, unit: str) -> str:
    return tqdm.format_sizeof(count) if unit == "B" else str(count)
