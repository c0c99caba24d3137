"""What people see who watch a run: how far an epoch is, and in TensorBoard losses, weights, a profile.

Summaries are written with TensorFlow's own writer, in the form that TensorBoard's scalar and histogram plugins
read, so that TensorBoard itself is needed only where somebody looks at them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import computing
from .checkpoints import Epoch, Progress
from .settings import Settings

#: Steps that a full trace profiles, counted from the run's first: the first two compile and warm up.
_TRACE_FROM, _TRACE_TO = 2, 5

#: Bars of a histogram of weights; TensorBoard's own default.
_BUCKETS = 30


class Watch:
    """Entered around training. ``log_variables`` and ``do_fulltrace`` say what it writes into ``logs``."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self._log_variables = settings.log_variables
        self._do_fulltrace = settings.do_fulltrace
        self._folder = logs / "tensorboard"
        self._writer: Any = None
        self._steps = 0
        self._tracing = False

    def __enter__(self) -> Watch:
        if self._log_variables:
            import tensorflow as tf  # on JAX, too, it is what writes for TensorBoard

            self._writer = tf.summary.create_file_writer(str(self._folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_trace()
        if self._writer is not None:
            self._writer.close()

    @contextlib.contextmanager
    def batch(self, step: int) -> Iterator[None]:
        """Around a training step; ``step`` counts over the whole training."""
        if not self._do_fulltrace:
            yield
            return
        if self._steps == _TRACE_FROM:
            computing.profiler().start(self._folder)
            self._tracing = True
        with computing.profiler().step(step):
            yield
        self._steps += 1
        if self._steps == _TRACE_TO:
            self._stop_trace()

    def epoch(self, line: Epoch, model: Any) -> None:
        """After an epoch: its losses and rates as scalars, its weights as histograms."""
        if self._writer is None:
            return
        with self._writer.as_default(step=line.epoch):
            for name in ("train_loss", "validation_loss", "validation_wer", "learning_rate", "waiting"):
                value = getattr(line, name)
                if value is not None:
                    _write(name, np.float32(value), "scalars", data_class=1)
            for variable in model.trainable_variables:
                counts, edges = np.histogram(computing.array(variable), bins=_BUCKETS)
                buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)  # left edge, right edge, count
                _write(variable.path, buckets, "histograms", data_class=2)
        self._writer.flush()

    def _stop_trace(self) -> None:
        if self._tracing:
            self._tracing = False
            computing.profiler().stop()


#: Seconds between two lines about an epoch in a log.
_LINE_SECONDS = 60.0


class Telling:
    """How far an epoch is: a bar on a terminal, in a log a line a minute."""

    def __init__(self, epoch: int, count: int, first: int, lines: bool) -> None:
        self._epoch, self._count, self._lines = epoch, count, lines
        self._bar = tqdm(total=count, initial=first, desc=f"epoch {epoch}", unit="batch", leave=False, disable=None)
        self._first, self._started = first, time.monotonic()
        self._said = self._started

    def __enter__(self) -> Telling:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def tell(self, progress: Progress) -> None:
        speed = f"{progress.audio_seconds / max(progress.epoch_seconds, 1e-9):.0f} x real time"
        loss = f"loss {progress.loss_sum / progress.loss_count:.3f}" if progress.loss_count else "no loss yet"
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{loss}, {speed}", refresh=False)
            self._bar.update(progress.batch - self._bar.n)
            return
        now = time.monotonic()
        if self._lines and now - self._said >= _LINE_SECONDS:
            self._said = now
            left = (now - self._started) / max(1, progress.batch - self._first) * (self._count - progress.batch)
            print(
                f"epoch {self._epoch}: batch {progress.batch} of {self._count}  {loss}  {speed}, "
                f"{left:.0f} s left in the epoch",
                flush=True,
            )


def _write(tag: str, value: Any, plugin: str, data_class: int) -> None:
    """One summary at the writer's step; ``data_class`` is TensorBoard's 1 for scalars, 2 for tensors."""
    import tensorflow as tf

    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin), data_class=data_class
    )
    tf.summary.write(tag, value, metadata=metadata)
