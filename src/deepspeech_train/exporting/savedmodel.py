"""SavedModel: TensorFlow's own format, as TensorFlow Serving takes it.

``serve`` takes {"features": (batch, frames, size) float32, "frames": (batch,) int32} and gives logits (batch, outputs,
characters) float32; the signature ``serving_default`` is the same for a server, which calls its output ``logits``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .formats import Floats, Ints, Runner
from .portable import portable


def write(model: Any, folder: Path) -> None:
    """Writes ``model`` into ``folder``."""
    import tensorflow as tf

    network = portable(model)
    size = network.input["features"].shape[-1]
    features = tf.TensorSpec((None, None, size), tf.float32, "features")
    frames = tf.TensorSpec((None,), tf.int32, "frames")

    def serve(inputs: Any) -> Any:
        return network(inputs, training=False)

    def signature(features: Any, frames: Any) -> Any:
        return {"logits": serve({"features": features, "frames": frames})}

    # Keras' own export writes every weight twice.
    holder = tf.Module()
    holder.held = [variable.value for variable in network.variables]
    holder.serve = tf.function(serve, input_signature=[{"features": features, "frames": frames}], autograph=False)
    default = tf.function(signature, input_signature=[features, frames], autograph=False)
    tf.saved_model.save(holder, folder, signatures={"serving_default": default.get_concrete_function()})


def load(folder: Path) -> Runner:
    """What is in ``folder``, as a function."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)

    def run(features: Floats, frames: Ints) -> Floats:
        logits: Floats = loaded.serve({"features": features, "frames": frames}).numpy()
        return logits

    return run
