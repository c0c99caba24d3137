"""The archive: one folder a run, kept for good.

``<data root>/runs/<run id>/`` is a job's result folder as the job left it (see ``job/spec.py``). Runs without a
landing have a ``hyper.json`` alone, in ``<data root>/legacy/``: those made before the tracker, by the notebook of
2016 and 2017, and those made by hand where there is no commit to show them at.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepspeech_wer.errors import TrackerError
from deepspeech_wer.files import read_regular, write_atomically
from deepspeech_wer.job.spec import FAILED, TRAINED, JobSpec, Status
from deepspeech_wer.landings import Landing
from deepspeech_wer.results import hyper

#: Bytes at the end of ``learning.jsonl`` that tell how far a training has come: hundreds of epochs.
_LEARNING_TAIL = 65536


@dataclass(frozen=True)
class RunRecord:
    """What one run came to.

    ``landing`` is None for a run from ``legacy/``. ``state`` is TRAINED or FAILED. ``hyper`` is the
    checked content of hyper.json for a trained run, and None for a failed one, which has a ``why`` instead.
    ``seed`` counts the trainings of a landing that differ in their seed alone, from 0; ``attempt`` all of its runs,
    from 1.
    """

    run_id: str
    landing: Landing | None
    state: str
    hyper: dict[str, Any] | None
    folder: Path
    started: str
    finished: str
    why: str = ""
    hint: str = ""
    seed: int = 0
    attempt: int = 1

    @property
    def sha(self) -> str:
        """The commit, or an empty string where an old run names none."""
        if self.landing:
            return self.landing.sha
        return (self.hyper and hyper.git_hash(self.hyper)) or ""


def keep(folder: Path) -> RunRecord:
    """Read one result folder that a job has made whole.

    Nothing in it is changed. A trained run whose ``hyper.json`` is no longer valid counts as failed: what is
    drawn is what can be read. Raises TrackerError where the folder is not a result folder.
    """
    try:
        spec = JobSpec.from_json(read_regular(folder / "job.json").decode())
        status = Status.from_json(read_regular(folder / "status.json").decode())
        _check_kinds(spec, status)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TrackerError(
            f"{folder} is not the result folder of a run: {error}",
            "move it out of the folder of runs, or delete it",
        ) from error
    state, why, hint, content = status.state, status.why, status.hint, None
    if status.disk_full:
        why = f"{why}; no room was left on the disk when it ended"
    if state == TRAINED:
        try:
            content = hyper.parse(read_regular(folder / "hyper.json"))
        except (OSError, hyper.InvalidHyper) as error:
            state, why, hint = FAILED, f"its hyper.json cannot be read: {error}", "train the landing again"
    return RunRecord(
        run_id=spec.run_id,
        landing=spec.landing,
        state=state,
        hyper=content,
        folder=folder,
        started=status.started,
        finished=status.finished,
        why=why,
        hint=hint,
        seed=spec.seed,
        attempt=spec.attempt,
    )


def _check_kinds(spec: JobSpec, status: Status) -> None:
    """Raise TypeError where a value is of another kind than its name says: the training could reach the files."""
    landing = spec.landing
    named = (spec.run_id, landing.sha, landing.author, landing.date, landing.subject)
    told = (status.state, status.started, status.finished, status.why, status.hint)
    counted = (landing.position, spec.seed, spec.attempt)
    if not all(isinstance(text, str) for text in named + told) or not all(type(number) is int for number in counted):
        raise TypeError("a value in it is of the wrong kind")
    if spec.seed < 0 or spec.attempt < 1:
        raise ValueError("its seed or its attempt is below the first one")


def new_run_id(sha: str) -> str:
    """A name for a run of ``sha`` that begins now: sorts by time, and no other run anywhere has it.

    The digits at the end are by chance: two installations on one machine, both started by cron in the same second, may
    train the same commit, and the name is how the processes of a run are told from all others.
    """
    return f"{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}-{sha[:7]}-{secrets.token_hex(3)}"


def keep_failure(spec: JobSpec, error: TrackerError) -> None:
    """Keep a landing whose job could not even begin, as a result folder with the reason in it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    status = Status(FAILED, started=now, finished=now, why=error.message, hint=error.hint)
    shutil.rmtree(spec.partial, ignore_errors=True)
    spec.partial.mkdir(parents=True)
    (spec.partial / "job.json").write_text(spec.to_json())
    (spec.partial / "log.txt").write_text(f"{error.message}\n{error.hint}\n")
    (spec.partial / "status.json").write_text(status.to_json())
    os.replace(spec.partial, spec.result)


def load(data_root: Path) -> tuple[list[RunRecord], list[str]]:
    """Every run that is kept, in commit order, and a sentence for every folder that could not be read.

    Runs without a landing come first, by the time at which they started; then landings by their position on the
    branch, and the runs of one landing one after the other by their attempts: a clock may jump back, a count does not.
    """
    records, troubles = [], []
    for folder in _folders(data_root / "runs"):
        try:
            records.append(keep(folder))
        except TrackerError as error:
            troubles.append(f"{error.message}; {error.hint}")
    for folder in _folders(data_root / "legacy"):
        try:
            records.append(_legacy(folder))
        except (OSError, hyper.InvalidHyper) as error:
            troubles.append(f"{folder / 'hyper.json'} is left out: {error}")
    return _ordered(records), troubles


def import_legacy(data_root: Path, sources: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Copy runs without a landing, such as those made before the tracker, into the archive.

    A source is a ``hyper.json``, a folder that holds one, or a folder of such folders. Returns the names of
    the runs that were added and a sentence for every one that was not; importing a run twice adds nothing.
    """
    added, troubles = [], []
    for source in sources:
        files = sorted(source.rglob("hyper.json")) if source.is_dir() else [source]
        if not files:
            troubles.append(f"{source} holds no hyper.json")
        for file in files:
            try:
                text = file.read_bytes()
                content = hyper.parse(text)
            except (OSError, hyper.InvalidHyper) as error:
                troubles.append(f"{file} is left out: {error}")
                continue
            started = str(content["context"].get("time_started", "")) or file.parent.name
            name = "".join(c if c.isalnum() else "-" for c in f"{started}-{(hyper.git_hash(content) or '')[:7]}")
            target = data_root / "legacy" / (name.strip("-")[:100] or "run")
            if target.exists() and (target / "hyper.json").exists():
                troubles.append(f"{file} is in the archive already, as {target}")
                continue
            target.mkdir(parents=True, exist_ok=True)
            write_atomically(target / "hyper.json", text)
            added.append(target.name)
    return added, troubles


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _legacy(folder: Path) -> RunRecord:
    content = hyper.parse((folder / "hyper.json").read_bytes())
    context = content["context"]
    return RunRecord(
        run_id=folder.name,
        landing=None,
        state=TRAINED,
        hyper=content,
        folder=folder,
        started=str(context.get("time_started", "")),
        finished=str(context.get("time_finished", "")),
    )


def _ordered(records: Iterable[RunRecord]) -> list[RunRecord]:
    """In commit order; where a rewritten branch has two landings at one position, the one that ran first is first."""
    runs = sorted(records, key=lambda record: (record.attempt, record.started, record.run_id))
    places: dict[str, tuple[int, str, str]] = {}
    for record in runs:
        if record.landing:
            places.setdefault(record.sha, (record.landing.position, record.started, record.sha))

    def place(record: RunRecord) -> tuple[int, str, str]:
        return places[record.sha] if record.landing else (0, record.started, record.run_id)

    return sorted(runs, key=place)


def learning(folder: Path) -> list[dict[str, Any]]:
    """The last lines of a run's ``learning.jsonl`` that can be read so far, oldest first; [] where there is none.

    A training may write anything there: only so much of its end is looked at as is quickly read again and again.
    """
    try:
        lines = read_regular(folder / "learning.jsonl", _LEARNING_TAIL, only_end=True).splitlines()
    except OSError:
        return []
    epochs = []
    for line in lines:
        try:
            epoch = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line may still be on its way, and the first one cut
        if isinstance(epoch, dict):
            epochs.append(epoch)
    return epochs
