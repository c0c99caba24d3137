"""LDC93S1: one sentence of TIMIT, which the Linguistic Data Consortium gives away. A model must learn it.

Source: ``LDC93S1.wav`` and ``LDC93S1.txt``, as a folder that holds both or as the WAV file with the text
file of the same name beside it. The text file holds the first sample, the last sample and the sentence::

    0 46797 She had your dark suit in greasy wash water all year.

All three splits are that one utterance.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepspeech_train.corpora import _checks, _options, _sources
from deepspeech_train.corpora._importing import SPLITS, Built, ImportPlan, Workplace
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError

VERSION = 1

URL = "https://catalog.ldc.upenn.edu/desc/addenda/"
SHA256 = {
    "LDC93S1.wav": "c7e8b51db10ec6a2aea8c92376f2b88af14c2b4950ed82db3d605a4b718c8f35",
    "LDC93S1.txt": "0b4ffafce18d6ec0df273c0189202a7c186cd0bbb9b40659490f5f2ad99e70a5",
}
HOW_TO_GIVE = "put LDC93S1.wav and LDC93S1.txt into a folder and name it as the source (or in ds_ldc93s1_source)"


@dataclass(frozen=True)
class Options:
    """There is nothing to choose; the seed decides nothing either."""


def plan(source: Path | None, seed: int, options: Mapping[str, object]) -> ImportPlan:
    """The import of ``source``, or of a download if it is None."""
    _options.parse("ldc93s1", Options, options)
    identity: dict[str, object] = {"version": VERSION, "url": URL}
    if source:
        wav = _wav_of(source)
        identity = {"version": VERSION, "sources": [_sources.fingerprint(p) for p in (wav, _text_of(wav))]}
    return ImportPlan(identity, lambda workplace: _build(source, workplace), one_for_all=True)


def _build(source: Path | None, workplace: Workplace) -> Built:
    folder = workplace.folder
    (folder / "audio").mkdir()
    wav = folder / "audio" / "LDC93S1.wav"
    text = folder / "LDC93S1.txt"
    if source:
        shutil.copyfile(_wav_of(source), wav)
        shutil.copyfile(_text_of(_wav_of(source)), text)
    else:
        for path in (wav, text):
            with workplace.downloaded(URL + path.name, HOW_TO_GIVE, SHA256[path.name]) as copy:
                shutil.copyfile(copy, path)
    origin = source or URL
    with wav.open("rb") as file:
        try:
            samples, rate = audio.read(file)
        except ValueError as error:
            raise RecipeError(f"the audio file {origin} {error}", HOW_TO_GIVE) from error
    sentence = _sentence(text, len(samples), origin)
    utterance = Utterance("LDC93S1", wav, len(samples) / rate, _checks.normalise(sentence), "LDC93S1")
    return Built({split: [utterance] for split in SPLITS})


def _wav_of(source: Path) -> Path:
    wav = source / "LDC93S1.wav" if source.is_dir() else source
    if not wav.exists():
        raise RecipeError(f"there is no LDC93S1.wav in {source}", HOW_TO_GIVE)
    if not _text_of(wav).exists():
        raise RecipeError(f"the transcript {_text_of(wav).name} is not beside {wav}", HOW_TO_GIVE)
    return wav


def _text_of(wav: Path) -> Path:
    return wav.with_suffix(".txt")


def _sentence(path: Path, samples: int, origin: Path | str) -> str:
    """The words of a TIMIT text file, whose sample numbers must lie inside the ``samples`` of its audio."""
    line = path.read_bytes().decode("utf-8", errors="replace").strip()
    fields = line.split(maxsplit=2)
    if len(fields) < 3 or not (fields[0].isdecimal() and fields[1].isdecimal()):
        raise RecipeError(
            f"the transcript of {origin} does not begin with two sample numbers: {line[:80]!r}",
            'it must look like "0 46797 She had your dark suit in greasy wash water all year."',
        )
    first, last = int(fields[0]), int(fields[1])
    if not first < last <= samples:
        raise RecipeError(
            f"the transcript of {origin} speaks of the samples {first} to {last}, the audio has {samples}",
            "the two files do not belong together: " + HOW_TO_GIVE,
        )
    return fields[2]
