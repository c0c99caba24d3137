"""DeepSpeech's network (Hannun et al., 2014) in Keras.

Frames of MFCCs with ``n_context`` frames on each side go through three dense layers with clipped rectifiers,
one bidirectional recurrent layer (an LSTM, as in Mozilla's DeepSpeech), a fourth dense layer, and a last one
that gives the characters and the blank. As in the paper, the network takes every ``n_stride``-th frame.

The first layer, dense on a window of frames, is a convolution over time and is written as one.
"""

from __future__ import annotations

from typing import Any

import keras

from ..settings import Settings
from .layers import Parts


def build(settings: Settings) -> keras.Model:
    """The network of ``settings`` (see :func:`deepspeech_train.models.build`)."""
    sizes, parts = settings.layers, Parts(settings)

    def clipped(outputs: Any, number: str) -> Any:
        return parts.dropout(parts.clipped(outputs, f"clipped_{number}"), f"dropout_{number}")

    def dense(outputs: Any, units: int, number: str) -> Any:
        layer = keras.layers.Dense(
            units, kernel_initializer=parts.weights(), dtype=parts.policy, name=f"layer_{number}"
        )
        return clipped(layer(outputs), number)

    outputs = parts.masked(parts.features, parts.mask(parts.features, 1, "feature_mask"), "features_alone")
    outputs = parts.padded(outputs, settings.n_context, settings.n_context, "context")
    outputs = keras.layers.Conv1D(
        sizes.n_hidden_1,
        2 * settings.n_context + 1,
        strides=settings.n_stride,
        kernel_initializer=parts.weights(),
        dtype=parts.policy,
        name="layer_1",
    )(outputs)
    outputs = clipped(outputs, "1")
    outputs = dense(outputs, sizes.n_hidden_2, "2")
    outputs = dense(outputs, sizes.n_hidden_3, "3")
    mask = parts.mask(outputs, settings.n_stride, "frame_mask")
    outputs = parts.recurrent(outputs, mask, sizes.n_cell_dim, "layer_4")
    outputs = dense(outputs, sizes.n_hidden_5, "5")
    return parts.model(outputs, "layer_6")
