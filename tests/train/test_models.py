"""The network and its loss."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from deepspeech_train import ctc, models, text
from deepspeech_train.data.batches import output_frames
from deepspeech_train.settings import Settings

SMALL = Settings.from_namespace({"n_hidden": 12, "n_cell_dim": 10, "n_context": 2, "random_seed": 3}, {})


def _features(*frames: int, n_input: int = 26) -> np.ndarray:
    random = np.random.default_rng(1)
    features = np.zeros((len(frames), max(frames), n_input), np.float32)
    for row, length in enumerate(frames):
        features[row, :length] = random.normal(size=(length, n_input))
    return features


def _logits(settings: Settings, features: np.ndarray, frames: list[int]) -> np.ndarray:
    model = models.build(settings)
    return model({"features": features, "frames": np.array(frames, np.int32)}, training=False).numpy()


def test_layers_have_the_sizes_of_the_settings() -> None:
    settings = Settings.from_namespace(
        {"n_hidden_1": 5, "n_hidden_2": 6, "n_hidden_3": 7, "n_cell_dim": 8, "n_hidden_5": 9, "n_context": 4}, {}
    )
    shapes = [weight.shape for weight in models.build(settings).trainable_variables if len(weight.shape) > 1]
    lstm = [(7, 32), (8, 32)]
    assert shapes == [(9, 26, 5), (5, 6), (6, 7), *lstm, *lstm, (16, 9), (9, 29)]


@pytest.mark.parametrize("n_stride", [1, 2, 3])
def test_padding_does_not_change_the_logits(n_stride: int) -> None:
    settings = dataclasses.replace(SMALL, n_stride=n_stride)
    together = _features(21, 40)
    alone = together[:1, :21]
    frames = output_frames(21, n_stride)
    padded = _logits(settings, together, [21, 40])
    assert padded.shape == (2, output_frames(40, n_stride), text.N_CHARACTER)
    single = _logits(settings, alone, [21])
    assert single.shape[1] == frames
    np.testing.assert_allclose(padded[0, :frames], single[0], atol=1e-5)


def test_context_is_seen_on_both_sides_and_no_further_by_the_dense_layers() -> None:
    model = models.build(dataclasses.replace(SMALL, n_stride=1))
    window = models.keras.Model(model.input, model.get_layer("layer_1").output)
    plain = np.zeros((1, 11, 26), np.float32)
    touched = plain.copy()
    touched[0, 5] = 1
    frames = np.array([11], np.int32)
    outputs = [window({"features": x, "frames": frames}).numpy()[0] for x in (plain, touched)]
    changed = np.flatnonzero(np.abs(outputs[0] - outputs[1]).max(axis=1) > 1e-6)
    assert changed.tolist() == [3, 4, 5, 6, 7]


def test_weights_are_a_function_of_the_seed() -> None:
    def weights(seed: int) -> bytes:
        model = models.build(dataclasses.replace(SMALL, random_seed=seed))
        return b"".join(variable.numpy().tobytes() for variable in model.trainable_variables)

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


def test_default_stddev_and_relu_clip_do_what_they_say() -> None:
    wide = models.build(dataclasses.replace(SMALL, n_hidden=300, default_stddev=0.3))
    assert wide.get_layer("layer_2").kernel.numpy().std() == pytest.approx(0.3, rel=0.05)
    assert wide.get_layer("layer_1").kernel.numpy().std() == pytest.approx(0.3, rel=0.05)
    clipped = models.build(dataclasses.replace(SMALL, relu_clip=0.25))
    inside = models.keras.Model(clipped.input, clipped.get_layer("clipped_3").output)
    outputs = inside({"features": 10 * _features(20), "frames": np.array([20], np.int32)}).numpy()
    assert (outputs.min(), outputs.max()) == (0.0, 0.25)


def test_dropout_works_in_training_alone() -> None:
    model = models.build(dataclasses.replace(SMALL, dropout_rate=0.5))
    inputs = {"features": _features(20), "frames": np.array([20], np.int32)}
    tested = [model(inputs, training=False).numpy() for _ in range(2)]
    trained = [model(inputs, training=True).numpy() for _ in range(2)]
    assert np.array_equal(*tested)
    assert not np.allclose(*trained)


def test_the_loss_is_the_sum_over_all_paths() -> None:
    # Only the blank, "a" and "b" are possible, so that every path of five frames can be listed.
    random = np.random.default_rng(2)
    possible = [text.encode("a")[0], text.encode("b")[0], text.BLANK]
    logits = np.full((2, 5, text.N_CHARACTER), -1e4, np.float32)
    logits[:, :, possible] = random.normal(size=(2, 5, 3))
    targets, frames = ["ab", "aa"], [5, 4]

    def likelihood(row: int) -> float:
        chances = np.exp(logits[row]) / np.exp(logits[row]).sum(axis=-1, keepdims=True)
        total = 0.0
        for path in itertools.product(possible, repeat=frames[row]):
            merged = [label for label, _ in itertools.groupby(path) if label != text.BLANK]
            if text.decode(merged) == targets[row]:
                total += np.prod([chances[t, label] for t, label in enumerate(path)])
        return -np.log(total)

    labels = np.stack([text.encode(target) for target in targets])
    lengths = np.array([2, 2], np.int32)
    losses = ctc.loss(tf.constant(logits), np.array(frames, np.int32), labels, lengths)
    np.testing.assert_allclose(losses.numpy(), [likelihood(0), likelihood(1)], rtol=1e-4)
