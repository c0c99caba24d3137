"""One training run, told from the settings to ``hyper.json``.

:func:`run` is the whole story; the notebook tells it in the same steps, one a cell.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from . import computing, corpora, decoding, exporting, model_card, models, reading, results, scoring, training
from .checkpoints import Network, Progress
from .data import augment
from .data.features import Statistics
from .data.manifest import Corpus, Utterances, durations
from .data.pipeline import Pipeline, Selection, corpus_statistics, usable
from .errors import RecipeError, SettingsError
from .evaluation import Evaluation, Evaluator
from .files import claim, let_go
from .scoring import Score
from .settings import PREFIX, Settings
from .training import Folders

#: How many utterances a line names; the rest is counted, and all are in left_out.jsonl.
_NAMED = 10


@dataclass(frozen=True)
class Run:
    """A run that has begun."""

    settings: Settings
    folders: Folders
    time_started: datetime


@dataclass(frozen=True)
class Data:
    """A corpus and how its three sets are read. ``statistics`` are those of the training set's features (None: each
    utterance has its own, or none)."""

    corpus: Corpus
    train: Pipeline
    dev: Pipeline
    test: Pipeline
    statistics: Statistics | None

    @property
    def left_out(self) -> dict[str, str]:
        """Training utterances that are not learnt from, by name, with the reason; those whose audio turned out to be
        unusable are among them once it was read."""
        return self.train.left_out


def begin(settings: Settings) -> Run:
    """Makes the folders, sets every seed, says what it runs on. SettingsError when a folder that the run will
    write to cannot be written, or is one that another process writes into, until its run is finished; and for settings
    that ask for what will never be done: better now than after hours of training."""
    settings.check_training()
    started = results.now()
    print(computing.begin(settings), flush=True)
    for remark in settings.without_effect.values():
        print(remark, flush=True)
    _make_writable(settings.logs_dir, "logs_dir", shared=True)
    if settings.result_dir:
        _make_writable(settings.result_dir, "result_dir")
    if settings.checkpoint_dir and settings.checkpoint_step:
        _make_writable(settings.checkpoint_dir, "checkpoint_dir")
    if settings.export_dir:
        exporting.check(settings.export_formats)
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
    corpus = corpora.load(
        settings.importer,
        settings.dataset_path,
        alphabet=settings.characters,
        max_duration=settings.max_duration,
        **settings.importer_options,  # type: ignore[arg-type]
    )
    return replace(
        corpus,
        train=_limited(corpus.train, settings.limit_train, settings.random_seed),
        dev=_limited(corpus.dev, settings.limit_dev, settings.random_seed),
        test=_limited(corpus.test, settings.limit_test, settings.random_seed),
    )


def load_data(settings: Settings, corpus: Corpus) -> Data:
    """How the corpus is read; says which training utterances have to be left out."""
    for split, utterances in (("training", corpus.train), ("test", corpus.test)):
        if not len(utterances):
            raise RecipeError(f"The {split} set of {corpus.name} is empty.", "See the importer's options.")
    if not any(utterance.text for utterance in corpus.test):
        raise RecipeError(
            f"The test set of {corpus.name} has no words, so it has no word error rate.", "See its transcripts."
        )
    options = settings.feature_options
    kept, left_out = usable(corpus.train, options, settings.characters, models.stride(settings), settings.max_duration)
    if left_out:
        some = ", ".join(f"{name} ({reason})" for name, reason in list(left_out.items())[:_NAMED])
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        print(f"Left out {len(left_out)} training utterances: {some}{more}.", flush=True)
    statistics = None
    if settings.normalisation == "corpus":
        statistics = corpus_statistics(kept, options, settings.normalisation_sample, settings.random_seed)
    train = reading.pipeline(settings, kept, statistics, settings.train_batch_size, augment.from_settings(settings))
    train.left_out.update(left_out)
    dev = reading.pipeline(settings, corpus.dev, statistics, settings.dev_batch_size)
    test = reading.pipeline(settings, corpus.test, statistics, settings.test_batch_size)
    return Data(corpus, train, dev, test, statistics)


def train(run: Run, model: Any, data: Data) -> Progress:
    """Trains ``model``; see :func:`training.train`."""
    return training.train(model, data.train, data.dev, run.settings, run.folders, data.statistics)


def test(run: Run, model: Any, data: Data) -> tuple[Score, Evaluation]:
    """(score on training utterances, evaluation on the test set).

    The training utterances are as many as the dev set has, chosen by the seed: enough to see how far training
    and validation are apart, without another pass over the whole set.
    """
    settings = run.settings
    decoder = decoding.from_settings(settings, settings.window_step * settings.n_stride)
    for remark in decoder.remarks:
        print(remark, flush=True)
    evaluator = Evaluator(model, decoder, settings)
    seen = _limited(data.train.utterances, max(1, len(data.corpus.dev)), settings.random_seed)
    trained = evaluator.evaluate(reading.pipeline(settings, seen, data.statistics, settings.dev_batch_size)).score
    tested = evaluator.evaluate(data.test)
    if tested.left_out:
        some = "; ".join(f"{name}: {reason}" for name, reason in list(tested.left_out.items())[:_NAMED])
        print(f"Left out {len(tested.left_out)} test utterances, so that the WER is of the others: {some}.", flush=True)
    if tested.score.wer is None:
        raise RecipeError("The test set has no words, so it has no word error rate.", "See its transcripts.")
    return trained, tested


def finish(run: Run, model: Any, data: Data, progress: Progress, tested: tuple[Score, Evaluation]) -> Path:
    """Writes the results, then exports the model if the settings say so; returns the result folder.

    RecipeError when either fails; the results are there whatever becomes of the export. The run's folders are free for
    other processes then.
    """
    try:
        return _finished(run, model, data, progress, tested)
    finally:
        let_go()


def _finished(run: Run, model: Any, data: Data, progress: Progress, tested: tuple[Score, Evaluation]) -> Path:
    outcome = results.Outcome(
        settings=run.settings,
        corpus=data.corpus,
        training=data.train,
        progress=progress,
        train=tested[0],
        test=tested[1],
        time_started=run.time_started,
        time_finished=results.now(),
    )
    results.write(outcome, run.folders.result)
    if run.settings.export_dir is not None:
        try:
            network = Network(model, run.settings, data.statistics, models.stride(run.settings))
            exported = exporting.export(
                network,
                run.settings.export_dir,
                run.settings.export_formats,
                remove=run.settings.remove_export,
                utterances=exporting.some(data.corpus.test),
                about=model_card.About.of_results(run.folders.result),
            )
        except RecipeError as error:
            raise RecipeError(error.message, f"{error.hint} The results are in {run.folders.result}.") from error
        print(exported.table())
        print(f"Exported the model to {exported.folder}.", flush=True)
    return run.folders.result


def run(settings: Settings) -> Path:
    """Trains and tests as ``settings`` say; returns the folder that holds ``hyper.json``."""
    begun = begin(settings)
    data = load_data(settings, load_corpus(settings))
    model = models.build(settings)
    print(_about(begun, data, model), flush=True)
    progress = train(begun, model, data)
    tested = test(begun, model, data)
    print(scoring.report(tested[1].transcriptions, settings.report_count))
    return finish(begun, model, data, progress, tested)


def _about(run: Run, data: Data, model: Any) -> str:
    """What is about to be trained on what, and where it will be."""
    sets = ", ".join(
        f"{name} {len(pipeline.utterances)} utterances ({durations(pipeline.utterances).sum() / 3600:.2f} h)"
        for name, pipeline in (("train", data.train), ("dev", data.dev), ("test", data.test))
    )
    folders = run.folders
    return (
        f"Corpus {data.corpus.name}: {sets}\n"
        f"Network {run.settings.model}: {model.count_params():,} parameters, {data.train.count(1)} batches an epoch\n"
        f"Results go to {folders.result}, checkpoints to {folders.checkpoints}"
    )


def _limited(items: Utterances, limit: int, seed: int) -> Utterances:
    """``limit`` of the items (0: all), chosen by the seed and kept in order, so that a corpus which is sorted
    by speaker or length is still represented."""
    if not limit or limit >= len(items):
        return items
    chosen = np.random.default_rng(seed).choice(len(items), limit, replace=False)
    places = np.sort(chosen)
    return items.subset(places) if hasattr(items, "subset") else Selection(items, places)


def _make_writable(folder: Path, setting: str, shared: bool = False) -> None:
    """Makes ``folder`` and writes a file without a name into it; SettingsError where that is refused, or
    where another process is writing into it, unless it is ``shared``: each run has a folder of its own in it then."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shared or claim(folder)
    except OSError as error:
        raise SettingsError(
            f"{setting} = {str(folder)!r} cannot be made or written: {error.strerror or error}.",
            f"Name a folder that can be written with {PREFIX}{setting}.",
        ) from error
    if not free:
        raise SettingsError(
            f"Another process is writing into {setting} = {str(folder)!r}.",
            f"Wait for its run (or its notebook's kernel) to end, or name another folder with {PREFIX}{setting}.",
        )


def _new_folder(parent: Path, name: str) -> Path:
    """``parent/name``, or ``parent/name-2`` and so on where another run began in the same second."""
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
    return folder
