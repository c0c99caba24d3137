"""The corpus ``manifest``: data of one's own, in manifests of any format or folders of shards, read in place.

    ds_importer=manifest  ds_corpus_options=train=/data/an4/train.csv,dev=/data/an4/dev.csv,test=/data/an4/test.csv

Nothing is copied. Each split is whatever ``data.formats`` reads: DeepSpeech CSV, deepspeech.pytorch, NeMo, Kaldi, our
JSON lines, or a folder that ``deepspeech-train pack`` has written. A split of ``test`` may be ``dev`` again by giving
the same path twice; two splits that share an utterance under different paths are an error. What cannot be trained on
(too long, empty, characters outside the alphabet) is left out, by name, when training begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path

import numpy as np

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data import formats
from deepspeech_train.data.formats import told
from deepspeech_train.data.manifest import Corpus, Utterance, Utterances
from deepspeech_train.data.shards import ShardIndex, hash_of
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.text import ENGLISH, Alphabet

#: How many names a message shows; the rest is counted.
_NAMED = 5


@dataclass(frozen=True)
class Options:
    """The manifests (or folders of shards) of the three splits."""

    train: str = ""
    dev: str = ""
    test: str = ""

    def __post_init__(self) -> None:
        missing = [field.name for field in fields(self) if not getattr(self, field.name).strip()]
        if missing:
            raise SettingsError(
                f"the corpus manifest needs the option{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
                "name the manifests, as in ds_corpus_options=train=/a/train.csv,dev=/a/dev.csv,test=/a/test.csv",
            )


def load(
    options: Options, alphabet: Alphabet = ENGLISH, max_duration: float = 0.0, progress: Progress | None = None
) -> Corpus:
    """The three splits, read where they are. The corpus is named after the training manifest and its folder.

    ``alphabet`` and ``max_duration`` leave nothing out here: training does that, and names it. Audio that is not
    there or cannot be read is left out, if its length is not in the manifest; it is told and counted. Raises
    :class:`SettingsError` for a path that is not there, :class:`RecipeError` for a manifest that cannot be read, has
    bad lines or no utterance, and for an utterance in two splits.
    """
    progress = progress or Progress("manifest", enabled=True)
    paths = {field.name: Path(getattr(options, field.name)).expanduser() for field in fields(options)}
    splits: dict[str, Utterances] = {}
    of_path: dict[Path, Utterances] = {}
    for split, path in paths.items():
        if not path.exists():
            raise SettingsError(
                f"the manifest for {split} is not there: {path}",
                f"give a path that exists as the option {split} (from {Path().absolute()}, if it is relative)",
            )
        place = path.resolve()
        if place not in of_path:
            of_path[place] = _utterances(path, progress)
        splits[split] = of_path[place]
    for one, other in combinations(splits, 2):
        if splits[one] is not splits[other]:
            _raise_for_overlap(one, other, splits)
    train = paths["train"].absolute()
    return Corpus(f"{train.parent.name}/{train.name}".lstrip("/"), splits["train"], splits["dev"], splits["test"])


def _utterances(path: Path, progress: Progress) -> Utterances:
    reading = formats.read(path, progress=progress)
    bad = [problem for problem in reading.problems if not problem.of_audio]
    if bad:
        raise RecipeError(
            told(path, bad), "mend these lines, or leave them out with deepspeech-train convert --skip-bad"
        )
    if reading.problems:
        progress.say(f"left out: {told(path, reading.problems)}")
    if not len(reading.utterances):
        raise RecipeError(f"{path} has no utterance that can be used", "give another manifest")
    return reading.utterances


def _raise_for_overlap(one: str, other: str, splits: Mapping[str, Utterances]) -> None:
    """RecipeError if two splits share an id or a piece of audio."""
    left, right = splits[one], splits[other]
    # A hash first: of a million entries in shards only those are looked at that may be shared.
    hashes = np.intersect1d(_hashes(left), _hashes(right))
    shared = sorted(_ids(left, hashes) & _ids(right, hashes)) if len(hashes) else []
    kind = "id"
    if not shared and not isinstance(left, ShardIndex) and not isinstance(right, ShardIndex):
        audio = {_audio(utterance) for utterance in left}
        shared = [str(utterance.audio) for utterance in right if _audio(utterance) in audio]
        kind = "audio file"
    if shared:
        more = f" and {len(shared) - _NAMED} more" if len(shared) > _NAMED else ""
        raise RecipeError(
            f"{one} and {other} share {len(shared)} {kind}{'s' if len(shared) > 1 else ''}: "
            f"{', '.join(shared[:_NAMED])}{more}",
            "an utterance that is trained on tells nothing when it is tested on: keep the splits apart, "
            "or give the same path for both on purpose",
        )


def _hashes(utterances: Utterances) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    if isinstance(utterances, ShardIndex):
        return utterances.id_hashes
    return np.array([hash_of(utterance.id) for utterance in utterances], np.uint64)


def _ids(utterances: Utterances, hashes: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> set[str]:
    """The ids of the utterances with these hashes."""
    found: Sequence[int] = np.flatnonzero(np.isin(_hashes(utterances), hashes)).tolist()
    return {utterances[place].id for place in found}


def _audio(utterance: Utterance) -> tuple[str, float | None]:
    return str(utterance.audio.absolute()), utterance.start
