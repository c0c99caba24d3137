"""The loss against a sum over all paths, written out."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from deepspeech_train import ctc

BLANK = 3  # of four characters
LABELS = ([0, 1], [1, 1], [2], [], [0, 1, 0])
FRAMES = (5, 4, 1, 3, 3)


def _batch() -> tuple[np.ndarray, ...]:
    """Logits with noise in the padding, frames, labels padded with a label, label lengths."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(len(LABELS), max(FRAMES), BLANK + 1)).astype(np.float32) * 2
    labels = np.full((len(LABELS), 4), 1, np.int32)
    for row, each in enumerate(LABELS):
        labels[row, : len(each)] = each
    return logits, np.array(FRAMES, np.int32), labels, np.array([len(each) for each in LABELS], np.int32)


def _by_paths(logits: np.ndarray, labels: list[int]) -> float:
    """-log of the summed probabilities of all paths through ``logits`` (frames, characters) that say ``labels``."""
    chances = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(axis=-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(BLANK + 1), repeat=len(logits)):
        if [label for label, _ in itertools.groupby(path) if label != BLANK] == labels:
            total += float(np.prod([chances[frame, label] for frame, label in enumerate(path)]))
    return -float(np.log(total))


def _losses_and_gradient(*arrays: Any, compiled: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Losses, and the gradient of their sum for the logits."""
    logits, *others = arrays
    if keras.config.backend() == "jax":
        import jax

        def total(logits: Any, *others: Any) -> Any:
            losses = ctc.loss(logits, *others)
            return losses.sum(), losses

        gradient, losses = jax.jit(jax.grad(total, has_aux=True))(logits, *others)
        return np.asarray(losses), np.asarray(gradient)
    import tensorflow as tf

    def run(logits: Any, *others: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = ctc.loss(logits, *others)
        return losses, tape.gradient(losses, logits)

    losses, gradient = (tf.function(run) if compiled else run)(tf.constant(logits), *map(tf.constant, others))
    return losses.numpy(), gradient.numpy()


def test_the_loss_is_the_sum_over_all_paths() -> None:
    arrays = _batch()
    expected = [
        _by_paths(logits[:frames], labels) for logits, frames, labels in zip(arrays[0], FRAMES, LABELS, strict=True)
    ]
    losses = ops.convert_to_numpy(ctc.loss(*arrays))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_the_gradient_is_that_of_finite_differences_and_none_in_the_padding() -> None:
    logits, *others = _batch()
    _, gradient = _losses_and_gradient(logits, *others)
    for row, (frames, labels) in enumerate(zip(FRAMES, LABELS, strict=True)):
        for frame, label in itertools.product(range(frames), range(BLANK + 1)):
            moved = np.repeat(logits[None, row, :frames].astype(float), 2, axis=0)
            moved[:, frame, label] += (1e-4, -1e-4)
            slope = (_by_paths(moved[0], labels) - _by_paths(moved[1], labels)) / 2e-4
            assert gradient[row, frame, label] == pytest.approx(slope, abs=1e-4)
        assert not gradient[row, frames:].any()


@pytest.mark.parametrize("compiled", [True, False])
def test_too_few_frames_give_an_infinite_loss_and_no_gradient_and_leave_the_others_alone(compiled: bool) -> None:
    logits, frames, labels, lengths = _batch()
    usual, usual_gradient = _losses_and_gradient(logits, frames, labels, lengths)
    short = frames.copy()
    short[1] = 2  # "bb" needs a blank between
    losses, gradient = _losses_and_gradient(logits, short, labels, lengths, compiled=compiled)
    assert losses[1] == np.inf
    assert not gradient[1].any()
    others = [0, 2, 3, 4]
    np.testing.assert_allclose(losses[others], usual[others], rtol=1e-5)
    np.testing.assert_allclose(gradient[others], usual_gradient[others], atol=1e-5)


def test_rows_that_fill_up_a_batch_are_finite_even_when_they_are_all() -> None:
    logits, frames, labels, lengths = _batch()
    losses, gradient = _losses_and_gradient(0 * logits, 0 * frames + 1, 0 * labels, 0 * lengths)
    np.testing.assert_allclose(losses, np.log(BLANK + 1), rtol=1e-5)
    assert np.isfinite(gradient).all()


def test_a_long_utterance_neither_under_nor_overflows() -> None:
    random = np.random.default_rng(3)
    logits = (5 * random.normal(size=(1, 600, 29))).astype(np.float32)
    labels = random.integers(0, 28, (1, 120)).astype(np.int32)
    arrays = logits, np.array([600], np.int32), labels, np.array([120], np.int32)
    losses, gradient = _losses_and_gradient(*arrays)
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(gradient.sum(axis=-1), 0, atol=0.01)
    target = np.concatenate([labels, np.full((1, 1), 28)], axis=1)
    dense = keras.ops.ctc_loss(target, logits, arrays[3], arrays[1], mask_index=28)
    np.testing.assert_allclose(losses, ops.convert_to_numpy(dense), rtol=1e-4)


def test_half_precision_is_summed_in_single() -> None:
    logits, *others = _batch()
    halved = ops.cast(logits, "bfloat16")
    losses = ctc.loss(halved, *others)
    assert keras.backend.standardize_dtype(losses.dtype) == "float32"
    exact = ctc.loss(ops.cast(halved, "float32"), *others)
    np.testing.assert_allclose(ops.convert_to_numpy(losses), ops.convert_to_numpy(exact), rtol=1e-6)
