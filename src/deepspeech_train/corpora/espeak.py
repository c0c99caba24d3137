"""espeak: commands and digits spoken by espeak-ng, synthesised on the spot. No download, no recordings.

A voice is an accent and a variant ("en-us+f3"); each has a pitch, a pitch range and a rate of its own,
from which its utterances differ a little. No variant is in two splits, so that dev and test are spoken by
voices unseen in training, and the dev voices are not the test voices. Level, noise and pauses are drawn
for each utterance. One seed and one set of options give one corpus, to the bit, for one version of
espeak-ng; ``synthesis.jsonl`` in the corpus folder tells how each utterance was made.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from deepspeech_train.corpora import _options
from deepspeech_train.corpora._espeak_grammar import sentence
from deepspeech_train.corpora._importing import SPLITS, Built, ImportPlan, Workplace
from deepspeech_train.corpora._progress import Progress
from deepspeech_train.corpora._sampling import evenly, generator
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError, SettingsError

VERSION = 1

#: Samples a second of the WAV files.
RATE = audio.SAMPLE_RATE

#: American, British, Received Pronunciation and Lancastrian; espeak-ng's plain "en" is British.
ACCENTS = ("en-us", "en", "en-gb-x-rp", "en-gb-x-gbclan")

#: espeak-ng's variants that sound like a person; no robots, whispers or monsters. Some are almost copies
#: of another under a second name (by the mean and the spread of their spectra): such twins are in one split,
#: or one of them is left out, lest a voice of the test set be one that was trained on.
VARIANTS = {
    "train": (
        *("m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f4", "Alex", "Alicia", "Andy", "Denis", "Gene"),
        *("Jacky", "Lee", "Mario", "Michael", "Mike", "adam", "announcer", "anika", "aunty", "shelby"),
        *("boris", "david", "ed", "edward", "grandpa", "ian", "iven3", "john", "klatt", "klatt3", "linda"),
        *("marcelo", "max", "pablo", "paul", "sandro", "steph", "zac"),
    ),
    "dev": ("m8", "f5", "Annie", "caleb", "norbert", "travis"),
    "test": (
        *("m5", "f3", "Andrea", "Diogo", "benjamin", "grandma", "michel", "quincy", "rob", "belinda"),
        *("victor", "klatt4"),
    ),
}

#: Seconds without a finished utterance after which the synthesiser is taken to hang; it needs 2 ms.
PATIENCE = 60


@dataclass(frozen=True)
class Options:
    """Utterances of each split."""

    train_utterances: int = 3000
    dev_utterances: int = 150
    test_utterances: int = 240

    def __post_init__(self) -> None:
        _options.at_least("espeak", self, 1, "train_utterances", "dev_utterances", "test_utterances")

    @property
    def counts(self) -> dict[str, int]:
        return {
            "train": self.train_utterances,
            "dev": self.dev_utterances,
            "test": self.test_utterances,
        }


@dataclass(frozen=True)
class Voice:
    """A speaker. ``rate`` is words a minute, ``pitch`` and ``pitch_range`` are espeak's 0 to 100."""

    accent: str
    variant: str
    rate: int
    pitch: int
    pitch_range: int

    @property
    def name(self) -> str:
        return f"{self.accent}+{self.variant}"


@dataclass(frozen=True)
class Request:
    """One utterance to synthesise: what the worker reads.

    ``word_gap`` is in units of 10 ms; ``peak`` is the speech's largest sample, of 1; ``snr`` is the
    signal-to-noise ratio in dB; ``lead`` and ``trail`` are seconds of pause;
    ``noise_seed``, of 31 bits, decides the noise, the voice's own breath included.
    """

    id: str
    path: str
    text: str
    accent: str
    variant: str
    rate: int
    pitch: int
    pitch_range: int
    word_gap: int
    peak: float
    snr: float
    lead: float
    trail: float
    noise_seed: int


def plan(source: Path | None, seed: int, options: Mapping[str, object]) -> ImportPlan:
    """The synthesis with ``seed``; there is no source to give."""
    if source:
        raise SettingsError(
            f"the corpus espeak has no source, {source} was given",
            "leave it out: this corpus is synthesised with espeak-ng",
        )
    chosen = _options.parse("espeak", Options, options)
    try:
        library = importlib.metadata.version("espeakng-loader")
    except importlib.metadata.PackageNotFoundError as error:
        raise RecipeError(
            "the corpus espeak is synthesised with espeak-ng, and the package espeakng-loader is not installed",
            "pip install espeakng-loader",
        ) from error
    requests = {split: list(_requests(split, count, seed)) for split, count in chosen.counts.items()}
    lines = "".join(json.dumps(asdict(request)) + "\n" for split in SPLITS for request in requests[split])
    identity = {
        "version": VERSION,
        "espeakng-loader": library,
        "seed": seed,
        "options": asdict(chosen),
        # Another grammar or another voice is another corpus, whoever forgets to raise the version.
        "requests": hashlib.sha256(lines.encode()).hexdigest(),
    }
    return ImportPlan(
        identity,
        lambda workplace: _build(requests, lines, workplace),
        unseen_speakers=(("train", "dev"), ("train", "test"), ("dev", "test")),
    )


def _build(requests: Mapping[str, list[Request]], lines: str, workplace: Workplace) -> Built:
    folder = workplace.folder
    for split in SPLITS:
        (folder / "audio" / split).mkdir(parents=True)
    (folder / "synthesis.jsonl").write_text(lines, encoding="utf-8")
    everything = [request for split in SPLITS for request in requests[split]]
    samples = _synthesise(folder / "synthesis.jsonl", everything, workplace.progress)
    return Built(
        {
            split: [
                Utterance(
                    id=request.id,
                    audio=folder / request.path,
                    duration=samples[request.id] / RATE,
                    text=request.text,
                    speaker=f"{request.accent}+{request.variant}",
                )
                for request in requests[split]
            ]
            for split in SPLITS
        }
    )


def voices(split: str, seed: int) -> list[Voice]:
    """The speakers of ``split``: in training each variant with each accent, else each variant with one."""
    found = []
    for number, variant in enumerate(VARIANTS[split]):
        for accent in ACCENTS if split == "train" else (ACCENTS[number % len(ACCENTS)],):
            draw = generator(seed, "voice", accent, variant)
            found.append(
                Voice(
                    accent,
                    variant,
                    rate=draw.randint(130, 185),
                    pitch=draw.randint(35, 65),
                    pitch_range=draw.randint(30, 70),
                )
            )
    return found


def _requests(split: str, count: int, seed: int) -> Iterator[Request]:
    """``count`` utterances, every voice speaking equally often (+-1)."""
    draw = generator(seed, "utterances", split)
    speakers = evenly(voices(split, seed), draw)
    for number in range(count):
        voice = next(speakers)
        id = f"espeak-{split}-{number:05d}"
        yield Request(
            id=id,
            path=f"audio/{split}/{id}.wav",
            text=sentence(draw),
            accent=voice.accent,
            variant=voice.variant,
            rate=voice.rate + draw.randint(-10, 10),
            pitch=voice.pitch + draw.randint(-6, 6),
            pitch_range=voice.pitch_range + draw.randint(-10, 10),
            word_gap=draw.randint(0, 6),
            peak=10 ** (draw.uniform(-15, -3) / 20),
            snr=draw.uniform(20, 40),
            lead=draw.uniform(0.1, 0.3),
            trail=draw.uniform(0.1, 0.3),
            noise_seed=draw.getrandbits(31),
        )


def _synthesise(requests: Path, wanted: list[Request], progress: Progress) -> dict[str, int]:
    """Lets the worker make ``wanted``, which ``requests`` holds; gives the number of samples of each id.

    Raises :class:`RecipeError` if the worker crashes, hangs or refuses one.
    """
    samples: dict[str, int] = {}
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    # -P: no module of the working directory may stand in for one that the worker imports.
    command = [sys.executable, "-P", "-m", "deepspeech_train.corpora._espeak_worker", str(requests)]
    with tempfile.TemporaryFile() as errors:
        worker = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            assert worker.stdout
            with progress.steps("synthesising", len(wanted), "utterances") as advance:
                for line in _lines(worker.stdout, PATIENCE):
                    id, count = line.split()
                    samples[id] = int(count)
                    advance(1)
            status = worker.wait(PATIENCE)
        except (TimeoutError, subprocess.TimeoutExpired):
            status = None
        finally:
            worker.kill()
            worker.wait()
            if worker.stdout:
                worker.stdout.close()
        if status == 0 and len(samples) == len(wanted):
            return samples
        errors.seek(0)
        said = errors.read().decode("utf-8", errors="replace").strip().splitlines()
    raise RecipeError(*_failure(status, said[-1] if said else "", wanted[len(samples) :]))


def _lines(stream: IO[bytes], patience: float) -> Iterator[str]:
    """The lines of a pipe as they come; TimeoutError if none comes for ``patience`` seconds."""
    rest = b""
    while select.select([stream], [], [], patience)[0]:
        chunk = os.read(stream.fileno(), 1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in lines)
    raise TimeoutError


def _failure(status: int | None, said: str, left: list[Request]) -> tuple[str, str]:
    """(message, hint) for a worker that ended with ``status`` (None: it hung) before it did ``left``."""
    at = ""
    if left:
        at = f" at utterance {left[0].id}, {left[0].text!r} by {left[0].accent}+{left[0].variant}"
    if status is None:
        what = f"espeak-ng gave nothing for {PATIENCE} s{at}"
    elif status < 0:
        what = f"espeak-ng crashed with {signal.Signals(-status).name}{at}"
    else:
        what = f"espeak-ng failed with exit code {status}{at}"
    return (
        f"{what}: {said}" if said else what,
        "try again; if it happens again, install espeakng-loader anew (pip install --force-reinstall"
        " espeakng-loader) or take another seed",
    )
