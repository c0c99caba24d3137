"""What every corpus must fulfil before it is trained on, and the cleaning of transcripts.

A problem has a kind, the name of the utterance and a detail; all of them are collected before the import
fails, so that one message tells the whole state of the data.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError
from deepspeech_train.text import ENGLISH

#: How many names a message shows of each kind of problem; the rest is counted.
NAMED = 5


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one utterance or recording."""

    kind: str
    name: str
    detail: str = ""


def normalise(text: str) -> str:
    """``text`` in lower case without punctuation, single spaces between words.

    An apostrophe inside a word stays. Digits and letters beyond a-z stay too: a checker must see them.
    """
    plain = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    kept = "".join(" " if _is_punctuation(character) else character for character in plain)
    return " ".join(filter(None, (word.strip("'") for word in kept.split())))


def _is_punctuation(character: str) -> bool:
    return character != "'" and unicodedata.category(character)[0] in "PS"


def problems_of(
    splits: Mapping[str, Sequence[Utterance]],
    *,
    unseen_speakers: Iterable[tuple[str, str]] = (),
    one_for_all: bool = False,
) -> list[Problem]:
    """What is wrong with ``splits`` (split name -> utterances).

    ``unseen_speakers`` names pairs of splits that may not share a speaker. ``one_for_all`` says that the
    splits are the same utterances on purpose; otherwise no id and no audio file may be in two of them.
    """
    problems = [Problem("empty split", split) for split, utterances in splits.items() if not utterances]
    checked: set[Path] = set()
    for utterances in splits.values():
        for utterance in utterances:
            if utterance.audio not in checked:
                problems += _problems_of_text(utterance)
                problems += _problems_of_audio(utterance)
                checked.add(utterance.audio)
    for split, utterances in splits.items():
        problems += _repeated("id twice in one split", ((u.id, split) for u in utterances))
    if not one_for_all:
        problems += _shared("id in two splits", splits, lambda utterance: utterance.id)
        problems += _shared("audio in two splits", splits, lambda utterance: str(utterance.audio))
    for one, other in unseen_speakers:
        pair = {one: splits[one], other: splits[other]}
        problems += _shared("speaker in two splits", pair, lambda utterance: utterance.speaker)
    return problems


def raise_for(problems: Sequence[Problem], corpus: str, hint: str) -> None:
    """Raises a :class:`RecipeError` that counts and names ``problems``, if there are any."""
    if not problems:
        return
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    lines = []
    for kind, found in by_kind.items():
        names = [f"{p.name} ({p.detail})" if p.detail else p.name for p in found[:NAMED]]
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        lines.append(f"  {kind}: {len(found)}: {', '.join(names)}{more}")
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    raise RecipeError(f"the corpus {corpus} was not imported, {count}:\n" + "\n".join(lines), hint)


def _problems_of_text(utterance: Utterance) -> list[Problem]:
    if not utterance.text:
        return [Problem("empty transcript", utterance.id)]
    strange = ENGLISH.strange(utterance.text)
    if strange:
        shown = " ".join(strange)
        return [Problem("characters outside a-z, space and apostrophe", utterance.id, shown)]
    return []


def _problems_of_audio(utterance: Utterance) -> list[Problem]:
    try:
        header = soundfile.info(str(utterance.audio))
    except soundfile.LibsndfileError as error:
        return [Problem("unreadable audio", utterance.id, error.error_string)]
    if header.frames == 0:
        return [Problem("empty audio", utterance.id)]
    return []


def _repeated(kind: str, names: Iterable[tuple[str, str]]) -> list[Problem]:
    """A problem for each (name, detail) that came before."""
    seen: set[str] = set()
    problems = []
    for name, detail in names:
        if name in seen:
            problems.append(Problem(kind, name, detail))
        seen.add(name)
    return problems


def _shared(kind: str, splits: Mapping[str, Sequence[Utterance]], key: Callable[[Utterance], str]) -> list[Problem]:
    """A problem for each value of ``key`` that is found in more than one of ``splits``."""
    where: dict[str, list[str]] = defaultdict(list)
    for split, utterances in splits.items():
        for value in dict.fromkeys(key(utterance) for utterance in utterances):
            where[value].append(split)
    return [Problem(kind, value, " and ".join(found)) for value, found in where.items() if len(found) > 1]
