"""What a run tells while it works: a line a step, and a bar on a terminal.

A line is ``2026-11-21T02:30:09Z text``, to standard error and to ``<data root>/logs/deepspeech-wer.log``, which is
rotated by size: ``deepspeech-wer.log.1`` is the one before it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import gmtime, monotonic, strftime
from typing import TYPE_CHECKING, Any

from deepspeech_wer.terminal import printable, tell

if TYPE_CHECKING:
    from deepspeech_wer.engines import Progress

#: Seconds between two lines on the epochs of a job, where there is no bar: a log of a month should stay readable.
EPOCH_LINES = 20.0

#: Bytes after which the file of the log is set aside and a new one is begun.
FILE_SIZE = 5_000_000


def _now() -> str:
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())


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

    def __init__(self, path: Path | None = None, files: int = 5) -> None:
        self.path = path
        self._files = files
        self.is_terminal = sys.stderr.isatty()

    def step(self, text: str) -> None:
        """Tell one step. What a terminal would obey, such as an escape in a commit's subject, is shown as its code."""
        line = f"{_now()} {printable(text)}"
        if self.is_terminal and "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
        else:
            tell(line)
        self._keep(line)

    def record(self, text: str) -> None:
        """Write to the file alone what standard error gets otherwise; it may have several lines."""
        for line in text.splitlines():
            self._keep(f"{_now()} {printable(line)}")

    def _keep(self, line: str) -> None:
        if self.path is not None:
            try:
                self._write(self.path, line)
            except OSError as error:  # a full disk is no reason to stop here; what needs it says so itself
                tell(f"(that line is not in {self.path}: {error.strerror})")

    def _write(self, path: Path, line: str) -> None:
        """Append to the file; one that is full is renamed to ``.1``, ``.1`` to ``.2``, and the oldest is removed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size >= FILE_SIZE:
            for number in range(self._files - 1, 0, -1):
                older = path.with_name(f"{path.name}.{number}")
                newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
                if newer.exists():
                    newer.replace(older)
            if self._files == 1:
                path.unlink()
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
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
