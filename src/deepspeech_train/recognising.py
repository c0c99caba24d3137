"""A recogniser: a trained network with its features and its decoder, on audio as it comes.

Networks learn from utterances of some seconds, and are not good on what is much longer: the statistics that features
are normalised by, and the state of a recurrent layer, are then of a kind that it has not seen. Audio longer than a
window is therefore cut where it is quietest in the second half of the window, which is mostly between words, and the
parts are recognised each on its own.

>>> recogniser = Recogniser(load_network(Path("checkpoints")))  # doctest: +SKIP
>>> recogniser.recognise(audio.load("talk.flac")).text  # doctest: +SKIP
'turn the light on and ...'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from . import computing, decoding
from .checkpoints import Network
from .data.audio import is_silent
from .data.features import extract
from .decoding import Hypothesis, Word
from .models import output_frames

Samples = npt.NDArray[np.float32]

#: Seconds of audio that are recognised in one piece; about the longest of LibriSpeech's training utterances.
WINDOW = 20.0
#: Seconds over which loudness is taken where a cut is looked for: shorter than a pause between words.
_QUIET = 0.1
#: Parts that are recognised together.
_ROWS = 8


class Recogniser:
    """``window`` is in seconds; 0 recognises audio of any length in one piece."""

    def __init__(self, network: Network, window: float = WINDOW) -> None:
        self._network = network
        self._options = network.settings.feature_options
        self._window = round(window * self._options.sample_rate)
        self._forward = computing.forward(network.model)
        self._fixed = computing.fixed_shapes(network.settings)
        self._decoder = decoding.from_settings(network.settings, self._options.step * network.stride)

    @property
    def sample_rate(self) -> int:
        """Of the samples that :meth:`recognise` takes, in Hz."""
        return self._options.sample_rate

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of the decoder's language model or word list."""
        return self._decoder.remarks

    def parts(self, samples: Samples) -> list[tuple[int, int]]:
        """Where audio (samples,) is cut: the first sample of each part, and that behind its last."""
        quiet = max(1, round(_QUIET * self._options.sample_rate))
        return cut(samples, self._window, quiet) if self._window else [(0, len(samples))]

    def recognise(self, samples: Samples, advance: Callable[[int], None] | None = None) -> Hypothesis:
        """What is said in mono audio (samples,) in [-1, 1]; times are from its beginning. ``advance`` is told the parts
        that are done. RecipeError where the network's outputs are no numbers.

        A part that is digital silence has no words: a network says something for anything.
        """
        parts = self.parts(samples)
        found: list[Hypothesis] = []
        for first in range(0, len(parts), _ROWS):
            some = parts[first : first + _ROWS]
            found += self._recognise([samples[start:end] for start, end in some])
            if advance is not None:
                advance(len(some))
        rate = self._options.sample_rate
        return joined(found, [start / rate for start, _ in parts], [(end - start) / rate for start, end in parts])

    def _recognise(self, parts: Sequence[Samples]) -> list[Hypothesis]:
        heard = [place for place, part in enumerate(parts) if not is_silent(part)]
        hypotheses = [Hypothesis("")] * len(parts)
        if not heard:
            return hypotheses
        features = [extract(parts[place], self._options, self._network.statistics) for place in heard]
        longest = max(map(len, features))
        rows = len(heard)
        if self._fixed:  # each shape is compiled: few lengths, one number of rows
            longest, rows = _rounded_up(longest), _ROWS if len(parts) > 1 else 1
        batch = np.zeros((rows, longest, self._options.size), np.float32)
        frames = np.ones(rows, np.int32)
        for row, array in enumerate(features):
            batch[row, : len(array)] = array
            frames[row] = len(array)
        logits = self._forward.logits(batch, frames)[: len(heard)]
        outputs = np.asarray(output_frames(frames[: len(heard)], self._network.stride), np.int32)
        for place, hypothesis in zip(heard, self._decoder.decode(logits, outputs), strict=True):
            hypotheses[place] = hypothesis
        return hypotheses


def cut(samples: Samples, window: int, quiet: int) -> list[tuple[int, int]]:
    """Parts of at most ``window`` samples, as (first, behind the last): each ends in the middle of the ``quiet``
    samples that are the quietest in the second half of its window; the last with the audio. One for no samples."""
    parts = []
    start = 0
    while len(samples) - start > window:
        low = start + window // 2
        squares = np.square(samples[low : start + window], dtype=np.float64)
        sums = np.cumsum(np.concatenate([[0.0], squares]))
        width = min(quiet, len(squares))
        energy = sums[width:] - sums[:-width]
        end = low + int(np.argmin(energy)) + width // 2
        end = max(end, start + 1)
        parts.append((start, end))
        start = end
    return [*parts, (start, len(samples))]


def joined(parts: Sequence[Hypothesis], starts: Sequence[float], seconds: Sequence[float]) -> Hypothesis:
    """The hypotheses of parts that begin at ``starts`` (seconds) and are ``seconds`` long as one of the whole.

    Its confidence is the geometric mean of theirs for a character, as each is one of its own characters.
    """
    words: list[Word] = []
    total = characters = 0.0
    for part, start, length in zip(parts, starts, seconds, strict=True):
        words += [replace(word, start=word.start + start, end=min(word.end, length) + start) for word in part.words]
        if part.confidence is not None:
            weight = max(1, len(part.text))
            total += weight * float(np.log(max(part.confidence, 1e-300)))
            characters += weight
    confidence = float(np.exp(total / characters)) if characters else None
    return Hypothesis(" ".join(part.text for part in parts if part.text), confidence, tuple(words))


def _rounded_up(frames: int) -> int:
    """The next of 64, 80, 100, 125 ...: a quarter more each."""
    length = 64
    while length < frames:
        length = length * 5 // 4
    return length
