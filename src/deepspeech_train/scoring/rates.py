"""Rates: the edits between what was said and what was recognised, of an utterance and of a set.

The rate of a set is the sum of edits over the sum of reference words, never the mean of the utterances' own rates.
A set without a single reference word has no rate.

The edits are those of a minimal alignment, each substitution, deletion and insertion costing one. Where several
alignments are minimal, their sum is the same, but not always how many are of which kind; this is the choice of
rapidfuzz, and so of jiwer. ``sclite``, which charges four for a substitution and three for the others, may choose
otherwise.

>>> score("turn the light on", "turn light off").wer
0.5
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from ..data.manifest import Utterance


@dataclass(frozen=True, slots=True)
class Score:
    """Edits that turn reference into hypothesis, in words, and the character edits; sums for a set."""

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    characters: int = 0
    character_edits: int = 0

    @property
    def edits(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float | None:
        """Word error rate, 0 or more (above 1 when more was inserted than was said); None without words."""
        return self.edits / self.words if self.words else None

    @property
    def cer(self) -> float | None:
        """Character error rate, spaces counted as characters; None without characters."""
        return self.character_edits / self.characters if self.characters else None

    def __add__(self, other: Score) -> Score:
        return Score(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.characters + other.characters,
            self.character_edits + other.character_edits,
        )


@dataclass(frozen=True)
class Transcription:
    """What was said in an utterance, what was recognised, how far apart they are, and how sure the decoder was."""

    utterance: Utterance
    hypothesis: str
    score: Score
    confidence: float | None = None


def score(reference: str, hypothesis: str) -> Score:
    """The score of one utterance by a minimal alignment (Levenshtein, 1966) of its words."""
    words, guesses = reference.split(), hypothesis.split()
    said = " ".join(words)
    if words == guesses:
        return Score(words=len(words), characters=len(said))
    tags = [tag for tag, _, _ in Levenshtein.editops(words, guesses).as_list()]
    return Score(
        words=len(words),
        substitutions=tags.count("replace"),
        deletions=tags.count("delete"),
        insertions=tags.count("insert"),
        characters=len(said),
        character_edits=Levenshtein.distance(said, " ".join(guesses)),
    )


def total(transcriptions: Iterable[Transcription]) -> Score:
    """The sum over a set."""
    words = substitutions = deletions = insertions = characters = character_edits = 0
    for item in transcriptions:  # numbers, not Scores, are added: a set may be a million utterances
        one = item.score
        words += one.words
        substitutions += one.substitutions
        deletions += one.deletions
        insertions += one.insertions
        characters += one.characters
        character_edits += one.character_edits
    return Score(words, substitutions, deletions, insertions, characters, character_edits)


def aligned(reference: str, hypothesis: str) -> list[tuple[str, str]]:
    """The words of both sides in pairs, in order; an empty word stands opposite a deleted or an inserted one."""
    words, guesses = reference.split(), hypothesis.split()
    pairs: list[tuple[str, str]] = []
    for block in Levenshtein.opcodes(words, guesses):
        left = words[block.src_start : block.src_end]
        right = guesses[block.dest_start : block.dest_end]
        for place in range(max(len(left), len(right))):
            pairs.append((left[place] if place < len(left) else "", right[place] if place < len(right) else ""))
    return pairs


def errors(reference: str, hypothesis: str) -> list[tuple[str, str]]:
    """The pairs of :func:`aligned` that differ."""
    words, guesses = reference.split(), hypothesis.split()
    return [
        ("" if edit.tag == "insert" else words[edit.src_pos], "" if edit.tag == "delete" else guesses[edit.dest_pos])
        for edit in Levenshtein.editops(words, guesses)
    ]


def percent(rate: float | None, digits: int = 1) -> str:
    """``0.0833`` as ``8.3 %``; a rate that is not there as ``-``."""
    return "-" if rate is None else f"{100 * rate:.{digits}f} %"
