"""What the writers of all formats share: audio that a format can name, and what it cannot hold."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data import audio
from deepspeech_train.data._parallel import in_order, threads_for_files
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.data.shards import key_of
from deepspeech_train.errors import RecipeError
from deepspeech_train.files import written_whole

HINT = "check that the folder exists, is yours and has room"


def as_files(
    utterances: Sequence[Utterance], folder: Path, progress: Progress, *, segments: bool = False
) -> list[Utterance]:
    """The utterances with audio that is whole files: segments are cut to WAV, spans of shards written out, both into
    ``folder``; with ``segments`` only spans are. Durations stay.

    Raises :class:`RecipeError` for audio that cannot be read and where the disk refuses.
    """

    def is_file(utterance: Utterance) -> bool:
        return utterance.span is None and (segments or utterance.start is None)

    todo = [utterance for utterance in utterances if not is_file(utterance)]
    if not todo:
        return list(utterances)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(f"cannot make the folder {folder}: {error.strerror or error}", HINT) from error

    def write(utterance: Utterance) -> Utterance:
        if utterance.start is not None and not segments:
            content, suffix = audio.cut(utterance, wav=True)
            written = dataclasses.replace(utterance, start=None, span=None)
        else:
            content = audio.stored_bytes(utterance)
            suffix = audio.suffix_of(content, "")
            written = dataclasses.replace(utterance, span=None)
        path = folder / f"{key_of(utterance.id)}.{suffix}"
        hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            hidden.write_bytes(content)
            hidden.replace(path)
        except OSError as error:
            hidden.unlink(missing_ok=True)
            raise RecipeError(f"cannot write {path}: {error.strerror or error}", HINT) from error
        return dataclasses.replace(written, audio=path)

    with (
        progress.steps(f"writing audio into {folder}", len(todo), "files") as advance,
        in_order(write, todo, threads_for_files()) as written,
    ):
        result = []
        for utterance in utterances:
            if is_file(utterance):
                result.append(utterance)
            else:
                result.append(next(written))
                advance(1)
    return result


def from_folder(path: Path, folder: Path) -> str:
    """``path`` as it is named in a manifest in ``folder``: relative where it lies there, else absolute."""
    path, folder = path.absolute(), folder.absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a UTF-8 text file as a whole or not at all."""
    with written_whole(path, "The file", HINT) as file:
        file.writelines(line.encode() + b"\n" for line in lines)


def lost(what: str, utterances: Sequence[Utterance], has: Callable[[Utterance], object], why: str) -> list[str]:
    """One remark if any of the utterances has something that the format cannot hold."""
    count = sum(bool(has(utterance)) for utterance in utterances)
    return [f"{what} of {count} utterance{'s' if count != 1 else ''} is not kept: {why}"] if count else []


def raise_for_text(utterances: Sequence[Utterance], forbidden: str, format_name: str) -> None:
    """RecipeError if a transcript holds a character that would end its line."""
    bad = [utterance.id for utterance in utterances if set(forbidden).intersection(utterance.text)]
    if bad:
        shown = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        raise RecipeError(
            f"{len(bad)} transcript{'s' if len(bad) != 1 else ''} with an end of line cannot be written as "
            f"{format_name}: {shown}",
            "write the transcripts in one line each",
        )
