"""What the networks are built of beside Keras' own layers: masks of the padding, and the parts that all have alike.

Utterances of a batch are as long as the longest; ``frames`` says where each ends. Every network keeps to one rule:
what stands past an utterance's end is zero wherever a layer looks to its side or takes statistics, so that an utterance
gives the same outputs whatever it was batched with. Keras' public API alone, for every backend.

Layers are given the arithmetic of ``settings.precision`` one by one (``Parts.policy``), never by a global policy. Under
bfloat16 and float16 the variables, the statistics of batch normalisation and the logits stay float32.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras
from keras import ops

from ..settings import Settings
from .recurrent import recurrent

#: Settings' name of an arithmetic to Keras' of the policy that has float32 variables.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

#: Share of the old in the running mean and variance. Keras' own 0.99 is for thousands of steps: after the eighty of
#: eight epochs of a small corpus, 45 % of the statistics would still be the zeros and ones of the beginning.
_MOMENTUM = 0.9


@keras.saving.register_keras_serializable("deepspeech_train")
class FrameMask(keras.layers.Layer):  # type: ignore[misc]
    """True where an utterance has a frame: from outputs (batch, frames, ...) and input frames (batch,) to
    (batch, frames) bool. An utterance of fewer than ``least`` input frames has none."""

    def __init__(self, n_stride: int, least: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.n_stride = n_stride
        self.least = least

    def call(self, outputs: Any, frames: Any) -> Any:
        places = ops.arange(ops.shape(outputs)[1], dtype="int32")
        frames = ops.where(frames < self.least, 0, frames)
        return places[None, :] * self.n_stride < frames[:, None]

    def compute_output_spec(self, outputs: Any, frames: Any) -> Any:
        return keras.KerasTensor(outputs.shape[:2], dtype="bool")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_stride": self.n_stride, "least": self.least}


@keras.saving.register_keras_serializable("deepspeech_train")
class Masked(keras.layers.Layer):  # type: ignore[misc]
    """Zero where ``mask`` (batch, frames) is False, for inputs (batch, frames, ...)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True  # Keras' recurrent layers hand theirs on, unasked

    def call(self, inputs: Any, mask: Any) -> Any:
        for _ in range(len(inputs.shape) - 2):
            mask = ops.expand_dims(mask, -1)
        return ops.where(mask, inputs, ops.zeros((), inputs.dtype))

    def compute_output_spec(self, inputs: Any, mask: Any) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """The mask ends here."""


@keras.saving.register_keras_serializable("deepspeech_train")
class FrameNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation whose mean and variance are those of the frames where ``mask`` (batch, frames) is True,
    over the whole batch: sequence-wise, as in Laurent et al. (2015). Inputs (batch, frames, channels) or
    (batch, frames, bands, channels)."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if mask is not None and len(inputs.shape) == 4:
            mask = ops.broadcast_to(mask[:, :, None], ops.shape(inputs)[:3])
        return super().call(inputs, training=training, mask=mask)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Masks are handed over by name here, never along with outputs."""


@keras.saving.register_keras_serializable("deepspeech_train")
class SumOfDirections(keras.layers.Layer):  # type: ignore[misc]
    """The outputs of both directions (batch, frames, 2 x units) added up, as in Amodei et al. (2015)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        forward, backward = ops.split(inputs, 2, axis=-1)
        return forward + backward

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape[:-1], shape[-1] // 2)


class Parts:
    """The parts that all networks have alike, made by the settings; each takes the next seed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.policy = POLICIES[settings.precision]
        self.seeds = itertools.count(settings.random_seed)
        self.features = keras.Input((None, settings.feature_options.size), dtype="float32", name="features")
        self.frames = keras.Input((), dtype="int32", name="frames")

    def seed(self) -> int:
        return next(self.seeds)

    def weights(self) -> keras.initializers.Initializer:
        """First weights of a layer before a rectifier: by its fan-in (He et al., 2015), or ``default_stddev``."""
        if self.settings.default_stddev:
            return keras.initializers.RandomNormal(stddev=self.settings.default_stddev, seed=self.seed())
        return keras.initializers.HeNormal(seed=self.seed())

    def mask(self, outputs: Any, stride: int, name: str, least: int = 1) -> Any:
        return FrameMask(stride, least, dtype=self.policy, name=name)(outputs, self.frames)

    def masked(self, outputs: Any, mask: Any, name: str) -> Any:
        return Masked(dtype=self.policy, name=name)(outputs, mask)

    def normalised(self, outputs: Any, mask: Any, name: str) -> Any:
        return FrameNormalization(momentum=_MOMENTUM, dtype=self.policy, name=name)(outputs, mask=mask)

    def clipped(self, outputs: Any, name: str) -> Any:
        """The rectifier bounded by ``relu_clip``."""
        return keras.layers.ReLU(max_value=self.settings.relu_clip, dtype=self.policy, name=name)(outputs)

    def dropout(self, outputs: Any, name: str) -> Any:
        if not self.settings.dropout_rate:
            return outputs
        layer = keras.layers.Dropout(self.settings.dropout_rate, seed=self.seed(), dtype=self.policy, name=name)
        return layer(outputs)

    def padded(self, outputs: Any, left: int, right: int, name: str) -> Any:
        """Frames of zeros before and after: unlike Keras' padding="same", alike for every length of the batch."""
        return keras.layers.ZeroPadding1D((left, right), dtype=self.policy, name=name)(outputs)

    def recurrent(self, outputs: Any, mask: Any, units: int, name: str, cell: str = "lstm", both: bool = True) -> Any:
        layer = recurrent(units, cell=cell, bidirectional=both, seed=self.seed(), name=name, dtype=self.policy)
        return layer(outputs, mask=mask)

    def model(self, outputs: Any, name: str) -> keras.Model:
        """The network: ``outputs`` through the last dense layer, which gives the characters and the blank."""
        last = keras.layers.Dense(
            self.settings.characters.size, kernel_initializer=self.weights(), dtype="float32", name=name
        )
        inputs = {"features": self.features, "frames": self.frames}
        return keras.Model(inputs, last(outputs), name=self.settings.model)
