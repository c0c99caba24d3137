"""What the runs of each landing come to together: one figure a landing, whatever number of times it was trained.

A landing may be trained with several seeds, tried again after a failure, and trained anew because a person asked.
Its figure is the mean of its newest trained run of each seed. What was measured on another data set than its newest
trained run is of another kind, and does not count; nor does what a newer run of the same seed has replaced. The spread
is the sample standard deviation over the seeds: how far chance alone moves the figure.

Pure functions, no files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from deepspeech_wer.landings import Landing
from deepspeech_wer.results import hyper
from deepspeech_wer.results.archive import RunRecord


@dataclass(frozen=True)
class Measure:
    """Several measurements of one quantity; ``spread`` is their sample standard deviation, None for a single one."""

    mean: float
    spread: float | None
    lowest: float
    highest: float
    count: int


def measure(values: Sequence[float]) -> Measure | None:
    """The mean and the spread of ``values``, which are finite; None where there are none."""
    if not values:
        return None
    count, lowest, highest = len(values), min(values), max(values)
    # Rounding may not take the mean out of what was measured: that of equal values is that value, to the last bit.
    mean = min(max(math.fsum(values) / count, lowest), highest)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1)) if count > 1 else None
    return Measure(mean, spread, lowest, highest, count)


@dataclass(frozen=True)
class Landed:
    """One landing with all of its runs, in the order in which they were made.

    ``landing`` is None for a run without one, which stands for itself. ``runs`` are those that count, by seed.
    """

    landing: Landing | None
    records: tuple[RunRecord, ...]
    runs: tuple[RunRecord, ...]

    @property
    def sha(self) -> str:
        """The commit, or an empty string where an old run names none."""
        return self.records[-1].sha

    @property
    def newest(self) -> RunRecord:
        """The run that says most about it: the newest one that counts, else the newest."""
        counting = {record.run_id for record in self.runs}
        return next((record for record in reversed(self.records) if record.run_id in counting), self.records[-1])

    @cached_property
    def measured(self) -> Measure | None:
        """The test WER over the runs that count, as ratios; None where no run was trained."""
        return measure([record.hyper["results"]["test_wer"] for record in self.runs if record.hyper])

    @property
    def wer(self) -> float | None:
        """The landing's figure: the mean test WER, a ratio."""
        return self.measured.mean if self.measured else None

    @property
    def spread(self) -> float | None:
        """The sample standard deviation of the test WER over the seeds, a ratio; None with fewer than two seeds."""
        return self.measured.spread if self.measured else None

    @property
    def lowest(self) -> float | None:
        """The lowest test WER of a run that counts."""
        return self.measured.lowest if self.measured else None

    @property
    def highest(self) -> float | None:
        """The highest test WER of a run that counts."""
        return self.measured.highest if self.measured else None

    @property
    def failures(self) -> int:
        """How many of its runs came to nothing."""
        return sum(record.hyper is None for record in self.records)

    @property
    def is_failed(self) -> bool:
        """Whether none of its runs gave a figure."""
        return not self.runs

    @cached_property
    def data_set(self) -> str:
        """What its figure was measured on, by name; empty where that was not said, or where there is no figure."""
        return _data_set(self.runs[0]) if self.runs else ""

    def is_comparable_with(self, other: Landed) -> bool:
        """Whether both have figures of the same data set."""
        return bool(self.runs and other.runs) and self.data_set == other.data_set


def figures_of(records: Sequence[RunRecord]) -> list[Landed]:
    """The landings that ``records`` are of, in the order of their first runs: commit order, as the archive gives it."""
    runs_of: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        key = ("landing", record.landing.sha) if record.landing else ("run", record.run_id)
        runs_of.setdefault(key, []).append(record)
    return [Landed(runs[-1].landing, tuple(runs), _counting(runs)) for runs in runs_of.values()]


def _counting(records: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    trained = [record for record in records if record.hyper is not None]
    newest = {record.seed: record for record in trained if _data_set(record) == _data_set(trained[-1])}
    return tuple(newest[seed] for seed in sorted(newest))


def _data_set(record: RunRecord) -> str:
    return hyper.data_set(record.hyper) if record.hyper else ""
