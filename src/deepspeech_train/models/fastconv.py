"""A small convolutional network for machines without a GPU, in Keras: after QuartzNet (Kriman et al., 2019).

A convolution over time takes the frames down to one in ``n_stride``; ``n_blocks`` residual blocks follow, each a
depthwise convolution over ``kernel_size`` outputs, a pointwise one, batch normalisation and a rectifier; a dense layer
gives the characters and the blank. Nothing is recurrent, so that all frames are computed at once: on two cores a step
of training takes a small part of what a recurrent network's takes. Depthwise, because Keras' plain convolution of 11
frames took ten times as long (192 channels), and grouped ones more than a hundred times.
"""

from __future__ import annotations

from typing import Any

import keras

from ..settings import Settings
from .layers import Parts


def build(settings: Settings) -> keras.Model:
    """The network of ``settings`` (see :func:`deepspeech_train.models.build`)."""
    parts, stride = Parts(settings), settings.n_stride
    outputs = parts.masked(parts.features, parts.mask(parts.features, 1, "feature_mask"), "features_alone")
    reach = 2 * stride + 1  # frames of an output and of half of each neighbour
    outputs = parts.padded(outputs, stride, stride, "around")
    outputs = keras.layers.Conv1D(
        settings.n_hidden,
        reach,
        strides=stride,
        use_bias=False,
        kernel_initializer=parts.weights(),
        dtype=parts.policy,
        name="stem",
    )(outputs)
    mask = parts.mask(outputs, stride, "frame_mask")
    statistics = parts.mask(outputs, stride, "statistics_mask", least=2)
    outputs = _rectified(parts, outputs, statistics, "stem")
    for number in range(1, settings.n_blocks + 1):
        name = f"block_{number}"
        inputs = parts.masked(outputs, mask, f"masked_{name}")
        outputs = parts.padded(inputs, (settings.kernel_size - 1) // 2, settings.kernel_size // 2, f"around_{name}")
        outputs = keras.layers.DepthwiseConv1D(
            settings.kernel_size,
            use_bias=False,
            depthwise_initializer=keras.initializers.GlorotUniform(seed=parts.seed()),
            dtype=parts.policy,
            name=f"depthwise_{name}",
        )(outputs)
        outputs = keras.layers.Dense(
            settings.n_hidden,
            use_bias=False,
            kernel_initializer=parts.weights(),
            dtype=parts.policy,
            name=f"pointwise_{name}",
        )(outputs)
        outputs = _rectified(parts, outputs, statistics, name)
        outputs = keras.layers.Add(dtype=parts.policy, name=f"sum_{name}")([inputs, outputs])
    return parts.model(outputs, "characters")


def _rectified(parts: Parts, outputs: Any, statistics: Any, name: str) -> Any:
    outputs = parts.normalised(outputs, statistics, f"norm_{name}")
    return parts.dropout(parts.clipped(outputs, f"clipped_{name}"), f"dropout_{name}")
