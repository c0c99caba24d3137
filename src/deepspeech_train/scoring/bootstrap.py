"""The bootstrap: how far a word error rate would scatter, had other utterances been in the test set.

M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004: as
many utterances as there are in the set are drawn out of it, with replacement, again and again; each time the rate is
taken, the sum of edits over the sum of words; the interval is what lies between the percentiles of all these. For two
recognisers of the same utterances the difference of their rates is taken in each draw, which is much narrower than the
two intervals would suggest.

Utterances of one speaker are no independent observations. Where there are ten speakers or more, whole speakers are
drawn. What the draws cannot show is how far two trainings of the same network scatter: they know one training alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .rates import Transcription

#: Below these there are too few different draws for an interval.
FEWEST_SPEAKERS = 10
FEWEST_UTTERANCES = 10

#: Of more blocks than this, some are put together at random. In the mean that does not change the variance of a draw's
#: sums, and it keeps a set of any size below a second or two.
MOST_BLOCKS = 5000

RESAMPLES = 10_000
LEVEL = 0.95

#: Places drawn at a time: 32 MiB of them.
_AT_A_TIME = 1 << 22

_Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """The rate lies between ``low`` and ``high`` (ratios) to the confidence ``level``; ``drawn`` says what was drawn,
    ``speakers`` or ``utterances``, and ``count`` how many of them there are."""

    low: float
    high: float
    level: float
    drawn: str
    count: int


@dataclass(frozen=True)
class Comparison:
    """Two recognisers, A and B, of the same utterances: ``difference`` is the rate of B less that of A, with its
    interval; ``probability`` (0 to 1) is the share of the draws in which B is the better, equal ones counted half."""

    difference: float
    interval: Interval
    probability: float


def confidence_interval(
    transcriptions: Sequence[Transcription], *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval | None:
    """The interval of the set's word error rate; None where the set has too few utterances, or no words."""
    return interval(_edits(transcriptions), _words(transcriptions), _speakers(transcriptions), seed, resamples, level)


def compare(
    before: Sequence[Transcription],
    after: Sequence[Transcription],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Comparison | None:
    """The two recognisers, given on the same utterances in the same order; None where an interval would be.

    ValueError if the utterances or their numbers of words are not the same.
    """
    words = _words(before)
    same = [item.utterance.id for item in before] == [item.utterance.id for item in after]
    if not same or not np.array_equal(words, _words(after)):
        raise ValueError("the two hypotheses are not of the same utterances")
    return difference(_edits(before), _edits(after), words, _speakers(before), seed, resamples, level)


def interval(
    edits: _Counts,
    words: _Counts,
    speakers: Sequence[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """The interval of ``sum(edits) / sum(words)``.

    ``edits`` and ``words`` have the shape (utterances,); ``speakers`` names the speaker of each, or is empty. ``level``
    lies between 0 and 1. The same arguments give the same interval. None for fewer than FEWEST_UTTERANCES utterances,
    and for a set without words.
    """
    return _interval(np.stack([edits, words], axis=1), speakers, seed, resamples, level)[0]


def difference(
    before: _Counts,
    after: _Counts,
    words: _Counts,
    speakers: Sequence[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Comparison | None:
    """The difference of ``sum(after) / sum(words)`` and ``sum(before) / sum(words)``; as :func:`interval`."""
    found, drawn = _interval(np.stack([after - before, words], axis=1), speakers, seed, resamples, level)
    if found is None:
        return None
    better, equal = float(np.mean(drawn < 0)), float(np.mean(drawn == 0))
    return Comparison(int((after - before).sum()) / int(words.sum()), found, better + equal / 2)


def _interval(
    counts: _Counts, speakers: Sequence[str], seed: int, resamples: int, level: float
) -> tuple[Interval | None, npt.NDArray[np.float64]]:
    """The interval of the ratio of the two columns of ``counts``, and the drawn ratios it was taken from."""
    if len(counts) < FEWEST_UTTERANCES or not counts[:, 1].any():
        return None, np.empty(0)
    random = np.random.default_rng(seed)
    names, places = np.unique(np.asarray(speakers, dtype=object).astype(str), return_inverse=True)
    by_speaker = len(names) >= FEWEST_SPEAKERS and len(places) == len(counts) and bool(np.all(names != ""))
    blocks = _summed(counts, places, len(names)) if by_speaker else counts
    count = len(blocks)
    if count > MOST_BLOCKS:
        blocks = _summed(blocks, random.permutation(count) % MOST_BLOCKS, MOST_BLOCKS)
    drawn = np.concatenate(list(_ratios(blocks, random, resamples)))
    if not drawn.size:
        return None, drawn
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, "speakers" if by_speaker else "utterances", count), drawn


def _ratios(blocks: _Counts, random: np.random.Generator, resamples: int) -> Iterator[npt.NDArray[np.float64]]:
    """The ratios of ``resamples`` draws, some at a time; a draw without a word has none and is left out."""
    left, right = np.ascontiguousarray(blocks[:, 0]), np.ascontiguousarray(blocks[:, 1])
    at_a_time = max(1, _AT_A_TIME // len(blocks))
    for first in range(0, resamples, at_a_time):
        places = random.integers(0, len(blocks), (min(at_a_time, resamples - first), len(blocks)))
        above, below = left[places].sum(axis=1), right[places].sum(axis=1)
        yield above[below > 0] / below[below > 0]


def _summed(counts: _Counts, places: npt.NDArray[np.int64], number: int) -> _Counts:
    """The rows of ``counts`` added up in ``number`` groups; ``places`` names the group of each row."""
    sums = np.zeros((number, counts.shape[1]), np.int64)
    np.add.at(sums, places, counts)
    return sums


def _edits(transcriptions: Sequence[Transcription]) -> _Counts:
    return np.array([item.score.edits for item in transcriptions], np.int64)


def _words(transcriptions: Sequence[Transcription]) -> _Counts:
    return np.array([item.score.words for item in transcriptions], np.int64)


def _speakers(transcriptions: Sequence[Transcription]) -> list[str]:
    return [item.utterance.speaker for item in transcriptions]
