"""What a run writes for people who watch it in TensorBoard: losses, weights, a profile.

Summaries are written with TensorFlow's own writer, in the form that TensorBoard's scalar and histogram plugins
read, so that TensorBoard itself is needed only where somebody looks at them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import computing
from .checkpoints import Epoch
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


def _write(tag: str, value: Any, plugin: str, data_class: int) -> None:
    """One summary at the writer's step; ``data_class`` is TensorBoard's 1 for scalars, 2 for tensors."""
    import tensorflow as tf

    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin), data_class=data_class
    )
    tf.summary.write(tag, value, metadata=metadata)
