"""What a network costs: its layers with their parameters and multiply-adds.

Counted are the multiply-adds of convolutions, dense and recurrent layers, in inference. In all of them each weight of
a matrix or kernel is multiplied once for every output in time (and frequency), so that a layer's count is its weights,
biases left out, times those outputs. Training takes about three times as many. They are given for a second of audio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

from ..settings import Settings

_LONG = 10.0


@dataclass(frozen=True)
class LayerCost:
    """``shape`` is what the layer gives for one utterance (outputs in time, ..., channels)."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: float
    """for a second of audio"""


@dataclass(frozen=True)
class Summary:
    """The layers that have parameters, in order. Printed, it is a table."""

    model: str
    seconds: float
    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> float:
        """For a second of audio."""
        return sum(layer.multiply_adds for layer in self.layers)

    def __str__(self) -> str:
        heads = ("layer", f"outputs of {self.seconds:g} s", "parameters", "multiply-adds/s")
        rows = [
            (layer.name, " x ".join(map(str, layer.shape)), f"{layer.parameters:,}", _told(layer.multiply_adds))
            for layer in self.layers
        ]
        rows.append((self.model, "", f"{self.parameters:,}", _told(self.multiply_adds)))
        widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
        lines = [_line(heads, widths), *(_line(row, widths) for row in rows)]
        lines.insert(-1, "-" * len(lines[0]))
        return "\n".join(lines)


def summary(model: keras.Model, settings: Settings, seconds: float = _LONG) -> Summary:
    """The costs of ``model``, built by ``settings``, for an utterance of ``seconds``."""
    frames = settings.feature_options.frame_count(round(seconds * settings.sample_rate))
    layers = [layer for layer in model.layers if layer.weights]
    shapes = keras.Function(model.input, [layer.output for layer in layers]).compute_output_spec(
        {
            "features": keras.KerasTensor((1, frames, settings.feature_options.size), dtype="float32"),
            "frames": keras.KerasTensor((1,), dtype="int32"),
        }
    )
    return Summary(
        model.name,
        seconds,
        tuple(_cost(layer, output.shape[1:], seconds) for layer, output in zip(layers, shapes, strict=True)),
    )


def _cost(layer: Any, shape: tuple[int, ...], seconds: float) -> LayerCost:
    matrices = sum(math.prod(weight.shape) for weight in layer.trainable_weights if _multiplies(weight))
    return LayerCost(
        name=layer.name,
        shape=tuple(shape),
        parameters=sum(math.prod(weight.shape) for weight in layer.trainable_weights),
        multiply_adds=matrices * math.prod(shape[:-1]) / seconds,
    )


def _multiplies(weight: Any) -> bool:
    """Not a bias or a scale; Keras' GRU has a bias of two rows."""
    return len(weight.shape) > 1 and not weight.path.endswith("bias")


def _told(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:.0f}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *others = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((first, *others))
