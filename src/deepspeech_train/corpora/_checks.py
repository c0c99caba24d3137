"""What every corpus must fulfil before it is trained on, and the cleaning of transcripts.

An utterance that cannot be used is left out and told as a :class:`Problem`; a split that is not what the corpus says
it is makes the import fail, with everything that was found in one message.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepspeech_train.corpora._headers import Header, header
from deepspeech_train.corpora._problems import Problem
from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data import audio
from deepspeech_train.data._parallel import in_order, threads_for_files
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.text import ENGLISH, Alphabet

#: Characters a second that nobody speaks: such a transcript does not belong to its audio, or the audio was cropped.
#: Fast speech has 25; the frames of 20 ms that a network sees could spell no more than 50.
FASTEST = 50.0

#: Seconds by which a stated duration may miss the audio's own.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Rules:
    """What is checked. ``unseen_speakers`` are pairs of splits that may share no speaker.

    ``max_duration`` (seconds, 0: none) holds for training alone: a test set without its long utterances would be
    another test set. ``one_for_all`` says that the splits are the same utterances on purpose.
    """

    alphabet: Alphabet = ENGLISH
    max_duration: float = 0.0
    unseen_speakers: tuple[tuple[str, str], ...] = ()
    one_for_all: bool = False


@dataclass(frozen=True)
class Checked:
    """``splits``: the utterances that can be used, with their durations; why the others cannot; what is fatal."""

    splits: dict[str, list[Utterance]]
    problems: list[Problem]
    faults: list[Problem]


def normalise(text: str) -> str:
    """``text`` in lower case without punctuation, single spaces between words.

    An apostrophe inside a word stays. Digits and letters beyond a-z stay too: a checker must see them.
    """
    plain = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    kept = "".join(" " if _is_punctuation(character) else character for character in plain)
    return " ".join(filter(None, (word.strip("'") for word in kept.split())))


def _is_punctuation(character: str) -> bool:
    return character != "'" and unicodedata.category(character)[0] in "PS"


def check(splits: Mapping[str, Sequence[Utterance]], rules: Rules, progress: Progress) -> Checked:
    """``splits`` (split name -> utterances) without what cannot be used.

    An utterance of duration 0 without a start is the whole of its audio, and gets the duration of it.
    """
    headers = _headers(splits, progress)
    problems: dict[Problem, None] = {}
    kept: dict[str, list[Utterance]] = {}
    for split, utterances in splits.items():
        kept[split] = []
        seen: set[str] = set()
        for utterance in utterances:
            found = _checked(utterance, headers[utterance.audio], rules, split)
            if isinstance(found, Utterance) and found.id in seen:
                found = Problem("id twice in one split", found.id)
            if isinstance(found, Utterance):
                seen.add(found.id)
                kept[split].append(found)
            else:
                problems[found if rules.one_for_all else replace(found, split=split)] = None
    return Checked(kept, list(problems), faults(kept, rules))


def faults(splits: Mapping[str, Sequence[Utterance]], rules: Rules) -> list[Problem]:
    """What makes ``splits`` worthless as a whole: nothing in one, or the same thing in two of them."""
    found = [Problem("empty split", split) for split, utterances in splits.items() if not utterances]
    if not rules.one_for_all:
        found += shared("id in two splits", splits, lambda utterance: utterance.id)
        found += shared("audio in two splits", splits, lambda utterance: str(utterance.audio))
    for one, other in rules.unseen_speakers:
        pair = {one: splits[one], other: splits[other]}
        found += shared("speaker in two splits", pair, lambda utterance: utterance.speaker)
    return found


def shared(kind: str, splits: Mapping[str, Sequence[Utterance]], key: Callable[[Utterance], str]) -> list[Problem]:
    """A problem for each value of ``key`` that is found in more than one of ``splits``."""
    where: dict[str, list[str]] = defaultdict(list)
    for split, utterances in splits.items():
        for value in dict.fromkeys(key(utterance) for utterance in utterances):
            where[value].append(split)
    return [Problem(kind, value, " and ".join(found)) for value, found in where.items() if len(found) > 1]


def _headers(splits: Mapping[str, Iterable[Utterance]], progress: Progress) -> dict[Path, Header | str]:
    """The header of each audio file, or what is wrong with it."""
    paths = list(dict.fromkeys(utterance.audio for utterances in splits.values() for utterance in utterances))
    headers: dict[Path, Header | str] = {}
    with (
        progress.steps("checking audio", len(paths), "files") as advance,
        in_order(_header, paths, threads_for_files()) as results,
    ):
        for path, found in zip(paths, results, strict=True):
            headers[path] = found
            advance(1)
    return headers


def _header(path: Path) -> Header | str:
    try:
        return header(path)
    except ValueError as error:
        return str(error)


def _checked(utterance: Utterance, found: Header | str, rules: Rules, split: str) -> Utterance | Problem:
    """The utterance as it can be used, or what is wrong with it."""
    if isinstance(found, str):
        return Problem("unreadable audio", utterance.id, found)
    if found.frames == 0:
        return Problem("empty audio", utterance.id)
    if not utterance.text:
        return Problem("empty transcript", utterance.id)
    strange = rules.alphabet.strange(utterance.text)
    if strange:
        return Problem("characters outside the alphabet", utterance.id, " ".join(strange))
    placed = _placed(utterance, found.seconds)
    if isinstance(placed, Problem):
        return placed
    if len(placed.text) > FASTEST * placed.duration:
        return Problem(
            "duration mismatch", placed.id, f"{len(placed.text)} characters in {placed.duration:.2f} s of audio"
        )
    if split == "train" and 0 < rules.max_duration < placed.duration:
        return Problem("too long", placed.id, f"{placed.duration:.1f} s")
    return placed


def _placed(utterance: Utterance, seconds: float) -> Utterance | Problem:
    """The utterance in audio of so many seconds."""
    if utterance.start is None:
        if utterance.duration and abs(utterance.duration - seconds) > TOLERANCE:
            return Problem(
                "duration mismatch", utterance.id, f"{utterance.duration:.2f} s stated, {seconds:.2f} s of audio"
            )
        return replace(utterance, duration=seconds)
    end = utterance.start + utterance.duration
    if not 0 <= utterance.start < end:
        return Problem("duration mismatch", utterance.id, f"from {utterance.start:.2f} s to {end:.2f} s")
    if end > seconds + audio.OVERSHOOT or utterance.start >= seconds:
        return Problem("duration mismatch", utterance.id, f"ends at {end:.2f} s, its audio at {seconds:.2f} s")
    return utterance if end <= seconds else replace(utterance, duration=seconds - utterance.start)
