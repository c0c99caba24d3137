"""DeepSpeech's network (Hannun et al., 2014) in Keras.

Frames of MFCCs with ``n_context`` frames on each side go through three dense layers with clipped rectifiers,
one bidirectional recurrent layer (an LSTM, as in Mozilla's DeepSpeech), a fourth dense layer, and a last one
that gives the characters and the blank. As in the paper, the network takes every ``n_stride``-th frame.

The first layer, dense on a window of frames, is a convolution over time and is written as one. Keras runs the
LSTM with cuDNN where there is a GPU; on two CPU cores it was as fast as a fused kernel (BlockLSTM), as one
loop for both directions, and as that loop under XLA (0.6 to 1.6 times their time, by size).
"""

from __future__ import annotations

from typing import Any

import keras

from . import text
from .settings import Settings


@keras.saving.register_keras_serializable("deepspeech_train")
class FrameMask(keras.layers.Layer):  # type: ignore[misc]
    """True where an utterance has a frame: from outputs (batch, frames, units) and input frames (batch,)."""

    def __init__(self, n_stride: int, **options: Any) -> None:
        super().__init__(**options)
        self.n_stride = n_stride

    def call(self, outputs: Any, frames: Any) -> Any:
        places = keras.ops.arange(keras.ops.shape(outputs)[1])
        return places[None, :] * self.n_stride < frames[:, None]

    def compute_output_spec(self, outputs: Any, frames: Any) -> Any:
        return keras.KerasTensor(outputs.shape[:2], dtype="bool")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_stride": self.n_stride}


def build(settings: Settings) -> keras.Model:
    """The network: {"features": (batch, frames, n_input) float32, "frames": (batch,) int32} to logits
    (batch, ceil(frames / n_stride), characters) float32.

    Weights are a function of ``random_seed``. Padding past ``frames`` must be zeros; it does not change the
    logits of the frames before it.
    """
    sizes = settings.layers
    seeds = iter(range(settings.random_seed, settings.random_seed + 100))

    def weights() -> keras.initializers.Initializer:
        if settings.default_stddev:
            return keras.initializers.RandomNormal(stddev=settings.default_stddev, seed=next(seeds))
        return keras.initializers.HeNormal(seed=next(seeds))

    def clipped(inputs: Any, name: str) -> Any:
        outputs = keras.layers.ReLU(max_value=settings.relu_clip, name=f"clipped_{name}")(inputs)
        if not settings.dropout_rate:
            return outputs
        return keras.layers.Dropout(settings.dropout_rate, seed=next(seeds), name=f"dropout_{name}")(outputs)

    features = keras.Input((None, settings.n_input), dtype="float32", name="features")
    frames = keras.Input((), dtype="int32", name="frames")
    padded = keras.layers.ZeroPadding1D(settings.n_context, name="context")(features)
    outputs = keras.layers.Conv1D(
        sizes.n_hidden_1,
        2 * settings.n_context + 1,
        strides=settings.n_stride,
        kernel_initializer=weights(),
        name="layer_1",
    )(padded)
    outputs = clipped(outputs, "1")
    for number, units in (("2", sizes.n_hidden_2), ("3", sizes.n_hidden_3)):
        outputs = keras.layers.Dense(units, kernel_initializer=weights(), name=f"layer_{number}")(outputs)
        outputs = clipped(outputs, number)
    lstm = keras.layers.LSTM(
        sizes.n_cell_dim,
        return_sequences=True,
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
    )
    mask = FrameMask(settings.n_stride, name="frame_mask")(outputs, frames)
    outputs = keras.layers.Bidirectional(lstm, name="layer_4")(outputs, mask=mask)
    outputs = keras.layers.Dense(sizes.n_hidden_5, kernel_initializer=weights(), name="layer_5")(outputs)
    outputs = clipped(outputs, "5")
    logits = keras.layers.Dense(text.N_CHARACTER, kernel_initializer=weights(), dtype="float32", name="layer_6")(
        outputs
    )
    return keras.Model({"features": features, "frames": frames}, logits, name="deepspeech")
