"""Batches: which utterances stand together and in what order, and their padded arrays.

The batches of an epoch are a function of (durations, batching, seed, epoch) alone, so that a resumed run goes on
exactly and every worker and every storage sees the same order. Utterances are dealt into buckets of like duration,
shuffled in their bucket and cut into batches from the longest bucket to the shortest; then the batches are shuffled. A
batch holds ``Batching.size`` utterances, or fewer so that its padded seconds (utterances times the longest) stay within
``Batching.max_seconds``; an utterance that is longer alone is a batch alone. How many batches there are is the same in
every epoch.

>>> batching = Batching(size=2)
>>> [batch.tolist() for batch in evaluation_batches(np.array([1.0, 3.0, 1.1, 2.9]), batching)]
[[0, 2], [3, 1]]
>>> [batch.tolist() for batch in epoch_batches(np.array([1.0, 3.0, 1.1, 2.9]), batching, seed=1, epoch=2)]
[[0, 3], [1, 2]]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .features import Floats
from .manifest import Utterance
from .shapes import FixedShapes

Ints = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]
Seconds = npt.NDArray[np.float64]

#: Utterances are shuffled among so many batches' worth of like duration: more would be padding, fewer the same
#: neighbours in every epoch.
_BUCKET_BATCHES = 4
#: Buckets at most; what one more saves in padding is nothing then.
_BUCKETS = 256
#: With a bound in seconds, the most that one utterance of a bucket may allow in a batch against what another does.
_SIZES_RATIO = 1.25


@dataclass(frozen=True)
class Batching:
    """``size`` utterances a batch at most, ``max_seconds`` of audio with padding counted (0: no bound); with
    ``sortagrad`` the first epoch goes from short to long (Amodei et al., 2016)."""

    size: int
    max_seconds: float = 0.0
    sortagrad: bool = False


@dataclass(frozen=True)
class Example:
    """An utterance with its features (frames, size) and labels (characters,)."""

    utterance: Utterance
    features: Floats
    labels: Ints


@dataclass(frozen=True)
class Batch:
    """Padded with zeros to the longest: features (rows, frames, size), labels (rows, characters); ``frames`` and
    ``label_lengths`` (rows,) are the true lengths. ``number`` is its place in the epoch, from 0.

    The first ``count`` rows are the utterances. Of fixed shapes there may be more: zeros, of 1 frame and no label.
    """

    number: int
    utterances: tuple[Utterance, ...]
    features: Floats
    frames: Ints
    labels: Ints
    label_lengths: Ints

    @property
    def count(self) -> int:
        """Utterances."""
        return len(self.utterances)

    @property
    def duration(self) -> float:
        """Seconds of audio, padding not counted."""
        return sum(utterance.duration for utterance in self.utterances)


def epoch_batches(
    durations: Seconds, batching: Batching, seed: int, epoch: int, *, padded: Seconds | None = None
) -> list[Places]:
    """The batches of a training epoch (from 1) as places in ``durations``, each place exactly once.

    ``padded``, where given, are the seconds that each utterance takes in a batch, for the bound: with fixed shapes they
    are more than its own.
    """
    order, bucket = _buckets(np.asarray(durations, np.float64), batching, padded)
    cuts = _cuts(order, bucket, padded if padded is not None else durations, batching)
    random = np.random.default_rng((seed, epoch))
    shuffled = random.permutation(len(order))
    if batching.sortagrad and epoch == 1:
        return [batch[::-1] for batch in np.split(order, cuts)[::-1]] if len(order) else []
    # A stable sort of the shuffled by bucket: each bucket is shuffled in itself. In 16 bits NumPy sorts by radix.
    order = order[shuffled[np.argsort(bucket.astype(np.uint16)[shuffled], kind="stable")]]
    batches = np.split(order, cuts) if len(order) else []
    return [batches[place] for place in random.permutation(len(batches))]


def evaluation_batches(durations: Seconds, batching: Batching, *, padded: Seconds | None = None) -> list[Places]:
    """Batches for evaluation: from short to long, each place exactly once; ``padded`` as in :func:`epoch_batches`."""
    order = np.argsort(-np.asarray(durations, np.float64), kind="stable")
    bucket = np.arange(len(order))
    cuts = _cuts(order, bucket, padded if padded is not None else durations, batching)
    return [batch[::-1] for batch in np.split(order, cuts)[::-1]] if len(order) else []


def share(batches: Sequence[Places], durations: Seconds, worker: int, workers: int) -> list[Places]:
    """The part of each batch that is ``worker``'s (0 to ``workers - 1``), so that all workers take the same steps and
    together each utterance once.

    Within a batch the longest utterances are dealt out first, forth and back, beginning with another worker in batches
    that are alike, so that all get about as many and as long ones. A batch of fewer utterances than
    workers leaves some of them an empty part. ValueError for a worker that is not one of them.
    """
    if not 0 <= worker < workers:
        raise ValueError(f"worker {worker} of {workers}: they count from 0")
    if workers == 1 or not batches:
        return list(batches)
    sizes = np.array([len(batch) for batch in batches])
    places = np.concatenate(batches)
    number = np.repeat(np.arange(len(batches)), sizes)
    starts = np.cumsum(sizes) - sizes
    longest_first = np.lexsort((-np.asarray(durations, np.float64)[places], number))
    rank = np.empty(len(places), np.intp)
    rank[longest_first] = np.arange(len(places)) - starts[number]
    round_, turn = np.divmod(rank, workers)
    longest = np.maximum.reduceat(np.asarray(durations, np.float64)[places], starts)
    first = np.argsort(np.argsort(longest, kind="stable"))[number]
    whose = (np.where(round_ % 2, workers - 1 - turn, turn) + first) % workers
    mine = whose == worker
    counts = np.bincount(number[mine], minlength=len(batches))
    return np.split(places[mine], np.cumsum(counts)[:-1])


def collate(examples: Sequence[Example], number: int, fixed: FixedShapes | None = None) -> Batch:
    """One padded batch of one example or more; of one of the ``fixed`` shapes where they are given."""
    count = len(examples)
    frames = np.array([len(example.features) for example in examples], np.int32)
    label_lengths = np.array([example.labels.size for example in examples], np.int32)
    rows, longest, characters = count, int(frames.max()), max(1, int(label_lengths.max()))
    if fixed is not None:
        shape = fixed.fitting(rows, longest, characters)
        rows, longest, characters = shape.rows, shape.frames, shape.labels
    features = np.zeros((rows, longest, examples[0].features.shape[1]), np.float32)
    labels = np.zeros((rows, characters), np.int32)
    for row, example in enumerate(examples):
        features[row, : frames[row]] = example.features
        labels[row, : label_lengths[row]] = example.labels
    return Batch(
        number=number,
        utterances=tuple(example.utterance for example in examples),
        features=features,
        frames=np.pad(frames, (0, rows - count), constant_values=1),
        labels=labels,
        label_lengths=np.pad(label_lengths, (0, rows - count)),
    )


def fitting(seconds: Seconds, batching: Batching) -> Places:
    """How many utterances of so many seconds, padding counted, a batch may hold, each: shape ``(len(seconds),)``."""
    if not batching.max_seconds:
        return np.full(len(seconds), batching.size, np.intp)
    # The tolerance: ten times 0.3 s are 3 s, whatever floats say.
    fitting = np.floor(batching.max_seconds / np.maximum(seconds, 1e-3) * (1 + 1e-9))
    return np.clip(fitting, 1, batching.size).astype(np.intp)


def _buckets(durations: Seconds, batching: Batching, padded: Seconds | None) -> tuple[Places, Places]:
    """Places from long to short, and the bucket of each, from 0 for the longest on. The buckets hold about as many
    batches each, and none holds utterances so unlike that its batches would be much smaller than they need be."""
    order = np.argsort(-durations, kind="stable")
    if not len(order):
        return order, order
    sizes = fitting((durations if padded is None else padded)[order], batching)
    batches = np.cumsum(1 / sizes)
    count = int(np.clip(batches[-1] / _BUCKET_BATCHES, 1, _BUCKETS))
    evenly = np.minimum(batches * (count / batches[-1]), count - 1).astype(np.intp)
    level = np.floor(np.log(sizes) / np.log(_SIZES_RATIO))
    begins = (np.diff(evenly, prepend=0) != 0) | (np.diff(level, prepend=level[0]) != 0)
    return order, np.cumsum(begins)


def _cuts(order: Places, bucket: Places, padded: Seconds, batching: Batching) -> list[int]:
    """Where, in ``order`` from long to short, the second batch begins, the third ...

    A batch that begins in a bucket is as large as the longest of that bucket allows, wherever in its bucket that is
    after the shuffle: all that follow are of this bucket or of shorter ones.
    """
    if not len(order):
        return []
    if not batching.max_seconds:
        return list(range(batching.size, len(order), batching.size))
    # Rounding up to a grid keeps the order, so the first of a bucket is still its longest.
    first = np.flatnonzero(np.diff(bucket, prepend=-1))
    longest = np.asarray(padded, np.float64)[order[first]][np.searchsorted(first, np.arange(len(order)), "right") - 1]
    sizes = fitting(longest, batching).tolist()
    cuts: list[int] = []
    place = sizes[0]
    while place < len(order):
        cuts.append(place)
        place += sizes[place]
    return cuts
