"""What the readers of all formats share: entries as the format has them, made into utterances.

A format gives :class:`Entry` objects, in which much may be missing, and notes a :class:`Problem` for each line that it
cannot use. :func:`completed` fills in what is missing: a duration from the audio's header, an id from the audio's path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data import audio
from deepspeech_train.data._parallel import in_order, threads_for_files
from deepspeech_train.data.manifest import Span, Utterance, Utterances
from deepspeech_train.errors import RecipeError

#: How many problems a message shows; the rest is counted.
NAMED = 5

_SUFFIXES = frozenset((".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph", ".nist", ".aiff", ".au", ".tar"))


@dataclass(frozen=True)
class Entry:
    """One utterance as a format has it. ``where`` is its line, to be named in messages."""

    where: str
    audio: Path
    text: str
    id: str = ""
    speaker: str = ""
    duration: float | None = None
    start: float | None = None
    span: Span | None = None


@dataclass(frozen=True)
class Problem:
    """One line that cannot be used: where, why, and whether it is the audio that is at fault and not the line."""

    where: str
    what: str
    of_audio: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Problems:
    """Collects the problems of one manifest."""

    found: list[Problem] = field(default_factory=list)

    def add(self, where: str, what: str, *, of_audio: bool = False) -> None:
        self.found.append(Problem(where, what, of_audio))


@dataclass(frozen=True)
class Reading:
    """What was read: the utterances, what could not be used, and the name of the format."""

    utterances: Utterances
    problems: tuple[Problem, ...]
    format: str


class Places:
    """Turns a manifest's paths into paths that can be opened from here.

    A relative path is meant from one of ``bases`` (by default the manifest's folder, then the working folder, since
    tools differ): the first in which the first such path is there, and that for all of them.
    """

    def __init__(self, *bases: Path) -> None:
        self._bases = (*bases, Path())
        self._base: Path | None = None

    def __call__(self, path: str) -> Path:
        if path.startswith("/"):
            return Path(path)
        if self._base is None:
            self._base = next((base for base in self._bases if (base / path).exists()), self._bases[0])
        return self._base / path


def text_lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """``(number from 1, line)`` of a UTF-8 file, without ends of lines; lines that are not UTF-8 are problems.

    Raises :class:`RecipeError` if the file cannot be read.
    """
    for number, line in enumerate(content_of(path).split(b"\n"), start=1):
        try:
            yield number, line.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError as error:
            problems.add(f"{path.name}, line {number}", f"not UTF-8 at byte {error.start}")


def content_of(path: Path) -> bytes:
    """The bytes of a file, without a byte order mark; :class:`RecipeError` if it cannot be read."""
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror or error}", "check the path") from error


def completed(entries: Sequence[Entry], folder: Path, problems: Problems, progress: Progress) -> tuple[Utterance, ...]:
    """The utterances of ``entries``, in their order, but for those with a problem, which is noted.

    An id that the format does not hold is the audio's path, from ``folder`` on where all audio lies there, else from
    the folder on that holds it all (no path of this machine is to become part of a name), without its suffix; a
    segment adds its start in milliseconds, and what is still there twice gets ``-2``, ``-3`` and so on. The
    same manifest gives the same ids.
    """
    seconds = _lengths(entries, problems, progress)
    names = _Names(folder, [entry.audio for entry in entries if not entry.id])
    first: dict[str, str] = {}
    utterances = []
    for entry, duration in zip(entries, seconds, strict=True):
        identity = entry.id or names.new(entry)
        if duration is None:
            continue
        if identity in first:
            problems.add(entry.where, f"the id {identity!r} is already in {first[identity]}")
            continue
        first[identity] = entry.where
        utterances.append(
            Utterance(identity, entry.audio, duration, entry.text, entry.speaker, entry.start, entry.span)
        )
    return tuple(utterances)


def told(path: Path, problems: Sequence[Problem]) -> str:
    """The problems in one sentence: all of them counted, the first few shown."""
    shown = "; ".join(str(problem) for problem in problems[:NAMED])
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return f"{path}: {len(problems)} bad line{'s' if len(problems) != 1 else ''}: {shown}{more}"


class _Names:
    """Ids for utterances that have none."""

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        inside = all(path.is_relative_to(folder) for path in paths)
        above = {str(path.parent.absolute()) for path in paths}
        self._folder = folder if inside else Path(os.path.commonpath(above))
        self._times: dict[str, int] = {}

    def new(self, entry: Entry) -> str:
        path = entry.audio
        for written in (path, path.absolute()):
            if written.is_relative_to(self._folder):
                path = written.relative_to(self._folder)
                break
        name = str(path).lstrip("/")
        if path.suffix.lower() in _SUFFIXES:
            name = name[: -len(path.suffix)]
        if entry.start is not None:
            name += f"-{round(entry.start * 1000):07d}"
        while (times := self._times.setdefault(name, 0)) > 0:
            self._times[name] += 1
            name += f"-{times + 1}"
        self._times[name] = 1
        return name


def _lengths(entries: Sequence[Entry], problems: Problems, progress: Progress) -> list[float | None]:
    """Seconds of each entry, from the header of its audio where the manifest does not say; None for a problem."""
    missing = [entry for entry in entries if entry.duration is None]
    one_of_each = list({(entry.audio, entry.span): entry for entry in missing}.values())
    found: dict[tuple[Path, Span | None], float | str] = {}

    def look(entry: Entry) -> float | str:
        if "\0" in str(entry.audio):
            return f"{str(entry.audio)!r} is no path"
        in_shard = entry.span is not None
        try:
            source = Utterance(entry.id or entry.where, entry.audio, 0.0, "", "", None, entry.span)
            return audio.inspect(source if in_shard else entry.audio).seconds
        except RecipeError as error:
            return error.message

    if one_of_each:
        with (
            progress.steps("reading the lengths of audio files", len(one_of_each), "files") as advance,
            in_order(look, one_of_each, threads_for_files()) as looked,
        ):
            for entry, length in zip(one_of_each, looked, strict=True):
                found[entry.audio, entry.span] = length
                advance(1)
    seconds: list[float | None] = []
    for entry in entries:
        length = entry.duration if entry.duration is not None else found[entry.audio, entry.span]
        if isinstance(length, str):
            problems.add(entry.where, length, of_audio=True)
            seconds.append(None)
        elif entry.duration is None and entry.start is not None and length <= entry.start:
            problems.add(entry.where, f"begins at {entry.start} s, and {entry.audio} has {length:.2f} s")
            seconds.append(None)
        else:
            seconds.append(length - (entry.start or 0.0) if entry.duration is None else length)
    return seconds
