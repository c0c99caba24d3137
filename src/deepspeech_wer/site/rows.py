"""What the page says: a row a landing, in commit order, and the headline above them.

Rows are made once, here, for the table (HTML) and for the chart (``js/landings.js``), so that the two agree.
Their texts are short and free of control characters, but not escaped. Pure functions, no files.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from deepspeech_wer.results import hyper
from deepspeech_wer.results.archive import RunRecord
from deepspeech_wer.results.landed import Landed, Measure, figures_of
from deepspeech_wer.site import text
from deepspeech_wer.site.changes import Change, changes
from deepspeech_wer.site.figures import NAMES, Figures, figures, together

_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}")

#: More changed parameters than this say nothing any more that a person would read.
_MOST_CHANGES = 40


@dataclass(frozen=True)
class Run:
    """One run of a landing.

    ``counts`` says that the landing's figure is made of it, among others: a failed run has none, and one that a newer
    run of its seed has replaced, or that was measured on another data set, no longer counts. ``log`` is a link or None.

    What to do about a failure is not here: it is told to the person at the machine, in the tracker's log, and may
    name files that are not published.
    """

    run: str
    anchor: str
    seed: int
    counts: bool
    state: str
    why: str
    started: str
    finished: str
    log: str | None
    data_set: str
    figures: Figures | None

    def to_json(self) -> dict[str, Any]:
        """The run's entry in ``js/landings.js``; its figures and parameters are in ``js/hyper.js``."""
        names = "run seed counts state why started finished log"
        return {name: getattr(self, name) for name in names.split()}


@dataclass(frozen=True)
class Row:
    """One landing, or one run without a landing, with all its runs in the order in which they were made.

    ``slot`` is its place on the chart's axis. ``newest`` is the run that says most about it: the newest that counts,
    else the newest. ``figures`` are the means over the runs that count, None if all failed; ``spreads`` has the rates
    that several runs gave, by their names in Figures. ``delta`` is the test WER minus that of the last landing before
    it that has a figure, a ratio, where both were measured on the same data set. ``url`` is a link or None.
    ``changes`` are the first of the ``changed`` parameters that differ.
    """

    anchor: str
    slot: int
    sha: str
    short: str
    parents: tuple[str, ...]
    position: int
    subject: str
    author: str
    date: str
    url: str | None
    legacy: bool
    runs: tuple[Run, ...]
    newest: Run
    data_set: str
    figures: Figures | None
    spreads: Mapping[str, Measure]
    delta: float | None
    changes: tuple[Change, ...]
    changed: int

    @property
    def failed(self) -> bool:
        """Whether none of its runs gave a figure."""
        return self.figures is None

    @property
    def seeds(self) -> int:
        """How many runs its figures are made of."""
        return sum(run.counts for run in self.runs)

    @property
    def has_seeds(self) -> bool:
        """Whether it was trained with a seed that is not the usual one."""
        return any(run.seed for run in self.runs)

    @property
    def spread(self) -> float | None:
        """The sample standard deviation of the test WER over the seeds, a ratio; None with one seed."""
        return self.spreads["test"].spread if "test" in self.spreads else None

    @property
    def tries(self) -> str:
        """How often it was trained, and in vain, in a few words; empty where one run says it all."""
        failures = sum(run.figures is None for run in self.runs)
        told = [f"{self.seeds} seeds"] if self.seeds > 1 else []
        if failures and len(self.runs) > 1:
            told.append(f"tried {len(self.runs)} times")
        elif len(self.runs) > max(1, self.seeds):
            told.append(f"{len(self.runs)} runs")
        return ", ".join(told)

    @property
    def when(self) -> text.Moment:
        """When the commit was made; for a run without a landing, when it began."""
        return text.moment(self.date or self.newest.started)

    def to_json(self) -> dict[str, Any]:
        """The landing's entry in ``js/landings.js``.

        ``run`` and what belongs to it is the newest run. ``figures``, ``spreads`` (standard deviation, lowest,
        highest) and ``runs`` are there only where they say more than that run's line in ``js/hyper.js``.
        """
        names = "anchor slot legacy sha short position subject author date url seeds tries changed"
        several = {"runs": [run.to_json() for run in self.runs]} if len(self.runs) > 1 else {}
        spreads = {NAMES[name]: [one.spread, one.lowest, one.highest] for name, one in self.spreads.items()}
        means = {"figures": self.figures.to_json(), "spreads": spreads} if self.figures and self.seeds > 1 else {}
        return (
            {name: getattr(self, name) for name in names.split()}
            | self.newest.to_json()
            | {"parents": list(self.parents), "when": self.when.text}
            | {"changes": [[change.name, change.before, change.after] for change in self.changes]}
            | means
            | several
        )


@dataclass(frozen=True)
class Headline:
    """What a person reads first. ``before`` is the last landing before ``row`` that has a figure.

    ``failed`` is the newest landing if it failed, whatever came before; ``best`` is the lowest test WER on the data
    set of ``row``, and ``best_on`` names that set where the table holds landings on another one, too. All of it is
    None or empty as long as there is nothing to say.
    """

    row: Row | None = None
    before: Row | None = None
    best: Row | None = None
    best_on: str = ""
    failed: Row | None = None

    @property
    def change(self) -> str:
        """The difference from ``before``, in words that ``before`` is to follow; empty where there is none."""
        if self.row is None or self.before is None:
            return ""
        if self.row.delta is None:
            return "not comparable with"
        size = f"{abs(100 * self.row.delta):.1f}"
        if self.row.delta == 0:
            return "the same as"
        if size == "0.0":
            return "within 0.1 points of"
        return f"{size} points {'better' if self.row.delta < 0 else 'worse'} than"

    @property
    def skips(self) -> bool:
        """Whether landings without a figure lie between ``before`` and ``row``."""
        return self.row is not None and self.before is not None and self.row.slot - self.before.slot > 1


def rows(records: Sequence[RunRecord], logs: frozenset[str]) -> list[Row]:
    """A row for each landing that ``records``, which are in commit order, are of; in that order.

    ``logs`` names the runs, by the name of their folder, whose log is in the web root.
    """
    table = figures_of(records)
    anchors = _anchors(table)
    made: list[Row] = []
    before: tuple[Landed, Row] | None = None
    for slot, landed in enumerate(table):
        row = _row(landed, slot=slot, anchors=anchors[slot], logs=logs, before=before)
        made.append(row)
        if not row.failed:
            before = landed, row
    return made


def headline(table: Sequence[Row]) -> Headline:
    """The headline for ``table``, which is in commit order."""
    if not table:
        return Headline()
    failed = table[-1] if table[-1].failed else None
    trained = [row for row in table if row.figures is not None]
    if not trained:
        return Headline(failed=failed)
    row = trained[-1]
    before = trained[-2] if len(trained) > 1 else None
    alike = [other for other in trained if other.data_set == row.data_set]
    best_on = "" if len(alike) == len(trained) else row.data_set or text.UNNAMED
    return Headline(row=row, before=before, best=min(alike, key=_test), best_on=best_on, failed=failed)


def _test(row: Row) -> float:
    return row.figures.test if row.figures else math.inf


def _anchors(table: Sequence[Landed]) -> list[tuple[str, list[str]]]:
    """The ids of each row and of its runs, none of them twice: ``landing-<sha>`` and ``run-<folder>``.

    Where two rows are of one commit, which happens to runs without a landing only, the newest has its name; where a
    name is no plain one, there is a number instead.
    """
    taken: set[str] = set()

    def free(slot: int, *names: str) -> str:
        numbered = (f"run-number-{number}" for number in itertools.count(slot + 1))
        name = next(name for name in itertools.chain(names, numbered) if _ID.fullmatch(name) and name not in taken)
        taken.add(name)
        return name

    made = []
    for slot, landed in reversed(list(enumerate(table))):
        own = [f"landing-{landed.sha}"] if landed.sha else []
        row = free(slot, *own, f"run-{landed.newest.folder.name}")
        runs = [free(slot, f"run-{record.folder.name}") for record in landed.records] if len(landed.records) > 1 else []
        made.append((row, runs or [row]))
    return made[::-1]


def _row(
    landed: Landed,
    *,
    slot: int,
    anchors: tuple[str, list[str]],
    logs: frozenset[str],
    before: tuple[Landed, Row] | None,
) -> Row:
    landing = landed.landing
    counting = {record.run_id for record in landed.runs}
    runs = tuple(
        _run(record, anchor, record.run_id in counting, logs)
        for record, anchor in zip(landed.records, anchors[1], strict=True)
    )
    means, spreads = together([run.figures for run in runs if run.counts and run.figures])
    delta = None
    if before and means and before[1].figures and landed.is_comparable_with(before[0]):
        delta = means.test - before[1].figures.test
    changed = changes(*_parameters(before[0] if before else None, landed))
    newest = landed.newest
    return Row(
        anchor=anchors[0],
        slot=slot,
        sha=text.plain(landed.sha, 40),
        short=text.plain(landed.sha[:7]) or text.plain(newest.started, 40)[:10] or text.plain(newest.run_id, 10),
        parents=tuple(text.plain(parent, 40) for parent in landing.parents) if landing else (),
        position=landing.position if landing else 0,
        subject=text.plain(landing.subject) if landing else "",
        author=text.plain(landing.author, 80) if landing else "",
        date=text.plain(landing.date, 40) if landing else "",
        url=text.link(landing.url) if landing else None,
        legacy=landing is None,
        runs=runs,
        newest=next(run for run in runs if run.run == newest.run_id),
        data_set=text.plain(landed.data_set, 80),
        figures=means,
        spreads=spreads,
        delta=delta,
        changes=tuple(changed[:_MOST_CHANGES]),
        changed=len(changed),
    )


def _run(record: RunRecord, anchor: str, counts: bool, logs: frozenset[str]) -> Run:
    return Run(
        run=record.run_id,
        anchor=anchor,
        seed=record.seed,
        counts=counts,
        state=record.state,
        why=text.plain(record.why, 500),
        started=text.plain(record.started, 40),
        finished=text.plain(record.finished, 40),
        log=f"runs/{quote(record.folder.name)}/log.txt" if record.folder.name in logs else None,
        data_set=text.plain(hyper.data_set(record.hyper), 80) if record.hyper else "",
        figures=figures(record.hyper["results"]) if record.hyper else None,
    )


def _parameters(before: Landed | None, landed: Landed) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The parameters to compare: those of one seed, so that a seed that differs is not taken for a change."""
    if before is None or landed.is_failed:
        return None, None
    now = landed.runs[0]
    earlier = next((record for record in before.runs if record.seed == now.seed), before.runs[0])
    return (earlier.hyper or {}).get("parameters"), (now.hyper or {}).get("parameters")
