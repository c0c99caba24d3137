"""Training: epochs of batches, validation, checkpoints, a line an epoch.

The order of an epoch is a function of (seed, epoch), what is done to the audio of (seed, epoch, utterance), the step
size of the place in the epoch, and the checkpoint holds all else, so that a run which was stopped, anywhere, and
restored goes on exactly as it would have.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoints, computing, decoding, schedules, scoring
from .checkpoints import Epoch, Progress
from .data.batches import Batch
from .data.features import Statistics
from .data.pipeline import Pipeline
from .errors import RecipeError
from .evaluation import Evaluator
from .settings import Settings
from .signals import Stopped, StopSignals
from .watching import Telling, Watch

#: The scale that float16 begins with, and the finite steps after which it is doubled: Micikevicius et al. (2018).
_FIRST_SCALE = 2.0**15
_STEPS_TO_GROW = 2000


class TrainingStopped(Stopped):
    """A signal asked training to stop; what was reached is in the checkpoint that the message names."""


@dataclass(frozen=True)
class Folders:
    """Where a run writes: ``result`` what is kept of it, ``logs`` what is for watching it, ``checkpoints``."""

    result: Path
    logs: Path
    checkpoints: Path


def train(
    model: Any,
    training: Pipeline,
    validation: Pipeline,
    settings: Settings,
    folders: Folders,
    statistics: Statistics | None = None,
) -> Progress:
    """Trains ``model`` in place and returns where it got to; the model then has its best validated weights
    (smallest validation WER, then loss; with ``average_best`` the mean of the best, where that is better), or its
    last where none were kept. ``statistics`` are kept with it in its checkpoints.

    Raises TrainingStopped on SIGTERM or Ctrl-C, after a checkpoint; RecipeError when there is nothing to
    train on, too many batches had no finite loss, or too many utterances cannot be used.
    """
    if not len(training.utterances):
        reasons = sorted(set(training.left_out.values()))[:5]
        raise RecipeError(
            "There is no utterance to train on" + (f": {'; '.join(reasons)}." if reasons else "."),
            "See the importer's options, ds_limit_train, ds_max_duration and ds_alphabet.",
        )
    return _Trainer(model, training, validation, settings, folders, statistics).run()


class _Trainer:
    def __init__(
        self,
        model: Any,
        training: Pipeline,
        validation: Pipeline,
        settings: Settings,
        folders: Folders,
        statistics: Statistics | None,
    ) -> None:
        self.model, self.settings, self.folders = model, settings, folders
        self.training, self.validation, self.statistics = training, validation, statistics
        if settings.init_checkpoint and not settings.restore_checkpoint:
            print(checkpoints.transfer(settings.init_checkpoint, model, settings), flush=True)
        self.step = computing.training_step(model, settings)
        # Validation after each epoch takes the quick decoder; what the settings ask for is taken for the test.
        quick = replace(settings, decoder="greedy", lm_path=None, word_list=None)
        decoder = decoding.from_settings(quick, settings.window_step * settings.n_stride)
        self.evaluator = Evaluator(model, decoder, settings)
        self.progress = Progress(scale=_FIRST_SCALE if settings.precision == "float16" else 1.0)
        self.watch = Watch(settings, folders.logs)
        self.saved_at = time.monotonic()
        #: What the manifest alone told to be unusable is not among the utterances of the pipeline any more.
        self.left_out_before = len(training.left_out)

    def run(self) -> Progress:
        settings = self.settings
        if settings.restore_checkpoint:
            self.restore()
        elif settings.checkpoint_step and (aside := checkpoints.put_aside(self.folders.checkpoints)):
            print(f"Checkpoints of an earlier training were put into {aside}.", flush=True)
        learning = self.folders.result / "learning.jsonl"
        _write_lines(learning, self.progress.curve, "w")
        with StopSignals() as signals, self.watch:
            while self.progress.epoch < settings.epochs:
                stale = _stale(self.progress)
                if settings.early_stop and stale >= settings.early_stop:
                    print(f"Stopped early: {stale} validations were no better than epoch {self.progress.best_epoch}.")
                    break
                self.train_epoch(signals)
                self.finish_epoch(learning)
        self.take_the_best()
        return self.progress

    def restore(self) -> None:
        path = self.folders.checkpoints / checkpoints.LAST
        if not path.exists():
            print(f"No checkpoint in {self.folders.checkpoints}: training starts from the beginning.", flush=True)
            if self.settings.init_checkpoint:
                print(checkpoints.transfer(self.settings.init_checkpoint, self.model, self.settings), flush=True)
                self.step.adopt()
            return
        self.progress = checkpoints.restore(path, self.step.variables)
        self.step.adopt()
        if not (self.folders.checkpoints / checkpoints.BEST).exists():
            self.progress = replace(self.progress, best_epoch=None)
        within = f", and {self.progress.batch} batches of the next" if self.progress.batch else ""
        print(f"Restored {path}: {self.progress.epoch} epochs were complete{within}.", flush=True)
        if changed := checkpoints.differences(path, self.settings):
            print(f"Settings are not those of the checkpoint: {'; '.join(changed)}.", flush=True)

    def train_epoch(self, signals: StopSignals) -> None:
        """The rest of the epoch that ``progress`` is in."""
        epoch, first = self.progress.epoch, self.progress.batch
        count = self.training.count(epoch + 1)
        telling = Telling(epoch + 1, count, first, self.settings.display_step > 0)
        asked = time.monotonic()
        with self.training.batches(epoch + 1, start=first) as batches, telling:
            for batch in batches:
                ready = time.monotonic()
                if batch.count:  # all of a batch may have turned out to be unusable
                    rate = schedules.learning_rate(epoch, batch.number, count, self.settings, self.progress.rate_factor)
                    self.train_batch(batch, rate, epoch * count + batch.number)
                done = time.monotonic()
                self.progress = replace(
                    self.progress,
                    batch=batch.number + 1,
                    audio_seconds=self.progress.audio_seconds + batch.duration,
                    epoch_seconds=self.progress.epoch_seconds + done - asked,
                    waiting_seconds=self.progress.waiting_seconds + ready - asked,
                )
                asked = done
                telling.tell(self.progress)
                self.check_left_out()
                if signals.received:
                    self.stop(signals.received, count)
                minutes = self.settings.checkpoint_minutes
                if self.settings.checkpoint_step and minutes and done - self.saved_at > minutes * 60:
                    self.save(checkpoints.LAST)

        self.check_left_out()  # batches of which nothing is left are not handed out

    def train_batch(self, batch: Batch, rate: float, step: int) -> None:
        progress = self.progress
        with self.watch.batch(step):
            result = self.step(batch, rate, progress.scale)
        if result.finite:
            grown = progress.scale > 1 and progress.steps_at_scale + 1 >= _STEPS_TO_GROW
            self.progress = replace(
                progress,
                loss_sum=progress.loss_sum + float(np.sum(result.losses, dtype=np.float64)),
                loss_count=progress.loss_count + batch.count,
                scale=progress.scale * 2 if grown else progress.scale,
                steps_at_scale=0 if grown else progress.steps_at_scale + 1,
            )
            return
        if result.loss_finite and progress.scale > 1:  # too large a scale, not a bad batch
            if not progress.loss_count:  # as long as it is being found, at the beginning
                print(
                    f"float16: the gradient overflows at a scale of {progress.scale:g}, half of it is next.", flush=True
                )
            self.progress = replace(progress, scale=max(1.0, progress.scale / 2), steps_at_scale=0)
            return
        self.progress = replace(progress, skipped_batches=progress.skipped_batches + 1)
        names = ", ".join(utterance.id for utterance in batch.utterances)
        dump = self.dump(batch, step)
        print(f"Skipped a batch whose loss or gradient is not finite: {names}. It is kept in {dump}.", flush=True)
        if self.progress.skipped_batches > self.settings.max_skipped_batches:
            raise RecipeError(
                f"{self.progress.skipped_batches} batches had a loss or gradient that is not finite, more than "
                f"max_skipped_batches = {self.settings.max_skipped_batches}; the last held {names}.",
                f"Look at that audio and at {dump}, or lower ds_learning_rate or ds_max_gradient_norm.",
            )

    def dump(self, batch: Batch, step: int) -> Path:
        """Keeps a batch that could not be learnt from, for whoever looks for the reason."""
        path = self.folders.logs / "skipped" / f"step-{step:06d}.npz"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                path,
                ids=np.array([utterance.id for utterance in batch.utterances]),
                features=batch.features,
                frames=batch.frames,
                labels=batch.labels,
                label_lengths=batch.label_lengths,
            )
        except OSError as error:
            print(f"{path} could not be written: {error.strerror or error}.", flush=True)
        return path

    def check_left_out(self) -> None:
        """Stops when so much of the training set cannot be used that the figures would be of another set."""
        # What is longer than max_duration was not wanted, and is no fault of the data.
        left_out = sum("max_duration" not in reason for reason in self.training.left_out.values())
        known = len(self.training.utterances) + self.left_out_before
        if left_out > self.settings.max_left_out * known:
            some = "; ".join(f"{name}: {reason}" for name, reason in list(self.training.left_out.items())[:5])
            raise RecipeError(
                f"{left_out} of {known} training utterances cannot be used, more than max_left_out = "
                f"{self.settings.max_left_out}: {some}.",
                "Mend the data, or allow more with ds_max_left_out.",
            )

    def finish_epoch(self, learning: Path) -> None:
        """Validation, the epoch's line, checkpoints."""
        settings, before = self.settings, self.progress
        epoch = before.epoch + 1
        started = time.monotonic()
        self.step.publish()
        loss = wer = None
        validated = bool(settings.validation_step and len(self.validation.utterances))
        if validated and _due(epoch, settings.validation_step, settings):
            result = self.evaluator.evaluate(self.validation)
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
            learning_rate=_rounded(schedules.learning_rate(epoch - 1, 0, 1, settings, before.rate_factor)),
            waiting=round(before.waiting_seconds / max(before.epoch_seconds, 1e-9), 4),
        )
        improved = _better(line, before.curve, before.best_epoch)
        curve = (*before.curve, line)
        factor = before.rate_factor
        if line.validation_wer is not None:
            losses = [one.validation_loss for one in curve if one.validation_wer is not None]
            factor = schedules.after_validation(losses, settings, factor)
        self.progress = Progress(
            epoch=epoch,
            skipped_batches=before.skipped_batches,
            best_epoch=epoch if improved else before.best_epoch,
            rate_factor=factor,
            scale=before.scale,
            steps_at_scale=before.steps_at_scale,
            curve=curve,
        )
        if settings.checkpoint_step:
            if improved:
                self.save(checkpoints.BEST)
            self.keep_for_the_mean()
            if _due(epoch, settings.checkpoint_step, settings):
                self.save(checkpoints.LAST)
        _write_lines(learning, [line], "a")
        self.watch.epoch(line, self.model)
        if epoch == settings.epochs or (settings.display_step and epoch % settings.display_step == 0):
            print(_told(line), flush=True)

    def keep_for_the_mean(self) -> None:
        """With ``average_best``: this epoch's weights, while it is among the best; what no longer is goes away."""
        if self.settings.average_best < 2:
            return
        chosen = [line.epoch for line in self.best_lines()]
        if self.progress.epoch in chosen:
            self.save(_name_of(self.progress.epoch))
        for path in self.folders.checkpoints.glob("epoch-*.npz"):
            if path.name not in [_name_of(epoch) for epoch in chosen]:
                path.unlink(missing_ok=True)

    def best_lines(self) -> list[Epoch]:
        """The best validated epochs, ``average_best`` of them at most, the best first."""
        measured = [line for line in self.progress.curve if line.validation_wer is not None]
        return sorted(measured, key=_rank)[: self.settings.average_best]

    def take_the_best(self) -> None:
        """Gives the model the weights that it is tested with."""
        settings, best, folder = self.settings, self.progress.best_epoch, self.folders.checkpoints
        self.step.publish()
        if best is None or not settings.checkpoint_step:
            return
        lines = [line for line in self.best_lines() if (folder / _name_of(line.epoch)).exists()]
        if len(lines) > 1:
            paths = [folder / _name_of(line.epoch) for line in lines]
            target = folder / checkpoints.AVERAGED
            checkpoints.average(paths, target, self.model, self.progress, settings, self.statistics)
            mean = self.evaluator.evaluate(self.validation)
            told = f"The mean of epochs {', '.join(str(line.epoch) for line in lines)}"
            if mean.score.wer is not None and mean.score.wer <= (lines[0].validation_wer or 0):
                better, best_one = scoring.percent(mean.score.wer), scoring.percent(lines[0].validation_wer)
                print(f"{told} is taken: {better} in validation, the best of them {best_one}.", flush=True)
                return
            target.unlink(missing_ok=True)
            print(f"{told} is no better in validation ({scoring.percent(mean.score.wer)}): not taken.", flush=True)
        elif best == self.progress.epoch:
            return
        checkpoints.restore(folder / checkpoints.BEST, self.step.variables)
        self.step.adopt()
        print(f"The model has the weights of epoch {best}, the best in validation.", flush=True)

    def save(self, name: str) -> None:
        self.step.publish()
        path = self.folders.checkpoints / name
        checkpoints.save(path, self.step.variables, self.progress, self.settings, self.statistics)
        if name == checkpoints.LAST:
            self.saved_at = time.monotonic()

    def stop(self, number: signal.Signals, count: int) -> None:
        where = f"epoch {self.progress.epoch + 1}, after batch {self.progress.batch} of {count}"
        if not self.settings.checkpoint_step:
            raise TrainingStopped(
                number, f"Training was stopped by {number.name} in {where}; checkpoint_step is 0, so nothing was kept."
            )
        self.save(checkpoints.LAST)
        raise TrainingStopped(
            number,
            f"Training was stopped by {number.name} in {where}; the checkpoint is in {self.folders.checkpoints}.",
            f"Set ds_restore_checkpoint=1 and ds_checkpoint_dir={self.folders.checkpoints} to go on from there.",
        )


def _due(epoch: int, every: int, settings: Settings) -> bool:
    return epoch % every == 0 or epoch == settings.epochs


def _rank(line: Epoch) -> tuple[float, float]:
    """Smaller is better: the validation WER, then the loss."""
    loss = math.inf if line.validation_loss is None else line.validation_loss
    return (math.inf if line.validation_wer is None else line.validation_wer, loss)


def _better(line: Epoch, curve: Sequence[Epoch], best_epoch: int | None) -> bool:
    """Whether ``line`` was validated and beats the best so far."""
    if line.validation_wer is None:
        return False
    best = [epoch for epoch in curve if epoch.epoch == best_epoch]
    return not best or _rank(line) < _rank(best[0])


def _stale(progress: Progress) -> int:
    """How many validations there were since the best one."""
    best = progress.best_epoch
    return sum(line.validation_wer is not None and line.epoch > best for line in progress.curve) if best else 0


def _name_of(epoch: int) -> str:
    return f"epoch-{epoch:04d}.npz"


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
