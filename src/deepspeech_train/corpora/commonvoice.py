"""Common Voice: sentences read aloud by volunteers in many languages (Mozilla, CC0).

Source: the archive of one language (``cv-corpus-...-LANG.tar.gz``), or a folder in which it is unpacked, or the
folder of that language in it, which holds ``train.tsv``, ``dev.tsv``, ``test.tsv`` and ``clips/*.mp3``. There is no
download without an account: Mozilla asks who takes the data to agree to its terms.

A TSV file has a line of names, and among them ``client_id`` (the speaker), ``path`` (the clip) and ``sentence``; its
fields are not quoted. ``clip_durations.tsv``, which newer releases have, is checked against the clips. The official
splits share no speaker. ``train="validated"`` takes every validated clip of a speaker who is in neither dev nor test,
which is several times as many. ``wav=1`` writes 16-bit WAV files, which need not be decoded and resampled in every
epoch.

For a language that is written with more than a to z, set ``ds_alphabet``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_train.corpora import _checks, _options, _sources
from deepspeech_train.corpora._importing import SPLITS, Built, ImportPlan, Workplace
from deepspeech_train.corpora._problems import Problem
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError, SettingsError

VERSION = 1

HOW_TO_GIVE = (
    "get the archive of a language by hand, following https://commonvoice.mozilla.org/datasets, and name it, or a"
    " folder in which it is unpacked, as the source (or in ds_commonvoice_source)"
)

_COLUMNS = ("client_id", "path", "sentence")


@dataclass(frozen=True)
class Options:
    """``language`` chooses where the source holds several, as "en"; ``train`` is "train" or "validated"."""

    language: str = ""
    train: str = "train"
    wav: int = 0

    def __post_init__(self) -> None:
        _options.one_of("commonvoice", self, "train", "train", "validated")
        _options.one_of("commonvoice", self, "wav", 0, 1)


def plan(source: Path | None, seed: int, options: Mapping[str, object]) -> ImportPlan:
    """The import of ``source``; the seed decides nothing."""
    chosen = _options.parse("commonvoice", Options, options)
    if source is None:
        raise RecipeError("the corpus commonvoice cannot be downloaded without an account at Mozilla", HOW_TO_GIVE)
    return ImportPlan(
        {"version": VERSION, "options": asdict(chosen), "source": _sources.stamp(source)},
        lambda workplace: _build(source, chosen, workplace),
        unseen_speakers=(("train", "dev"), ("train", "test"), ("dev", "test")),
        wav=bool(chosen.wav),
    )


def _build(source: Path, options: Options, workplace: Workplace) -> Built:
    folder = _language(source if source.is_dir() else workplace.unpacked(source), options.language, source)
    durations = _durations(folder / "clip_durations.tsv")
    splits: dict[str, list[Utterance]] = {}
    problems: list[Problem] = []
    for split in ("dev", "test", "train"):
        name = options.train if split == "train" else split
        held_out = {utterance.speaker for one in ("dev", "test") if one in splits for utterance in splits[one]}
        splits[split] = []
        for found in _rows(folder / f"{name}.tsv", folder / "clips", durations):
            if isinstance(found, Problem):
                problems.append(found)
            elif name != "validated" or found.speaker not in held_out:
                splits[split].append(found)
    return Built({split: splits[split] for split in SPLITS}, problems)


def _language(root: Path, language: str, source: Path) -> Path:
    """The folder of the one language, in ``root`` or up to two levels down: ``cv-corpus-17.0-2024-03-15/en``."""
    found = [path.parent for level in ("", "*/", "*/*/") for path in sorted(root.glob(f"{level}train.tsv"))]
    if not found:
        raise RecipeError(f"{source} holds no train.tsv of Common Voice", HOW_TO_GIVE)
    chosen = [folder for folder in found if not language or folder.name == language]
    if len(chosen) != 1:
        raise SettingsError(
            f"{source} holds the languages {', '.join(folder.name for folder in found)},"
            f" and the option language of the corpus commonvoice is {language!r}",
            "give one of them, as in language=en",
        )
    return chosen[0]


def _rows(table: Path, clips: Path, durations: Mapping[str, float]) -> Iterator[Utterance | Problem]:
    """The clips that a TSV file names."""
    for number, row in _table(table, _COLUMNS):
        if row is None:
            yield Problem("not a line of the table", f"{table.name}, line {number}")
            continue
        speaker, clip, sentence = row
        # The oldest releases leave the suffix out.
        name = clip if "." in clip else f"{clip}.mp3"
        if "/" in name or "\\" in name or name.startswith("."):
            yield Problem("not a name of a clip", f"{table.name}, line {number}", clip)
            continue
        seconds = durations.get(name, 0.0)
        yield Utterance(name.rpartition(".")[0], clips / name, seconds, _checks.normalise(sentence), speaker)


def _durations(table: Path) -> dict[str, float]:
    """Clip -> seconds; empty where the release has no such table."""
    if not table.is_file():
        return {}
    found: dict[str, float] = {}
    with table.open(encoding="utf-8", errors="replace") as file:
        next(file, "")  # clip, duration[ms]
        for line in file:
            clip, _, milliseconds = line.rstrip("\n").partition("\t")
            if milliseconds.isdecimal():
                found[clip] = int(milliseconds) / 1000
    return found


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...] | None]]:
    """(number, those columns) of each line of a TSV file; None for a line that is too short."""
    if not path.is_file():
        raise RecipeError(f"there is no {path.name} in {path.parent}", HOW_TO_GIVE)
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        names = next(file, "").rstrip("\r\n").split("\t")
        absent = [column for column in columns if column not in names]
        if absent:
            raise RecipeError(f"the table {path} has no column {', '.join(absent)}", HOW_TO_GIVE)
        places = [names.index(column) for column in columns]
        for number, line in enumerate(file, start=2):
            fields = line.rstrip("\r\n").split("\t")
            if line.strip():
                whole = len(fields) > max(places) and all(fields[place] for place in places[:2])
                yield number, tuple(fields[place] for place in places) if whole else None
