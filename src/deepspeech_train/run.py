"""One training run, told from the settings to ``hyper.json``.

:func:`run` is the whole story; the notebook tells it in the same steps, one a cell.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from . import corpora, exporting, models, results, scoring, training
from .checkpoints import Progress
from .data.batches import Example, prepare, split_feasible
from .data.manifest import Corpus
from .errors import RecipeError, SettingsError
from .evaluation import Evaluation, Evaluator
from .scoring import Score
from .settings import PREFIX, Settings
from .training import Folders

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run that has begun."""

    settings: Settings
    folders: Folders
    time_started: datetime


@dataclass(frozen=True)
class Data:
    """A corpus with its features. ``left_out`` are training utterances that CTC cannot learn: they have fewer
    frames than their text needs."""

    corpus: Corpus
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    left_out: tuple[Example, ...]


def begin(settings: Settings) -> Run:
    """Makes the folders, sets every seed, says what it runs on. SettingsError when a folder that the run will
    write to cannot be written: better now than after hours of training."""
    started = results.now()
    machine = results.machine()
    devices = ", ".join(machine["gpus"]) or f"{machine['cores']} CPU cores"
    print(f"TensorFlow {tf.__version__} on {devices}")
    keras.utils.set_random_seed(settings.random_seed)
    tf.debugging.set_log_device_placement(settings.log_device_placement)
    _make_writable(settings.logs_dir, "logs_dir")
    if settings.result_dir:
        _make_writable(settings.result_dir, "result_dir")
    if settings.checkpoint_dir and settings.checkpoint_step:
        _make_writable(settings.checkpoint_dir, "checkpoint_dir")
    if settings.export_dir:
        _make_writable(settings.export_dir, "export_dir")
    logs = _new_folder(settings.logs_dir, started.strftime("%Y%m%d-%H%M%S"))
    folders = Folders(
        result=settings.result_dir or logs,
        logs=logs,
        checkpoints=settings.checkpoint_dir or logs / "checkpoints",
    )
    return Run(settings, folders, started)


def load_corpus(settings: Settings) -> Corpus:
    """The corpus, cut to ``limit_train``, ``limit_dev`` and ``limit_test``; imported on first use."""
    corpus = corpora.load(settings.importer, settings.dataset_path, **settings.importer_options)  # type: ignore[arg-type]
    return replace(
        corpus,
        train=_limited(corpus.train, settings.limit_train, settings.random_seed),
        dev=_limited(corpus.dev, settings.limit_dev, settings.random_seed),
        test=_limited(corpus.test, settings.limit_test, settings.random_seed),
    )


def load_data(settings: Settings, corpus: Corpus) -> Data:
    """Features and labels of the corpus; says which training utterances had to be left out."""
    for split, utterances in (("training", corpus.train), ("test", corpus.test)):
        if not utterances:
            raise RecipeError(f"The {split} set of {corpus.name} is empty.", "See the importer's options.")
    train, left_out = split_feasible(prepare(corpus.train, settings.mfcc), settings.n_stride)
    if left_out:
        names = ", ".join(example.utterance.id for example in left_out)
        print(f"Left out {len(left_out)} training utterances with too few frames for their text: {names}.")
    return Data(corpus, train, prepare(corpus.dev, settings.mfcc), prepare(corpus.test, settings.mfcc), left_out)


def train(run: Run, model: Any, data: Data) -> Progress:
    """Trains ``model``; see :func:`training.train`."""
    return training.train(model, data.train, data.dev, run.settings, run.folders)


def test(run: Run, model: Any, data: Data) -> tuple[Score, Evaluation]:
    """(score on training utterances, evaluation on the test set).

    The training utterances are as many as the dev set has, chosen by the seed: enough to see how far training
    and validation are apart, without another pass over the whole set.
    """
    evaluator = Evaluator(model, run.settings.n_stride)
    seen = _limited(data.train, max(1, len(data.dev)), run.settings.random_seed)
    trained = evaluator.evaluate(seen, run.settings.dev_batch_size).score
    tested = evaluator.evaluate(data.test, run.settings.test_batch_size)
    if tested.score.wer is None:
        raise RecipeError("The test set has no words, so it has no word error rate.", "See its transcripts.")
    return trained, tested


def finish(run: Run, model: Any, data: Data, progress: Progress, tested: tuple[Score, Evaluation]) -> Path:
    """Writes the results, then exports the model if the settings say so; returns the result folder.

    RecipeError when either fails; the results are there whatever becomes of the export.
    """
    outcome = results.Outcome(
        settings=run.settings,
        corpus=data.corpus,
        training=data.train,
        left_out=data.left_out,
        progress=progress,
        train=tested[0],
        test=tested[1],
        time_started=run.time_started,
        time_finished=results.now(),
    )
    results.write(outcome, run.folders.result)
    if run.settings.export_dir is not None:
        try:
            version = exporting.export(model, run.settings.export_dir, run.settings.remove_export)
        except RecipeError as error:
            raise RecipeError(error.message, f"{error.hint} The results are in {run.folders.result}.") from error
        print(f"Exported the model to {version}.")
    return run.folders.result


def run(settings: Settings) -> Path:
    """Trains and tests as ``settings`` say; returns the folder that holds ``hyper.json``."""
    begun = begin(settings)
    data = load_data(settings, load_corpus(settings))
    model = models.build(settings)
    progress = train(begun, model, data)
    tested = test(begun, model, data)
    print(scoring.report(tested[1].transcriptions, settings.report_count))
    return finish(begun, model, data, progress, tested)


def _limited(items: Sequence[T], limit: int, seed: int) -> tuple[T, ...]:
    """``limit`` of the items (0: all), chosen by the seed and kept in order, so that a corpus which is sorted
    by speaker or length is still represented."""
    if not limit or limit >= len(items):
        return tuple(items)
    chosen = np.random.default_rng(seed).choice(len(items), limit, replace=False)
    return tuple(items[place] for place in sorted(chosen))


def _make_writable(folder: Path, setting: str) -> None:
    """Makes ``folder`` and writes a file without a name into it; SettingsError where that is refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"{setting} = {str(folder)!r} cannot be made or written: {error.strerror or error}.",
            f"Name a folder that can be written with {PREFIX}{setting}.",
        ) from error


def _new_folder(parent: Path, name: str) -> Path:
    """``parent/name``, or ``parent/name-2`` and so on where another run began in the same second."""
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
    return folder
