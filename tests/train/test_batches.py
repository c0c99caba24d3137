"""Batches: order, bounds, padding, shares of workers, fixed shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspeech_train.data import batches, shapes
from deepspeech_train.data.batches import Batching, epoch_batches, evaluation_batches, share
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.text import ENGLISH

DURATIONS = np.random.default_rng(3).uniform(0.4, 8.0, 333)
EIGHT = Batching(8)


def _lists(order: list[Any]) -> list[list[int]]:
    return [batch.tolist() for batch in order]


def _is_all(order: list[Any], count: int = len(DURATIONS)) -> bool:
    return sorted(place for batch in order for place in batch) == list(range(count))


def _padding(order: list[Any]) -> float:
    padded = sum(len(batch) * DURATIONS[batch].max() for batch in order)
    return float(padded / DURATIONS.sum() - 1)


def _example(name: str, frames: int, transcript: str) -> batches.Example:
    utterance = Utterance(name, Path(f"{name}.wav"), frames * 0.02, transcript, "s")
    return batches.Example(utterance, np.ones((frames, 26), np.float32), ENGLISH.encode(transcript))


def test_an_epoch_is_a_function_of_seed_and_epoch_and_takes_each_utterance_once() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        return _lists(epoch_batches(DURATIONS, EIGHT, seed, epoch))

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    assert _is_all(epoch_batches(DURATIONS, EIGHT, 1, 2))
    assert {len(order(1, epoch)) for epoch in range(1, 9)} == {42}
    # Not only the batches are shuffled: utterances meet others.
    assert not {tuple(sorted(batch)) for batch in order(1, 2)} & {tuple(sorted(batch)) for batch in order(1, 3)}


def test_the_order_is_the_same_as_ever() -> None:
    """A checkpoint from the middle of an epoch goes on in it with a later version, too."""
    few = epoch_batches(np.array([1.0, 3.0, 1.1, 2.9, 1.0, 5.0, 4.0]), Batching(2, max_seconds=6), seed=1, epoch=2)
    assert _lists(few) == [[2, 3], [6], [1], [5], [4, 0]]


def test_a_batch_holds_utterances_of_similar_length() -> None:
    assert _padding(epoch_batches(DURATIONS, EIGHT, 1, 1)) < 0.15
    assert _padding(evaluation_batches(DURATIONS, EIGHT)) < 0.03


@pytest.mark.parametrize("sortagrad", [False, True])
def test_the_padded_seconds_of_a_batch_have_a_bound(sortagrad: bool) -> None:
    batching = Batching(8, max_seconds=24, sortagrad=sortagrad)
    orders = [epoch_batches(DURATIONS, batching, 5, epoch) for epoch in (1, 2, 3)]
    for order in [*orders, evaluation_batches(DURATIONS, batching)]:
        assert _is_all(order)
        for batch in order:
            assert len(batch) <= 8
            assert len(batch) * DURATIONS[batch].max() <= 24
    assert len({len(order) for order in orders}) == 1
    assert max(len(batch) for batch in orders[1]) == 8
    # The bound is made use of: nearly as few batches as there could be.
    assert len(orders[1]) < 1.25 * DURATIONS.sum() / 24


def test_an_utterance_longer_than_the_bound_is_a_batch_alone() -> None:
    order = epoch_batches(np.array([1.0, 9.0, 1.0, 12.0]), Batching(4, max_seconds=5), 1, 1)
    assert sorted(sorted(batch.tolist()) for batch in order) == [[0, 2], [1], [3]]


def test_utterances_of_one_length_fill_the_bound_whatever_floats_say() -> None:
    order = epoch_batches(np.full(9, 0.2), Batching(100, max_seconds=0.6), 1, 1)
    assert [len(batch) for batch in order] == [3, 3, 3]


def test_sortagrad_goes_from_short_to_long_in_the_first_epoch_alone() -> None:
    batching = Batching(8, sortagrad=True)
    first = np.concatenate(epoch_batches(DURATIONS, batching, 1, 1))
    assert (np.diff(DURATIONS[first]) >= 0).all()
    assert _is_all([first])
    assert _lists(epoch_batches(DURATIONS, batching, 1, 2)) == _lists(epoch_batches(DURATIONS, EIGHT, 1, 2))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_few_utterances_make_few_batches(count: int) -> None:
    for order in (epoch_batches(DURATIONS[:count], EIGHT, 1, 1), evaluation_batches(DURATIONS[:count], EIGHT)):
        assert _is_all(order, count)
        assert len(order) == -(-count // 8)


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_workers_take_every_utterance_once_and_the_same_steps(workers: int) -> None:
    durations = np.tile(DURATIONS, 6)
    order = epoch_batches(durations, EIGHT, 1, 2)
    shares = [share(order, durations, worker, workers) for worker in range(workers)]
    assert [len(mine) for mine in shares] == [len(order)] * workers
    for number, batch in enumerate(order):
        parts = [mine[number] for mine in shares]
        assert sorted(np.concatenate(parts).tolist()) == sorted(batch.tolist())
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    seconds = [float(durations[np.concatenate(mine)].sum()) for mine in shares]
    assert max(seconds) / min(seconds) < 1.01
    counts = [sum(map(len, mine)) for mine in shares]
    assert max(counts) - min(counts) <= 2


def test_a_worker_that_is_none_is_refused_and_small_batches_leave_some_without() -> None:
    with pytest.raises(ValueError, match="worker 2 of 2"):
        share([], DURATIONS, 2, 2)
    parts = [share([np.array([4])], DURATIONS, worker, 3)[0] for worker in range(3)]
    assert sorted(map(len, parts)) == [0, 0, 1]


def test_padding_is_zeros_and_true_lengths_are_kept() -> None:
    batch = batches.collate([_example("a", 5, "go"), _example("b", 9, "left")], 7)
    assert batch.features.shape == (2, 9, 26)
    assert batch.frames.tolist() == [5, 9]
    assert batch.features[0, 5:].sum() == 0
    assert batch.features[0, :5].all()
    assert batch.label_lengths.tolist() == [2, 4]
    assert ENGLISH.decode(batch.labels[0, :2]) == "go"
    assert batch.duration == pytest.approx(14 * 0.02)
    assert (batch.number, batch.count, [utterance.id for utterance in batch.utterances]) == (7, 2, ["a", "b"])


def test_a_batch_of_a_fixed_shape_has_rows_that_are_none() -> None:
    fixed = shapes.FixedShapes((shapes.Shape(8, 4, 8), shapes.Shape(16, 3, 8)))
    batch = batches.collate([_example("a", 5, "go"), _example("b", 9, "left")], 0, fixed)
    assert batch.features.shape == (3, 16, 26)
    assert batch.labels.shape == (3, 8)
    assert batch.frames.tolist() == [5, 9, 1]
    assert batch.label_lengths.tolist() == [2, 4, 0]
    assert batch.count == 2
    assert batch.features[2].sum() == 0
    assert batch.duration == pytest.approx(14 * 0.02)


def test_fixed_shapes_are_few_hold_everything_and_pad_little() -> None:
    frames, labels = (DURATIONS * 50).astype(np.int64), (DURATIONS * 12).astype(np.int64)
    fixed = shapes.choose(frames, labels, lambda length: 1000 // length, count=6)
    assert len(fixed.shapes) <= 6
    assert [shape.rows for shape in fixed.shapes] == [1000 // shape.frames for shape in fixed.shapes]
    padded = fixed.padded(frames)
    assert (padded >= frames).all()
    assert set(padded.tolist()) <= {shape.frames for shape in fixed.shapes}
    for length, count in zip(frames.tolist(), labels.tolist(), strict=True):
        shape = fixed.fitting(1, length, count)
        assert shape in fixed.shapes
    evenly = np.linspace(frames.max() / 6, frames.max() + 8, 6)
    assert padded.sum() <= evenly[np.searchsorted(evenly, frames)].sum()
    assert padded.sum() / frames.sum() < 1.16


def test_the_choice_of_lengths_is_the_best_there_is() -> None:
    frames = np.repeat([7, 15, 31, 47, 63], [50, 1, 40, 2, 9]).astype(np.int64)
    chosen = [shape.frames for shape in shapes.choose(frames, frames, lambda length: 1, count=3).shapes]
    assert chosen == [8, 32, 64]
    assert [shape.frames for shape in shapes.choose(frames, frames, lambda length: 1, count=1).shapes] == [64]
    assert len(shapes.choose(frames[:50], frames[:50], lambda length: 1).shapes) == 1


def test_audio_longer_than_its_manifest_gets_one_of_few_longer_shapes() -> None:
    fixed = shapes.FixedShapes((shapes.Shape(80, 4, 8), shapes.Shape(160, 3, 16)))
    longer = {fixed.fitting(2, frames, 4) for frames in range(161, 1600)}
    assert len(longer) < 15
    assert all(shape.rows == 3 and shape.labels == 16 for shape in longer)
    assert fixed.fitting(2, 100, 30).labels >= 30
