"""Significance: do two word error rates on one test set differ by more than the chance of which utterances are in it?

The paired bootstrap of M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004: utterances are drawn again and again, with replacement, out of those that both runs have
recognised, and each time the difference of the two rates is taken. A rate is the sum of edits over the sum of
reference words, never a mean of rates::

    before:  12 edits in 100 words     after:  19 edits in 100 words     difference: +0.07, worse

                 low                difference               high
    ------|-------[=====================|=====================]--------
          0                           +0.07
                 nothing below 0 in the interval: worse

Utterances of one speaker are no independent observations. Where there are enough speakers, whole speakers are drawn.

What this says is that two trained models differ on such speech. It does not say that the change in the code did it:
two seeds of one commit may differ as well, and their spread is to be shown beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from statistics import NormalDist

#: From so many speakers on, speakers are drawn. With fewer there are too few different draws for an interval.
FEWEST_SPEAKERS = 10

#: Below these a test set is too small for any answer: the interval would rest on a handful of sentences.
FEWEST_UTTERANCES = 30
FEWEST_WORDS = 100

#: The share of each run's utterances that the other must have too. Below it the two were tested on different things.
LEAST_PAIRED = 0.5

#: Of more blocks than this, some are put together at random. That changes the variance of their sum in the mean not at
#: all and in one case by about 2 %, and keeps a set of any size below a second or two.
MOST_BLOCKS = 5000


class Verdict(StrEnum):
    """The answer, in words that a page and a line of a log can show as they are."""

    BETTER = "better"
    WORSE = "worse"
    WITHIN_NOISE = "within noise"
    NOT_ENOUGH_DATA = "not enough data"


@dataclass(frozen=True)
class Counts:
    """What was counted in one utterance: edits and reference words; ``speaker`` is empty where nobody knows."""

    errors: int
    words: int
    speaker: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two runs compared on the ``utterances`` that both have, by ``speakers`` speakers (0: unknown).

    ``difference`` of the two word error rates is a ratio, above 0 where ``after`` is worse; it lies between ``low`` and
    ``high``, to the ``level`` of confidence; ``probability`` (0 to 1) is that of ``after`` being worse. These four are
    None where there is not enough data.
    """

    verdict: Verdict
    utterances: int
    speakers: int
    level: float
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    probability: float | None = None

    def text(self) -> str:
        """The answer as a part of a sentence, with rates in percentage points."""
        of_speakers = f" of {self.speakers} speakers" if self.speakers > 1 else ""
        where = f"{self.utterances} utterance{'' if self.utterances == 1 else 's'}{of_speakers}"
        if self.difference is None or self.low is None or self.high is None:
            return f"{self.verdict}: the two runs have only {where} in common" if self.utterances else str(self.verdict)
        interval = f"{self.level:.0%} interval {100 * self.low:+.2f} to {100 * self.high:+.2f}"
        return f"{self.verdict}: {100 * self.difference:+.2f} percentage points ({interval}; {where})"


def compare(
    before: Mapping[str, Counts],
    after: Mapping[str, Counts],
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Comparison:
    """Compare two runs, each given as utterance id -> Counts.

    Only utterances in both, with the same number of reference words, are compared. The draws follow from ``seed``, so
    that the same runs get the same answer; the two exchanged get the mirrored one. ``level`` lies between 0 and 1.
    """
    paired = sorted(name for name in before.keys() & after.keys() if before[name].words == after[name].words)
    speakers = {before[name].speaker for name in paired} - {""}
    words = sum(before[name].words for name in paired)
    is_enough = len(paired) >= FEWEST_UTTERANCES and words >= FEWEST_WORDS
    if not is_enough or len(paired) < LEAST_PAIRED * max(len(before), len(after)):
        return Comparison(Verdict.NOT_ENOUGH_DATA, len(paired), len(speakers), level)

    by_speaker = len(speakers) >= FEWEST_SPEAKERS and all(before[name].speaker for name in paired)
    blocks: dict[str, tuple[int, int]] = {}
    for name in paired:
        block = before[name].speaker if by_speaker else name
        more, length = blocks.get(block, (0, 0))
        blocks[block] = (more + after[name].errors - before[name].errors, length + before[name].words)

    random = Random(seed)
    difference = sum(more for more, _ in blocks.values()) / words
    drawn = _drawn(_merged(list(blocks.values()), random), difference, resamples, level, random)
    cut = int(len(drawn) * (1 - level) / 2)
    low, high = drawn[cut], drawn[-1 - cut]
    worse, same = sum(each > 0 for each in drawn), sum(each == 0 for each in drawn)
    verdict = Verdict.WORSE if low > 0 else Verdict.BETTER if high < 0 else Verdict.WITHIN_NOISE
    probability = (worse + same / 2) / len(drawn)
    return Comparison(verdict, len(paired), len(speakers), level, difference, low, high, probability)


def _merged(blocks: list[tuple[int, int]], random: Random) -> list[tuple[int, int]]:
    """At most MOST_BLOCKS blocks; where there are more, some are put together at random."""
    if len(blocks) <= MOST_BLOCKS:
        return blocks
    random.shuffle(blocks)
    groups = (blocks[first::MOST_BLOCKS] for first in range(MOST_BLOCKS))
    return [(sum(more for more, _ in group), sum(words for _, words in group)) for group in groups]


def _drawn(
    blocks: list[tuple[int, int]], difference: float, resamples: int, level: float, random: Random
) -> list[float]:
    """The differences of ``resamples`` draws from ``blocks`` of (edits more, words), in ascending order.

    They are spread wider around ``difference`` than they were drawn: of n observations the bootstrap sees a variance
    that is (n - 1) / n of the true one, and its percentiles stand for the normal distribution where Student's t belongs
    (T. Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 2015). n is the number
    of blocks that changed at all: a thousand utterances that both runs recognised alike say nothing about how far the
    five others would have scattered.
    """
    # Both sums of a draw are taken as one: 5 million additions of pairs would take seconds.
    room = 1 << (len(blocks) * max(words for _, words in blocks)).bit_length()
    packed = [more * room + words for more, words in blocks]
    sums = (divmod(sum(random.choices(packed, k=len(packed))), room) for _ in range(resamples))
    freedom = max(sum(more != 0 for more, _ in blocks) - 1, 3)  # so few are never significant, widened more or not
    normal = NormalDist().inv_cdf((1 + level) / 2)
    wider = student_quantile((1 + level) / 2, freedom) / normal * math.sqrt((freedom + 1) / freedom)
    return sorted(difference + wider * (more / words - difference) for more, words in sums if words)


def student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t with ``freedom`` degrees of freedom, 3 or more.

    By the expansion of Cornish and Fisher (Abramowitz and Stegun, 26.7.5), good to 1 % for a ``probability`` of up to
    0.975.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))
