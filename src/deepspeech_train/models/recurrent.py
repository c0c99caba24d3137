"""Recurrent layers that are quick in training, on a CPU too: LSTM (Hochreiter and Schmidhuber, 1997, with forget
gates) and GRU (Cho et al., 2014, in the form that resets after the product, as cuDNN has it), in one direction or both.

>>> layer = recurrent(512, cell="lstm", bidirectional=True, seed=1, name="first")
>>> outputs = layer(inputs, mask=mask)  # (batch, time, features) and (batch, time) give (batch, time, 1024)

The weights are those of ``keras.layers.LSTM`` and ``GRU``, and so are the outputs of an utterance's frames. Where there
is a GPU, Keras' own layers are called, which use cuDNN. On a CPU they multiply each frame's inputs with the weights
within the loop over time and, in training, add up the weights' gradient in it frame by frame. Here the loop does no
more than must wait for the frame before: inputs are multiplied for all frames at once before it, and the gradient of
the recurrent weights is one product after it (Appleyard et al., 2016, do so on GPUs). On two cores, a training step of
512 or 1024 units took a half or a third of the time of Keras' own.

Frames of padding come after an utterance's own, and their outputs are zeros. The state is zero in them, so that the
backward direction needs no turning of single utterances: it starts in the padding and leaves it with a state of zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from ..errors import RecipeError

_CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def recurrent(
    units: int, *, cell: str = "lstm", bidirectional: bool = True, seed: int, name: str, dtype: Any = None
) -> Recurrent:
    """A recurrent layer, called ``layer(inputs, mask=mask)``: ``inputs`` (batch, time, features) and ``mask`` (batch,
    time), true in the frames of an utterance, which come first, give (batch, time, units), or twice as many with
    the forward direction first.

    Its first weights are a function of ``seed``. RecipeError for a ``cell`` that is neither lstm nor gru.
    """
    return Recurrent(units, cell=cell, bidirectional=bidirectional, seed=seed, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("deepspeech_train")
class Recurrent(keras.layers.Layer):  # type: ignore[misc]
    """See :func:`recurrent`."""

    def __init__(self, units: int, *, cell: str, bidirectional: bool, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True
        if cell not in _CELLS:
            raise RecipeError(f"There is no recurrent cell {cell!r}.", f"Cells are: {', '.join(_CELLS)}.")
        self.units, self.cell, self.bidirectional, self.seed = units, cell, bidirectional, seed
        names = ("forward", "backward") if bidirectional else ("forward",)
        self.directions = [
            _CELLS[cell](
                units,
                return_sequences=True,
                go_backwards=name == "backward",
                kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 2 * place),
                recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 2 * place + 1),
                dtype=self.dtype_policy,
                name=name,
            )
            for place, name in enumerate(names)
        ]

    def build(self, inputs_shape: Any, mask_shape: Any = None) -> None:
        for direction in self.directions:
            direction.build(inputs_shape)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            mask = ops.ones(ops.shape(inputs)[:2], dtype="bool")
        return self._by_keras(inputs, mask) if _on_gpu() else self._by_products(inputs, mask)

    def _by_keras(self, inputs: Any, mask: Any) -> Any:
        outputs = [direction(inputs, mask=mask) for direction in self.directions]
        if self.bidirectional:
            outputs = [outputs[0], ops.flip(outputs[1], axis=1)]
        outputs = ops.concatenate(outputs, axis=-1)
        return outputs * ops.cast(mask, outputs.dtype)[:, :, None]

    def _by_products(self, inputs: Any, mask: Any) -> Any:
        inputs = ops.transpose(ops.cast(inputs, self.compute_dtype), (1, 0, 2))
        mask = ops.transpose(ops.cast(mask, self.compute_dtype))[:, :, None]
        run: Callable[..., Any] = {"lstm": _lstm, "gru": _gru}[self.cell]
        outputs = [
            run(inputs, mask, *(_values(weight) for weight in direction.cell.weights), bool(place))
            for place, direction in enumerate(self.directions)
        ]
        return ops.transpose(ops.concatenate(outputs, axis=-1), (1, 0, 2))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """The mask goes no further: each layer is given its own."""

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
        width = self.units * len(self.directions)
        return keras.KerasTensor((*inputs.shape[:2], width), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "cell": self.cell, "bidirectional": self.bidirectional, "seed": self.seed}
        return {**super().get_config(), **own}


def _on_gpu() -> bool:
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_logical_devices("GPU"))
    if keras.config.backend() == "jax":
        import jax

        return bool(jax.default_backend() == "gpu")
    return True  # a backend of which no more is known than that Keras can use it


# Below, sequences are (time, batch, units) and ``backwards`` says that time runs from the last frame to the first.


def _lstm(inputs: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any, backwards: bool) -> Any:
    """Outputs of one direction; the gates are in Keras' order: input, forget, candidate, output."""
    units = recurrent_kernel.shape[0]

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def run(products: Any, weights: Any, mask: Any) -> Any:
        zero = ops.zeros_like(products[0, :, :units])

        def step(state: Sequence[Any], frame: Sequence[Any]) -> Any:
            (output, carry), (product, present) = state, frame
            product = product + ops.matmul(output, weights)
            gates = ops.sigmoid(product)
            enter, forget, leave = gates[:, :units], gates[:, units : 2 * units], gates[:, 3 * units :]
            candidate = ops.tanh(product[:, 2 * units : 3 * units])
            carry = (forget * carry + enter * candidate) * present
            output = leave * ops.tanh(carry)
            return (output, carry), (output, carry, enter, forget, candidate, leave)

        outputs, carries, enter, forget, candidate, leave = _scan(step, (zero, zero), (products, mask), 6, backwards)

        def gradient(*upstreams: Any, upstream: Any = None) -> Any:
            """All factors are made for all frames at once, so that the loop is left with few operations."""
            squashed = ops.tanh(carries)
            entered = enter * mask
            factors = (
                upstreams[0] if upstream is None else upstream,
                candidate * entered * (1 - enter),
                _before(carries, backwards) * forget * (1 - forget),
                entered * (1 - candidate * candidate),
                squashed * leave * (1 - leave),
                leave * mask * (1 - squashed * squashed),
                forget,
            )
            turned = ops.transpose(weights)

            def step(state: Sequence[Any], frame: Sequence[Any]) -> Any:
                (d_output, d_carry), (d_frame, enter, forget, candidate, leave, through, kept) = state, frame
                d_output = d_output + d_frame
                d_carry = d_carry + d_output * through
                d_gates = [d_carry * enter, d_carry * forget, d_carry * candidate, d_output * leave]
                d_product = ops.concatenate(d_gates, axis=-1)
                return (ops.matmul(d_product, turned), d_carry * kept), (d_product,)

            (d_products,) = _scan(step, (zero, zero), factors, 1, not backwards)
            return d_products, _weights_gradient(_before(outputs, backwards), d_products), ops.zeros_like(mask)

        return outputs, gradient

    return run(_product(inputs, kernel, bias), recurrent_kernel, mask)


def _gru(inputs: Any, mask: Any, kernel: Any, recurrent_kernel: Any, biases: Any, backwards: bool) -> Any:
    """Outputs of one direction; the gates are in Keras' order: update, reset, candidate."""
    units = recurrent_kernel.shape[0]

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def run(products: Any, weights: Any, bias: Any, mask: Any) -> Any:
        zero = ops.zeros_like(products[0, :, :units])

        def step(state: Sequence[Any], frame: Sequence[Any]) -> Any:
            (output,), (product, present) = state, frame
            recurrence = ops.matmul(output, weights) + bias
            gates = ops.sigmoid(product[:, : 2 * units] + recurrence[:, : 2 * units])
            update, reset = gates[:, :units], gates[:, units:]
            recalled = recurrence[:, 2 * units :]
            candidate = ops.tanh(product[:, 2 * units :] + reset * recalled)
            output = (candidate + update * (output - candidate)) * present
            return (output,), (output, update, reset, candidate, recalled)

        outputs, update, reset, candidate, recalled = _scan(step, (zero,), (products, mask), 5, backwards)

        def gradient(*upstreams: Any, upstream: Any = None) -> Any:
            before = _before(outputs, backwards)
            to_candidate = mask * (1 - update) * (1 - candidate * candidate)
            factors = (
                upstreams[0] if upstream is None else upstream,
                mask * (before - candidate) * update * (1 - update),
                to_candidate * recalled * reset * (1 - reset),
                to_candidate * reset,
                mask * update,
            )
            turned = ops.transpose(weights)

            def step(state: Sequence[Any], frame: Sequence[Any]) -> Any:
                (d_output,), (d_frame, update, reset, recalled, kept) = state, frame
                d_output = d_output + d_frame
                d_recurrence = ops.concatenate([d_output * update, d_output * reset, d_output * recalled], axis=-1)
                return (ops.matmul(d_recurrence, turned) + d_output * kept,), (d_recurrence, d_output)

            d_recurrences, d_outputs = _scan(step, (zero,), factors, 2, not backwards)
            d_products = ops.concatenate([d_recurrences[:, :, : 2 * units], d_outputs * to_candidate], axis=-1)
            d_bias = ops.sum(d_recurrences, axis=(0, 1))
            return d_products, _weights_gradient(before, d_recurrences), d_bias, ops.zeros_like(mask)

        return outputs, gradient

    return run(_product(inputs, kernel, biases[0]), recurrent_kernel, biases[1], mask)


def _values(variable: Any) -> Any:
    """The values of ``variable`` in the layer's type: a tensor also where TensorFlow is not making a graph, since a
    function with a gradient of its own may not use variables."""
    return ops.reshape(variable, variable.shape)


def _product(inputs: Any, kernel: Any, bias: Any) -> Any:
    """``inputs`` of all frames times ``kernel``, as one product of matrices."""
    frames, batch, features = ops.shape(inputs)
    rows = ops.matmul(ops.reshape(inputs, (-1, features)), kernel) + bias
    return ops.reshape(rows, (frames, batch, kernel.shape[1]))


def _weights_gradient(outputs: Any, d_products: Any) -> Any:
    """The sum over frames and utterances of outer products, as one product of matrices."""
    rows, d_rows = (ops.reshape(each, (-1, each.shape[-1])) for each in (outputs, d_products))
    return ops.matmul(ops.transpose(rows), d_rows)


def _before(sequence: Any, backwards: bool) -> Any:
    """What each frame found: the frame before it in the order of time, zeros for the first."""
    zero = ops.zeros_like(sequence[:1])
    parts = [sequence[1:], zero] if backwards else [zero, sequence[:-1]]
    return ops.concatenate(parts, axis=0)


def _scan(
    step: Callable[[Any, Any], Any], state: Sequence[Any], sequences: Sequence[Any], count: int, backwards: bool
) -> Any:
    """Calls ``step(state, frames of the sequences)``, which gives the next state and ``count`` outputs, all of one
    type, for each frame in turn; returns the outputs' sequences. (``keras.ops.scan`` wants outputs like the state.)"""
    if keras.config.backend() == "jax":
        import jax

        return jax.lax.scan(step, tuple(state), tuple(sequences), reverse=backwards)[1]
    import tensorflow as tf

    frames = tf.shape(sequences[0])[0]
    given = [tf.TensorArray(each.dtype, frames, element_shape=each.shape[1:]).unstack(each) for each in sequences]
    made = tuple(tf.TensorArray(sequences[0].dtype, frames) for _ in range(count))

    def body(place: Any, state: Any, made: Any) -> Any:
        frame = frames - 1 - place if backwards else place
        state, outputs = step(state, [each.read(frame) for each in given])
        return place + 1, state, tuple(each.write(frame, output) for each, output in zip(made, outputs, strict=True))

    made = tf.while_loop(lambda place, *_: place < frames, body, (0, tuple(state), made))[2]
    return [each.stack() for each in made]
