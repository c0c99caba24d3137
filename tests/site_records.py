"""Runs made up for the tests of the site: what archive.load would give, with folders that hold a log."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

from deepspeech_wer.job.spec import FAILED, TRAINED
from deepspeech_wer.landings import Landing
from deepspeech_wer.results.archive import RunRecord

SUBJECTS = (
    "Baseline: 128 cells, learning rate 0.001",
    "Merge branch 'wider-layers': twice the cells",
    "Merge pull request #14 from ada/augment-speed",
    "Lower the dropout",
    "Read features with the new loader",
)
AUTHORS = ("Ada Lovelace", "Grace Hopper", "Radia Perlman")


def sha(number: int) -> str:
    """The made-up commit of landing ``number``."""
    return hashlib.sha1(f"landing {number}".encode()).hexdigest()


def hyper(test: float, parameters: dict[str, Any] | None = None, **results: Any) -> dict[str, Any]:
    """The content of a hyper.json of today's form."""
    words = 2400
    return {
        "version": 2,
        "context": {"time_started": "2026-01-01T00:00:00+00:00", "git_branch": "main"},
        "parameters": {"data_set": {"name": "espeak"}, "learning_rate": 0.001, "n_hidden": 128} | (parameters or {}),
        "results": {
            "duration": 71.5,
            "test_wer": test,
            "last_validation_wer": test * 0.95,
            "last_train_wer": test * 0.6,
            "test_cer": test * 0.4,
            "substitutions": round(test * words * 0.6),
            "deletions": round(test * words * 0.3),
            "insertions": round(test * words * 0.1),
            "words": words,
        }
        | results,
    }


def landing(number: int, **fields: Any) -> Landing:
    """Landing ``number`` of a made-up branch, counted from 1."""
    values: dict[str, Any] = {
        "sha": sha(number),
        "parents": (sha(number - 1),) if number > 1 else (),
        "author": AUTHORS[number % len(AUTHORS)],
        "date": f"2026-{1 + number // 28 % 12:02d}-{1 + number % 28:02d}T08:30:00+00:00",
        "subject": SUBJECTS[(number - 1) % len(SUBJECTS)],
        "position": number,
        "url": f"https://example.org/speech/commit/{sha(number)}",
    }
    return Landing(**values | fields)


def trained(
    archive: Path,
    number: int,
    content: dict[str, Any],
    *,
    run: str = "",
    seed: int = 0,
    attempt: int = 1,
    **fields: Any,
) -> RunRecord:
    """A run that gave figures; ``fields`` are the landing's."""
    run = run or _run_id(number, attempt)
    return _record(archive, number, run, fields, state=TRAINED, hyper=content, seed=seed, attempt=attempt)


def failed(
    archive: Path,
    number: int,
    why: str = "its notebook stopped in cell 3: NameError",
    *,
    run: str = "",
    seed: int = 0,
    attempt: int = 1,
    **fields: Any,
) -> RunRecord:
    """A run that came to nothing."""
    told = {"why": why, "hint": "look at the end of its log"}
    run = run or _run_id(number, attempt)
    return _record(archive, number, run, fields, state=FAILED, hyper=None, seed=seed, attempt=attempt, **told)


def seeds(archive: Path, number: int, *tests: float, **parameters: Any) -> list[RunRecord]:
    """A landing that was trained once for each of the given test WERs, with a seed of its own each time."""
    return [
        trained(archive, number, hyper(test, {**parameters, "random_seed": 4567 + seed}), seed=seed, attempt=seed + 1)
        for seed, test in enumerate(tests)
    ]


def legacy(archive: Path, name: str, content: dict[str, Any], git_hash: str = "") -> RunRecord:
    """A run made before the tracker."""
    content["context"]["git_hash"] = git_hash
    started = content["context"]["time_started"]
    return RunRecord(name, None, TRAINED, content, archive / "legacy" / name, started, started)


def history(archive: Path) -> list[RunRecord]:
    """The story that the demo tells: a baseline, an improvement, a setback, a failure, a repair."""
    return [
        trained(archive, 1, hyper(0.312)),
        trained(archive, 2, hyper(0.194, {"n_hidden": 256})),
        trained(archive, 3, hyper(0.352, {"n_hidden": 256, "learning_rate": 0.02}), run="3-first"),
        trained(archive, 3, hyper(0.331, {"n_hidden": 256, "learning_rate": 0.02}), run="3-second"),
        failed(archive, 4),
        trained(archive, 5, hyper(0.173, {"n_hidden": 256})),
    ]


def seeded_history(archive: Path) -> list[RunRecord]:
    """Landings with one seed and with three, some tried again, one in vain, one measured anew, one on other data."""
    runs = [
        trained(archive, 1, hyper(0.312, energy_kwh=0.021)),
        *seeds(archive, 2, 0.19, 0.22, 0.205, n_hidden=256),
        *[failed(archive, 3, attempt=attempt) for attempt in (1, 2)],
        trained(archive, 3, hyper(0.21, {"n_hidden": 256}), attempt=3),
        *[failed(archive, 4, f"the training stopped in epoch {n}", attempt=n) for n in (1, 2, 3)],
        *seeds(archive, 5, 0.17, 0.18, n_hidden=256, learning_rate=0.002),
        failed(archive, 5, "the GPU fell off the bus", seed=2, attempt=3),
        trained(archive, 5, hyper(0.172, {"n_hidden": 256}), seed=2, attempt=4),
        trained(archive, 5, hyper(0.25, {"data_set": {"name": "fsdd"}}), run="5-fsdd", attempt=5),
        trained(archive, 5, hyper(0.176, {"n_hidden": 256, "learning_rate": 0.002}), attempt=6),
    ]
    for run in runs:
        if run.hyper:
            run.hyper["results"].setdefault("energy_kwh", 0.1)
    return runs


def long_history(archive: Path, count: int) -> list[RunRecord]:
    """``count`` landings that slowly get better, every 23rd of them failed."""
    chance = random.Random(7)
    records = []
    for number in range(1, count + 1):
        wer = 0.09 + 0.3 * 0.995**number + chance.gauss(0, 0.006)
        rate = chance.choice([1e-5, 1e-4, 3e-4, 1e-3, 1e-2])
        parameters = {"learning_rate": rate, "batch_norm": number % 3 == 0, "optimizer": chance.choice(["adam", "sgd"])}
        records.append(
            failed(archive, number) if number % 23 == 0 else trained(archive, number, hyper(wer, parameters))
        )
    return records


def _run_id(number: int, attempt: int) -> str:
    return f"2026-run-{number:05d}" + (f"-{attempt}" if attempt > 1 else "")


def _record(archive: Path, number: int, run_id: str, fields: dict[str, Any], **values: Any) -> RunRecord:
    folder = archive / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.txt").write_text(f"log of {run_id}\n")
    finished = f"2026-{1 + number // 28 % 12:02d}-{1 + number % 28:02d}T08:45:30+00:00"
    return RunRecord(
        run_id=run_id,
        landing=landing(number, **fields),
        folder=folder,
        started=finished.replace("08:45", "08:40"),
        finished=finished,
        **values,
    )
