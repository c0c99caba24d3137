"""The networks: shapes, padding, seeds, arithmetic, costs."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from deepspeech_train import models
from deepspeech_train.models.deepspeech2 import SpectralConvolution, time_strides
from deepspeech_train.models.layers import FrameNormalization
from deepspeech_train.settings import Settings

SMALL = Settings.from_namespace(
    {
        "n_hidden": 12,
        "n_cell_dim": 10,
        "n_context": 2,
        "n_conv_channels": 3,
        "n_blocks": 2,
        "random_seed": 3,
        "dropout_rate": 0.5,
    },
    {},
)
DEEPSPEECH2 = {"model": "deepspeech2", "n_recurrent_layers": 2}
STREAMING = {**DEEPSPEECH2, "bidirectional": False, "n_row_context": 4, "recurrent_cell": "gru", "n_conv_layers": 3}
NETWORKS = {
    "deepspeech1": {},
    "deepspeech2": DEEPSPEECH2,
    "deepspeech2 of GRUs": {**DEEPSPEECH2, "recurrent_cell": "gru", "features": "logmel", "n_input": 40},
    "deepspeech2 for streaming": STREAMING,
    "fastconv": {"model": "fastconv"},
    "fastconv, even kernel": {"model": "fastconv", "kernel_size": 6},
}


def _settings(**values: Any) -> Settings:
    return dataclasses.replace(SMALL, **values)


def _features(*frames: int, size: int = 26, padding: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(1)
    features = np.full((len(frames), max(frames), size), padding, np.float32)
    for row, length in enumerate(frames):
        features[row, :length] = random.normal(size=(length, size))
    return features


@functools.cache
def _built(settings: Settings) -> Any:
    """A network whose weights no test changes."""
    return models.build(settings)


def _outputs(model: Any, features: np.ndarray, *frames: int, training: bool = False) -> np.ndarray:
    inputs = {"features": features, "frames": np.array(frames, np.int32)}
    if keras.config.backend() == "jax":  # one compilation in place of one for each kind of step
        import jax

        def outputs(trained: Any, others: Any, inputs: Any) -> Any:
            return model.stateless_call(trained, others, inputs, training=training)

        trained, others = model.trainable_variables, model.non_trainable_variables
        results, changed = jax.jit(outputs)([each.value for each in trained], [each.value for each in others], inputs)
        for variable, value in zip(others, changed, strict=True):
            variable.assign(value)
        return np.asarray(results)
    return keras.ops.convert_to_numpy(model(inputs, training=training))


def _with_statistics(model: Any) -> Any:
    """Running means and variances other than their first zeros and ones, so that padding would be seen through them."""
    random = np.random.default_rng(4)
    for weight in model.non_trainable_variables:
        if "moving" in weight.path:
            weight.assign(random.uniform(0.5, 2.0, weight.shape))
    return model


@pytest.mark.parametrize(("network", "n_stride"), list(zip(NETWORKS, [2, 2, 3, 1, 3, 2], strict=True)))
def test_padding_does_not_change_the_logits(network: str, n_stride: int) -> None:
    settings = _settings(**NETWORKS[network], n_stride=n_stride)
    size = settings.feature_options.size
    model = _with_statistics(models.build(settings))
    frames = models.output_frames(11, models.stride(settings))
    alone = _outputs(model, _features(11, size=size), 11)
    assert alone.shape == (1, frames, settings.characters.size)
    for padding in (0.0, 5.0):
        padded = _outputs(model, _features(11, 20, size=size, padding=padding), 11, 20)
        assert padded.shape == (2, models.output_frames(20, n_stride), settings.characters.size)
        np.testing.assert_allclose(padded[0, :frames], alone[0], atol=2e-5)


@pytest.mark.parametrize("network", ["deepspeech2", "fastconv"])
def test_padding_does_not_enter_the_statistics(network: str) -> None:
    settings = _settings(**{**NETWORKS[network], "n_recurrent_layers": 2, "dropout_rate": 0.0})

    model = models.build(settings)
    first = model.get_weights()

    def statistics(features: np.ndarray, *frames: int) -> list[np.ndarray]:
        model.set_weights(first)
        _outputs(model, features, *frames, training=True)
        return [
            keras.ops.convert_to_numpy(weight) for weight in model.non_trainable_variables if "moving" in weight.path
        ]

    plain = _features(20, 11)
    longer = np.pad(plain, [(0, 0), (0, 15), (0, 0)], constant_values=3.0)
    with_empty_row = np.pad(plain, [(0, 1), (0, 0), (0, 0)])  # of batches with a constant number of rows
    expected = statistics(plain, 20, 11)
    assert expected
    for measured in (statistics(longer, 20, 11), statistics(with_empty_row, 20, 11, 1)):
        for one, other in zip(measured, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_statistics_are_those_of_the_frames_alone() -> None:
    features, mask = _features(7, 3, size=4, padding=100.0), np.arange(7) < np.array([[7], [3]])
    layer = FrameNormalization(epsilon=0.0)
    outputs = keras.ops.convert_to_numpy(layer(features, training=True, mask=keras.ops.convert_to_tensor(mask)))
    frames = features[mask]
    np.testing.assert_allclose(outputs[mask], (frames - frames.mean(0)) / frames.std(0), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "strides"),
    [
        (161, (11, 41), (2, 2)),
        (81, (11, 21), (1, 2)),
        (26, (3, 7), (3, 2)),
        (13, (1, 3), (1, 1)),
        (40, (5, 61), (1, 2)),
    ],
)
def test_a_spectral_convolution_is_a_convolution(size: int, kernel: tuple[int, int], strides: tuple[int, int]) -> None:
    inputs = np.random.default_rng(2).normal(size=(2, 14, size, 3)).astype(np.float32)
    ours = SpectralConvolution(4, kernel, strides)
    outputs = keras.ops.convert_to_numpy(ours(inputs))
    padding = [(side - 1) // 2 for side in kernel]
    padded = np.pad(inputs, [(0, 0), *((side, side) for side in padding), (0, 0)])
    expected = keras.ops.conv(padded, ours.kernel, strides=strides, padding="valid", data_format="channels_last")
    np.testing.assert_allclose(outputs, keras.ops.convert_to_numpy(expected), atol=1e-3)
    assert ours.compute_output_shape(inputs.shape) == outputs.shape


@pytest.mark.parametrize(
    ("n_stride", "layers", "expected"),
    [
        (1, 2, (1, 1)),
        (2, 2, (2, 1)),
        (4, 2, (2, 2)),
        (6, 2, (3, 2)),
        (7, 3, (7, 1, 1)),
        (8, 2, (4, 2)),
        (8, 3, (2, 2, 2)),
    ],
)
def test_strides_in_time_multiply_to_n_stride(n_stride: int, layers: int, expected: tuple[int, ...]) -> None:
    assert time_strides(n_stride, layers) == expected


def test_the_paper_s_input_has_the_paper_s_convolutions() -> None:
    paper = _settings(model="deepspeech2", features="logspec", window_length=0.02, window_step=0.01, n_conv_layers=3)
    model = models.build(paper)
    kernels = [model.get_layer(f"conv_{number}").kernel.shape for number in (1, 2, 3)]
    assert kernels == [(11, 41, 1, 3), (11, 21, 3, 3), (11, 21, 3, 9)]
    assert model.get_layer("conv_3").output.shape[2:] == (21, 9)


def test_a_network_for_streaming_sees_no_further_than_its_row() -> None:
    settings = _settings(**{**STREAMING, "n_stride": 1, "n_conv_layers": 2})
    model = models.build(settings)
    plain = _features(40)
    touched = plain.copy()
    touched[0, 30:] += 1.0
    changed = np.abs(_outputs(model, plain, 40) - _outputs(model, touched, 40))[0].max(axis=1)
    convolutions = 2 * (11 // 2)
    first = int(np.flatnonzero(changed > 0)[0])
    assert first == 30 - convolutions - settings.n_row_context


def test_layers_have_the_sizes_of_the_settings() -> None:
    settings = Settings.from_namespace(
        {"n_hidden_1": 5, "n_hidden_2": 6, "n_hidden_3": 7, "n_cell_dim": 8, "n_hidden_5": 9, "n_context": 4}, {}
    )
    shapes = [tuple(weight.shape) for weight in models.build(settings).trainable_variables if len(weight.shape) > 1]
    lstm = [(7, 32), (8, 32)]
    assert shapes == [(9, 26, 5), (5, 6), (6, 7), *lstm, *lstm, (16, 9), (9, 29)]


def test_context_is_seen_on_both_sides_and_no_further_by_the_dense_layers() -> None:
    model = models.build(_settings(n_stride=1))
    window = keras.Model(model.input, model.get_layer("layer_1").output)
    plain = np.zeros((1, 11, 26), np.float32)
    touched = plain.copy()
    touched[0, 5] = 1
    changed = np.abs(_outputs(window, plain, 11) - _outputs(window, touched, 11))[0].max(axis=1)
    assert np.flatnonzero(changed > 1e-6).tolist() == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("network", ["deepspeech1", "deepspeech2 for streaming", "fastconv"])
def test_weights_are_a_function_of_the_seed(network: str) -> None:
    def weights(seed: int) -> bytes:
        model = models.build(_settings(**NETWORKS[network], random_seed=seed))
        return b"".join(keras.ops.convert_to_numpy(weight).tobytes() for weight in model.trainable_variables)

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


def test_default_stddev_and_relu_clip_do_what_they_say() -> None:
    wide = models.build(_settings(n_hidden=300, default_stddev=0.3))
    for layer in ("layer_1", "layer_2"):
        kernel = keras.ops.convert_to_numpy(wide.get_layer(layer).kernel)
        assert kernel.std() == pytest.approx(0.3, rel=0.05)
    clipped = models.build(_settings(relu_clip=0.25))
    inside = keras.Model(clipped.input, clipped.get_layer("clipped_3").output)
    outputs = _outputs(inside, 10 * _features(20), 20)
    assert (outputs.min(), outputs.max()) == (0.0, 0.25)


@pytest.mark.parametrize("network", ["deepspeech1", "deepspeech2", "fastconv"])
def test_dropout_works_in_training_alone(network: str) -> None:
    model = models.build(_settings(**NETWORKS[network]))
    tested = [_outputs(model, _features(6), 6) for _ in range(2)]
    assert np.array_equal(*tested)
    trained = [_outputs(model, _features(6), 6, training=True) for _ in range(2)]
    assert not np.allclose(*trained)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("network", ["deepspeech1", "deepspeech2", "fastconv"])
def test_in_half_precision_weights_statistics_and_logits_stay_float32(network: str, precision: str) -> None:
    settings = _settings(**NETWORKS[network])
    exact, half = _built(settings), models.build(dataclasses.replace(settings, precision=precision))
    assert {weight.dtype for weight in half.trainable_variables} == {"float32"}
    assert {weight.dtype for weight in half.non_trainable_variables if "moving" in weight.path} <= {"float32"}
    assert half.layers[-2].compute_dtype == precision
    logits = _outputs(half, _features(6), 6)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, _outputs(exact, _features(6), 6), atol=0.2)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_the_same_when_it_was_saved_and_loaded(network: str, tmp_path: Path) -> None:
    settings = _settings(**NETWORKS[network])
    model, features = _built(settings), _features(9, 6, size=settings.feature_options.size)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(_outputs(loaded, features, 9, 6), _outputs(model, features, 9, 6), atol=1e-6)


def test_output_frames_are_rounded_up() -> None:
    assert [models.output_frames(frames, 4) for frames in (0, 1, 4, 5)] == [0, 1, 1, 2]
    assert models.output_frames(np.array([7, 8, 9]), 2).tolist() == [4, 4, 5]


class TestSummary:
    def test_deepspeech1_is_counted_as_by_hand(self) -> None:
        settings = _settings(n_stride=2)  # units 12, cells 10, context 2, 26 MFCCs, 29 characters
        counted = models.summary(models.build(settings), settings, seconds=1.025)
        outputs = 26  # 51 frames of 25 ms every 20 ms
        weights = {
            "layer_1": 5 * 26 * 12,
            "layer_2": 12 * 12,
            "layer_3": 12 * 12,
            "layer_4": 2 * 4 * 10 * (12 + 10),
            "layer_5": 20 * 12,
            "layer_6": 12 * 29,
        }
        biases = 12 + 12 + 12 + 2 * 4 * 10 + 12 + 29
        of_layers = {layer.name: layer.multiply_adds for layer in counted.layers}
        assert of_layers == {name: pytest.approx(outputs * weight / 1.025) for name, weight in weights.items()}
        assert counted.parameters == sum(weights.values()) + biases == models.build(settings).count_params()

    def test_deepspeech2_is_counted_as_by_hand(self) -> None:
        settings = _settings(**DEEPSPEECH2, n_stride=2, recurrent_cell="gru")
        counted = models.summary(models.build(settings), settings, seconds=1.025)
        of_layers = {layer.name: layer for layer in counted.layers}
        # 26 bands become 13, then 7; kernels of 11 x 7 and 11 x 3 over 1 and 3 channels
        assert of_layers["conv_1"].multiply_adds == pytest.approx(26 * 13 * 11 * 7 * 1 * 3 / 1.025)
        assert of_layers["conv_2"].multiply_adds == pytest.approx(26 * 7 * 11 * 3 * 3 * 3 / 1.025)
        assert of_layers["recurrent_1"].multiply_adds == pytest.approx(26 * 2 * 3 * 10 * (7 * 3 + 10) / 1.025)
        assert of_layers["recurrent_2"].multiply_adds == pytest.approx(26 * 2 * 3 * 10 * (10 + 10) / 1.025)
        assert of_layers["norm_2"].multiply_adds == 0

    def test_fastconv_is_counted_as_by_hand(self) -> None:
        settings = _settings(model="fastconv", n_stride=2)
        counted = models.summary(models.build(settings), settings, seconds=1.025)
        blocks = 2 * (11 * 12 + 12 * 12)
        assert counted.multiply_adds == pytest.approx(26 * (5 * 26 * 12 + blocks + 12 * 29) / 1.025)

    def test_it_is_a_table_with_its_total_last(self) -> None:
        settings = _settings(model="fastconv")
        counted = models.summary(models.build(settings), settings)
        lines = str(counted).splitlines()
        assert lines[0].split()[:2] == ["layer", "outputs"]
        assert lines[-1].split()[:2] == ["fastconv", f"{counted.parameters:,}"]
        assert len({len(line) for line in lines}) == 1
