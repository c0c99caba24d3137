"""FSDD: connected-digit strings made from the Free Spoken Digit Dataset (CC BY-SA 4.0).

Source: recordings ``{digit}_{speaker}_{index}.wav`` in a folder, at any depth, or in a tar (.tar.gz,
.tar.xz ...) or .zip archive, which is read in place and never unpacked. An utterance is one to seven
recordings of one speaker joined with short gaps; its transcript is the digits' names, "seven three one".

Splits never share a recording:

    split="official"   test: indices 0-4, as the dataset says; dev: 45-49; train: the rest. The same
                       speakers speak in all three.
    split="speaker"    test: every recording of ``test_speaker``; train and dev: the other speakers, dev
                       their indices 45-49. So the test speaker is unseen, and dev tells when the training
                       speakers are learnt; with five speakers a fourth one in training is worth more
                       than a dev speaker who is unseen too.

``strings.jsonl`` in the corpus folder tells of which recordings each utterance is made.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from deepspeech_train.corpora import _options, _problems, _sources
from deepspeech_train.corpora._fsdd_recordings import DIGITS, RATE, Recording, recordings_of
from deepspeech_train.corpora._importing import SPLITS, Built, ImportPlan, Splits, Workplace
from deepspeech_train.corpora._problems import Problem
from deepspeech_train.corpora._sampling import evenly, generator
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError, SettingsError

VERSION = 1

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.9.tar.gz"
HOW_TO_GIVE = (
    "name a folder of the recordings, or an archive of it (.tar.xz, .tar.gz, .zip), as the source"
    " (or in ds_fsdd_source)"
)

OFFICIAL_TEST = range(5)
DEV = range(45, 50)

#: Seconds of silence between two digits, and before the first and after the last.
GAP = (0.05, 0.25)
#: RMS of the noise in the gaps, -66 dB of full scale: exact zeros would be a mark that no speech has.
GAP_NOISE = 0.0005


@dataclass(frozen=True)
class Options:
    """``*_utterances`` are strings in the whole split; a speaker gets an even share of them."""

    split: str = "official"
    test_speaker: str = "theo"
    max_digits: int = 7
    train_utterances: int = 3500
    dev_utterances: int = 200
    test_utterances: int = 300

    def __post_init__(self) -> None:
        if self.split not in ("official", "speaker"):
            raise SettingsError(
                f"the option split of the corpus fsdd is {self.split!r}", "give 'official' or 'speaker'"
            )
        _options.at_least("fsdd", self, 1, "max_digits", "train_utterances", "dev_utterances", "test_utterances")

    @property
    def counts(self) -> dict[str, int]:
        return {
            "train": self.train_utterances,
            "dev": self.dev_utterances,
            "test": self.test_utterances,
        }


def plan(source: Path | None, seed: int, options: Mapping[str, object]) -> ImportPlan:
    """The import of ``source``, or of a download if it is None."""
    chosen = _options.parse("fsdd", Options, options)
    identity: dict[str, object] = {"version": VERSION, "seed": seed, "options": asdict(chosen)}
    identity |= {"source": _sources.fingerprint(source)} if source else {"url": URL}
    speaker_independent = chosen.split == "speaker"
    return ImportPlan(
        identity,
        lambda workplace: _build(source, seed, chosen, workplace),
        unseen_speakers=(("train", "test"), ("dev", "test")) if speaker_independent else (),
    )


def _build(source: Path | None, seed: int, options: Options, workplace: Workplace) -> Built:
    folder = workplace.folder
    if source:
        recordings, problems = recordings_of(source)
    else:
        with workplace.downloaded(URL, HOW_TO_GIVE) as archive:
            recordings, problems = recordings_of(archive)
    if not recordings and not problems:
        raise RecipeError(f"{source or URL} holds no recording named like 7_jackson_32.wav", HOW_TO_GIVE)
    pools = _split(recordings, options)
    empty = [Problem("no recording for the split", split) for split in SPLITS if not pools[split]]
    _problems.raise_for(empty, "fsdd", HOW_TO_GIVE, problems)
    problems += _incomplete(pools)
    counts = options.counts
    splits: Splits = {}
    with (
        workplace.progress.steps("writing digit strings", sum(counts.values()), "strings") as advance,
        (folder / "strings.jsonl").open("w", encoding="utf-8") as index,
    ):
        for split in SPLITS:
            (folder / "audio" / split).mkdir(parents=True)
            splits[split] = []
            for number, string in enumerate(_strings(pools[split], counts[split], seed, split, options)):
                id = f"fsdd-{split}-{string[0].speaker}-{number:05d}"
                path = folder / "audio" / split / f"{id}.wav"
                samples = _joined(string, generator(seed, "gaps", id))
                audio.write_wav(path, samples, RATE)
                text = " ".join(DIGITS[recording.digit] for recording in string)
                splits[split].append(Utterance(id, path, len(samples) / RATE, text, string[0].speaker))
                index.write(json.dumps({"id": id, "recordings": [r.name for r in string]}) + "\n")
                advance(1)
    return Built(splits, problems)


def _split(recordings: list[Recording], options: Options) -> dict[str, list[Recording]]:
    """Which recordings belong to which split."""
    speakers = tuple(sorted({recording.speaker for recording in recordings}))
    if options.split == "speaker" and options.test_speaker not in speakers:
        raise SettingsError(
            f"the option test_speaker of the corpus fsdd is {options.test_speaker!r}",
            f"{_options.near_match(options.test_speaker, speakers)}the speakers are {', '.join(speakers)}",
        )
    pools: dict[str, list[Recording]] = {split: [] for split in SPLITS}
    for recording in recordings:
        if options.split == "official":
            is_test = recording.index in OFFICIAL_TEST
        else:
            is_test = recording.speaker == options.test_speaker
        pools["test" if is_test else "dev" if recording.index in DEV else "train"].append(recording)
    return pools


def _incomplete(pools: Mapping[str, list[Recording]]) -> list[Problem]:
    """A digit that a speaker never says in a split would be missing from its WER."""
    return [
        Problem("digit without a recording", f"{digit} by {speaker}", split, split)
        for split, pool in pools.items()
        for speaker in sorted({recording.speaker for recording in pool})
        for digit in sorted(set(range(10)) - {r.digit for r in pool if r.speaker == speaker})
    ]


def _strings(
    pool: Iterable[Recording], count: int, seed: int, split: str, options: Options
) -> Iterable[list[Recording]]:
    """``count`` strings, the speakers in turn; of one speaker every recording is used equally often (+-1)."""
    by_speaker: dict[str, list[Recording]] = defaultdict(list)
    for recording in sorted(pool, key=lambda recording: recording.name):
        by_speaker[recording.speaker].append(recording)
    draws = {speaker: generator(seed, "strings", split, speaker) for speaker in by_speaker}
    streams = {speaker: evenly(own, draws[speaker]) for speaker, own in by_speaker.items()}
    speakers = list(by_speaker)
    for number in range(count):
        speaker = speakers[number % len(speakers)]
        yield list(islice(streams[speaker], draws[speaker].randint(1, options.max_digits)))


def _joined(string: list[Recording], draw: random.Random) -> audio.Samples:
    """The recordings one after the other, with a gap before, between and after."""
    noise = np.random.default_rng(draw.getrandbits(64))
    parts: list[audio.Samples] = []

    def gap() -> audio.Samples:
        length = round(draw.uniform(*GAP) * RATE)
        return GAP_NOISE * noise.standard_normal(length, dtype=np.float32)

    for recording in string:
        parts += [gap(), recording.samples]
    return np.concatenate([*parts, gap()])
