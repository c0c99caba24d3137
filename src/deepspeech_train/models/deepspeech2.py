"""DeepSpeech2's network (Amodei et al., 2015) in Keras.

Two or three convolutions over time and frequency, ``n_recurrent_layers`` LSTM or GRU layers, and a dense layer that
gives the characters and the blank. Each convolution is followed by batch normalisation and a clipped rectifier; each
recurrent layer but the first has batch normalisation before it; both directions are added up. With
``bidirectional=0`` the layers read forward alone and a row convolution lets each output see ``n_row_context`` outputs
of the future: a network for streaming.

The convolutions are the paper's where the input is its own (161 bins: 11 x 41, 11 x 21, 11 x 21 frames x bins, each
halving the frequencies); with fewer bands their reach in frequency shrinks in proportion. Their strides in time
multiply to ``n_stride``, the first taking most: with 2, the paper's, 2 and 1.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from ..settings import Settings
from .layers import Parts, SumOfDirections

_FRAMES = 11  # of a convolution's kernel
_FREQUENCY_STRIDE = 2
#: Channels of the third convolution, as a multiple of the others'.
_LAST_CHANNELS = 3
#: oneDNN has no quick way for kernels wider than this: the gradient of one of 21 took ten times as long.
_WIDEST = 14


@keras.saving.register_keras_serializable("deepspeech_train")
class SpectralConvolution(keras.layers.Layer):  # type: ignore[misc]
    """A convolution over (batch, frames, bands, channels) with zeros around: to (batch, ceil(frames / stride in time),
    ceil(bands / stride in frequency), filters).

    ``kernel_size`` and ``strides`` are (time, frequency), the kernel's sizes odd. What it computes, and its kernel
    (time, frequency, channels, filters), are those of Conv2D. How it does so: a wide kernel with a stride in frequency
    is slow on CPUs, so that neighbouring bands are first folded into the channels, as many as bring the kernel to at
    most 14 steps of no stride; where that gives more than one output a step, each has a shifted copy of the kernel.
    On two cores a training step of the paper's two took 0.9 s in place of 3.6 s (8 x 600 frames).
    """

    def __init__(self, filters: int, kernel_size: tuple[int, int], strides: tuple[int, int], **options: Any) -> None:
        kernel_initializer = options.pop("kernel_initializer", "he_normal")
        super().__init__(**options)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(
            shape=(*self.kernel_size, shape[-1], self.filters), initializer=self.kernel_initializer, name="kernel"
        )

    def call(self, inputs: Any) -> Any:
        (height, width), (time_stride, stride) = self.kernel_size, self.strides
        bands, channels = inputs.shape[2:]
        fold, taps = self._folding()
        per_step = fold // stride
        out_bands = -(-bands // stride)
        steps = -(-out_bands // per_step)
        left, total = (width - 1) // 2, (steps + taps - 1) * fold
        around = [[0, 0], [(height - 1) // 2, (height - 1) // 2], [left, total - left - bands], [0, 0]]
        padded = ops.pad(inputs, around)
        batch, frames = ops.shape(padded)[:2]
        folded = ops.reshape(padded, (batch, frames, steps + taps - 1, fold * channels))
        shifted = [
            ops.pad(self.kernel, [[0, 0], [place * stride, taps * fold - width - place * stride], [0, 0], [0, 0]])
            for place in range(per_step)
        ]
        kernel = ops.concatenate(
            [ops.reshape(each, (height, taps, fold * channels, self.filters)) for each in shifted], axis=-1
        )
        outputs = ops.conv(folded, kernel, strides=(time_stride, 1), padding="valid", data_format="channels_last")
        batch, frames = ops.shape(outputs)[:2]
        return ops.reshape(outputs, (batch, frames, steps * per_step, self.filters))[:, :, :out_bands]

    def _folding(self) -> tuple[int, int]:
        """Bands folded into one step, and the kernel's steps."""
        width, stride = self.kernel_size[1], self.strides[1]
        fold = stride
        while -(-(width + fold - stride) // fold) > _WIDEST:
            fold *= 2
        return fold, -(-(width + fold - stride) // fold)

    def compute_output_shape(self, shape: Any) -> Any:
        frames = None if shape[1] is None else -(-shape[1] // self.strides[0])
        return (shape[0], frames, -(-shape[2] // self.strides[1]), self.filters)

    def get_config(self) -> dict[str, Any]:
        own = {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("deepspeech_train")
class Expanded(keras.layers.Layer):  # type: ignore[misc]
    """(batch, frames, bands) as one channel, (batch, frames, bands, 1)."""

    def call(self, inputs: Any) -> Any:
        return ops.expand_dims(inputs, -1)

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape, 1)


def time_strides(n_stride: int, layers: int) -> tuple[int, ...]:
    """Strides of the convolutions, whose product is ``n_stride``: its prime factors, from the greatest, each to the
    layer that has least yet.

    >>> time_strides(2, 2), time_strides(6, 2), time_strides(8, 3)
    ((2, 1), (3, 2), (2, 2, 2))
    """
    strides = [1] * layers
    for prime in (7, 5, 3, 2):
        while n_stride % (math.prod(strides) * prime) == 0:
            place = strides.index(min(strides))
            strides[place] *= prime
    return tuple(strides)


def build(settings: Settings) -> keras.Model:
    """The network of ``settings`` (see :func:`deepspeech_train.models.build`)."""
    parts = Parts(settings)
    units = settings.layers.n_cell_dim
    size, stride = settings.feature_options.size, 1
    mask = parts.mask(parts.features, 1, "feature_mask")
    outputs = parts.masked(parts.features, mask, "features_alone")
    outputs = Expanded(dtype=parts.policy, name="channel")(outputs)
    strides = time_strides(settings.n_stride, settings.n_conv_layers)
    for number, time_stride in enumerate(strides, 1):
        reach = size // 4 if number == 1 else size // 8
        outputs = SpectralConvolution(
            settings.n_conv_channels * (_LAST_CHANNELS if number == 3 else 1),
            (_FRAMES, max(3, reach | 1)),
            (time_stride, _FREQUENCY_STRIDE),
            kernel_initializer=parts.weights(),
            dtype=parts.policy,
            name=f"conv_{number}",
        )(outputs)
        stride *= time_stride
        outputs, mask = _rectified(parts, outputs, stride, f"conv_{number}")
    bands, channels = outputs.shape[2:]
    outputs = keras.layers.Reshape((-1, bands * channels), dtype=parts.policy, name="bands_as_units")(outputs)
    statistics = parts.mask(outputs, stride, "statistics_mask", least=2)
    for number in range(1, settings.n_recurrent_layers + 1):
        if number > 1:
            outputs = parts.normalised(outputs, statistics, f"norm_{number}")
        outputs = parts.recurrent(
            outputs, mask, units, f"recurrent_{number}", settings.recurrent_cell, settings.bidirectional
        )
        if settings.bidirectional:
            outputs = SumOfDirections(dtype=parts.policy, name=f"sum_{number}")(outputs)
        outputs = parts.dropout(outputs, f"dropout_{number}")
    if settings.n_row_context:
        outputs = parts.masked(outputs, mask, "mask_row")
        outputs = parts.padded(outputs, 0, settings.n_row_context, "future")
        outputs = keras.layers.DepthwiseConv1D(
            settings.n_row_context + 1,
            use_bias=False,
            depthwise_initializer=keras.initializers.GlorotUniform(seed=parts.seed()),
            dtype=parts.policy,
            name="row",
        )(outputs)
        outputs = parts.clipped(outputs, "clipped_row")
    outputs = parts.normalised(outputs, statistics, "norm_last")
    return parts.model(outputs, "characters")


def _rectified(parts: Parts, outputs: Any, stride: int, name: str) -> tuple[Any, Any]:
    """Normalised, clipped and masked outputs of a convolution, and the mask of their frames."""
    statistics = parts.mask(outputs, stride, f"statistics_mask_{name}", least=2)
    mask = parts.mask(outputs, stride, f"mask_{name}")
    outputs = parts.clipped(parts.normalised(outputs, statistics, f"norm_{name}"), f"clipped_{name}")
    return parts.masked(outputs, mask, f"masked_{name}"), mask
