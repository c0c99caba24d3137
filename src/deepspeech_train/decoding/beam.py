"""Prefix beam search (Graves, 2008, algorithm 1; Hannun et al., 2014): the likeliest text, not the likeliest path.

A text's probability is the sum over all the paths that spell it. The search goes through the frames with the ``width``
likeliest prefixes; of each it keeps the probability of the paths that end in a blank and of those that end in its last
character, and it adds what a prior (``prior.py``) knows of the language. Texts have no space at an end and no two in a
row: a space where there is one already leaves the prefix as it is, and what is left at the end with and without a last
space is one text.

With all pruning off and a beam that is wide enough, what is found is exactly the text of the highest score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..text import Alphabet
from .alignment import best_path
from .hypothesis import Floats, Hypothesis, from_path, log_probabilities
from .prefixes import EMPTY, Prefixes
from .prior import Prior

#: A prefix goes on with a character only in frames in which that has at least this probability.
LEAST_PROBABILITY = 0.001
#: A prefix leaves the beam when its score is this far below the best one's.
SPREAD = 16.0


@dataclass(frozen=True)
class Candidate:
    """A text; ``log_probability`` is that of the network alone, ``score`` has the prior's in it."""

    text: str
    log_probability: float
    score: float


@dataclass(frozen=True)
class Beam:
    """``width`` prefixes are kept at each frame; ``seconds_per_frame`` is from one output to the next. ``remarks`` tell
    what the user should know of the language model and the word list."""

    alphabet: Alphabet
    seconds_per_frame: float
    width: int = 64
    prior: Prior | None = None
    least_probability: float = LEAST_PROBABILITY
    spread: float = SPREAD
    remarks: tuple[str, ...] = ()

    def decode(self, logits: npt.NDArray[np.float32], lengths: npt.NDArray[np.int32]) -> list[Hypothesis]:
        """One hypothesis an utterance from ``logits`` (batch, frames, alphabet.size) and ``lengths`` (batch,).

        Words and confidence are those of the likeliest path that spells the text. RecipeError: outputs that are not
        finite.
        """
        hypotheses = []
        for row in log_probabilities(logits, lengths, self.alphabet):
            best = self.candidates(row)[0]
            if best.log_probability == -np.inf:  # outputs of probability 0 leave no way to what the prior allows
                hypotheses.append(Hypothesis("", 0.0))
                continue
            path = best_path(row, best.text, self.alphabet)
            hypotheses.append(from_path(path, row, self.alphabet, self.seconds_per_frame))
        return hypotheses

    def text(self, logits: npt.NDArray[np.float32]) -> str:
        """The text alone of one utterance's ``logits`` (frames, alphabet.size)."""
        (row,) = log_probabilities(logits[None], np.array([len(logits)]), self.alphabet)
        return self.candidates(row)[0].text

    def candidates(self, log_probs: Floats) -> list[Candidate]:
        """The texts that are in the beam after the last frame of ``log_probs`` (frames, alphabet.size), best first.

        There is at least one. With a closed lexicon, a text whose last word is not whole is there without it, if there
        is no other.
        """
        prefixes, beam, total = self._search(log_probs)
        score = total + prefixes.bonus[beam]
        if self.prior is not None:
            score += self.prior.ends(prefixes, beam)
        whole = np.isfinite(score)
        texts: dict[str, tuple[float, float]] = {}
        for prefix, acoustic, with_prior, is_whole in zip(
            beam.tolist(), total.tolist(), score.tolist(), whole.tolist(), strict=True
        ):
            if whole.any() and not is_whole:
                continue
            text = self.alphabet.decode(prefixes.labels(prefix)).rstrip(" ")
            if not is_whole:
                text = text.rpartition(" ")[0]
            before = texts.get(text, (-np.inf, -np.inf))
            texts[text] = float(np.logaddexp(before[0], acoustic)), float(np.logaddexp(before[1], with_prior))
        found = [Candidate(text, *scores) for text, scores in texts.items()]
        return sorted(found, key=lambda one: (-one.score, -one.log_probability, one.text))

    def _search(self, log_probs: Floats) -> tuple[Prefixes, npt.NDArray[np.int64], Floats]:
        """The prefixes, which of them are in the beam after the last frame, and their log probability."""
        space = self.alphabet.characters.find(" ")
        prefixes = self.prior.prefixes() if self.prior else Prefixes(space, None)
        heard = log_probs[:, : self.alphabet.blank] >= np.log(max(self.least_probability, 1e-300))
        beam = np.array([EMPTY])
        prefixes.slot[beam] = 0
        blank, other = np.zeros(1), np.full(1, -np.inf)  # of the paths that end in a blank, and in the last label
        total = np.zeros(1)
        for frame, possible in zip(log_probs, heard, strict=True):
            last = prefixes.last[beam]
            at_space = (last == space) & (space >= 0)
            stay_blank = total + frame[-1]
            stay_other = np.where(at_space, total, other) + frame[last]
            # A prefix whose parent is in the beam, too, is also reached from there.
            slots = prefixes.slot[prefixes.parent[beam]]
            reached = np.flatnonzero(slots >= 0)
            slots, by = slots[reached], last[reached]
            coming = np.where(last[slots] == by, blank[slots], total[slots]) + frame[by]
            stay_other[reached] = np.logaddexp(stay_other[reached], coming)
            stay = np.logaddexp(stay_blank, stay_other)

            labels = np.flatnonzero(possible)
            if not len(labels):
                blank, other, total = stay_blank, stay_other, stay
                continue
            going = total[:, None] + frame[labels]
            again = last[:, None] == labels
            going[again] = (np.where(at_space, -np.inf, blank)[:, None] + frame[labels])[again]
            columns = np.full(self.alphabet.size, -1)
            columns[labels] = np.arange(len(labels))
            there = columns[by] >= 0
            going[slots[there], columns[by[there]]] = -np.inf
            gains, nodes = self.prior.extensions(prefixes, beam, labels) if self.prior else _nothing(going.shape)

            bonus = prefixes.bonus[beam]
            scores = np.concatenate([stay + bonus, (going + (bonus[:, None] + gains)).ravel()])
            kept = self._best(scores)
            staying = kept[kept < len(beam)]
            rows, places = np.divmod(kept[len(staying) :] - len(beam), len(labels))
            new = self._entered(prefixes, beam[rows], labels[places], gains[rows, places], nodes[rows, places])
            prefixes.slot[beam] = -1
            beam = np.concatenate([beam[staying], new])
            prefixes.slot[beam] = np.arange(len(beam))
            blank = np.concatenate([stay_blank[staying], np.full(len(new), -np.inf)])
            other = np.concatenate([stay_other[staying], going[rows, places]])
            total = np.concatenate([stay[staying], going[rows, places]])
        return prefixes, beam, total

    def _best(self, scores: Floats) -> npt.NDArray[np.int64]:
        """The places of those that stay in the beam, in ascending order."""
        kept = np.flatnonzero(scores >= max(scores.max() - self.spread, -1e300))
        if len(kept) > self.width:
            kept = np.sort(kept[np.argpartition(-scores[kept], self.width - 1)[: self.width]])
        return kept if len(kept) else np.array([int(np.argmax(scores))])

    def _entered(
        self,
        prefixes: Prefixes,
        parents: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        gains: Floats,
        nodes: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """The numbers of ``parents`` gone on with ``labels``."""
        children = np.empty(len(parents), np.int64)
        of_each = zip(parents.tolist(), labels.tolist(), gains.tolist(), nodes.tolist(), strict=True)
        for place, (parent, label, gain, node) in enumerate(of_each):
            children[place], new = prefixes.child(parent, label)
            if new and self.prior is not None:
                self.prior.entered(prefixes, parent, label, int(children[place]), gain, node)
        return children


def _nothing(shape: tuple[int, ...]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """What no prior says of extensions."""
    return np.zeros(shape), np.zeros(shape, np.int64)
