"""What a run leaves behind: ``hyper.json`` and ``utterances.jsonl``.

``hyper.json`` keeps the names of Mozilla DeepSpeech's notebook of 2016 (context, parameters, results) and adds
version, seed, learning curve, machine and packages. No path, user, host name or environment goes into it: it
is published. Nor does a NaN: what was not measured is null.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

from . import computing, scoring
from .checkpoints import Progress
from .data.manifest import Corpus, durations
from .data.pipeline import Pipeline
from .evaluation import Evaluation
from .files import written_whole
from .scoring import Score, Transcription
from .settings import Settings

VERSION = 2
_PACKAGES = ("deepspeech-wer", "tensorflow", "jax", "keras", "numpy", "rapidfuzz")
#: Settings that say where and how a run is watched, not what it computes.
_NOT_PARAMETERS = frozenset(
    {
        "augment_noise_path",
        "checkpoint_dir",
        "checkpoint_minutes",
        "checkpoint_step",
        "corpus_options",
        "dataset_path",
        "display_step",
        "do_fulltrace",
        "export_dir",
        "export_formats",
        "importer",
        "init_checkpoint",
        "lm_path",
        "log_device_placement",
        "log_variables",
        "logs_dir",
        "prefetch_batches",
        "random_seed",
        "reading_threads",
        "remove_export",
        "report_count",
        "restore_checkpoint",
        "result_dir",
        "word_list",
    }
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """All that ``hyper.json`` is made of."""

    settings: Settings
    corpus: Corpus
    training: Pipeline
    progress: Progress
    train: Score
    test: Evaluation
    time_started: datetime
    time_finished: datetime


def write(outcome: Outcome, folder: Path) -> None:
    """Writes ``utterances.jsonl`` and, where utterances were left out or something is to be said of them,
    ``left_out.jsonl``, then ``hyper.json``; each appears whole or not at all."""
    lines = [json.dumps(_utterance(item), ensure_ascii=False) for item in outcome.test.transcriptions]
    _write_whole(folder / "utterances.jsonl", "".join(line + "\n" for line in lines))
    said = [
        *({"id": name, "set": "train", "left_out": why} for name, why in outcome.training.left_out.items()),
        *({"id": name, "set": "train", "remark": what} for name, what in outcome.training.remarks.items()),
        *({"id": name, "set": "test", "left_out": why} for name, why in outcome.test.left_out.items()),
    ]
    if said:
        _write_whole(folder / "left_out.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in said))
    document = json.dumps(hyper(outcome), indent=2, sort_keys=True, allow_nan=False)
    _write_whole(folder / "hyper.json", document + "\n")


def hyper(outcome: Outcome) -> dict[str, Any]:
    """The content of ``hyper.json``."""
    settings, corpus, progress = outcome.settings, outcome.corpus, outcome.progress
    test = outcome.test.score
    interval = scoring.confidence_interval(outcome.test.transcriptions, seed=settings.random_seed)
    measured = [line for line in progress.curve if line.validation_wer is not None]
    parameters = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in _NOT_PARAMETERS
    }
    parameters |= dataclasses.asdict(settings.layers)
    parameters |= {
        "n_hidden_6": settings.characters.size,
        "n_character": settings.characters.size,
        "total_batches_train": outcome.training.count(1),
        "total_batches_validation": -(-len(corpus.dev) // settings.dev_batch_size),
        "total_batches_test": -(-len(corpus.test) // settings.test_batch_size),
        "data_set": _data_set(corpus, settings, len(outcome.training.left_out)),
    }
    return {
        "version": VERSION,
        "context": {
            "time_started": outcome.time_started.isoformat(),
            "time_finished": outcome.time_finished.isoformat(),
            "git_hash": _git("rev-parse", "HEAD"),
            "git_branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        },
        "parameters": parameters,
        "results": {
            "duration": round((outcome.time_finished - outcome.time_started).total_seconds(), 1),
            "last_train_wer": _rounded(outcome.train.wer),
            "last_validation_wer": measured[-1].validation_wer if measured else None,
            "test_wer": _rounded(test.wer),
            "test_wer_low": _rounded(interval.low) if interval else None,
            "test_wer_high": _rounded(interval.high) if interval else None,
            "test_cer": _rounded(test.cer),
            "test_loss": _rounded(outcome.test.loss),
            "substitutions": test.substitutions,
            "deletions": test.deletions,
            "insertions": test.insertions,
            "words": test.words,
            "utterances": len(outcome.test.transcriptions),
            "left_out": len(outcome.test.left_out),
            "tested_epoch": progress.best_epoch or progress.epoch,
            "skipped_batches": progress.skipped_batches,
        },
        "seed": settings.random_seed,
        "learning_curve": [dataclasses.asdict(line) for line in progress.curve],
        "machine": machine(),
        "packages": {name: metadata.version(name) for name in _PACKAGES if _installed(name)}
        | {"python": platform.python_version()},
    }


def _utterance(item: Transcription) -> dict[str, Any]:
    return {
        "id": item.utterance.id,
        "speaker": item.utterance.speaker,
        "duration": round(item.utterance.duration, 3),
        "reference": item.utterance.text,
        "hypothesis": item.hypothesis,
        "confidence": None if item.confidence is None else round(float(item.confidence), 4),
        "words": item.score.words,
        "substitutions": item.score.substitutions,
        "deletions": item.score.deletions,
        "insertions": item.score.insertions,
    }


def _data_set(corpus: Corpus, settings: Settings, left_out: int) -> dict[str, Any]:
    described: dict[str, Any] = {"name": corpus.name, "left_out": left_out}
    # Paths are of this machine: a source, and the manifests of data of one's own.
    paths = {"source", "train", "dev", "test"} if settings.importer == "manifest" else {"source"}
    described |= {name: value for name, value in settings.importer_options.items() if name not in paths}
    for split, utterances in (("train", corpus.train), ("dev", corpus.dev), ("test", corpus.test)):
        described[f"{split}_utterances"] = len(utterances)
        described[f"{split}_hours"] = round(float(durations(utterances).sum()) / 3600, 4)
    return described


def machine() -> dict[str, Any]:
    """What the run computes on; nothing that tells whose it is."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "os": f"{platform.system()} {platform.machine()}",
        "gpus": computing.gpus(),
        "backend": keras.config.backend(),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _git(*arguments: str) -> str:
    """git's answer about the working directory, "unknown" where there is no repository or no git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _write_whole(path: Path, content: str) -> None:
    with written_whole(path, "The file", "Free space, or name another folder with ds_result_dir.") as file:
        file.write(content.encode())


def now() -> datetime:
    """UTC, with its zone, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
