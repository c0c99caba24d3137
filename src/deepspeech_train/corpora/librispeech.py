"""LibriSpeech: a thousand hours of read English audiobooks (OpenSLR 12, CC BY 4.0).

Source: a folder of the archives of OpenSLR (``dev-clean.tar.gz`` ...), a folder in which they are unpacked
(``LibriSpeech/dev-clean/2412/153948/2412-153948-0000.flac``, or ``dev-clean/...``), or one archive of that layout.
Without one the archives are downloaded and their SHA-256 is checked. Unpacked audio is read where it is.

Beside the audio of each chapter lies its transcript, ``2412-153948.trans.txt``::

    2412-153948-0000 IF THE READER WILL EXCUSE ME I WILL SAY NOTHING OF MY ANTECEDENTS

Each split is one subset or several, ``train=train-clean-100+train-clean-360+train-other-500``. No speaker is in two
subsets. One subset for all three splits is allowed, to see whether a network learns at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_train.corpora import _archives, _checks, _options, _sources
from deepspeech_train.corpora._importing import SPLITS, Built, ImportPlan, Workplace
from deepspeech_train.corpora._problems import Problem
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError, SettingsError

VERSION = 1

URL = "https://www.openslr.org/resources/12/"
HOW_TO_GIVE = (
    "name a folder of the archives of https://www.openslr.org/12, or one in which they are unpacked, as the source"
    " (or in ds_librispeech_source)"
)


@dataclass(frozen=True)
class Subset:
    """One archive: how many utterances it holds, and its SHA-256 as torchaudio publishes it."""

    utterances: int
    sha256: str


SUBSETS = {
    "dev-clean": Subset(2703, "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    "dev-other": Subset(2864, "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
    "test-clean": Subset(2620, "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    "test-other": Subset(2939, "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
    "train-clean-100": Subset(28539, "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
    "train-clean-360": Subset(104014, "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
    "train-other-500": Subset(148688, "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
}


@dataclass(frozen=True)
class Options:
    """Subsets of each split, joined by "+". ``wav=1`` writes 16-bit WAV files; ``url`` names a mirror of OpenSLR."""

    train: str = "train-clean-100"
    dev: str = "dev-clean"
    test: str = "test-clean"
    wav: int = 0
    url: str = URL

    def __post_init__(self) -> None:
        _options.one_of("librispeech", self, "wav", 0, 1)
        used: dict[str, str] = {}
        for split, subsets in self.subsets.items():
            for subset in subsets:
                if subset not in SUBSETS:
                    raise SettingsError(
                        f"the option {split} of the corpus librispeech names the subset {subset!r}",
                        f"{_options.near_match(subset, SUBSETS)}the subsets are {', '.join(SUBSETS)};"
                        ' join several by "+"',
                    )
                if subset in used and not self.one_for_all:
                    raise SettingsError(
                        f"the subset {subset} of the corpus librispeech is in {used[subset]} and in {split}",
                        "give every split subsets of its own",
                    )
                used[subset] = split

    @property
    def subsets(self) -> dict[str, tuple[str, ...]]:
        return {split: tuple(getattr(self, split).split("+")) for split in SPLITS}

    @property
    def one_for_all(self) -> bool:
        return self.train == self.dev == self.test and "+" not in self.train


def plan(source: Path | None, seed: int, options: Mapping[str, object]) -> ImportPlan:
    """The import of ``source``, or of downloads if it is None; the seed decides nothing."""
    chosen = _options.parse("librispeech", Options, options)
    decisive = {name: value for name, value in asdict(chosen).items() if name != "url"}
    identity: dict[str, object] = {"version": VERSION, "options": decisive}
    identity |= {"source": _sources.stamp(source)} if source else {}
    return ImportPlan(
        identity,
        lambda workplace: _build(source, chosen, workplace),
        unseen_speakers=() if chosen.one_for_all else (("train", "dev"), ("train", "test"), ("dev", "test")),
        one_for_all=chosen.one_for_all,
        wav=bool(chosen.wav),
    )


def _build(source: Path | None, options: Options, workplace: Workplace) -> Built:
    splits: dict[str, list[Utterance]] = {}
    problems: dict[Problem, None] = {}
    folders: dict[str, Path] = {}
    for split, subsets in options.subsets.items():
        splits[split] = []
        for subset in subsets:
            if subset not in folders:
                folders[subset] = _folder(source, subset, options, workplace)
            for found in _read(subset, folders[subset]):
                if isinstance(found, Utterance):
                    splits[split].append(found)
                else:
                    problems[found] = None
    return Built(splits, list(problems))


def _folder(source: Path | None, subset: str, options: Options, workplace: Workplace) -> Path:
    """The folder of ``subset``, which holds one folder for each speaker."""
    if source is None:
        url = f"{options.url.rstrip('/')}/{subset}.tar.gz"
        unpacked = workplace.downloaded_and_unpacked(url, HOW_TO_GIVE, SUBSETS[subset].sha256)
    elif source.is_dir():
        there = _inside(source, subset)
        if there:
            return there
        archives = [source / f"{subset}{suffix}" for suffix in _archives.SUFFIXES]
        archive = next((path for path in archives if path.is_file()), None)
        if archive is None:
            raise RecipeError(f"there is no subset {subset} and no {subset}.tar.gz in {source}", HOW_TO_GIVE)
        unpacked = workplace.unpacked(archive)
    else:
        unpacked = workplace.unpacked(source)
    there = _inside(unpacked, subset)
    if not there:
        raise RecipeError(f"there is no subset {subset} in {source or unpacked}", HOW_TO_GIVE)
    return there


def _inside(folder: Path, subset: str) -> Path | None:
    places = (folder / "LibriSpeech" / subset, folder / subset, *([folder] if folder.name == subset else []))
    return next((place for place in places if place.is_dir()), None)


def _read(subset: str, folder: Path) -> Iterator[Utterance | Problem]:
    """The utterances of a subset, by name, and what is wrong with it."""
    transcribed = 0
    for transcript in sorted(folder.glob("*/*/*.trans.txt")):
        audio = {path.stem: path for path in sorted(transcript.parent.iterdir()) if path.suffix in (".flac", ".wav")}
        for line in transcript.read_bytes().decode("utf-8", errors="replace").splitlines():
            id, _, text = line.strip().partition(" ")
            if not id:
                continue
            transcribed += 1
            path = audio.pop(id, None)
            if path is None:
                yield Problem("audio missing", id, transcript.name)
            else:
                yield Utterance(id, path, 0.0, _checks.normalise(text), id.partition("-")[0])
        for id in audio:
            yield Problem("transcript missing", id, transcript.name)
    if transcribed != SUBSETS[subset].utterances:
        yield Problem("subset not whole", subset, f"{transcribed} of {SUBSETS[subset].utterances} utterances")
