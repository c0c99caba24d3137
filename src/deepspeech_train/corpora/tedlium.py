"""TED-LIUM: TED talks, 207 hours (release 2, OpenSLR 19) or 452 hours (release 3, OpenSLR 51); CC BY-NC-ND 3.0.

Source: the archive of the release, or a folder in which it is unpacked: ``TEDLIUM_release2/train/{stm,sph}/`` and
``TEDLIUM_release-3/legacy/train/{stm,sph}/``. Without one the release is downloaded (35 and 54 GB).

A talk is one NIST SPHERE file and one STM file, a line a segment: talk, channel, speaker, first second, last second,
label, words::

    AlGore_2009 1 AlGore_2009 17.82 28.81 <o,f0,male> there 's a {NOISE} big(2) <unk> picture

Segments "ignore_time_segment_in_scoring" are passed by, as in the published figures. "there 's" becomes "there's";
fillers in braces, "<sil>" and the number of a pronunciation are removed. "<unk>" stands for a hesitation or for what
was not understood: ``unknown="remove"`` takes it out of the transcript, as most recipes do, ``unknown="skip"`` leaves
the segment out. Utterances are segments of the talk's file; ``wav=1`` writes each to a WAV file.

The three splits are talks apart. That no one speaks in two of them the corpus does not say: who does is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_train.corpora import _checks, _options, _sources
from deepspeech_train.corpora._importing import SPLITS, Built, ImportPlan, Workplace
from deepspeech_train.corpora._problems import Problem
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError

VERSION = 1

HOW_TO_GIVE = (
    "name the archive of the release (https://www.openslr.org/19 or /51), or a folder in which it is unpacked, as the"
    " source (or in ds_tedlium_source)"
)


@dataclass(frozen=True)
class Release:
    """Where a release is published, and its SHA-256 as torchaudio publishes it."""

    url: str
    sha256: str


RELEASES = {
    2: Release(
        "https://www.openslr.org/resources/19/TEDLIUM_release2.tar.gz",
        "93281b5fcaaae5c88671c9d000b443cb3c7ea3499ad12010b3934ca41a7b9c58",
    ),
    3: Release(
        "https://www.openslr.org/resources/51/TEDLIUM_release-3.tgz",
        "ad1e454d14d1ad550bc2564c462d87c7a7ec83d4dc2b9210f22ab4973b9eccdb",
    ),
}

#: A word's ending that the transcripts write apart: "you 're", "it 's".
_ENDING = re.compile(r"(?<=\w) (?=['\u2019](?:s|m|d|t|re|ve|ll)\b)", re.IGNORECASE)

#: Words in brackets, and numbers of pronunciations, that nobody says: "{NOISE}", "<sil>", "big(2)".
_MARK = re.compile(r"\{[^}]*\}|<[^>]*>|\[[^\]]*\]|\(\d+\)")

#: The key at the end of the lines of training transcripts, "(AlGore_2009-17.82-28.81-F0_M-S1)".
_KEY = re.compile(r"\s*\([^ ()]*-[^ ()]*\)\s*$")

_IGNORED = "ignore_time_segment_in_scoring"


@dataclass(frozen=True)
class Options:
    """``url`` names another place of the same archive."""

    release: int = 2
    unknown: str = "remove"
    wav: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        _options.one_of("tedlium", self, "release", *RELEASES)
        _options.one_of("tedlium", self, "unknown", "remove", "skip")
        _options.one_of("tedlium", self, "wav", 0, 1)


def plan(source: Path | None, seed: int, options: Mapping[str, object]) -> ImportPlan:
    """The import of ``source``, or of a download if it is None; the seed decides nothing."""
    chosen = _options.parse("tedlium", Options, options)
    decisive = {name: value for name, value in asdict(chosen).items() if name != "url"}
    identity: dict[str, object] = {"version": VERSION, "options": decisive}
    identity |= {"source": _sources.stamp(source)} if source else {}
    return ImportPlan(identity, lambda workplace: _build(source, chosen, workplace), wav=bool(chosen.wav))


def _build(source: Path | None, options: Options, workplace: Workplace) -> Built:
    if source is None:
        release = RELEASES[options.release]
        root = workplace.downloaded_and_unpacked(options.url or release.url, HOW_TO_GIVE, release.sha256)
    else:
        root = source if source.is_dir() else workplace.unpacked(source)
    base = _base(root)
    if base is None:
        raise RecipeError(f"{source or root} holds no folder train/stm of TED-LIUM", HOW_TO_GIVE)
    splits: dict[str, list[Utterance]] = {}
    problems: list[Problem] = []
    ignored = 0
    talks = _talks(root)
    for split in SPLITS:
        splits[split] = []
        for stm in sorted((base / split / "stm").glob("*.stm")):
            for found in _segments(stm, talks, options.unknown == "skip"):
                if isinstance(found, Utterance):
                    splits[split].append(found)
                elif isinstance(found, Problem):
                    problems.append(found)
                else:
                    ignored += 1
    workplace.progress.say(f"{ignored} segments passed by, which the corpus says are not to be scored")
    heard = _checks.shared("speaker in two splits, kept", splits, lambda utterance: utterance.speaker)
    return Built(splits, [*problems, *heard])


def _base(root: Path) -> Path | None:
    """The folder of the folders train, dev and test."""
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        for base in (folder / "legacy", folder):
            if (base / "train" / "stm").is_dir():
                return base
    return None


def _talks(root: Path) -> dict[str, Path]:
    """Talk -> its audio, wherever under ``root``: release 3 has some talks in one place and links to them."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*.sph")):
        found.setdefault(path.stem, path)
    return found


def _segments(stm: Path, talks: Mapping[str, Path], skip_unknown: bool) -> Iterator[Utterance | Problem | None]:
    """The segments of a talk, what is wrong with others, and None for each that is not to be scored."""
    for number, line in enumerate(stm.read_bytes().decode("utf-8", errors="replace").splitlines(), start=1):
        if not line.strip() or line.startswith(";;"):
            continue
        fields = line.split(maxsplit=5)
        where = f"{stm.name}, line {number}"
        try:
            talk, _, speaker, first, last, rest = fields
            start, end = float(first), float(last)
        except ValueError:
            yield Problem("not a line of STM", where, line[:80])
            continue
        if _IGNORED in rest:
            yield None
            continue
        label, _, words = rest.partition(" ") if rest.startswith("<o,") else ("", "", rest)
        id = f"{talk}-{round(start * 100):07d}-{round(end * 100):07d}"
        if talk not in talks:
            yield Problem("audio missing", id, f"{talk}.sph")
        elif skip_unknown and "<unk>" in words:
            yield Problem("unknown word", id, label)
        else:
            yield Utterance(id, talks[talk], round(end - start, 6), transcript(words), _name(speaker), start=start)


def transcript(words: str) -> str:
    """The words of an STM line as they are trained on.

    >>> transcript("there 's a {NOISE} big(2) <unk> picture (AlGore_2009-17.82-28.81-F0_M-S1)")
    "there's a big picture"
    """
    spoken = _MARK.sub("", _KEY.sub("", words))
    return _checks.normalise(_ENDING.sub("", " ".join(spoken.split())))


def _name(speaker: str) -> str:
    """Who speaks: "AlGore" of "AlGore_2009"."""
    return re.sub(r"_\d{4}\w*$", "", speaker)
