"""AN4, the Census database of CMU: 948 and 130 utterances of spelled words, dates and digits (1991).

Source: ``an4_sphere.tar.gz`` or ``an4_raw.bigendian.tar.gz``, or a folder in which one is unpacked (``an4/etc``,
``an4/wav``). Without one the first is downloaded; no checksum of it is published, its size is what the server says.

``etc/an4_train.transcription`` has a line an utterance, whose audio is ``wav/an4_clstk/SPEAKER/ID.sph``::

    <s> P I T T S B U R G H </s> (cen5-fash-b)

NIST SPHERE files are read where they are. Raw ones (16 kHz, 16 bit, the high byte first) become WAV files. There is no
dev set: ``dev_speakers`` of the training speakers, drawn with the seed, are it. The test set was recorded by others;
that is not written down, so a speaker who is in both would be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from deepspeech_train.corpora import _checks, _options, _sources
from deepspeech_train.corpora._importing import Built, ImportPlan, Workplace
from deepspeech_train.corpora._problems import Problem
from deepspeech_train.corpora._sampling import generator
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError

VERSION = 1

URL = "http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz"
HOW_TO_GIVE = (
    "name an4_sphere.tar.gz (http://www.speech.cs.cmu.edu/databases/an4), or a folder in which it is unpacked, as the"
    " source (or in ds_an4_source)"
)

RATE = 16_000

_LINE = re.compile(r"(?:<s>)?(?P<words>.*?)(?:</s>)?\s*\((?P<id>[^()\s]+)\)\s*")


@dataclass(frozen=True)
class Options:
    """``dev_speakers`` of the 74 training speakers; ``url`` names another place of the same archive."""

    dev_speakers: int = 7
    url: str = URL

    def __post_init__(self) -> None:
        _options.at_least("an4", self, 1, "dev_speakers")


def plan(source: Path | None, seed: int, options: Mapping[str, object]) -> ImportPlan:
    """The import of ``source``, or of a download if it is None."""
    chosen = _options.parse("an4", Options, options)
    decisive = {name: value for name, value in asdict(chosen).items() if name != "url"}
    identity: dict[str, object] = {"version": VERSION, "seed": seed, "options": decisive}
    identity |= {"source": _sources.stamp(source)} if source else {}
    return ImportPlan(
        identity,
        lambda workplace: _build(source, seed, chosen, workplace),
        unseen_speakers=(("train", "dev"),),
    )


def _build(source: Path | None, seed: int, options: Options, workplace: Workplace) -> Built:
    if source is None:
        root = workplace.downloaded_and_unpacked(options.url, HOW_TO_GIVE)
    else:
        root = source if source.is_dir() else workplace.unpacked(source)
    base = next((folder for folder in (root, root / "an4") if (folder / "etc").is_dir()), None)
    if base is None:
        raise RecipeError(f"{source or root} holds no folder an4/etc", HOW_TO_GIVE)
    recordings = {
        path.stem: path for pattern in ("*.raw", "*.wav", "*.sph") for path in sorted((base / "wav").rglob(pattern))
    }
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    problems: list[Problem] = []
    for split in ("train", "test"):
        for found in _utterances(base / "etc" / f"an4_{split}.transcription", recordings):
            if isinstance(found, Problem):
                problems.append(replace(found, split=split))
            else:
                splits[split].append(found)
    _draw_dev(splits, seed, options.dev_speakers)
    problems += _checks.shared("speaker in two splits, kept", splits, lambda utterance: utterance.speaker)
    splits, unreadable = _decoded(splits, workplace)
    return Built(splits, [*problems, *unreadable])


def _utterances(table: Path, recordings: Mapping[str, Path]) -> Iterator[Utterance | Problem]:
    try:
        lines = table.read_bytes().decode("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RecipeError(f"cannot read the transcripts {table}: {error.strerror or error}", HOW_TO_GIVE) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = _LINE.fullmatch(line)
        if not fields:
            yield Problem("not a line of transcripts", f"{table.name}, line {number}", line[:80])
        elif fields["id"] not in recordings:
            yield Problem("audio missing", fields["id"])
        else:
            path = recordings[fields["id"]]
            yield Utterance(fields["id"], path, 0.0, _checks.normalise(fields["words"]), path.parent.name)


def _draw_dev(splits: dict[str, list[Utterance]], seed: int, count: int) -> None:
    """Moves the utterances of ``count`` speakers from train to dev; none who is in the test set as well."""
    tested = {utterance.speaker for utterance in splits["test"]}
    free = sorted({utterance.speaker for utterance in splits["train"]} - tested)
    drawn = set(generator(seed, "dev speakers").sample(free, min(count, len(free))))
    splits["dev"] = [utterance for utterance in splits["train"] if utterance.speaker in drawn]
    splits["train"] = [utterance for utterance in splits["train"] if utterance.speaker not in drawn]


def _decoded(
    splits: Mapping[str, list[Utterance]], workplace: Workplace
) -> tuple[dict[str, list[Utterance]], list[Problem]]:
    """``splits`` with WAV files in place of raw ones, which say nothing of themselves."""
    kept: dict[str, list[Utterance]] = {}
    problems = []
    folder = workplace.folder / "audio"
    for split, utterances in splits.items():
        kept[split] = []
        for utterance in utterances:
            if utterance.audio.suffix != ".raw":
                kept[split].append(utterance)
                continue
            content = utterance.audio.read_bytes()
            if not content or len(content) % 2:
                problems.append(Problem("unreadable audio", utterance.id, f"{len(content)} bytes of 16 bits", split))
                continue
            samples = np.frombuffer(content, ">i2").astype(np.float32) / np.float32(32768)
            folder.mkdir(exist_ok=True)
            path = folder / f"{utterance.audio.stem}.wav"
            audio.write_wav(path, samples, RATE)
            kept[split].append(replace(utterance, audio=path))
    return kept, problems
