"""The portable network: the same function as a trained one, of nothing but what every format has.

Recurrent layers are what formats differ in. Trained, they run in cuDNN, or in a loop with a gradient of its own; here
each is one :class:`Recurrent` with the same weights, written in one of two forms:

``loop``     over time, in plain operations: a SavedModel, on any device, and LiteRT (whose own LSTM would keep its
             state from one call to the next)
``marker``   one operation that only stands for the layer, for which ONNX' own LSTM or GRU is put in. (Given loops,
             tf2onnx finds a pair of directions and takes them for ONNX' bidirectional LSTM without the utterances'
             lengths: wrong for every padded one.)

Padding is to the right, so that it can only enter a backward direction, which is read from each utterance's last frame.
All is computed in float32, however the network was trained. Needs Keras on TensorFlow.
"""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ..errors import RecipeError

#: What a recurrent layer is known by: ours, and Keras' own.
_RECURRENT = ("Recurrent", "Bidirectional", "LSTM", "GRU")
_MARK = "recurrent_layer_to_replace_"
_MARKS = re.compile(rf"{_MARK}(\d+)")

Floats = npt.NDArray[np.float32]
#: Kernel (features, gates), recurrent kernel (units, gates) and bias of one direction, as Keras lays them out.
Direction = tuple[Floats, Floats, Floats]


@keras.saving.register_keras_serializable("deepspeech_train.exporting")
class Recurrent(keras.layers.Layer):  # type: ignore[misc]
    """An LSTM or GRU in one direction or two: (batch, time, features) and a mask (batch, time) to
    (batch, time, directions * units); zeros where the mask is."""

    def __init__(self, directions: list[Direction], form: str, number: int = 0, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.supports_masking = True
        self.form, self.number = form, number
        self.directions = directions
        self.units = len(directions[0][1])
        self.cell = "gru" if directions[0][1].shape[1] == 3 * self.units else "lstm"
        names = ("kernel", "recurrent_kernel", "bias")
        self._held = [
            [
                self.add_weight(shape=array.shape, initializer="zeros", name=f"{name}_{place}", trainable=False)
                for name, array in zip(names, direction, strict=True)
            ]
            for place, direction in enumerate(directions)
        ]
        self.built = True
        for variables, direction in zip(self._held, directions, strict=True):
            for variable, array in zip(variables, direction, strict=True):
                variable.assign(array)

    def call(self, inputs: Any, mask: Any) -> Any:
        import tensorflow as tf

        frames = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        if self.form == "marker":
            return self._marked(inputs, frames)
        outputs = []
        for place, variables in enumerate(self._held):
            weights = [variable.value for variable in variables]
            turned = inputs if place == 0 else tf.reverse_sequence(inputs, frames, seq_axis=1)
            output = _over_time(self.cell, turned, *weights)
            outputs.append(output if place == 0 else tf.reverse_sequence(output, frames, seq_axis=1))
        joined = outputs[0] if len(outputs) == 1 else tf.concat(outputs, axis=2)
        return joined * tf.cast(mask, tf.float32)[:, :, None]

    def _marked(self, inputs: Any, frames: Any) -> Any:
        import tensorflow as tf

        def never(*_: Any) -> Any:
            raise AssertionError("a marker was run")

        output = tf.numpy_function(never, [inputs, frames], tf.float32, name=f"{_MARK}{self.number}")
        size = self.units * len(self.directions)
        return tf.reshape(output, (tf.shape(inputs)[0], tf.shape(inputs)[1], size))

    def compute_output_spec(self, inputs: Any, mask: Any) -> Any:
        return keras.KerasTensor((*inputs.shape[:2], self.units * len(self.directions)), dtype="float32")


def portable(model: keras.Model, form: str = "loop") -> keras.Model:
    """``model`` as a network of the same outputs; ``form`` as above. RecipeError for a recurrent layer whose weights
    are laid out in a way that is not known here."""
    recurrent: list[Recurrent] = []

    def clone(layer: Any) -> Any:
        if type(layer).__name__ not in _RECURRENT:
            return type(layer).from_config({**layer.get_config(), "name": layer.name, "dtype": "float32"})
        recurrent.append(Recurrent(_directions(layer), form, number=len(recurrent), name=layer.name))
        return recurrent[-1]

    network = keras.models.clone_model(model, clone_function=clone)
    for layer in model.layers:
        if type(layer).__name__ not in _RECURRENT:
            network.get_layer(layer.name).set_weights(layer.get_weights())
    return network


def recurrent_layers(network: keras.Model) -> list[Recurrent]:
    """Those of a portable network, each at the place that is its ``number``."""
    return [layer for layer in network.layers if isinstance(layer, Recurrent)]


def marked(name: str) -> int:
    """The ``number`` of the layer that an operation of this name stands for; -1 if it stands for none."""
    found = _MARKS.search(name)
    return int(found.group(1)) if found else -1


def _directions(layer: Any) -> list[Direction]:
    arrays = [np.asarray(array, np.float32) for array in layer.get_weights()]
    directions = [(arrays[place], arrays[place + 1], arrays[place + 2]) for place in range(0, len(arrays) - 2, 3)]
    for kernel, recurrent_kernel, bias in directions:
        gates = kernel.shape[-1]
        units = len(recurrent_kernel)
        known = {4 * units: (4 * units,), 3 * units: (2, 3 * units)}
        if recurrent_kernel.shape != (units, gates) or known.get(gates) != bias.shape:
            break
    else:
        if len(arrays) in (3, 6):
            return directions
    raise RecipeError(
        f"The layer {layer.name} cannot be exported: its weights {[array.shape for array in arrays]} are neither those "
        "of an LSTM nor those of a GRU with reset_after.",
    )


def _over_time(cell: str, inputs: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
    """The outputs (batch, time, units) of one direction, forward in time."""
    import tensorflow as tf

    of_inputs, of_state = (bias[0], bias[1]) if cell == "gru" else (bias, None)
    size, gates = kernel.shape
    units = recurrent_kernel.shape[0]
    batch = inputs.shape[0] or tf.shape(inputs)[0]
    time = tf.shape(inputs)[1]
    # What comes from the inputs is one product for all times, and two-dimensional, as LiteRT's quick one is.
    products = tf.matmul(tf.reshape(inputs, (-1, size)), kernel) + of_inputs
    products = tf.transpose(tf.reshape(products, (batch, time, gates)), (1, 0, 2))

    def step(place: Any, state: Any, memory: Any, outputs: Any) -> Any:
        from_input = tf.gather(products, place)
        if cell == "gru":
            update, reset, new = tf.split(from_input, 3, axis=1)
            of_update, of_reset, of_new = tf.split(tf.matmul(state, recurrent_kernel) + of_state, 3, axis=1)
            update = tf.sigmoid(update + of_update)
            candidate = tf.tanh(new + tf.sigmoid(reset + of_reset) * of_new)
            state = update * state + (1.0 - update) * candidate
        else:
            sums = from_input + tf.matmul(state, recurrent_kernel)
            let_in, forget, new, let_out = tf.split(sums, 4, axis=1)
            memory = tf.sigmoid(forget) * memory + tf.sigmoid(let_in) * tf.tanh(new)
            state = tf.sigmoid(let_out) * tf.tanh(memory)
        return place + 1, state, memory, outputs.write(place, state)

    zeros = tf.zeros((batch, units))
    outputs = tf.TensorArray(tf.float32, size=time, element_shape=(inputs.shape[0], units))
    *_, outputs = tf.while_loop(lambda place, *_: place < time, step, (0, zeros, zeros, outputs))
    return tf.transpose(outputs.stack(), (1, 0, 2))
