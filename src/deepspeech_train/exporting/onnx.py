"""ONNX: for ONNX Runtime, which runs on most systems and from most languages.

Inputs are ``features`` (batch, frames, size) float32 and ``frames`` (batch,) int32, the output is ``logits`` (batch,
outputs, characters) float32. Recurrent layers are ONNX' own LSTM and GRU, told each utterance's length.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .formats import Floats, Ints, Runner
from .portable import Recurrent, marked, portable, recurrent_layers

#: That of 2021: since 15 LSTM and GRU are as they are, and every runtime of these years has 17.
_OPSET = 17
#: The gates of ONNX in the order of Keras' (LSTM: input, output, forget, cell of input, forget, cell, output).
_GATES = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2)}


def converted(model: Any) -> bytes:
    """``model`` as the bytes of a file."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    network = portable(model, "marker")
    layers = recurrent_layers(network)
    size = network.input["features"].shape[-1]

    def serve(features: Any, frames: Any) -> Any:
        return {"logits": tf.identity(network({"features": features, "frames": frames}, training=False))}

    def replace(context: Any, node: Any, name: str, _: Any) -> None:
        _put_in(context, node, name, layers[marked(name)])

    signature = [
        tf.TensorSpec((None, None, size), tf.float32, "features"),
        tf.TensorSpec((None,), tf.int32, "frames"),
    ]
    with _quiet():
        proto, _ = tf2onnx.convert.from_function(
            tf.function(serve, autograph=False),
            input_signature=signature,
            opset=_OPSET,
            custom_op_handlers={"PyFunc": (replace, [])},
        )
    _name_dimensions(proto.graph.input, {"features": ("batch", "frames"), "frames": ("batch",)})
    _name_dimensions(proto.graph.output, {"logits": ("batch", "outputs")})
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def load(path: Path) -> Runner:
    """The file as a function."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(features: Floats, frames: Ints) -> Floats:
        logits: Floats = session.run(["logits"], {"features": features, "frames": frames})[0]
        return logits

    return run


def _put_in(context: Any, node: Any, name: str, layer: Recurrent) -> None:
    """ONNX' own layer for the marker ``node`` in tf2onnx' graph."""
    inputs, frames = node.input[:2]
    (output,) = node.output
    shape, kind = context.get_shape(output), context.get_dtype(output)
    context.remove_node(node.name)

    def constant(what: str, array: Any) -> str:
        result: str = context.make_const(f"{name}_{what}", np.ascontiguousarray(array)).output[0]
        return result

    kernels, recurrent_kernels, biases = (
        np.stack(arrays) for arrays in zip(*map(_arrays(layer.cell), layer.directions), strict=True)
    )
    attributes: dict[str, Any] = {
        "hidden_size": layer.units,
        "direction": "bidirectional" if len(layer.directions) == 2 else "forward",
    }
    if layer.cell == "gru":
        attributes["linear_before_reset"] = 1  # Keras' reset_after
    by_time = context.make_node("Transpose", [inputs], attr={"perm": [1, 0, 2]}, name=f"{name}_by_time").output[0]
    operands = [
        by_time,
        constant("kernel", kernels),
        constant("recurrent_kernel", recurrent_kernels),
        constant("bias", biases),
        frames,
    ]
    states = context.make_node(layer.cell.upper(), operands, attr=attributes, name=f"{name}_layer").output[0]
    # (time, directions, batch, units) to (batch, time, directions * units)
    by_batch = context.make_node("Transpose", [states], attr={"perm": [2, 0, 1, 3]}, name=f"{name}_by_batch").output[0]
    joined = constant("shape", np.array([0, 0, layer.units * len(layer.directions)], np.int64))
    context.make_node("Reshape", [by_batch, joined], outputs=[output], name=name, shapes=[shape], dtypes=[kind])


def _arrays(cell: str) -> Any:
    """From Keras' kernel, recurrent kernel and bias of a direction to those of ONNX."""

    def ordered(array: Floats) -> Floats:
        gates = np.split(array, len(_GATES[cell]), axis=-1)
        return np.concatenate([gates[place] for place in _GATES[cell]], axis=-1)

    def of_direction(direction: tuple[Floats, Floats, Floats]) -> tuple[Floats, Floats, Floats]:
        kernel, recurrent_kernel, bias = (ordered(array) for array in direction)
        # ONNX adds a bias to the input's product and one to the state's; Keras' LSTM has one for both.
        both = bias.reshape(-1) if cell == "gru" else np.concatenate([bias, np.zeros_like(bias)])
        return kernel.T, recurrent_kernel.T, both

    return of_direction


def _name_dimensions(values: Any, names: dict[str, tuple[str, ...]]) -> None:
    for value in values:
        for dimension, name in zip(value.type.tensor_type.shape.dim, names.get(value.name, ()), strict=False):
            dimension.dim_param = name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """tf2onnx warns of each marker, whose shape it cannot know."""
    logger = logging.getLogger("tf2onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
