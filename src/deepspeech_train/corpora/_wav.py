"""Utterances as WAV files of their own: 16 bit, one channel, at the rate of the recipe.

For a corpus whose own files are slow to decode (MP3), or to cut the segments of a talk out of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deepspeech_train.corpora._problems import Problem
from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data import audio
from deepspeech_train.data._parallel import in_order, threads_for_files
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError


def converted(
    splits: Mapping[str, Sequence[Utterance]], folder: Path, progress: Progress
) -> tuple[dict[str, list[Utterance]], list[Problem]]:
    """``splits`` with their audio written to ``folder/SPLIT/ID.wav``; what could not be decoded is left out."""
    kept: dict[str, list[Utterance]] = {}
    problems: list[Problem] = []
    total = sum(len(utterances) for utterances in splits.values())
    with progress.steps("writing WAV files", total, "utterances") as advance:
        for split, utterances in splits.items():
            (folder / split).mkdir(parents=True)
            kept[split] = []
            work = [(one, folder / split / name) for one, name in zip(utterances, _names(utterances), strict=True)]
            with in_order(_written, work, threads_for_files()) as results:
                for found in results:
                    if isinstance(found, Utterance):
                        kept[split].append(found)
                    else:
                        problems.append(replace(found, split=split))
                    advance(1)
    return kept, problems


def _written(work: tuple[Utterance, Path]) -> Utterance | Problem:
    utterance, path = work
    try:
        samples = audio.load(utterance)
    except RecipeError as error:
        return Problem("unreadable audio", utterance.id, error.message)
    audio.write_wav(path, samples, audio.SAMPLE_RATE)
    return replace(utterance, audio=path, start=None, duration=len(samples) / audio.SAMPLE_RATE)


def _names(utterances: Sequence[Utterance]) -> list[str]:
    """File names made of ids, which may hold anything: harmless, and each another one."""
    names: dict[str, None] = {}
    for number, utterance in enumerate(utterances):
        name = re.sub(r"[^\w.-]", "_", utterance.id)[:150].lstrip(".") or "_"
        names[f"{name}.wav" if f"{name}.wav" not in names else f"{name}~{number}.wav"] = None
    return list(names)
