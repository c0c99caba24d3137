"""Batches: order, padding, and utterances that cannot be learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspeech_train import text
from deepspeech_train.data import audio, batches
from deepspeech_train.data.features import MfccOptions
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError

LENGTHS = np.random.default_rng(3).integers(20, 400, 333).tolist()


def _example(name: str, frames: int, transcript: str) -> batches.Example:
    utterance = Utterance(name, Path(f"{name}.wav"), frames * 0.02, transcript, "s")
    return batches.Example(utterance, np.ones((frames, 26), np.float32), text.encode(transcript))


def test_an_epoch_is_a_function_of_seed_and_epoch_and_takes_each_utterance_once() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in batches.epoch_order(LENGTHS, 8, seed, epoch)]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    assert sorted(place for batch in order(1, 2) for place in batch) == list(range(len(LENGTHS)))
    assert len(order(1, 2)) == batches.batch_count(len(LENGTHS), 8)


def test_a_batch_holds_utterances_of_similar_length() -> None:
    def padding(order: list[Any]) -> float:
        padded = sum(len(batch) * max(LENGTHS[place] for place in batch) for batch in order)
        return padded / sum(LENGTHS) - 1

    assert padding(batches.epoch_order(LENGTHS, 8, 1, 1)) < 0.15
    assert padding(batches.evaluation_order(LENGTHS, 8)) < 0.05


def test_padding_is_zeros_and_true_lengths_are_kept() -> None:
    batch = batches.collate([_example("a", 5, "go"), _example("b", 9, "left")])
    assert batch.features.shape == (2, 9, 26)
    assert batch.frames.tolist() == [5, 9]
    assert batch.features[0, 5:].sum() == 0
    assert batch.features[0, :5].all()
    assert batch.label_lengths.tolist() == [2, 4]
    assert text.decode(batch.labels[0, :2]) == "go"
    assert batch.duration == pytest.approx(14 * 0.02)


@pytest.mark.parametrize(("transcript", "needed"), [("go", 2), ("aa", 3), ("three", 6), ("aaa", 5), ("", 0)])
def test_frames_needed_counts_the_blanks_between_repeats(transcript: str, needed: int) -> None:
    assert text.frames_needed(text.encode(transcript)) == needed


def test_infeasible_utterances_are_split_off_by_name() -> None:
    examples = [
        _example("enough", 12, "three"),  # six frames with a stride of 2
        _example("too-short", 10, "three"),  # five: one blank is missing
        _example("silent", 10, ""),
    ]
    feasible, infeasible = batches.split_feasible(examples, n_stride=2)
    assert [example.utterance.id for example in feasible] == ["enough"]
    assert [example.utterance.id for example in infeasible] == ["too-short", "silent"]
    assert len(batches.split_feasible(examples, n_stride=1)[0]) == 2


def test_prepare_keeps_the_order_and_names_the_utterance_that_is_bad(corpus: Any, tmp_path: Path) -> None:
    examples = batches.prepare(corpus.test, MfccOptions())
    assert [example.utterance for example in examples] == list(corpus.test)
    assert all(abs(len(item.features) * 0.02 - item.utterance.duration) < 0.05 for item in examples)

    audio.write_wav(tmp_path / "a.wav", np.zeros(1600, np.float32), 16000)
    odd = Utterance("odd-one", tmp_path / "a.wav", 0.1, "route 66", "s")
    with pytest.raises(RecipeError, match=r"odd-one.*'6'"):
        batches.prepare([*corpus.test, odd], MfccOptions())
    gone = Utterance("gone-one", tmp_path / "b.wav", 0.1, "route", "s")
    with pytest.raises(RecipeError, match=r"gone-one.*b\.wav"):
        batches.prepare([gone], MfccOptions())
