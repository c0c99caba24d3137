"""The training step and the pass forward on TensorFlow: on a CPU, on a GPU, on all GPUs of a machine.

On several GPUs each has a copy of the network and takes every n-th utterance of a batch (``MirroredStrategy``);
gradients are summed over them before their norm is looked at, so that a step is the same as on one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from .. import ctc
from ..data.batches import Batch
from ..models import output_frames, stride
from ..settings import Settings
from . import Floats, Ints, Step, named_variables


class TensorFlowStep:
    """See :class:`computing.TrainingStep`."""

    def __init__(self, model: Any, optimizer: Any, settings: Settings) -> None:
        self.variables = named_variables(model, optimizer)
        self._strategy = tf.distribute.get_strategy()
        self._step = _compiled(self._strategy, model, optimizer, settings)

    def __call__(self, batch: Batch, rate: float, scale: float) -> Step:
        arrays = (batch.features, batch.frames, batch.labels, batch.label_lengths)
        copies = self._strategy.num_replicas_in_sync
        values = [
            _shared(self._strategy, array, copies, fill) for array, fill in zip(arrays, (0, 1, 0, 0), strict=True)
        ]
        losses, norm, finite = self._step(*values, np.float32(rate), np.float32(scale))
        return Step(_together(losses, copies)[: batch.count], float(norm), bool(finite))

    def publish(self) -> None:
        """The variables themselves are what is trained."""

    def adopt(self) -> None:
        """Likewise."""


class TensorFlowForward:
    """See :class:`computing.Forward`."""

    def __init__(self, model: Any) -> None:
        ints, logits_spec = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None, model.output.shape[-1]))
        features_spec = tf.TensorSpec((None, None, model.input["features"].shape[-1]))

        def logits(features: Any, frames: Any) -> Any:
            return model({"features": features, "frames": frames}, training=False)

        self._logits = tf.function(logits, input_signature=[features_spec, ints], autograph=False)
        labels_spec = tf.TensorSpec((None, None), tf.int32)
        self._losses = tf.function(ctc.loss, input_signature=[logits_spec, ints, labels_spec, ints], autograph=False)

    def logits(self, features: Floats, frames: Ints) -> Floats:
        result: Floats = self._logits(features, frames).numpy()
        return result

    def losses(self, logits: Floats, frames: Ints, labels: Ints, label_lengths: Ints) -> Floats:
        result: Floats = self._losses(logits, frames, labels, label_lengths).numpy()
        return result


def devices(settings: Settings) -> str:
    """See :func:`computing.begin`."""
    tf.debugging.set_log_device_placement(settings.log_device_placement)
    names = gpus()
    count = len(tf.config.list_logical_devices("GPU"))
    if count > 1 and settings.data_parallel:
        tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy())
    used = count if settings.data_parallel else min(count, 1)
    told = ", ".join(names[:used]) if used else f"{len(os.sched_getaffinity(0))} CPU cores"
    return f"TensorFlow {tf.__version__} on {told}"


def gpus() -> list[str]:
    """See :func:`computing.gpus`."""
    found = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in found]


def _compiled(strategy: Any, model: Any, optimizer: Any, settings: Settings) -> Any:
    """(features, frames, labels, label lengths, step size, scale) to (losses, norm, finite)."""
    weights = model.trainable_variables
    others = model.non_trainable_variables
    total_stride = stride(settings)
    copies = strategy.num_replicas_in_sync

    def logits_of(features: Any, frames: Any) -> Any:
        return model({"features": features, "frames": frames}, training=True)

    # The loss has a kernel of its own, which XLA does not know, and recurrent layers have cuDNN's on a GPU.
    if settings.xla and not (gpus() and settings.model != "fastconv"):
        logits_of = tf.function(logits_of, jit_compile=True, autograph=False)

    def gradients_of(features: Any, frames: Any, labels: Any, label_lengths: Any, scale: Any) -> tuple[Any, ...]:
        replica = tf.distribute.get_replica_context()
        real = tf.cast(label_lengths > 0, tf.float32)
        count = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(real))
        with tf.GradientTape() as tape:
            logits = logits_of(features, frames)
            losses = ctc.loss(logits, output_frames(frames, total_stride), labels, label_lengths)
            # Rows that only fill up the shape have no labels; whatever their loss, it must not count.
            losses = tf.where(real > 0, losses, tf.zeros_like(losses))
            loss = tf.reduce_sum(losses) / count
            scaled = loss * scale
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, tape.gradient(scaled, weights))
        gradients = [gradient / scale for gradient in gradients]
        clipped, norm = tf.clip_by_global_norm(gradients, settings.max_gradient_norm)
        total = replica.all_reduce(tf.distribute.ReduceOp.SUM, loss)
        return losses, norm, tf.math.is_finite(total) & tf.math.is_finite(norm), clipped

    def apply(rate: Any, gradients: Any) -> None:
        optimizer.learning_rate.assign(rate)
        # Keras' optimiser sums over the copies of the network, each of which has the sum already.
        optimizer.apply([gradient / copies for gradient in gradients])

    def restore(before: Any) -> None:
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)

    def step(features: Any, frames: Any, labels: Any, label_lengths: Any, rate: Any, scale: Any) -> tuple[Any, ...]:
        before = strategy.run(lambda: [tf.identity(variable.value) for variable in others])
        losses, norm, finite, gradients = strategy.run(gradients_of, (features, frames, labels, label_lengths, scale))
        finite = strategy.experimental_local_results(finite)[0]

        def learn() -> Any:
            strategy.run(apply, (rate, gradients))
            return finite

        def forget() -> Any:  # batch normalisation has already taken the batch into its statistics
            strategy.run(restore, (before,))
            return finite

        tf.cond(finite, learn, forget)
        return losses, strategy.experimental_local_results(norm)[0], finite

    if copies > 1:
        return tf.function(step, reduce_retracing=True, autograph=False)
    ints, floats = tf.TensorSpec((None,), tf.int32), tf.TensorSpec(())
    features_spec = tf.TensorSpec((None, None, settings.feature_options.size))
    labels_spec = tf.TensorSpec((None, None), tf.int32)
    return tf.function(step, input_signature=[features_spec, ints, labels_spec, ints, floats, floats], autograph=False)


def _shared(strategy: Any, array: Any, copies: int, fill: int) -> Any:
    """Every n-th row to each copy of the network, filled up so that all have as many."""
    if copies == 1:
        return array
    missing = -len(array) % copies
    if missing:
        array = np.concatenate([array, np.full((missing, *array.shape[1:]), fill, array.dtype)])
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(array[context.replica_id_in_sync_group :: copies])
    )


def _together(losses: Any, copies: int) -> Floats:
    """The rows of all copies in the order of the batch."""
    if copies == 1:
        whole: Floats = losses.numpy()
        return whole
    parts = [part.numpy() for part in losses.values]
    return np.stack(parts, axis=1).reshape(-1)


class TensorFlowProfiler:
    """See :class:`computing.Profiler`."""

    def start(self, folder: Path) -> None:
        tf.profiler.experimental.start(str(folder))

    def step(self, number: int) -> Any:
        return tf.profiler.experimental.Trace("train", step_num=number, _r=1)

    def stop(self) -> None:
        tf.profiler.experimental.stop()
