"""From utterances to padded batches, in an order that is a function of (seed, epoch).

Features are computed once and kept in memory for the run: 26 float32 coefficients fifty times a second are
five kilobytes a second of audio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import text
from ..errors import RecipeError
from . import audio
from .features import Floats, MfccOptions, mfcc
from .manifest import Utterance

Ints = npt.NDArray[np.int32]

#: Batches are made of utterances of similar length, so that little is padding, and yet of other utterances in
#: each epoch: utterances are shuffled, and sorted by length only within pools of this many batches.
_POOL_BATCHES = 16


@dataclass(frozen=True)
class Example:
    """An utterance with its features (frames, n_input) and labels (characters,)."""

    utterance: Utterance
    features: Floats
    labels: Ints


@dataclass(frozen=True)
class Batch:
    """Examples padded with zeros to the longest: features (batch, frames, n_input), labels (batch, characters);
    ``frames`` and ``label_lengths`` (batch,) are the true lengths."""

    examples: tuple[Example, ...]
    features: Floats
    frames: Ints
    labels: Ints
    label_lengths: Ints

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return sum(example.utterance.duration for example in self.examples)


def prepare(
    utterances: Sequence[Utterance],
    options: MfccOptions,
    load: Callable[[Path, int], Floats] = audio.load,
) -> tuple[Example, ...]:
    """Examples in the order of ``utterances``; RecipeError for audio that cannot be read or text outside the
    alphabet, naming the utterance."""

    def example(utterance: Utterance) -> Example:
        try:
            labels = text.encode(utterance.text)
            samples = load(utterance.audio, options.sample_rate)
        except RecipeError as error:
            raise RecipeError(f"Utterance {utterance.id}: {error.message}", error.hint) from None
        return Example(utterance, mfcc(samples, options), labels)

    # Reading and the Fourier transforms leave Python's lock; two threads are worth it.
    with ThreadPoolExecutor(max_workers=2) as pool:
        return tuple(pool.map(example, utterances))


def output_frames(frames: int, n_stride: int) -> int:
    """How many frames the network makes of ``frames``."""
    return -(-frames // n_stride)


def split_feasible(examples: Sequence[Example], n_stride: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(those that CTC can learn, those that have too few frames for their text, or no text).

    TensorFlow gives the latter a finite loss of some hundreds or an error, depending on the kernel, so they
    must be taken out before training.
    """
    feasible: list[Example] = []
    infeasible: list[Example] = []
    for example in examples:
        enough = text.frames_needed(example.labels) <= output_frames(len(example.features), n_stride)
        (feasible if enough and example.labels.size else infeasible).append(example)
    return tuple(feasible), tuple(infeasible)


def collate(examples: Sequence[Example]) -> Batch:
    """One padded batch."""
    frames = np.array([len(example.features) for example in examples], np.int32)
    label_lengths = np.array([example.labels.size for example in examples], np.int32)
    features = np.zeros((len(examples), int(frames.max()), examples[0].features.shape[1]), np.float32)
    labels = np.zeros((len(examples), max(1, int(label_lengths.max()))), np.int32)
    for row, example in enumerate(examples):
        features[row, : frames[row]] = example.features
        labels[row, : label_lengths[row]] = example.labels
    return Batch(tuple(examples), features, frames, labels, label_lengths)


def epoch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[Ints]:
    """The batches of a training epoch as places in ``lengths``; each place once.

    A function of its arguments alone, so that a resumed run sees what the uninterrupted one would have.
    """
    random = np.random.default_rng((seed, epoch))
    shuffled = random.permutation(len(lengths)).astype(np.int32)
    size = np.asarray(lengths)
    pool = batch_size * _POOL_BATCHES
    batches: list[Ints] = []
    for start in range(0, len(shuffled), pool):
        part = shuffled[start : start + pool]
        part = part[np.argsort(size[part], kind="stable")]
        batches += [part[at : at + batch_size] for at in range(0, len(part), batch_size)]
    return [batches[place] for place in random.permutation(len(batches))]


def evaluation_order(lengths: Sequence[int], batch_size: int) -> list[Ints]:
    """Batches for evaluation: by length, each place once."""
    order = np.argsort(np.asarray(lengths), kind="stable").astype(np.int32)
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def batch_count(examples: int, batch_size: int) -> int:
    """How many batches ``examples`` make."""
    return -(-examples // batch_size)
