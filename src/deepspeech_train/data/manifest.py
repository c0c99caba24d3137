"""A manifest: the utterances of one split, and where their audio is.

On disk a manifest is JSON lines, one utterance a line, with the names of the field::

    {"id": "train-0001", "audio_filepath": "train/0001.wav", "duration": 1.42, "text": "go left", "speaker": "m3"}

``audio_filepath`` is relative to the manifest's own folder, or absolute. Durations are seconds.

>>> from deepspeech_train.data.manifest import read_manifest
>>> utterances = read_manifest(Path("train.jsonl"))  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker: the audio file, its length in seconds and its reference text."""

    id: str
    audio: Path
    duration: float
    text: str
    speaker: str


@dataclass(frozen=True)
class Corpus:
    """Three splits of one corpus; ``name`` goes into ``hyper.json`` as the data set."""

    name: str
    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
