"""Kaldi's data folders: tables of a key and its value, a file each, sorted by key as bytes.

``wav.scp``    recording, and its file or a command that gives it (``sph2pipe -f wav X |``)
``segments``   utterance, recording, first and last second (-1: to its end); without it a recording is an utterance
``text``       utterance, transcript
``utt2spk``    utterance, speaker, and ``spk2utt`` the other way round; the utterance's own id: not known
``utt2dur``    utterance, seconds (optional)

No command is run. What ``sph2pipe -f wav X |``, ``flac -c -d -s X |`` and ``cat X |`` give is read from X by ourselves;
any other command, and Kaldi's archives, are refused by name.

Kaldi demands that sorting by utterance sorts by speaker too. Ids for which it does not are written with the speaker in
front, and ``utt2id``, a file of ours that Kaldi leaves alone, keeps what they were.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data.formats._reading import Entry, Places, Problems, text_lines
from deepspeech_train.data.formats._writing import HINT, as_files, lost, raise_for_text, write_lines
from deepspeech_train.data.manifest import Utterance, checked_seconds
from deepspeech_train.errors import RecipeError

#: Key -> (line number, value).
Table = dict[str, tuple[int, str]]

#: Options with which a command gives the file's own samples, and nothing else.
_HARMLESS = {
    "cat": re.compile(r"(?!)"),
    "flac": re.compile(r"-[cds]+|--(decode|stdout|silent|totally-silent)"),
    "sph2pipe": re.compile(r"-p|-f|wav"),
}
#: How far utt2dur may be from the segment's times and yet be the exact length: both are rounded.
_ROUNDED = 0.02


def read(folder: Path, problems: Problems) -> list[Entry]:
    """The utterances of a data folder, in the order of ``text``. Raises :class:`RecipeError` if a file is missing."""
    recordings, texts = _table(folder / "wav.scp", problems), _table(folder / "text", problems)
    segments = _table(folder / "segments", problems, optional=True)
    speakers = _table(folder / "utt2spk", problems, optional=True)
    lengths = _table(folder / "utt2dur", problems, optional=True)
    ids = _table(folder / "utt2id", problems, optional=True)
    # Kaldi's paths are from the folder in which its recipe runs: the working folder, or one above data/train.
    places = Places(Path(), *list(folder.absolute().parents)[:3], folder)
    segmented = (folder / "segments").is_file()
    entries = []
    for utterance, (line, text) in texts.items():
        source = "segments" if segmented else "wav.scp"
        if utterance not in (segments if segmented else recordings):
            problems.add(f"text, line {line}", f"{utterance!r} is not in {source}")
            continue
        try:
            recording, start, duration = _segment(segments[utterance][1]) if segmented else (utterance, None, None)
            source, line = ("segments", segments[utterance][0]) if segmented else (source, recordings[utterance][0])
            if recording not in recordings:
                raise ValueError(f"the recording {recording!r} is not in wav.scp")
            if utterance in lengths:
                duration = _length(lengths[utterance][1], duration)
            speaker = speakers.get(utterance, (0, ""))[1]
            entries.append(
                Entry(
                    f"{source}, line {line}",
                    places(file_of(recordings[recording][1])),
                    text,
                    id=ids.get(utterance, (0, utterance))[1],
                    speaker="" if speaker == utterance else speaker,
                    duration=duration,
                    start=start,
                )
            )
        except ValueError as error:
            problems.add(f"{source}, line {line}", str(error))
    for utterance, (line, _) in (segments if segmented else recordings).items():
        if utterance not in texts:
            problems.add(f"{'segments' if segmented else 'wav.scp'}, line {line}", f"{utterance!r} has no text")
    return entries


def write(folder: Path, utterances: Sequence[Utterance], audio_folder: Path, progress: Progress) -> list[str]:
    """Writes the data folder; gives what it cannot hold."""
    raise_for_text(utterances, "\n\r", "a Kaldi folder")
    files = as_files(utterances, audio_folder, progress, segments=True)
    speakers = _speakers(files)
    ids = _ids(files, speakers)
    rows = sorted(zip(ids, speakers, files, strict=True), key=lambda row: row[0].encode())
    segmented = any(utterance.start is not None for utterance in files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("segments", "utt2id"):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise RecipeError(f"cannot write the folder {folder}: {error.strerror or error}", HINT) from error
    recordings = _recordings(files) if segmented else {}
    if segmented:
        lines = []
        for (
            key,
            _,
            utterance,
        ) in rows:
            times = (
                "0 -1" if utterance.start is None else f"{utterance.start!r} {utterance.start + utterance.duration!r}"
            )
            lines.append(f"{key} {recordings[utterance.audio]} {times}")
        write_lines(folder / "segments", lines)
        scp = sorted(((name, path) for path, name in recordings.items()), key=lambda row: row[0].encode())
    else:
        scp = [(key, utterance.audio) for key, _, utterance in rows]
    write_lines(folder / "text", [f"{key} {utterance.text}".rstrip(" ") for key, _, utterance in rows])
    write_lines(folder / "utt2spk", [f"{key} {speaker or key}" for key, speaker, _ in rows])
    of_speaker: dict[str, list[str]] = {}
    for key, speaker, _ in rows:
        of_speaker.setdefault(speaker or key, []).append(key)
    ordered = sorted(of_speaker.items(), key=lambda row: row[0].encode())
    write_lines(folder / "spk2utt", [f"{speaker} {' '.join(keys)}" for speaker, keys in ordered])
    write_lines(folder / "utt2dur", [f"{key} {utterance.duration!r}" for key, _, utterance in rows])
    if any(key != utterance.id for key, _, utterance in rows):
        raise_for_id = [utterance.id for _, _, utterance in rows if set("\n\r").intersection(utterance.id)]
        if raise_for_id:
            raise RecipeError(f"the id {raise_for_id[0]!r} holds an end of line", "give the utterance another id")
        write_lines(folder / "utt2id", [f"{key} {utterance.id}" for key, _, utterance in rows])
    write_lines(folder / "wav.scp", [f"{name} {_command(path)}" for name, path in scp])
    return _remarks(files, ids, speakers)


def file_of(value: str) -> str:
    """The file that an entry of ``wav.scp`` means; ValueError for a command that is not one of those above."""
    if not value.endswith("|"):
        if re.search(r"\.ark:\d+(\[.*\])?$", value) or value.startswith("|") or value == "-":
            raise ValueError(f"{value!r} is an archive or a pipe of Kaldi's: copy the audio to files (wav-copy)")
        return value
    try:
        program, *arguments = shlex.split(value[:-1])
    except ValueError:
        program, arguments = "", []
    harmless = _HARMLESS.get(Path(program).name)
    if harmless is not None:
        files = [argument for argument in arguments if not harmless.fullmatch(argument)]
        if len(files) == 1 and not files[0].startswith("-") and not set("|;&<>$`").intersection(value[:-1]):
            return files[0]
    raise ValueError(
        f"the command {value!r} is not run: write what it gives to files (wav-copy scp:wav.scp), "
        "or name a file, or use sph2pipe -f wav FILE | or flac -c -d -s FILE |"
    )


def _table(path: Path, problems: Problems, optional: bool = False) -> Table:
    table: Table = {}
    if optional and not path.is_file():
        return table
    for number, line in text_lines(path, problems):
        key, _, value = line.strip(" \t").replace("\t", " ", 1).partition(" ")
        if not key:
            continue
        value = value.strip(" \t")
        if key in table:
            problems.add(f"{path.name}, line {number}", f"{key!r} is already in line {table[key][0]}")
        elif not value and path.name != "text":
            problems.add(f"{path.name}, line {number}", f"{key!r} has no value")
        else:
            table[key] = (number, value)
    return table


def _segment(value: str) -> tuple[str, float | None, float | None]:
    """(recording, start, duration) of a line of ``segments``; no start: all of the recording."""
    fields = value.split()
    if len(fields) != 3:
        raise ValueError(f"{value!r} is not: recording, first second, last second")
    first, last = float(fields[1]), float(fields[2])
    if last == -1:
        return fields[0], checked_seconds("start", first, zero=True) or None, None
    return fields[0], checked_seconds("start", first, zero=True), checked_seconds("duration", last - first)


def _length(value: str, duration: float | None) -> float:
    """What utt2dur says, unless the segment's times say something else."""
    seconds = checked_seconds("utt2dur", float(value))
    return seconds if duration is None or abs(seconds - duration) <= _ROUNDED else duration


def _command(path: Path) -> str:
    """A file as ``wav.scp`` has it: Kaldi itself reads WAV alone."""
    name = str(path.absolute())
    if set("\n\r").intersection(name) or name != name.strip() or name.endswith("|"):
        raise RecipeError(f"the path {name!r} cannot be written into wav.scp", "give the file another name")
    if path.suffix.lower() == ".flac":
        return f"flac -c -d -s {shlex.quote(name)} |"
    if path.suffix.lower() in (".sph", ".nist"):
        return f"sph2pipe -f wav {shlex.quote(name)} |"
    return name


def _word(text: str) -> str:
    """``text`` as one word of a table."""
    return re.sub(r"\s", "_", text)


def _speaker_word(name: str) -> str:
    """A speaker's name as one word, without what sorts before the hyphen that follows it in ids."""
    return re.sub(r"[\s!-,]", "_", name)


def _unique(wanted: Sequence[str], same: Sequence[str]) -> list[str]:
    """``wanted`` with ``-2``, ``-3`` ... where two that are not the ``same`` would get one name."""
    owner: dict[str, str] = {}
    given: dict[str, str] = {}
    for name, who in zip(wanted, same, strict=True):
        if who in given:
            continue
        number, free = 1, name
        while free in owner:
            number += 1
            free = f"{name}-{number}"
        owner[free], given[who] = who, free
    return [given[who] for who in same]


def _speakers(utterances: Sequence[Utterance]) -> list[str]:
    names = [utterance.speaker for utterance in utterances]
    return [
        "" if not name else word
        for name, word in zip(names, _unique([_speaker_word(name) for name in names], names), strict=True)
    ]


def _ids(utterances: Sequence[Utterance], speakers: Sequence[str]) -> list[str]:
    """An id for each that is one word, and with which sorting by utterance sorts by speaker."""
    ids = [utterance.id for utterance in utterances]
    words = _unique([_word(identity) for identity in ids], ids)
    pairs = sorted(zip(words, [s or w for s, w in zip(speakers, words, strict=True)], strict=True), key=_bytes)
    if pairs == sorted(pairs, key=lambda pair: (pair[1].encode(), pair[0].encode())):
        return words
    prefixed = [f"{speaker}-{word}" if speaker else word for speaker, word in zip(speakers, words, strict=True)]
    return _unique(prefixed, ids)


def _bytes(pair: tuple[str, str]) -> bytes:
    return pair[0].encode()


def _recordings(utterances: Sequence[Utterance]) -> Mapping[Path, str]:
    """A name for each file."""
    paths = list(dict.fromkeys(utterance.audio for utterance in utterances))
    return dict(zip(paths, _unique([_word(path.stem) for path in paths], [str(path) for path in paths]), strict=True))


def _remarks(utterances: Sequence[Utterance], ids: Sequence[str], speakers: Sequence[str]) -> list[str]:
    remarks = []
    renamed = sum(key != utterance.id for key, utterance in zip(ids, utterances, strict=True))
    if renamed:
        remarks.append(f"{renamed} utterances have another id, as Kaldi demands it; utt2id keeps their own")
    spoken = {u.speaker for u, word in zip(utterances, speakers, strict=True) if u.speaker != word}
    if spoken:
        remarks.append(f"{len(spoken)} speakers have another name, without spaces")
    if list(ids) != sorted(ids, key=str.encode):
        remarks.append("the order is not kept: Kaldi's tables are sorted")
    return remarks + lost(
        "what Kaldi can read",
        utterances,
        lambda utterance: utterance.audio.suffix.lower() not in (".wav", ".flac", ".sph", ".nist"),
        "it reads WAV alone, and through commands FLAC and SPHERE",
    )
