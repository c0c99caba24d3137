"""The CSV of DeepSpeech: ``wav_filename,wav_filesize,transcript``, one utterance a line, under a line of these names.

``wav_filename`` is absolute or from the CSV's own folder. Other columns are left alone. There are no ids, speakers,
durations or segments: a segment is cut to a WAV file when a CSV is written.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data.formats._reading import Entry, Places, Problems, content_of
from deepspeech_train.data.formats._writing import HINT, as_files, from_folder, lost
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError
from deepspeech_train.files import written_whole

COLUMNS = ("wav_filename", "wav_filesize", "transcript")


def read(path: Path, problems: Problems) -> list[Entry]:
    """The entries of a CSV. Raises :class:`RecipeError` if its first line does not name the columns."""
    rows = csv_rows(path, problems)
    _, header = next(rows, (0, []))
    try:
        sound, text = (header.index(name) for name in ("wav_filename", "transcript"))
    except ValueError as error:
        raise RecipeError(
            f"{path} is not a CSV of DeepSpeech: its first line has no wav_filename and transcript",
            f"the first line must be {','.join(COLUMNS)}",
        ) from error
    places = Places(path.parent)
    entries = []
    for line, row in rows:
        if len(row) != len(header):
            problems.add(f"line {line}", f"{len(row)} fields, {len(header)} expected")
        elif not row[sound]:
            problems.add(f"line {line}", "wav_filename is empty")
        else:
            entries.append(Entry(f"line {line}", places(row[sound]), row[text]))
    return entries


def write(path: Path, utterances: Sequence[Utterance], audio_folder: Path, progress: Progress) -> list[str]:
    """Writes the CSV; gives what it cannot hold."""
    files = as_files(utterances, audio_folder, progress)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for utterance in files:
        try:
            size = utterance.audio.stat().st_size
        except OSError as error:
            raise RecipeError(
                f"cannot read the audio file {utterance.audio} (utterance {utterance.id}): {error.strerror or error}",
                "bring it, or take its line out of the manifest: the CSV holds the sizes of files",
            ) from error
        writer.writerow([from_folder(utterance.audio, path.parent), size, utterance.text])
    with written_whole(path, "The CSV", HINT) as file:
        file.write(buffer.getvalue().encode())
    return [
        *lost("the speaker", utterances, lambda utterance: utterance.speaker, "a CSV of DeepSpeech has none"),
        *_not_wav(files),
    ]


def csv_rows(path: Path, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """``(number of the line on which it ends, fields)`` of each row that is not blank."""
    text = content_of(path).decode("utf-8", errors="surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # What follows cannot be told apart any more: a quote that is not closed swallows it.
            problems.add(f"line {reader.line_num}", f"not CSV: {error}")
            return
        if not row:
            continue
        if any("\udc80" <= character <= "\udcff" for field in row for character in field):
            problems.add(f"line {reader.line_num}", "not UTF-8")
            continue
        yield reader.line_num, row


def _not_wav(utterances: Sequence[Utterance]) -> list[str]:
    count = sum(utterance.audio.suffix.lower() != ".wav" for utterance in utterances)
    return [f"{count} audio files are not WAV: DeepSpeech itself reads WAV alone"] if count else []
