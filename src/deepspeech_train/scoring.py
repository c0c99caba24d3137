"""Word and character error rates, and the report that shows them.

The rate of a set is the sum of edits over the sum of reference words; the mean of the utterances' own rates
is shown beside it in the report and used nowhere else. A set without a single reference word has no rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from .data.manifest import Utterance


@dataclass(frozen=True)
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
    """What was said in an utterance, what was recognised, and how far apart they are."""

    utterance: Utterance
    hypothesis: str
    score: Score


def score(reference: str, hypothesis: str) -> Score:
    """The score of one utterance by a minimal alignment (Levenshtein, 1966) of its words."""
    words, guesses = reference.split(), hypothesis.split()
    tags = [edit.tag for edit in Levenshtein.editops(words, guesses)]
    return Score(
        words=len(words),
        substitutions=tags.count("replace"),
        deletions=tags.count("delete"),
        insertions=tags.count("insert"),
        characters=len(" ".join(words)),
        character_edits=Levenshtein.distance(" ".join(words), " ".join(guesses)),
    )


def total(transcriptions: Sequence[Transcription]) -> Score:
    """The sum over a set."""
    return sum((transcription.score for transcription in transcriptions), Score())


def align(reference: str, hypothesis: str) -> tuple[str, str]:
    """The two lines ``Ref`` and ``Hyp`` of a report: words in columns, ``*`` where one side has no word."""
    words, guesses = reference.split(), hypothesis.split()
    columns: list[tuple[str, str]] = []
    for block in Levenshtein.opcodes(words, guesses):
        left = words[block.src_start : block.src_end]
        right = guesses[block.dest_start : block.dest_end]
        for place in range(max(len(left), len(right))):
            said = left[place] if place < len(left) else "*" * len(right[place])
            heard = right[place] if place < len(right) else "*" * len(left[place])
            columns.append((said, heard))
    widths = [max(len(said), len(heard)) for said, heard in columns]
    lines = [
        " ".join(column[side].ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip()
        for side in (0, 1)
    ]
    return lines[0], lines[1]


def report(transcriptions: Sequence[Transcription], count: int, title: str = "Test") -> str:
    """The report: count, rates, and the worst, the median and the best ``count`` utterances, aligned."""
    if not transcriptions:
        return f"{title}: no utterances"
    sum_ = total(transcriptions)
    ranked = sorted(transcriptions, key=_badness, reverse=True)
    rates = [item.score.wer for item in transcriptions if item.score.wer is not None]
    lines = [
        f"{title}: {len(transcriptions)} utterances, {sum_.words} words",
        f"  WER {percent(sum_.wer)} (substitutions {sum_.substitutions}, deletions {sum_.deletions}, "
        f"insertions {sum_.insertions}), CER {percent(sum_.cer)}, "
        f"mean of the utterances' WER {percent(sum(rates) / len(rates) if rates else None)}",
    ]
    if count > 0:
        middle = max(0, (len(ranked) - count) // 2)
        for name, part in (
            ("Worst", ranked[:count]),
            ("Median", ranked[middle : middle + count]),
            ("Best", ranked[::-1][:count]),
        ):
            lines += ["", f"{name} {len(part)}"]
            for item in part:
                said, heard = align(item.utterance.text, item.hypothesis)
                lines += [
                    f"  WER {percent(item.score.wer)}  {item.utterance.id}",
                    f"    Ref: {said}",
                    f"    Hyp: {heard}",
                ]
    return "\n".join(lines)


def percent(rate: float | None) -> str:
    """``0.0833`` as ``8.3 %``; a rate that is not there as ``-``."""
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _badness(item: Transcription) -> tuple[float, int, str]:
    """Sorts by rate, then by edits, then by name, so that a report is the same at every run."""
    wer = item.score.wer
    return (wer if wer is not None else float(item.score.insertions), item.score.edits, item.utterance.id)
