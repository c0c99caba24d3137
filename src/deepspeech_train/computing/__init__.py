"""One training step and one pass forward, compiled: the only place that knows what TensorFlow and JAX do differently.

Keras says which of the two computes (``KERAS_BACKEND=jax``); what trains and what evaluates sees the same two objects.
The step guards the weights: where the loss or the gradient is not finite, nothing is changed by it, neither the weights
nor the optimiser's moments nor the statistics of batch normalisation, which in float32 one infinite batch would
otherwise destroy for good.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from ..data.batches import Batch
from ..errors import SettingsError
from ..settings import Settings

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Step:
    """What a step gave: the loss of each real utterance, shape ``(count,)``; the norm of the gradient before it was
    scaled down; whether both were finite, so that the weights were changed."""

    losses: Floats
    norm: float
    finite: bool

    @property
    def loss_finite(self) -> bool:
        """Whether the loss was: float16 can make a gradient infinite whose loss is well."""
        return bool(np.isfinite(self.losses).all())


class TrainingStep(Protocol):
    """A model with its optimiser. ``variables`` are all of the two that a checkpoint must hold, by name."""

    variables: dict[str, Any]

    def __call__(self, batch: Batch, rate: float, scale: float) -> Step:
        """Learns from a batch with the step size ``rate``; the loss is multiplied with ``scale`` on the way (1:
        not at all), which keeps small gradients from vanishing in float16."""

    def publish(self) -> None:
        """What was learnt stands in the model's and the optimiser's variables, for a checkpoint or an evaluation."""

    def adopt(self) -> None:
        """What stands in those variables, from a checkpoint, is gone on from."""


class Forward(Protocol):
    """A model that recognises."""

    def logits(self, features: Floats, frames: Ints) -> Floats:
        """(batch, time, size) and true frames (batch,) to logits (batch, output frames, characters)."""

    def losses(self, logits: Floats, frames: Ints, labels: Ints, label_lengths: Ints) -> Floats:
        """The CTC loss of each, shape (batch,); ``frames`` are those of the output, and enough for the labels."""


class Profiler(Protocol):
    """A profile of some steps."""

    def start(self, folder: Path) -> None:
        """From now on."""

    def step(self, number: int) -> AbstractContextManager[Any]:
        """Around a step."""

    def stop(self) -> None:
        """Writes what was seen."""


def training_step(model: Any, settings: Settings) -> TrainingStep:
    """The compiled step of Adam for ``model``."""
    optimizer = keras.optimizers.Adam(
        settings.learning_rate, beta_1=settings.beta1, beta_2=settings.beta2, epsilon=settings.epsilon
    )
    optimizer.build(model.trainable_variables)
    if _backend() == "jax":
        from .jax import JaxStep

        return JaxStep(model, optimizer, settings)
    from .tensorflow import TensorFlowStep

    return TensorFlowStep(model, optimizer, settings)


def forward(model: Any) -> Forward:
    """The compiled pass forward of ``model`` without training, with the weights it has when it is called."""
    if _backend() == "jax":
        from .jax import JaxForward

        return JaxForward(model)
    from .tensorflow import TensorFlowForward

    return TensorFlowForward(model)


def begin(settings: Settings) -> str:
    """Sets the seeds and, where there are several GPUs, that models made from now on are on all of them; returns what
    is computed with and on what, in words."""
    keras.utils.set_random_seed(settings.random_seed)
    if _backend() == "jax":
        from .jax import devices
    else:
        from .tensorflow import devices
    return devices(settings)


def gpus() -> list[str]:
    """The GPUs of this machine by their names."""
    if _backend() == "jax":
        from .jax import gpus as named
    else:
        from .tensorflow import gpus as named
    return named()


def fixed_shapes(settings: Settings) -> bool:
    """Whether each shape of a batch costs a compilation, so that there should be few."""
    return settings.xla or _backend() == "jax"


def profiler() -> Profiler:
    """What writes a profile of some steps that TensorBoard shows."""
    if _backend() == "jax":
        from .jax import JaxProfiler

        return JaxProfiler()
    from .tensorflow import TensorFlowProfiler

    return TensorFlowProfiler()


def array(variable: Any) -> npt.NDArray[Any]:
    """The value of a variable of Keras, also of one that is on several GPUs."""
    value: npt.NDArray[Any] = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable))
    return value


def named_variables(model: Any, optimizer: Any) -> dict[str, Any]:
    """Every variable of both, by names that do not depend on what else the process has made."""
    variables = {f"model/{place:03d}": variable for place, variable in enumerate(model.variables)}
    return variables | {f"optimizer/{place:03d}": item for place, item in enumerate(optimizer.variables)}


def _backend() -> str:
    name = str(keras.config.backend())
    if name not in ("tensorflow", "jax"):
        raise SettingsError(
            f"Keras computes with {name} (KERAS_BACKEND or ~/.keras/keras.json), for which there is no training step.",
            "Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax.",
        )
    return name
