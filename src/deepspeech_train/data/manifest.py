"""A manifest: the utterances of one split, and where their audio is.

On disk a manifest is JSON lines in UTF-8, one utterance a line, with the names of the field::

    {"id": "train-0001", "audio_filepath": "train/0001.wav", "duration": 1.42, "text": "go left", "speaker": "m3"}

``audio_filepath`` is relative to the manifest's own folder, or absolute. Durations are seconds. A segment of a longer
recording has ``"offset": 12.5``, the second in which it begins; audio that is some bytes of a file (of a shard, say)
has ``"span": [512, 96044]``, where they begin and how many they are. Other keys are left to other tools; blank lines
are skipped. NeMo reads such a manifest as it is, as long as no audio is a span. What other tools write is read by
``data.formats``.

>>> from deepspeech_train.data.manifest import read_manifest
>>> utterances = read_manifest(Path("train.jsonl"))  # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepspeech_train.errors import RecipeError
from deepspeech_train.files import written_whole

_YEAR = 31_536_000


@dataclass(frozen=True)
class Span:
    """The bytes of a file that are one audio file: where they begin, and how many they are."""

    offset: int
    size: int


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker: its audio, its length in seconds and its reference text.

    ``audio`` is a file; with ``span`` the audio file is those bytes of it (a shard). With ``start`` the utterance is
    the ``duration`` seconds of the audio from there on (a segment of a talk), else it is the whole of it.
    """

    id: str
    audio: Path
    duration: float
    text: str
    speaker: str
    start: float | None = None
    span: Span | None = None


#: What is trained or tested on: any sequence of utterances. One that is too long for memory (a shard's index) makes
#: them as they are asked for, and has their durations beside it in ``durations``.
Utterances = Sequence[Utterance]


def durations(utterances: Utterances) -> npt.NDArray[np.float64]:
    """Seconds of each, shape ``(len(utterances),)``; at once where the sequence has them in its ``durations``."""
    at_hand = getattr(utterances, "durations", None)
    if at_hand is not None:
        return np.asarray(at_hand, np.float64)
    return np.array([utterance.duration for utterance in utterances], np.float64)


def spoken(seconds: float) -> str:
    """A length for people: ``12.3 hours``, ``4.5 minutes``."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


@dataclass(frozen=True)
class Corpus:
    """Three splits of one corpus; ``name`` goes into ``hyper.json`` as the data set."""

    name: str
    train: Utterances
    dev: Utterances
    test: Utterances


def read_manifest(path: Path) -> tuple[Utterance, ...]:
    """The utterances of the manifest ``path``, in its order, each with a path that can be opened from here.

    Raises :class:`RecipeError` that names the file and the line if the file cannot be read, a line is
    not such an object, or an id comes twice.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecipeError(
            f"cannot read the manifest {path}: {error.strerror or error}",
            "check the path, or import the corpus again",
        ) from error
    utterances = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            utterance = _parse(line, path.parent)
        except ValueError as error:
            raise RecipeError(
                f"{path}, line {number}: {error}",
                'a line looks like {"id": "a1", "audio_filepath": "a1.wav", "duration": 1.4,'
                ' "text": "go left", "speaker": "m3"}',
            ) from error
        if utterance.id in first_line:
            raise RecipeError(
                f"{path}, line {number}: the id {utterance.id!r} is already in line {first_line[utterance.id]}",
                "give every utterance an id of its own",
            )
        first_line[utterance.id] = number
        utterances.append(utterance)
    return tuple(utterances)


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Writes the manifest ``path`` as a whole or not at all.

    Audio that lies under the manifest's folder is named relative to it, so that the folder can be moved.
    """
    path = Path(path)
    folder = path.parent.absolute()
    lines = []
    for utterance in utterances:
        audio = utterance.audio.absolute()
        record = {
            "id": utterance.id,
            "audio_filepath": str(audio.relative_to(folder) if audio.is_relative_to(folder) else audio),
            "duration": utterance.duration,
            "text": utterance.text,
            "speaker": utterance.speaker,
        }
        lines.append(json.dumps(record | where(utterance), ensure_ascii=False, allow_nan=False) + "\n")
    with written_whole(path, "The manifest", "Check that the folder exists, is yours and has room.") as file:
        file.write("".join(lines).encode())


def where(utterance: Utterance) -> dict[str, float | list[int]]:
    """The keys of a line that say which part of the file is meant: none for all of it."""
    keys: dict[str, float | list[int]] = {}
    if utterance.start is not None:
        keys["offset"] = utterance.start
    if utterance.span is not None:
        keys["span"] = [utterance.span.offset, utterance.span.size]
    return keys


def parse_record(line: bytes) -> dict[str, Any]:
    """One line of JSON lines as an object; ValueError says what is wrong with it."""
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("not JSON of a manifest: nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, found {type(record).__name__}")
    if b"\\u" in line:
        # JSON can spell what is no text: half a character, which no file can hold, and a zero byte, which no path can.
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("holds half a character (a surrogate alone)") from error
        if "\0" in str(record.get("audio_filepath")):
            raise ValueError(f"'audio_filepath' is {record['audio_filepath']!r}")
    return record


def checked_seconds(key: str, seconds: object, *, zero: bool = False) -> float:
    """``seconds`` as a float, more than 0 (or 0 too, with ``zero``) and less than a year; ValueError otherwise."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise ValueError(f"{key!r} is {seconds!r}")
    # The upper bound also keeps out infinity and whole numbers too large for a float.
    if seconds < 0 or (seconds == 0 and not zero) or not seconds < _YEAR:
        least = "at least 0 seconds" if zero else "more than 0 seconds"
        raise ValueError(f"{key!r} is {seconds!r}; it must be {least}, and less than a year")
    return float(seconds)


def part_of(record: Mapping[str, Any]) -> tuple[float | None, Span | None]:
    """``(start, span)`` as the line says them; ValueError for what cannot be."""
    start = record.get("offset")
    span = record.get("span")
    if span is not None and not (
        isinstance(span, list)
        and len(span) == 2
        and all(isinstance(number, int) and not isinstance(number, bool) for number in span)
        and 0 <= span[0] < 1 << 62
        and 0 < span[1] < 1 << 62
    ):
        raise ValueError(f"'span' is {span!r}; it must be [first byte, number of bytes]")
    return (
        None if start is None else checked_seconds("offset", start, zero=True),
        None if span is None else Span(*span),
    )


def _parse(line: bytes, folder: Path) -> Utterance:
    """One line as an utterance; ValueError says what is wrong with it."""
    record = parse_record(line)
    for key in ("id", "audio_filepath", "duration", "text", "speaker"):
        if key not in record:
            raise ValueError(f"{key!r} is missing")
        if key != "duration" and not isinstance(record[key], str):
            raise ValueError(f"{key!r} is {record[key]!r}")
    if not record["id"] or not record["audio_filepath"]:
        raise ValueError("'id' and 'audio_filepath' must not be empty")
    start, span = part_of(record)
    return Utterance(
        id=record["id"],
        audio=folder / record["audio_filepath"],
        duration=checked_seconds("duration", record["duration"]),
        text=record["text"],
        speaker=record["speaker"],
        start=start,
        span=span,
    )
