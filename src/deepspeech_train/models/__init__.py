"""The networks: ``deepspeech1`` (2014), ``deepspeech2`` (2015) and ``fastconv``, a small convolutional one.

All take and give the same, so that training, decoding and export know none of them by name:

    {"features": (batch, frames, size) float32, "frames": (batch,) int32} -> logits (batch, ceil(frames / stride),
    characters) float32, the blank last

Weights are a function of ``random_seed``. What stands past an utterance's ``frames`` never changes its logits.

>>> model = build(Settings(model="fastconv"))
>>> summary(model, settings).parameters
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from ..settings import Settings
from . import deepspeech1, deepspeech2, fastconv
from .summary import Summary, summary

__all__ = ["Summary", "build", "output_frames", "stride", "summary"]

_BUILDERS: dict[str, Callable[[Settings], keras.Model]] = {
    "deepspeech1": deepspeech1.build,
    "deepspeech2": deepspeech2.build,
    "fastconv": fastconv.build,
}


def build(settings: Settings) -> keras.Model:
    """The network that ``settings.model`` names, with its first weights."""
    return _BUILDERS[settings.model](settings)


def stride(settings: Settings) -> int:
    """Frames of features for each output."""
    return settings.n_stride


def output_frames(frames: Any, stride: int) -> Any:
    """Outputs for so many frames, ``ceil(frames / stride)``: of one number, or of each in an array or tensor."""
    return -(-frames // stride)
