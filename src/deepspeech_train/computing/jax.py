"""The training step and the pass forward on JAX: pure functions of the variables, compiled by XLA for each shape.

On several devices the rows of a batch are spread over them and the variables are on all; XLA sums the gradients.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .. import ctc
from ..data.batches import Batch
from ..models import output_frames, stride
from ..settings import Settings
from . import Floats, Ints, Step, named_variables


class JaxStep:
    """See :class:`computing.TrainingStep`."""

    def __init__(self, model: Any, optimizer: Any, settings: Settings) -> None:
        self.variables = named_variables(model, optimizer)
        self._model, self._optimizer = model, optimizer
        used = jax.devices() if settings.data_parallel else jax.devices()[:1]
        self._mesh = Mesh(np.array(used), ("batch",))
        self._step = jax.jit(_pure_step(model, optimizer, settings), donate_argnums=0)
        self._state: Any = None
        self.adopt()

    def __call__(self, batch: Batch, rate: float, scale: float) -> Step:
        copies = self._mesh.devices.size
        rows = NamedSharding(self._mesh, PartitionSpec("batch"))
        arrays = [
            jax.device_put(_filled(array, copies, fill), rows)
            for array, fill in (
                (batch.features, 0),
                (batch.frames, 1),
                (batch.labels, 0),
                (batch.label_lengths, 0),
            )
        ]
        self._state, losses, norm, finite = self._step(self._state, *arrays, np.float32(rate), np.float32(scale))
        return Step(np.asarray(losses)[: batch.count], float(norm), bool(finite))

    def publish(self) -> None:
        """See :class:`computing.TrainingStep`."""
        for variables, values in zip(self._groups(), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(np.asarray(value))

    def adopt(self) -> None:
        """See :class:`computing.TrainingStep`."""
        everywhere = NamedSharding(self._mesh, PartitionSpec())
        # Copies: the step gives its arguments' memory away, and the variables must stay whole.
        self._state = tuple(
            [jax.device_put(np.array(variable.value), everywhere) for variable in variables]
            for variables in self._groups()
        )

    def _groups(self) -> tuple[Any, Any, Any]:
        return self._model.trainable_variables, self._model.non_trainable_variables, self._optimizer.variables


class JaxForward:
    """See :class:`computing.Forward`."""

    def __init__(self, model: Any) -> None:
        self._model = model

        def logits(weights: Any, others: Any, features: Any, frames: Any) -> Any:
            inputs = {"features": features, "frames": frames}
            return model.stateless_call(weights, others, inputs, training=False)[0]

        self._logits = jax.jit(logits)
        self._losses = jax.jit(ctc.loss)

    def logits(self, features: Floats, frames: Ints) -> Floats:
        weights = [variable.value for variable in self._model.trainable_variables]
        others = [variable.value for variable in self._model.non_trainable_variables]
        return np.asarray(self._logits(weights, others, features, frames))

    def losses(self, logits: Floats, frames: Ints, labels: Ints, label_lengths: Ints) -> Floats:
        return np.asarray(self._losses(logits, frames, labels, label_lengths))


def devices(settings: Settings) -> str:
    """See :func:`computing.begin`."""
    used = jax.devices() if settings.data_parallel else jax.devices()[:1]
    return f"JAX {jax.__version__} on {', '.join(device.device_kind for device in used)}"


def gpus() -> list[str]:
    """See :func:`computing.gpus`."""
    return [device.device_kind for device in jax.devices() if device.platform == "gpu"]


def _pure_step(model: Any, optimizer: Any, settings: Settings) -> Any:
    """(state, features, frames, labels, label lengths, step size, scale) to (state, losses, norm, finite)."""
    total_stride = stride(settings)

    def scaled_loss(
        weights: Any, others: Any, features: Any, frames: Any, labels: Any, label_lengths: Any, scale: Any
    ) -> tuple[Any, Any]:
        inputs = {"features": features, "frames": frames}
        logits, others = model.stateless_call(weights, others, inputs, training=True)
        losses = ctc.loss(logits, output_frames(frames, total_stride), labels, label_lengths)
        real = label_lengths > 0
        losses = jnp.where(real, losses, 0.0)
        loss = jnp.sum(losses) / jnp.sum(real)
        return loss * scale, (loss, losses, others)

    def step(state: Any, *arguments: Any) -> tuple[Any, Any, Any, Any]:
        weights, others, moments = state
        *arrays, rate, scale = arguments
        (_, (loss, losses, new_others)), gradients = jax.value_and_grad(scaled_loss, has_aux=True)(
            weights, others, *arrays, scale
        )
        gradients = [gradient / scale for gradient in gradients]
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient.astype(jnp.float32))) for gradient in gradients))
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        shrink = jnp.minimum(1.0, settings.max_gradient_norm / jnp.maximum(norm, 1e-12))
        moments_at_rate = [
            rate if variable is optimizer.learning_rate else value
            for variable, value in zip(optimizer.variables, moments, strict=True)
        ]
        new_weights, new_moments = optimizer.stateless_apply(
            moments_at_rate, [gradient * shrink for gradient in gradients], weights
        )
        new = (new_weights, new_others, new_moments)
        kept = jax.tree_util.tree_map(lambda after, before: jnp.where(finite, after, before), new, state)
        return kept, losses, norm, finite

    return step


def _filled(array: Any, copies: int, fill: int) -> Any:
    """Rows added so that every device has as many."""
    missing = -len(array) % copies
    if not missing:
        return array
    return np.concatenate([array, np.full((missing, *array.shape[1:]), fill, array.dtype)])


class JaxProfiler:
    """See :class:`computing.Profiler`."""

    def start(self, folder: Path) -> None:
        jax.profiler.start_trace(str(folder))

    def step(self, number: int) -> Any:
        return jax.profiler.StepTraceAnnotation("train", step_num=number)

    def stop(self) -> None:
        jax.profiler.stop_trace()
