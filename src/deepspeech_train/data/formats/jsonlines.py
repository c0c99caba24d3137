"""JSON lines: our own manifests, and those of NeMo and PaddleSpeech, in which less need be said.

An object a line, ``audio_filepath`` (PaddleSpeech: also ``feat``), ``text`` and, if it is known, ``duration``; NeMo's
``offset`` and ``speaker``; ``id`` (PaddleSpeech: ``utt``), ``utt2spk`` and our ``span`` where they are there. What is
written names audio by absolute paths, as both want it, and keeps the id, which both leave alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data.formats._reading import Entry, Places, Problems, content_of
from deepspeech_train.data.formats._writing import as_files, write_lines
from deepspeech_train.data.manifest import Utterance, checked_seconds, parse_record, part_of, where, write_manifest


def read(path: Path, problems: Problems) -> list[Entry]:
    """The entries of a file; ids, speakers and durations may be missing."""
    places = Places(path.parent)
    entries = []
    for number, line in enumerate(content_of(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append(_entry(f"line {number}", parse_record(line), places))
        except ValueError as error:
            problems.add(f"line {number}", str(error))
    return entries


def write_ours(path: Path, utterances: Sequence[Utterance], audio_folder: Path, progress: Progress) -> list[str]:
    """Holds all that an utterance has."""
    write_manifest(path, utterances)
    return []


def write_nemo(path: Path, utterances: Sequence[Utterance], audio_folder: Path, progress: Progress) -> list[str]:
    """Holds all but spans, which are written out as files."""
    lines = []
    for utterance in as_files(utterances, audio_folder, progress, segments=True):
        record = {"audio_filepath": str(utterance.audio.absolute()), "duration": utterance.duration}
        record |= {"text": utterance.text, "id": utterance.id}
        if utterance.speaker:
            record["speaker"] = utterance.speaker
        lines.append(json.dumps(record | where(utterance), ensure_ascii=False, allow_nan=False))
    write_lines(path, lines)
    return []


def _entry(line: str, record: dict[str, Any], places: Places) -> Entry:
    sound, text = _text(record, "audio_filepath", "feat"), record.get("text")
    if not sound:
        raise ValueError("'audio_filepath' is missing")
    if not isinstance(text, str):
        raise ValueError("'text' is missing" if text is None else f"'text' is {text!r}")
    duration = record.get("duration")
    start, span = part_of(record)
    return Entry(
        line,
        places(sound),
        text,
        id=_text(record, "id", "utt"),
        speaker=_text(record, "speaker", "utt2spk"),
        duration=None if duration is None else checked_seconds("duration", duration),
        start=start,
        span=span,
    )


def _text(record: dict[str, Any], *keys: str) -> str:
    """The first of ``keys`` that is there, a string or a number (as speakers are); empty if none is."""
    for key in keys:
        value = record.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ValueError(f"{key!r} is {value!r}")
        return str(value)
    return ""
