"""Training: epochs of shuffled batches, validation, checkpoints, a line an epoch.

The order of an epoch is a function of (seed, epoch), the step size of the step, and the checkpoint holds all
else, so that a run which was stopped, anywhere, and restored goes on exactly as it would have.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from . import checkpoints, ctc, scoring
from .checkpoints import Epoch, Progress
from .data.batches import Batch, Example, batch_count, collate, epoch_order
from .errors import RecipeError
from .evaluation import Evaluator
from .settings import Settings
from .watching import Watch


class TrainingStopped(RecipeError):
    """A signal asked training to stop; what was reached is in the checkpoint that the message names."""


@dataclass(frozen=True)
class Folders:
    """Where a run writes: ``result`` what is kept of it, ``logs`` what is for watching it, ``checkpoints``."""

    result: Path
    logs: Path
    checkpoints: Path


def learning_rate(step: int, steps_per_epoch: int, settings: Settings) -> float:
    """Adam's step size at ``step`` (from 0): a linear rise over ``warmup_epochs``, then constant, or half a
    cosine that reaches 0 at the end of the last epoch."""
    warm = settings.warmup_epochs * steps_per_epoch
    if step < warm:
        return settings.learning_rate * min(1.0, (step + 1) / warm)
    if settings.learning_rate_schedule == "constant":
        return settings.learning_rate
    total = settings.epochs * steps_per_epoch
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1.0, total - warm))))


def train(
    model: Any,
    training: Sequence[Example],
    validation: Sequence[Example],
    settings: Settings,
    folders: Folders,
) -> Progress:
    """Trains ``model`` in place and returns where it got to; the model then has its best validated weights
    (smallest validation WER, then loss), or its last where none were kept.

    Raises TrainingStopped on SIGTERM or Ctrl-C, after a checkpoint; RecipeError when there is nothing to
    train on, or too many batches had no finite loss.
    """
    if not training:
        raise RecipeError("There is no utterance to train on.", "See the importer's options and ds_limit_train.")
    return _Trainer(model, training, validation, settings, folders).run()


class _Trainer:
    def __init__(
        self,
        model: Any,
        training: Sequence[Example],
        validation: Sequence[Example],
        settings: Settings,
        folders: Folders,
    ) -> None:
        self.model, self.settings, self.folders = model, settings, folders
        self.training, self.validation = training, validation
        self.lengths = [len(example.features) for example in training]
        self.steps_per_epoch = batch_count(len(training), settings.train_batch_size)
        self.optimizer = keras.optimizers.Adam(
            settings.learning_rate, beta_1=settings.beta1, beta_2=settings.beta2, epsilon=settings.epsilon
        )
        self.optimizer.build(model.trainable_variables)
        self.step = _training_step(model, self.optimizer, settings)
        self.evaluator = Evaluator(model, settings.n_stride)
        self.variables = checkpoints.named_variables(model, self.optimizer)
        self.progress = Progress()
        self.watch = Watch(settings, folders.logs)

    def run(self) -> Progress:
        if self.settings.restore_checkpoint:
            self.restore()
        learning = self.folders.result / "learning.jsonl"
        _write_lines(learning, self.progress.curve, "w")
        with _StopSignals() as signals, self.watch:
            while self.progress.epoch < self.settings.epochs:
                self.train_epoch(signals)
                self.finish_epoch(learning)
        best = self.progress.best_epoch
        if best is not None and best != self.progress.epoch and self.settings.checkpoint_step:
            checkpoints.restore(self.folders.checkpoints / checkpoints.BEST, self.variables)
            print(f"The model has the weights of epoch {best}, the best in validation.", flush=True)
        return self.progress

    def restore(self) -> None:
        path = self.folders.checkpoints / checkpoints.LAST
        if not path.exists():
            print(f"No checkpoint in {self.folders.checkpoints}: training starts from the beginning.", flush=True)
            return
        self.progress = checkpoints.restore(path, self.variables)
        if not (self.folders.checkpoints / checkpoints.BEST).exists():
            self.progress = replace(self.progress, best_epoch=None)
        print(f"Restored {path}: {self.progress.epoch} epochs were complete.", flush=True)

    def train_epoch(self, signals: _StopSignals) -> None:
        """The rest of the epoch that ``progress`` is in."""
        epoch = self.progress.epoch
        order = epoch_order(self.lengths, self.settings.train_batch_size, self.settings.random_seed, epoch + 1)
        started = time.monotonic()
        seconds_before = self.progress.epoch_seconds
        bar = tqdm(total=len(order), initial=self.progress.batch, desc=f"epoch {epoch + 1}", leave=False, disable=None)
        with bar:
            for number in range(self.progress.batch, len(order)):
                batch = collate([self.training[place] for place in order[number]])
                self.train_batch(batch, epoch * self.steps_per_epoch + number)
                self.progress = replace(
                    self.progress,
                    batch=number + 1,
                    audio_seconds=self.progress.audio_seconds + batch.duration,
                    epoch_seconds=seconds_before + time.monotonic() - started,
                )
                bar.update()
                if signals.received:
                    self.stop(signals.received)

    def train_batch(self, batch: Batch, step: int) -> None:
        rate = learning_rate(step, self.steps_per_epoch, self.settings)
        with self.watch.batch(step):
            losses, finite = self.step(
                batch.features, batch.frames, batch.labels, batch.label_lengths, np.float32(rate)
            )
            finite = bool(finite)
        if finite:
            self.progress = replace(
                self.progress,
                loss_sum=self.progress.loss_sum + float(np.sum(losses, dtype=np.float64)),
                loss_count=self.progress.loss_count + len(batch.examples),
            )
            return
        self.progress = replace(self.progress, skipped_batches=self.progress.skipped_batches + 1)
        names = ", ".join(example.utterance.id for example in batch.examples)
        print(f"Skipped a batch whose loss or gradient is not finite: {names}.", flush=True)
        if self.progress.skipped_batches > self.settings.max_skipped_batches:
            raise RecipeError(
                f"{self.progress.skipped_batches} batches had a loss or gradient that is not finite, more than "
                f"max_skipped_batches = {self.settings.max_skipped_batches}; the last held {names}.",
                "Look at that audio, or lower ds_learning_rate.",
            )

    def finish_epoch(self, learning: Path) -> None:
        """Validation, the epoch's line, checkpoints."""
        settings, before = self.settings, self.progress
        epoch = before.epoch + 1
        started = time.monotonic()
        loss = wer = None
        if settings.validation_step and self.validation and _due(epoch, settings.validation_step, settings):
            result = self.evaluator.evaluate(self.validation, settings.dev_batch_size)
            loss, wer = result.loss, result.score.wer
        seconds = before.epoch_seconds + time.monotonic() - started
        spent = sum(line.seconds for line in before.curve) + seconds
        line = Epoch(
            epoch=epoch,
            epochs=settings.epochs,
            train_loss=_rounded(before.loss_sum / before.loss_count if before.loss_count else None),
            validation_loss=_rounded(loss),
            validation_wer=_rounded(wer),
            seconds=round(seconds, 3),
            audio_seconds_per_second=round(before.audio_seconds / max(before.epoch_seconds, 1e-9), 2),
            eta_seconds=round(spent / epoch * (settings.epochs - epoch), 1),
        )
        improved = _better(line, before.curve, before.best_epoch)
        self.progress = Progress(
            epoch=epoch,
            skipped_batches=before.skipped_batches,
            best_epoch=epoch if improved else before.best_epoch,
            curve=(*before.curve, line),
        )
        if settings.checkpoint_step and improved:
            self.save(checkpoints.BEST)
        if settings.checkpoint_step and _due(epoch, settings.checkpoint_step, settings):
            self.save(checkpoints.LAST)
        _write_lines(learning, [line], "a")
        self.watch.epoch(line, self.model)
        if epoch == settings.epochs or (settings.display_step and epoch % settings.display_step == 0):
            print(_told(line), flush=True)

    def save(self, name: str) -> None:
        checkpoints.save(self.folders.checkpoints / name, self.variables, self.progress)

    def stop(self, reason: str) -> None:
        where = f"epoch {self.progress.epoch + 1}, after batch {self.progress.batch} of {self.steps_per_epoch}"
        if not self.settings.checkpoint_step:
            raise TrainingStopped(
                f"Training was stopped by {reason} in {where}; checkpoint_step is 0, so nothing was kept."
            )
        self.save(checkpoints.LAST)
        raise TrainingStopped(
            f"Training was stopped by {reason} in {where}; the checkpoint is in {self.folders.checkpoints}.",
            f"Set ds_restore_checkpoint=1 and ds_checkpoint_dir={self.folders.checkpoints} to go on from there.",
        )


def _training_step(model: Any, optimizer: Any, settings: Settings) -> Callable[..., Any]:
    """A compiled step: (features, frames, labels, label lengths, step size) to (loss of each utterance,
    whether all was finite and the weights were updated)."""
    weights = model.trainable_variables
    n_stride = settings.n_stride

    def step(features: Any, frames: Any, labels: Any, label_lengths: Any, rate: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            logits = model({"features": features, "frames": frames}, training=True)
            losses = ctc.loss(logits, (frames + n_stride - 1) // n_stride, labels, label_lengths)
            loss = tf.reduce_mean(losses)
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, weights), settings.max_gradient_norm)
        # In float32 one infinite batch would destroy the weights and Adam's moments for good.
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        if finite:
            optimizer.learning_rate.assign(rate)
            optimizer.apply(gradients)
        return losses, finite

    ints = tf.TensorSpec((None,), tf.int32)
    features_spec = tf.TensorSpec((None, None, settings.n_input))
    labels_spec = tf.TensorSpec((None, None), tf.int32)
    signature = [features_spec, ints, labels_spec, ints, tf.TensorSpec(())]
    return tf.function(step, input_signature=signature)  # type: ignore[no-any-return]


class _StopSignals:
    """While entered, SIGTERM and SIGINT are noted in ``received`` and end nothing by themselves.

    Python delivers signals to the main thread alone; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.received = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number).name


def _due(epoch: int, every: int, settings: Settings) -> bool:
    return epoch % every == 0 or epoch == settings.epochs


def _better(line: Epoch, curve: Sequence[Epoch], best_epoch: int | None) -> bool:
    """Whether ``line`` was validated and beats the best so far, by WER and then by loss."""

    def rank(epoch: Epoch) -> tuple[float, float]:
        loss = math.inf if epoch.validation_loss is None else epoch.validation_loss
        return (math.inf if epoch.validation_wer is None else epoch.validation_wer, loss)

    if line.validation_wer is None:
        return False
    best = [epoch for epoch in curve if epoch.epoch == best_epoch]
    return not best or rank(line) < rank(best[0])


def _write_lines(path: Path, lines: Sequence[Epoch], mode: str) -> None:
    """Lines of ``learning.jsonl``: at the start those that a restored run has behind it, then one an epoch."""
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(line)) + "\n" for line in lines)
    except OSError as error:
        raise RecipeError(
            f"{path} could not be written: {error.strerror or error}.",
            "Free space, or name another folder with ds_result_dir.",
        ) from error


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _told(line: Epoch) -> str:
    told = f"epoch {line.epoch}/{line.epochs}"
    if line.train_loss is not None:
        told += f"  loss {line.train_loss:.3f}"
    if line.validation_loss is not None:
        told += f"  validation loss {line.validation_loss:.3f}"
    if line.validation_wer is not None:
        told += f"  validation WER {scoring.percent(line.validation_wer)}"
    return (
        told
        + f"  {line.seconds:.1f} s ({line.audio_seconds_per_second:.0f} x real time), {line.eta_seconds:.0f} s left"
    )
