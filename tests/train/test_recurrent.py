"""The recurrent layers against Keras' own, which stand for the definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from deepspeech_train.errors import RecipeError
from deepspeech_train.models import recurrent as module
from deepspeech_train.models.recurrent import recurrent

UNITS, FEATURES, LENGTHS = 5, 4, (7, 4, 1)
BOTH = pytest.mark.parametrize("bidirectional", [True, False], ids=["both-ways", "forward"])
CELL = pytest.mark.parametrize("cell", ["lstm", "gru"])


def _inputs() -> tuple[np.ndarray, np.ndarray]:
    """(batch, time, features) with noise in the padding, and its mask."""
    inputs = np.random.default_rng(1).normal(size=(len(LENGTHS), max(LENGTHS), FEATURES)).astype("float32")
    return inputs, np.arange(max(LENGTHS))[None] < np.array(LENGTHS)[:, None]


def _shaken(layer: Any) -> list[np.ndarray]:
    """Weights of ``layer`` that are nowhere zero, the biases included; the layer has them."""
    random = np.random.default_rng(2)
    weights = [random.normal(size=weight.shape).astype("float32") * 0.5 for weight in layer.get_weights()]
    layer.set_weights(weights)
    return weights


def _pair(cell: str, bidirectional: bool) -> tuple[Any, Any]:
    """A layer of ours and Keras' own with the same weights."""
    ours = recurrent(UNITS, cell=cell, bidirectional=bidirectional, seed=3, name="ours")
    ours.build((None, None, FEATURES))
    one = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell](UNITS, return_sequences=True)
    theirs = keras.layers.Bidirectional(one) if bidirectional else one
    theirs.build((None, None, FEATURES))
    theirs.set_weights(_shaken(ours))
    return ours, theirs


def _outputs_and_gradients(layer: Any, inputs: np.ndarray, mask: np.ndarray, graph: bool = False) -> list[np.ndarray]:
    """Outputs, and the gradients of a weighted sum of them for the inputs and all weights. Ours gives zeros in the
    padding, whatever weight they have; what Keras' own layers give there has none."""
    width = UNITS * (2 if len(layer.weights) == 6 else 1)
    factors = np.random.default_rng(4).normal(size=(*mask.shape, width)).astype("float32")
    if not isinstance(layer, module.Recurrent):
        factors = factors * mask[:, :, None]
    if keras.config.backend() == "jax":
        import jax

        def loss(inputs: Any, weights: Any) -> Any:
            outputs, _ = layer.stateless_call(weights, others, inputs, mask=mask)
            return (outputs * factors).sum(), outputs

        weights = [weight.value for weight in layer.trainable_variables]
        others = [variable.value for variable in layer.non_trainable_variables]
        gradients, outputs = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(inputs, weights)
        return [np.asarray(each) for each in (outputs, gradients[0], *gradients[1])]
    import tensorflow as tf

    def run(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, mask=tf.constant(mask))
            total = tf.reduce_sum(outputs * factors)
        return outputs, *tape.gradient(total, [inputs, *(weight.value for weight in layer.trainable_variables)])

    return [each.numpy() for each in (tf.function(run) if graph else run)(tf.constant(inputs))]


@CELL
@BOTH
def test_outputs_and_all_gradients_are_those_of_keras(cell: str, bidirectional: bool) -> None:
    inputs, mask = _inputs()
    ours, theirs = (_outputs_and_gradients(layer, inputs, mask, graph=True) for layer in _pair(cell, bidirectional))
    np.testing.assert_allclose(ours[0][mask], theirs[0][mask], atol=1e-5)
    assert not ours[0][~mask].any()
    assert len(ours) == 2 + (6 if bidirectional else 3)
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        assert np.abs(other).max() > 0.01
        np.testing.assert_allclose(one, other, atol=2e-5)


def _noting(direction: Any, called: list[str]) -> Any:
    """``direction.call``, which notes that it was called."""
    usual = direction.call

    def call(*arguments: Any, **options: Any) -> Any:
        called.append(direction.name)
        return usual(*arguments, **options)

    return call


@CELL
@BOTH
def test_the_way_on_a_gpu_computes_the_same(cell: str, bidirectional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stand-in: no GPU is asked for; what is tested is which layers are called with what.
    ours, _ = _pair(cell, bidirectional)
    inputs, mask = _inputs()
    by_products = np.asarray(ops.convert_to_numpy(ours(inputs, mask=mask)))
    monkeypatch.setattr(module, "_on_gpu", lambda: True)
    called: list[str] = []
    for direction in ours.directions:
        monkeypatch.setattr(direction, "call", _noting(direction, called))
    np.testing.assert_allclose(ops.convert_to_numpy(ours(inputs, mask=mask)), by_products, atol=1e-5)
    assert called == (["forward", "backward"] if bidirectional else ["forward"])


@CELL
def test_padding_changes_nothing(cell: str) -> None:
    ours, _ = _pair(cell, True)
    inputs, mask = _inputs()
    together = ops.convert_to_numpy(ours(inputs, mask=mask))
    alone = ops.convert_to_numpy(ours(inputs[1:2, : LENGTHS[1]]))
    np.testing.assert_allclose(together[1, : LENGTHS[1]], alone[0], atol=1e-6)


@CELL
def test_a_network_with_the_layer_is_saved_and_loaded(cell: str, tmp_path: Path) -> None:
    features, mask = keras.Input((None, FEATURES)), keras.Input((None,), dtype="bool")
    outputs = recurrent(UNITS, cell=cell, seed=3, name="layer")(features, mask=mask)
    assert outputs.shape == (None, None, 2 * UNITS)
    network = keras.Model([features, mask], keras.layers.Dense(2)(outputs))
    _shaken(network.get_layer("layer"))
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    given = [np.asarray(each) for each in _inputs()]
    np.testing.assert_array_equal(network.predict(given, verbose=0), loaded.predict(given, verbose=0))


@CELL
def test_mixed_precision_keeps_its_weights_in_float32(cell: str) -> None:
    exact, _ = _pair(cell, True)
    layer = recurrent(UNITS, cell=cell, seed=3, name="mixed", dtype="mixed_bfloat16")
    inputs, mask = _inputs()
    layer.build((None, None, FEATURES))
    layer.set_weights(exact.get_weights())
    outputs = layer(inputs, mask=mask)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(outputs, "float32")), ops.convert_to_numpy(exact(inputs, mask=mask)), atol=0.05
    )
    gradients = _outputs_and_gradients(layer, inputs, mask)[2:]
    assert {str(gradient.dtype) for gradient in gradients} == {"float32"}
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_weights_are_a_function_of_the_seed_and_differ_between_directions() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        layer = recurrent(UNITS, seed=seed, name="layer")
        layer.build((None, None, FEATURES))
        return layer.get_weights()  # type: ignore[no-any-return]

    first, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.allclose(first[0], other[0])
    assert not np.allclose(first[0], first[3])
    assert not np.allclose(first[1], first[4])


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="of TensorFlow's functions")
def test_lengths_that_differ_are_traced_once_and_xla_compiles_the_layer() -> None:
    import tensorflow as tf

    ours, _ = _pair("lstm", True)
    inputs, mask = _inputs()
    traced: list[int] = []

    @tf.function(input_signature=[tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None, None), tf.bool)])
    def run(inputs: Any, mask: Any) -> Any:
        traced.append(1)
        return ours(inputs, mask=mask)

    expected = run(inputs, mask)
    run(inputs[:2, :4], mask[:2, :4])
    assert len(traced) == 1
    compiled = tf.function(lambda inputs, mask: ours(inputs, mask=mask), jit_compile=True)
    np.testing.assert_allclose(compiled(inputs, mask), expected, atol=1e-5)


def test_a_cell_that_is_not_known_is_told() -> None:
    with pytest.raises(RecipeError, match="lstm, gru"):
        recurrent(UNITS, cell="rnn", seed=1, name="layer")
