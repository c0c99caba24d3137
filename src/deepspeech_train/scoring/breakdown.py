"""The breakdown of a set's errors: by speaker, by length, and which words were taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .rates import Score, Transcription, errors, total

#: The first length, in reference words, of each class: 0, 1, 2 to 3, 4 to 7 ... Each class is twice as wide as the one
#: before, since lengths of utterances are spread as wide.
_FIRST_LENGTHS = (0, 1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Part:
    """Some of a set's utterances that have something in common, which ``name`` says."""

    name: str
    utterances: int
    score: Score


@dataclass(frozen=True)
class Confusions:
    """How often which word was taken for which, left out, or put in; most frequent first, then by the alphabet."""

    substitutions: tuple[tuple[tuple[str, str], int], ...]
    deletions: tuple[tuple[str, int], ...]
    insertions: tuple[tuple[str, int], ...]


def by_speaker(transcriptions: Iterable[Transcription]) -> tuple[Part, ...]:
    """A part for each speaker, by name; utterances of nobody known are the part ``""``."""
    return _parts(transcriptions, lambda item: item.utterance.speaker)


def by_length(transcriptions: Iterable[Transcription]) -> tuple[Part, ...]:
    """A part for each class of length of the reference, in words, from short to long; only those that are there."""
    return tuple(
        Part(_length_name(place), part.utterances, part.score)
        for part in _parts(transcriptions, lambda item: f"{_length_class(item.score.words)}")
        for place in [int(part.name)]
    )


def confusions(transcriptions: Iterable[Transcription]) -> Confusions:
    """Counts the words of all errors, by the alignment that the rates count."""
    taken: Counter[tuple[str, str]] = Counter()
    for item in transcriptions:
        if item.score.edits:
            taken.update(errors(item.utterance.text, item.hypothesis))
    ranked = sorted(taken.items(), key=lambda entry: (-entry[1], entry[0]))
    return Confusions(
        substitutions=tuple((pair, count) for pair, count in ranked if all(pair)),
        deletions=tuple((said, count) for (said, heard), count in ranked if not heard),
        insertions=tuple((heard, count) for (said, heard), count in ranked if not said),
    )


def sentence_error_rate(transcriptions: Iterable[Transcription]) -> float | None:
    """The share of the utterances with at least one error; None for none."""
    wrong = [item.score.edits > 0 for item in transcriptions]
    return sum(wrong) / len(wrong) if wrong else None


def _parts(transcriptions: Iterable[Transcription], name: Callable[[Transcription], str]) -> tuple[Part, ...]:
    gathered: dict[str, list[Transcription]] = {}
    for item in transcriptions:
        gathered.setdefault(name(item), []).append(item)
    return tuple(Part(key, len(items), total(items)) for key, items in sorted(gathered.items()))


def _length_class(words: int) -> int:
    return max(place for place, first in enumerate(_FIRST_LENGTHS) if words >= first)


def _length_name(place: int) -> str:
    first = _FIRST_LENGTHS[place]
    if place + 1 == len(_FIRST_LENGTHS):
        return f"{first} or more words"
    last = _FIRST_LENGTHS[place + 1] - 1
    if first == last:
        return f"{first} word" if first == 1 else f"{first} words"
    return f"{first} to {last} words"
