"""The manifests of the ecosystem: read and written, told apart by what is in them.

============== ====================================================================== ==================
name           what it is                                                             module
============== ====================================================================== ==================
jsonl          JSON lines of ours: all that an utterance has                          ``data.manifest``
nemo           JSON lines of NeMo and PaddleSpeech: ids and durations may be missing  ``jsonlines``
deepspeech     CSV of DeepSpeech: wav_filename, wav_filesize, transcript              ``deepspeech_csv``
pytorch        JSON of deepspeech.pytorch: root_path, samples                         ``deepspeech_pytorch``
pytorch-csv    CSV of deepspeech.pytorch: path of audio, path of transcript           ``deepspeech_pytorch``
kaldi          data folder of Kaldi: wav.scp, text, utt2spk, segments                 ``kaldi``
shards         folder of shards (read here, written by ``data.packing``)              ``data.shards``
============== ====================================================================== ==================

>>> utterances = load(Path("train.csv"))  # doctest: +SKIP
>>> write(Path("train.jsonl"), utterances)  # doctest: +SKIP
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data import shards
from deepspeech_train.data.formats import deepspeech_csv, deepspeech_pytorch, jsonlines, kaldi
from deepspeech_train.data.formats._reading import (
    Entry,
    Problem,
    Problems,
    Reading,
    completed,
    content_of,
    told,
)
from deepspeech_train.data.manifest import Utterance, Utterances
from deepspeech_train.errors import RecipeError, SettingsError

__all__ = ["NAMES", "WRITTEN", "Problem", "Reading", "detect", "format_for", "load", "read", "told", "write"]

_Reader = Callable[[Path, Problems], list[Entry]]
_Writer = Callable[[Path, Sequence[Utterance], Path, Progress], list[str]]

_READERS: dict[str, _Reader] = {
    "jsonl": jsonlines.read,
    "nemo": jsonlines.read,
    "deepspeech": deepspeech_csv.read,
    "pytorch": deepspeech_pytorch.read_json,
    "pytorch-csv": deepspeech_pytorch.read_csv,
    "kaldi": kaldi.read,
}
_WRITERS: dict[str, _Writer] = {
    "jsonl": jsonlines.write_ours,
    "nemo": jsonlines.write_nemo,
    "deepspeech": deepspeech_csv.write,
    "pytorch": deepspeech_pytorch.write_json,
    "pytorch-csv": deepspeech_pytorch.write_csv,
    "kaldi": kaldi.write,
}

#: The formats that can be read, and those that can be written.
NAMES = (*_READERS, "shards")
WRITTEN = tuple(_WRITERS)

#: What a format is taken for by the name of what is written.
_BY_SUFFIX = {".jsonl": "jsonl", ".csv": "deepspeech", ".json": "pytorch", "": "kaldi"}

_QUIET = Progress("manifest", enabled=False)


def load(path: Path, format_name: str = "", progress: Progress = _QUIET) -> Utterances:
    """The utterances of a manifest of any format, or of a folder of shards, in its order.

    Durations that the format does not hold are read from the audio files. Raises :class:`RecipeError` if it cannot
    be read or has bad lines: all of them are counted and the first few named.
    """
    reading = read(path, format_name, progress)
    if reading.problems:
        raise RecipeError(told(Path(path), reading.problems), "mend these lines, or take them out of the manifest")
    return reading.utterances


def read(path: Path, format_name: str = "", progress: Progress = _QUIET) -> Reading:
    """As :func:`load`, but gives bad lines instead of raising for them.

    Raises :class:`RecipeError` if nothing can be read, :class:`SettingsError` for a format that does not exist.
    """
    path = Path(path)
    format_name = format_name or detect(path)
    if format_name == "shards":
        return Reading(shards.read_index(path), (), format_name)
    if format_name not in _READERS:
        raise SettingsError(f"there is no format {format_name!r}", f"the formats are {', '.join(NAMES)}")
    problems = Problems()
    entries = _READERS[format_name](path, problems)
    folder = path if path.is_dir() else path.parent
    utterances = completed(entries, folder, problems, progress)
    return Reading(utterances, tuple(problems.found), format_name)


def write(
    path: Path,
    utterances: Utterances,
    format_name: str = "",
    *,
    audio_folder: Path | None = None,
    progress: Progress = _QUIET,
) -> list[str]:
    """Writes a manifest; gives, in words, what the format cannot hold of these utterances.

    The format is told by the name of the file unless it is given. Audio that the format cannot name (segments, bytes
    of shards) is written as files into ``audio_folder``, by default ``NAME-audio`` beside the manifest. Raises
    :class:`RecipeError` for audio that cannot be read and where the disk refuses, :class:`SettingsError` for a format
    that does not exist.
    """
    path = Path(path)
    format_name = format_name or format_for(path)
    if format_name not in _WRITERS:
        more = "; deepspeech-train pack writes shards" if format_name == "shards" else ""
        raise SettingsError(
            f"there is no format {format_name!r} to write", f"the formats are {', '.join(WRITTEN)}{more}"
        )
    if isinstance(utterances, shards.ShardIndex) and utterances.features is not None:
        raise SettingsError(
            f"{utterances.folder} holds features, not audio: no manifest can name them",
            "convert the manifest that was packed",
        )
    audio_folder = audio_folder or path.with_name(f"{path.stem}-audio")
    return _WRITERS[format_name](path, tuple(utterances), audio_folder, progress)


def format_for(path: Path) -> str:
    """The format in which a file of this name is written; :class:`SettingsError` if its suffix does not tell."""
    if path.suffix not in _BY_SUFFIX:
        raise SettingsError(
            f"the name {path} does not tell its format",
            f"end it in {', '.join(suffix for suffix in _BY_SUFFIX if suffix)} or name the format with --to "
            f"({', '.join(WRITTEN)})",
        )
    return _BY_SUFFIX[path.suffix]


def detect(path: Path) -> str:
    """The format of what is at ``path``, by its content; :class:`RecipeError` if it is none of those known."""
    path = Path(path)
    if path.is_dir():
        if (path / "wav.scp").is_file():
            return "kaldi"
        if shards.is_packed(path):
            return "shards"
        raise RecipeError(
            f"the folder {path} is no manifest: it has neither wav.scp (Kaldi) nor {shards.INDEX} (shards)",
            "give the manifest itself, or a folder of one of these kinds",
        )
    content = content_of(path)
    if not content.strip():
        raise RecipeError(f"{path} is empty", "give a manifest that has utterances")
    start = content.lstrip()
    if start[:1] in b"{[":
        found = _kind_of_json(start)
    else:
        line = start.split(b"\n", 1)[0].decode("utf-8", errors="replace").strip()
        fields = next(csv.reader([line]), [])
        found = "deepspeech" if {"wav_filename", "transcript"} <= set(fields) else ""
        if not found and len(fields) == 2 and Path(fields[1]).suffix == ".txt":
            found = "pytorch-csv"
    if not found:
        shown = start[:60].decode("utf-8", errors="replace").splitlines()[0]
        raise RecipeError(
            f"{path} is in no format that is known: it begins with {shown!r}",
            f"the formats are {', '.join(NAMES)}; deepspeech-train convert reads any of them with --from",
        )
    return found


def _kind_of_json(content: bytes) -> str:
    """The format of what begins with a bracket; empty if it is none of those known."""
    try:
        first = json.loads(content.split(b"\n", 1)[0])
    except (ValueError, RecursionError):
        # More than one line makes one object, or the first line is bad: then its keys tell.
        head = content[:4096]
        return "pytorch" if b'"samples"' in head else "jsonl" if b'"audio_filepath"' in head else ""
    if not isinstance(first, dict):
        return ""
    if "samples" in first:
        return "pytorch"
    if "audio_filepath" in first or "feat" in first:
        return "jsonl" if {"id", "speaker", "duration"} <= set(first) else "nemo"
    return ""
