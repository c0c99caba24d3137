"""The manifests of deepspeech.pytorch: its JSON, and the CSV of two columns that it had before.

The JSON is ``{"root_path": "/data/an4", "samples": [{"wav_path": "wav/1.wav", "transcript_path": "txt/1.txt"}, ...]}``,
the CSV ``wav/1.wav,txt/1.txt`` a line, without a header. The transcripts are files of their own: they are written into
a folder beside the manifest. Ids, speakers, durations and segments have no place.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data._parallel import in_order, threads_for_files
from deepspeech_train.data.formats._reading import Entry, Places, Problems, content_of
from deepspeech_train.data.formats._writing import HINT, as_files, from_folder, lost
from deepspeech_train.data.formats.deepspeech_csv import csv_rows
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.data.shards import key_of
from deepspeech_train.errors import RecipeError
from deepspeech_train.files import written_whole


def read_json(path: Path, problems: Problems) -> list[Entry]:
    """The entries of the JSON. Raises :class:`RecipeError` if it is none."""
    try:
        content = json.loads(content_of(path).decode("utf-8"))
        samples, root = content["samples"], Path(content.get("root_path") or ".")
        if not isinstance(samples, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecipeError(
            f"{path} is not a manifest of deepspeech.pytorch: {error or 'samples is not a list'}",
            'it looks like {"root_path": "/data", "samples": [{"wav_path": "1.wav", "transcript_path": "1.txt"}]}',
        ) from error
    folder = path.parent
    # A folder that was moved with its manifest is not at its root_path any more.
    places = Places(*([root] if root.is_absolute() else [folder / root, root]), folder)
    pairs = []
    for number, sample in enumerate(samples, start=1):
        pair = tuple(sample.get(key) for key in ("wav_path", "transcript_path")) if isinstance(sample, dict) else ()
        if len(pair) == 2 and all(isinstance(value, str) and value for value in pair):
            pairs.append((f"sample {number}", str(pair[0]), str(pair[1])))
        else:
            problems.add(f"sample {number}", "no wav_path and transcript_path")
    return _with_texts(pairs, places, problems)


def read_csv(path: Path, problems: Problems) -> list[Entry]:
    """The entries of the CSV."""
    pairs = []
    for line, row in csv_rows(path, problems):
        if len(row) == 2 and all(row):
            pairs.append((f"line {line}", row[0], row[1]))
        else:
            problems.add(f"line {line}", f"{len(row)} fields; a path of audio and a path of its transcript expected")
    return _with_texts(pairs, Places(path.parent), problems)


def write_json(path: Path, utterances: Sequence[Utterance], audio_folder: Path, progress: Progress) -> list[str]:
    """Writes the JSON and the transcripts; gives what it cannot hold."""
    pairs = _written(path, utterances, audio_folder, progress)
    samples = [{"wav_path": sound, "transcript_path": text} for sound, text in pairs]
    content = {"root_path": str(path.parent.absolute()), "samples": samples}
    with written_whole(path, "The manifest", HINT) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
    return _lost(utterances)


def write_csv(path: Path, utterances: Sequence[Utterance], audio_folder: Path, progress: Progress) -> list[str]:
    """Writes the CSV and the transcripts; gives what it cannot hold."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(_written(path, utterances, audio_folder, progress))
    with written_whole(path, "The CSV", HINT) as file:
        file.write(buffer.getvalue().encode())
    return _lost(utterances)


def _with_texts(pairs: Sequence[tuple[str, str, str]], places: Places, problems: Problems) -> list[Entry]:
    """The entries of (where, path of audio, path of transcript), in their order."""

    def text_of(pair: tuple[str, str, str]) -> str | RecipeError:
        try:
            return content_of(places(pair[2])).decode("utf-8").strip("\r\n")
        except RecipeError as error:
            return error
        except UnicodeDecodeError as error:
            return RecipeError(f"the transcript {pair[2]} is not UTF-8 at byte {error.start}")

    entries = []
    if pairs:
        places(pairs[0][1])  # which folder is meant is decided by the first audio file, whatever thread is first
    with in_order(text_of, pairs, threads_for_files()) as texts:
        for (line, sound, _), text in zip(pairs, texts, strict=True):
            if isinstance(text, RecipeError):
                problems.add(line, text.message)
            else:
                entries.append(Entry(line, places(sound), text))
    return entries


def _written(
    path: Path, utterances: Sequence[Utterance], audio_folder: Path, progress: Progress
) -> list[tuple[str, str]]:
    """Writes the transcripts, and audio where it must be; (path of audio, path of transcript) of each."""
    folder = path.with_name(f"{path.stem}-txt")
    pairs = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for utterance in as_files(utterances, audio_folder, progress):
            transcript = folder / f"{key_of(utterance.id)}.txt"
            transcript.write_text(utterance.text + "\n", encoding="utf-8")
            pairs.append((from_folder(utterance.audio, path.parent), from_folder(transcript, path.parent)))
    except OSError as error:
        raise RecipeError(f"cannot write the transcripts into {folder}: {error.strerror or error}", HINT) from error
    return pairs


def _lost(utterances: Sequence[Utterance]) -> list[str]:
    why = "a manifest of deepspeech.pytorch has none"
    return lost("the speaker", utterances, lambda utterance: utterance.speaker, why)
