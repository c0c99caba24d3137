"""What a run tells while it works: a line a step, and a bar on a terminal.

A line is ``2026-11-21T02:30:09Z text``, to standard error and to ``<data root>/logs/deepspeech-wer.log``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepspeech_wer.engines import Progress

#: Seconds between two lines on the epochs of a job, where there is no bar: a log of a month should stay readable.
EPOCH_LINES = 20.0


class Bar:
    """A progress bar on a terminal, from the time that there is something to count; elsewhere nothing."""

    def __init__(self, description: str, unit: str, is_shown: bool, scale: bool = False) -> None:
        self._options = {"desc": description, "unit": unit, "unit_scale": scale}
        self._is_shown = is_shown
        self._bar: Any = None

    def show(self, done: int, total: int, note: str = "") -> None:
        """Set the bar to ``done`` of ``total``."""
        if not self._is_shown or total == 0:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(**self._options, leave=False, file=sys.stderr)
        self._bar.total = total
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.n = done
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()


class Log:
    """Lines to standard error and, where ``path`` is given, to a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.is_terminal = sys.stderr.isatty()

    def step(self, text: str) -> None:
        """Tell one step. What a terminal would obey, such as an escape in a commit's subject, is shown as its code."""
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
        line = f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')} {shown}"
        if self.is_terminal and "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(line + "\n")

    def bar(self, description: str, unit: str, scale: bool = False) -> Bar:
        """A bar that is shown on a terminal only."""
        return Bar(description, unit, self.is_terminal, scale)

    @contextmanager
    def watching(self, name: str) -> Iterator[Callable[[Progress], None]]:
        """Show how the job called ``name`` goes on: bars for cells and epochs, or a line for each, not too often."""
        cells, epochs = self.bar(f"{name} cells", "cell"), self.bar(f"{name} epochs", "epoch")
        told, told_at = (0, 0), 0.0

        def watch(progress: Progress) -> None:
            nonlocal told, told_at
            cells.show(progress.cell, progress.cells)
            left = "" if progress.eta is None else f"about {progress.eta:.0f} s left"
            epochs.show(progress.epoch, progress.epochs, left)
            now = (progress.cell, progress.epoch)
            is_due = progress.cell != told[0] or monotonic() - told_at >= EPOCH_LINES
            if self.is_terminal or now == told or not is_due:
                return
            of_cells = f"cell {progress.cell} of {progress.cells}" if progress.cells else ""
            of_epochs = f"epoch {progress.epoch} of {progress.epochs}" if progress.epochs else ""
            self.step(", ".join(part for part in (f"{name}: {of_cells}".rstrip(": "), of_epochs, left) if part))
            told, told_at = now, monotonic()

        try:
            yield watch
        finally:
            cells.close()
            epochs.close()
