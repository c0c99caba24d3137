"""LiteRT (TensorFlow Lite): for telephones and small boards; built-in operations alone, no delegate is needed.

The signature ``serve`` takes ``features`` (1, frames, size) float32 and ``frames`` (1,) int32 and gives ``logits``
(1, outputs, characters) float32: one utterance, of any length. With ``int8`` the weights are stored in eight bits and
multiplied as such where there are many (dynamic range quantisation); inputs, outputs and all between stay float32.

Google's ``ai-edge-litert`` runs it; where that is not installed, what TensorFlow still has of it does.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras

from .formats import Floats, Ints, Runner
from .portable import portable


def converted(model: Any, int8: bool) -> bytes:
    """``model`` as the bytes of a file. RecipeError where an operation has no counterpart there."""
    import tensorflow as tf

    network = portable(model)
    size = network.input["features"].shape[-1]

    # Weights are to be in the file's own buffers: an interpreter's variables are empty until it is told to fill them.
    arrays = [variable.numpy() for variable in network.variables]

    def serve(features: Any, frames: Any) -> Any:
        constants = list(zip(network.variables, map(tf.constant, arrays), strict=True))
        with keras.StatelessScope(state_mapping=constants):
            return {"logits": network({"features": features, "frames": frames}, training=False)}

    specs = [tf.TensorSpec((1, None, size), tf.float32, "features"), tf.TensorSpec((1,), tf.int32, "frames")]
    function = tf.function(serve, input_signature=specs, autograph=False)
    with tempfile.TemporaryDirectory(prefix="deepspeech-litert-") as folder:
        holder = tf.Module()
        tf.saved_model.save(holder, folder, signatures={"serve": function.get_concrete_function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content: bytes = converter.convert()
    return content


def load(path: Path) -> Runner:
    """The file as a function; of one utterance at a time."""
    runner = _interpreter()(model_path=str(path)).get_signature_runner("serve")

    def run(features: Floats, frames: Ints) -> Floats:
        logits: Floats = runner(features=features, frames=frames)["logits"]
        return logits

    return run


def _interpreter() -> Any:
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
    import tensorflow as tf

    warnings.filterwarnings("ignore", message=r"[\s\S]*tf\.lite\.Interpreter is deprecated")
    return tf.lite.Interpreter
