"""What the page says: a row a run, in commit order, and the headline above them.

Rows are made once, here, for the table (HTML) and for the chart (``js/landings.js``), so that the two agree.
Their texts are short and free of control characters, but not escaped. Pure functions, no files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from deepspeech_wer.results.archive import RunRecord
from deepspeech_wer.site import text

_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}")

#: More changed parameters than this say nothing any more that a person would read.
_MOST_CHANGES = 40

#: The recipe's numbers of batches follow from the data and the batch sizes: their change is no news of its own.
_DERIVED = "total_batches_"

#: Optional figures are not checked when a run is kept. One above this is none, nor could it be written in a cell.
_MOST = 1e12


@dataclass(frozen=True)
class Change:
    """One parameter that differs from the run before; an empty string means that it was not there."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Figures:
    """What a trained run came to. Rates are ratios, duration is in seconds; None is what the run did not say."""

    test: float
    validation: float | None
    train: float | None
    cer: float | None
    substitutions: float | None
    deletions: float | None
    insertions: float | None
    words: float | None
    duration: float | None


@dataclass(frozen=True)
class Row:
    """One run.

    ``slot`` is its place on the chart's axis: the runs of one landing share it. ``newest`` says that no later run
    of the same landing exists. ``delta`` is the test WER minus that of the last landing before it that has a
    figure, a ratio, where both were measured on the same data set. ``url`` and ``log`` are links or None;
    ``figures`` is None if it failed. ``changes`` are the first of the ``changed`` parameters that differ.

    What to do about a failure is not here: it is told to the person at the machine, in the tracker's log, and may
    name files that are not published.
    """

    run: str
    anchor: str
    slot: int
    newest: bool
    sha: str
    short: str
    parents: tuple[str, ...]
    position: int
    subject: str
    author: str
    date: str
    url: str | None
    log: str | None
    state: str
    why: str
    started: str
    finished: str
    legacy: bool
    data_set: str
    figures: Figures | None
    delta: float | None
    changes: tuple[Change, ...]
    changed: int

    @property
    def failed(self) -> bool:
        """Whether the run came to nothing."""
        return self.figures is None

    @property
    def when(self) -> text.Moment:
        """When the commit was made; for a run without a landing, when it began."""
        return text.moment(self.date or self.started)

    def to_json(self) -> dict[str, Any]:
        """The run's entry in ``js/landings.js``; its figures and parameters are in ``js/hyper.js``."""
        names = (
            "run anchor slot newest legacy sha short position subject author date url log state why started finished"
        )
        return {name: getattr(self, name) for name in names.split()} | {
            "parents": list(self.parents),
            "when": self.when.text,
            "changed": self.changed,
            "changes": [[change.name, change.before, change.after] for change in self.changes],
        }


@dataclass(frozen=True)
class Headline:
    """What a person reads first. ``before`` is the newest trained row of the last landing before ``row`` that has one.

    ``failed`` is the newest landing if its last run failed, whatever came before; ``best`` is the lowest test WER
    on the data set of ``row``, and ``best_on`` names that set where the table holds runs on another one, too. All
    of it is None or empty as long as there is nothing to say.
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
    """A row for each record, in the same order, which is commit order.

    ``logs`` names the runs, by the name of their folder, whose log is in the web root.
    """
    keys = [_landing_key(record) for record in records]
    slots = {key: slot for slot, key in enumerate(dict.fromkeys(keys))}
    last = {key: index for index, key in enumerate(keys)}
    anchors: set[str] = set()
    made: list[Row] = []
    trained: list[Row] = []
    parameters: dict[str, Any] | None = None
    for index, (record, key) in enumerate(zip(records, keys, strict=True)):
        row = _row(
            record,
            slot=slots[key],
            newest=last[key] == index,
            anchor=_anchor(record, index, last[key] == index, anchors),
            log=f"runs/{quote(record.folder.name)}/log.txt" if record.folder.name in logs else None,
            before=_before(trained, slots[key]),
            changes=_changes(parameters, record),
        )
        made.append(row)
        if record.hyper:
            trained.append(row)
            parameters = record.hyper["parameters"]
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
    before = _before(trained, row.slot)
    alike = [other for other in trained if other.data_set == row.data_set]
    best_on = "" if len(alike) == len(trained) else row.data_set or text.UNNAMED
    return Headline(row=row, before=before, best=min(alike, key=_test), best_on=best_on, failed=failed)


def _before(trained: Sequence[Row], slot: int) -> Row | None:
    """The newest trained run of another landing than the one at ``slot``."""
    return next((row for row in reversed(trained) if row.slot != slot), None)


def _test(row: Row) -> float:
    return row.figures.test if row.figures else math.inf


def _landing_key(record: RunRecord) -> tuple[str, str]:
    if record.landing:
        return ("landing", record.landing.sha)
    return ("legacy", record.sha or record.run_id)


def _anchor(record: RunRecord, index: int, newest: bool, taken: set[str]) -> str:
    """The id of the row: ``landing-<sha>`` for the landing's newest run; never the same twice."""
    name = f"landing-{record.sha}" if newest and record.sha else f"run-{record.folder.name}"
    if not _ID.fullmatch(name) or name in taken:
        name = f"run-number-{index + 1}"
    taken.add(name)
    return name


def _row(
    record: RunRecord,
    *,
    slot: int,
    newest: bool,
    anchor: str,
    log: str | None,
    before: Row | None,
    changes: list[Change],
) -> Row:
    landing = record.landing
    figures = _figures(record.hyper["results"]) if record.hyper else None
    data_set = text.value(record.hyper["parameters"].get("data_set", "")) if record.hyper else ""
    comparable = figures and before and before.figures and before.data_set == data_set
    return Row(
        run=record.run_id,
        anchor=anchor,
        slot=slot,
        newest=newest,
        sha=text.plain(record.sha, 40),
        short=text.plain(record.sha[:7]) or text.plain(record.started, 40)[:10] or text.plain(record.run_id, 10),
        parents=tuple(text.plain(parent, 40) for parent in landing.parents) if landing else (),
        position=landing.position if landing else 0,
        subject=text.plain(landing.subject) if landing else "",
        author=text.plain(landing.author, 80) if landing else "",
        date=text.plain(landing.date, 40) if landing else "",
        url=text.link(landing.url) if landing else None,
        log=log,
        state=record.state,
        why=text.plain(record.why, 500),
        started=text.plain(record.started, 40),
        finished=text.plain(record.finished, 40),
        legacy=landing is None,
        data_set=data_set,
        figures=figures,
        delta=figures.test - before.figures.test if comparable and figures and before and before.figures else None,
        changes=tuple(changes[:_MOST_CHANGES]),
        changed=len(changes),
    )


def _figures(results: dict[str, Any]) -> Figures:
    def number(name: str) -> float | None:
        value = results.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST else None

    return Figures(
        test=results["test_wer"],
        validation=number("last_validation_wer"),
        train=number("last_train_wer"),
        cer=number("test_cer"),
        substitutions=number("substitutions"),
        deletions=number("deletions"),
        insertions=number("insertions"),
        words=number("words"),
        duration=number("duration"),
    )


def _changes(previous: dict[str, Any] | None, record: RunRecord) -> list[Change]:
    """What differs from ``previous``, the parameters of the last run that left any behind.

    Values that changed come first, then what is new, then what is gone, each by name.
    """
    if previous is None or record.hyper is None:
        return []
    now = record.hyper["parameters"]
    names = {name for name in previous.keys() | now.keys() if not _same(previous, now, name)}
    return [
        Change(
            text.plain(name, 60),
            text.value(previous[name], 40) if name in previous else "",
            text.value(now[name], 40) if name in now else "",
        )
        for name in sorted(names, key=lambda name: (name not in now, name not in previous, name))
        if not name.startswith(_DERIVED)
    ]


def _same(previous: dict[str, Any], now: dict[str, Any], name: str) -> bool:
    if name not in previous or name not in now:
        return False
    before, after = previous[name], now[name]
    if name == "data_set":
        return text.value(before) == text.value(after)
    # In Python True == 1, and a parameter that turned from one into the other has changed.
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)
