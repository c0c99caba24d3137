"""Matching: the hypotheses of one file beside the references of another, scored.

What has no counterpart is named, and nothing is dropped to a better rate: an utterance without a hypothesis counts with
all its words deleted. A hypothesis without a reference cannot count, and is only named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..data.manifest import Utterance
from ..errors import RecipeError
from .normalising import Normaliser
from .rates import Transcription, score
from .transcripts import Transcripts

_TOLD_EVERY = 1000


@dataclass(frozen=True)
class Matched:
    """The transcriptions in the reference's order, their texts normalised, and the ids that were not as they should:
    without a hypothesis, without a reference, and more than once in one of the files."""

    transcriptions: tuple[Transcription, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    repeated: tuple[str, ...]

    def remarks(self, shown: int = 5) -> list[str]:
        """A sentence for each kind of id that was not as it should be; of their names ``shown`` at most."""
        said = (
            (self.missing, "without a hypothesis, counted as all deleted"),
            (self.extra, "without a reference, not counted"),
            (self.repeated, "more than once in a file, the first one counted"),
        )
        return [f"{len(ids)} {what}: {_named(ids, shown)}" for ids, what in said if ids]


def matched(
    reference: Transcripts,
    hypothesis: Transcripts,
    normaliser: Normaliser,
    speakers: Mapping[str, str] | None = None,
    advance: Callable[[int], object] = int,
) -> Matched:
    """Scores each reference against its hypothesis. ``speakers`` (id -> speaker) stand over those of the reference;
    ``advance`` is called with the number of utterances scored since the last call.

    Raises RecipeError where the two files have no id in common, or one has ids and the other none, or both have none
    and differ in length: then they are not of the same utterances, and a rate would say nothing.
    """
    _check(reference, hypothesis)
    speakers = speakers or {}
    transcriptions, missing = [], []
    nowhere = Path()
    for name, said in reference.by_id.items():
        heard = hypothesis.by_id.get(name)
        if heard is None:
            missing.append(name)
        text, guess = normaliser.apply(said.text), normaliser.apply(heard.text) if heard else ""
        utterance = Utterance(name, nowhere, 0.0, text, speakers.get(name, said.speaker))
        transcriptions.append(Transcription(utterance, guess, score(text, guess)))
        if not len(transcriptions) % _TOLD_EVERY:
            advance(_TOLD_EVERY)
    return Matched(
        tuple(transcriptions),
        missing=tuple(missing),
        extra=tuple(name for name in hypothesis.by_id if name not in reference.by_id),
        repeated=tuple(dict.fromkeys((*reference.repeated, *hypothesis.repeated))),
    )


def _check(reference: Transcripts, hypothesis: Transcripts) -> None:
    if not reference.by_id:
        raise RecipeError(f"{reference.path} holds no transcript, so there is nothing to score.")
    sides = f"{reference.path} ({reference.form}) and {hypothesis.path} ({hypothesis.form})"
    if hypothesis.by_id and reference.has_ids != hypothesis.has_ids:
        raise RecipeError(
            f"{sides} cannot be put together: one has ids, the other has not.",
            "If its first words are ids, say --format kaldi; else give both files in one form.",
        )
    if not reference.has_ids and len(reference.by_id) != len(hypothesis.by_id):
        raise RecipeError(
            f"{sides} go by the place of the line, but have {len(reference.by_id)} and {len(hypothesis.by_id)} lines.",
            "Leave a line empty where nothing was recognised; if the first words are ids, say --format kaldi.",
        )
    if hypothesis.by_id and reference.by_id.keys().isdisjoint(hypothesis.by_id):
        raise RecipeError(
            f"{sides} have no id in common: the first are {next(iter(reference.by_id))!r} and "
            f"{next(iter(hypothesis.by_id))!r}.",
            "Check that both are of the same set, and --format if a form was taken for another.",
        )


def _named(ids: tuple[str, ...], shown: int) -> str:
    return ", ".join(ids[:shown]) + (f" and {len(ids) - shown} more" if len(ids) > shown else "")
