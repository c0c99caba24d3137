"""The weights of a language model, alpha and beta, by which a development set is recognised with the fewest errors.

The network's outputs are the same for all of them and are taken once; the beam search is done for each pair: first on a
grid, then around the best pair so far in steps of half the grid's, which are halved where no neighbour is better. Of
pairs with equally many word errors the one with fewer character errors is better, then the one with smaller weights.
"""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import scoring
from ..settings import Settings
from . import Beam, Decoder, from_settings

#: alpha and beta.
Pair = tuple[float, float]
#: What is decoded together: reference texts, and for each the network's outputs (frames, characters and blank).
Outputs = tuple[list[str], list[npt.NDArray[np.float32]]]

ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0)
BETAS = (-1.0, 0.0, 1.0, 2.0, 3.0)
#: Looks at the neighbours of the best pair, at most. Eight pairs each, less those that are known.
LOOKS = 6
#: How often the step is halved, from half the grid's on: what is finer is chance.
HALVINGS = 2
#: Utterances that a process is given at once.
_TOGETHER = 4


def search(
    measure: Callable[[Sequence[Pair]], Sequence[scoring.Score]],
    alphas: Sequence[float] = ALPHAS,
    betas: Sequence[float] = BETAS,
) -> dict[Pair, scoring.Score]:
    """All pairs that were tried, with their scores, the best first. ``measure`` gives the scores of pairs."""
    found: dict[Pair, scoring.Score] = {}

    def look(pairs: Sequence[Pair]) -> None:
        new = [pair for pair in dict.fromkeys(pairs) if pair not in found]
        found.update(zip(new, measure(new), strict=True))

    look(list(itertools.product(alphas, betas)))
    steps = [_spacing(alphas) / 2, _spacing(betas) / 2]
    halvings = 0
    for _ in range(LOOKS):
        alpha, beta = best = _ranked(found)[0]
        # Rounded: as they are printed, and so that a pair that is met twice is the same.
        look(
            [
                (max(0.0, round(alpha + of_alpha * steps[0], 4)), round(beta + of_beta * steps[1], 4))
                for of_alpha, of_beta in itertools.product((-1, 0, 1), repeat=2)
            ]
        )
        if _ranked(found)[0] == best:
            if halvings == HALVINGS - 1:
                break
            halvings += 1
            steps = [step / 2 for step in steps]
    return {pair: found[pair] for pair in _ranked(found)}


def _ranked(found: Mapping[Pair, scoring.Score]) -> list[Pair]:
    return sorted(found, key=lambda pair: (found[pair].edits, found[pair].character_edits, pair[0], abs(pair[1])))


def _spacing(values: Sequence[float]) -> float:
    ordered = sorted(set(values))
    return min((right - left for left, right in itertools.pairwise(ordered)), default=0.5)


@contextmanager
def measuring(
    decoder: Decoder, settings: Settings, outputs: Outputs, jobs: int
) -> Iterator[Callable[[Sequence[Pair], Callable[[int], None]], list[scoring.Score]]]:
    """The function that gives the scores of pairs, by decoding ``outputs`` with ``decoder`` or, for more than one of
    ``jobs``, in as many processes, each with a decoder as ``settings`` say.

    Its second argument is a function that is told how many utterances have been decoded since the last call. At the end
    of the block, however it comes, the processes end.
    """
    texts, arrays = outputs
    parts = [
        (texts[place : place + _TOGETHER], arrays[place : place + _TOGETHER])
        for place in range(0, len(texts), _TOGETHER)
    ]
    if jobs <= 1:
        trial = Trial(decoder)

        def one_by_one(pairs: Sequence[Pair], advance: Callable[[int], None]) -> list[scoring.Score]:
            scores = []
            for pair in pairs:
                score = scoring.Score()
                for part in parts:
                    score += trial.score(pair, part)
                    advance(len(part[0]))
                scores.append(score)
            return scores

        yield one_by_one
        return
    # Not forked: TensorFlow's threads are in this process.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _begin, (settings,))

    def in_processes(pairs: Sequence[Pair], advance: Callable[[int], None]) -> list[scoring.Score]:
        # Only some are handed over ahead: each carries its outputs.
        waiting: list[tuple[int, int, Future[scoring.Score]]] = []
        scores = [scoring.Score() for _ in pairs]

        def take() -> None:
            place, count, future = waiting.pop(0)
            scores[place] += future.result()
            advance(count)

        for (place, pair), part in itertools.product(enumerate(pairs), parts):
            waiting.append((place, len(part[0]), pool.submit(_score, pair, part)))
            if len(waiting) >= 3 * jobs:
                take()
        while waiting:
            take()
        return scores

    try:
        yield in_processes
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Trial:
    """A decoder whose weights are tried."""

    def __init__(self, decoder: Decoder) -> None:
        assert isinstance(decoder, Beam)
        assert decoder.prior is not None
        self._decoder, self._prior = decoder, decoder.prior

    def score(self, pair: Pair, outputs: Outputs) -> scoring.Score:
        """The summed score of ``outputs``, decoded with ``pair``."""
        prior = dataclasses.replace(self._prior, alpha=pair[0], beta=pair[1])
        decoder = dataclasses.replace(self._decoder, prior=prior)
        total = scoring.Score()
        for text, array in zip(*outputs, strict=True):
            total += scoring.score(text, decoder.text(array))
        return total


_trial: list[Any] = []


def _begin(settings: Settings) -> None:
    """Readies a process: it leaves Ctrl-C to its parent, and ends when that is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    _trial.append(Trial(from_settings(settings, settings.window_step)))


def _score(pair: Pair, outputs: Outputs) -> scoring.Score:
    trial: Trial = _trial[0]
    return trial.score(pair, outputs)
