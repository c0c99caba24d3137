"""The summary: all that is known about a set's errors, as text for people and as JSON for programs.

The JSON is one object. Rates are ratios, null where there is none; ``version`` goes up when a name changes its
meaning. Of confused words the most frequent MOST_WORDS of each kind are there, and ``distinct`` says how many there
were::

    {"version": 1, "normalisation": "basic-1", "utterances": 2620, "words": 52576, "substitutions": 3100,
     "deletions": 420, "insertions": 380, "wer": 0.0742, "characters": 281530, "character_edits": 7900, "cer": 0.0281,
     "sentence_error_rate": 0.51,
     "interval": {"low": 0.069, "high": 0.0796, "level": 0.95, "drawn": "speakers", "count": 40, "seed": 0,
                  "resamples": 10000},
     "by_speaker": [{"name": "1089", "utterances": 70, "words": ..., "wer": ...}], "by_length": [...],
     "confusions": {"substitutions": [{"reference": "a", "hypothesis": "the", "count": 61}],
                    "deletions": [{"word": "and", "count": 44}], "insertions": [...],
                    "distinct": {"substitutions": 2011, "deletions": 190, "insertions": 204}}}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .bootstrap import RESAMPLES, Interval, confidence_interval
from .breakdown import Confusions, Part, by_length, by_speaker, confusions, sentence_error_rate
from .rates import Score, Transcription, percent, total

VERSION = 1
MOST_WORDS = 1000


@dataclass(frozen=True)
class Summary:
    """What was counted in a set. ``interval`` is that of the word error rate; None for a set too small for one."""

    normalisation: str
    utterances: int
    score: Score
    sentence_error_rate: float | None
    interval: Interval | None
    seed: int
    by_speaker: tuple[Part, ...]
    by_length: tuple[Part, ...]
    confusions: Confusions

    def as_json(self) -> dict[str, Any]:
        """What :func:`json.dumps` takes."""
        interval = self.interval and asdict(self.interval) | {"seed": self.seed, "resamples": RESAMPLES}
        return {
            "version": VERSION,
            "normalisation": self.normalisation,
            "utterances": self.utterances,
            **_counts(self.score),
            "sentence_error_rate": self.sentence_error_rate,
            "interval": interval,
            "by_speaker": [_part(part) for part in self.by_speaker],
            "by_length": [_part(part) for part in self.by_length],
            "confusions": {
                "substitutions": [
                    {"reference": said, "hypothesis": heard, "count": count}
                    for (said, heard), count in self.confusions.substitutions[:MOST_WORDS]
                ],
                "deletions": [_word(*entry) for entry in self.confusions.deletions[:MOST_WORDS]],
                "insertions": [_word(*entry) for entry in self.confusions.insertions[:MOST_WORDS]],
                "distinct": {
                    "substitutions": len(self.confusions.substitutions),
                    "deletions": len(self.confusions.deletions),
                    "insertions": len(self.confusions.insertions),
                },
            },
        }

    def text(self, top: int = 10) -> str:
        """Some lines; of speakers and of confused words the ``top`` worst each."""
        score = self.score
        share = percent(self.sentence_error_rate, 2)
        lines = [
            f"{self.utterances} utterances, {score.words} words; text normalisation: {self.normalisation}",
            f"  WER {percent(score.wer, 2)}{interval_text(self.interval)}",
            f"      {score.substitutions} substitutions, {score.deletions} deletions, {score.insertions} insertions",
            f"  CER {percent(score.cer, 2)}; utterances with an error {share}",
        ]
        if top > 0:
            lines += _parts("By length of the reference", self.by_length)
            if len(self.by_speaker) > 1:
                worst = sorted(self.by_speaker, key=lambda part: (-(part.score.wer or 0), part.name))
                title = "By speaker" + (f", the worst {top} of {len(worst)}" if len(worst) > top else "")
                lines += _parts(title, worst[:top])
            lines += _words(self.confusions, top)
        return "\n".join(lines)


def summarise(transcriptions: Sequence[Transcription], normalisation: str, seed: int = 0) -> Summary:
    """Counts all; ``seed`` is that of the bootstrap."""
    return Summary(
        normalisation=normalisation,
        utterances=len(transcriptions),
        score=total(transcriptions),
        sentence_error_rate=sentence_error_rate(transcriptions),
        interval=confidence_interval(transcriptions, seed=seed),
        seed=seed,
        by_speaker=by_speaker(transcriptions),
        by_length=by_length(transcriptions),
        confusions=confusions(transcriptions),
    )


def interval_text(interval: Interval | None) -> str:
    """`` (95 % interval 6.90 to 7.96 %, by 40 speakers)``, to stand behind a rate; empty for none."""
    if interval is None:
        return ""
    low, high = f"{100 * interval.low:.2f}", percent(interval.high, 2)
    return f" ({100 * interval.level:g} % interval {low} to {high}, by {interval.count} {interval.drawn})"


def _parts(title: str, parts: Sequence[Part]) -> list[str]:
    names = [part.name or "(not known)" for part in parts]
    width = max(map(len, names), default=0)
    lines = ["", title, f"  {'':{width}}  utterances    words      WER     sub     del     ins      CER"]
    for name, part in zip(names, parts, strict=True):
        score = part.score
        lines.append(
            f"  {name:{width}}  {part.utterances:10} {score.words:8} {percent(score.wer, 2):>8} "
            f"{score.substitutions:7} {score.deletions:7} {score.insertions:7} {percent(score.cer, 2):>8}"
        )
    return lines


def _words(found: Confusions, top: int) -> list[str]:
    columns = (
        ("Taken for another", [(count, f"{said} -> {heard}") for (said, heard), count in found.substitutions]),
        ("Left out", [(count, word) for word, count in found.deletions]),
        ("Put in", [(count, word) for word, count in found.insertions]),
    )
    lines = []
    for title, entries in columns:
        if entries:
            more = f", the most frequent {top} of {len(entries)}" if len(entries) > top else ""
            lines += ["", title + more] + [f"  {count:6}  {words}" for count, words in entries[:top]]
    return lines


def _word(word: str, count: int) -> dict[str, Any]:
    return {"word": word, "count": count}


def _part(part: Part) -> dict[str, Any]:
    return {"name": part.name, "utterances": part.utterances, **_counts(part.score)}


def _counts(score: Score) -> dict[str, Any]:
    return asdict(score) | {"wer": score.wer, "cer": score.cer}
