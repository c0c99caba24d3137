"""``deepspeech-train transcribe CHECKPOINT FILE...``: what is said in audio files."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._recogniser import add_checkpoint, network_of

if TYPE_CHECKING:
    from ..decoding import Hypothesis
    from ..recognising import Recogniser

HELP = "recognise what is said in audio files"
DESCRIPTION = """\
Writes what is said in each file: the file, a tab and the text, or with --json an object with the words, their times and
how sure the network is of them, a line a file. WAV, FLAC, MP3, OGG and NIST SPHERE, of any sample rate. What is longer
than the window is cut where it is quiet. A file that cannot be read is named, the others are done, and the exit code
is 1."""

#: Decimals of times (milliseconds) and of confidences.
_DECIMALS = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_checkpoint(parser)
    parser.add_argument("files", metavar="FILE", type=Path, nargs="*", help="audio")
    parser.add_argument("--list", metavar="FILE", help="a file with one audio file a line (-: standard input)")
    parser.add_argument("--json", action="store_true", help="write JSON lines, with words, times and confidence")
    parser.add_argument(
        "--window",
        metavar="SECONDS",
        type=float,
        help="recognise longer audio in parts of so many seconds at most (default: 20; 0: in one piece)",
    )


def main(options: argparse.Namespace) -> int:
    from ..errors import RecipeError, SettingsError

    if bool(options.files) == bool(options.list):
        raise SettingsError(
            "Give the audio files, or a list of them with --list, and not both.",
            "deepspeech-train transcribe CHECKPOINT talk.flac",
        )
    if options.window is not None and not (options.window == 0 or 1 <= options.window <= 3600):
        raise SettingsError(f"--window {options.window:g} is not allowed.", "Give 1 to 3600 seconds, or 0 for no cut.")
    from ..corpora._progress import Progress
    from ..recognising import WINDOW, Recogniser

    recogniser = Recogniser(network_of(options), WINDOW if options.window is None else options.window)
    said = Progress("transcribe", enabled=True)
    for remark in recogniser.remarks:
        said.say(remark)
    failed = done = 0
    total = len(options.files)  # 0, unknown, for a list that may still be written
    with said.steps("recognised", total if total > 1 else 0, "files") as advance:
        for path in options.files or _listed(options.list):
            try:
                line = _line(recogniser, path, options.json, said)
            except RecipeError as error:
                failed += 1
                said.say(f"{path}: {error.message}")
            else:
                done += 1
                try:
                    _write(line)
                except BrokenPipeError:  # who reads has enough, as head does
                    _close()
                    return 1
            advance(1)
    if failed:
        raise RecipeError(
            f"{failed} of {failed + done} files could not be recognised; they are named above.",
            "The others are done.",
        )
    if not done:
        raise RecipeError(f"The list {options.list} names no file.")
    return 0


def _line(recogniser: Recogniser, path: Path, as_json: bool, said: Any) -> str:
    from ..data import audio

    recording = audio.recording(path, recogniser.sample_rate)
    seconds = len(recording.samples) / recogniser.sample_rate
    if audio.is_silent(recording.samples):
        said.say(f"{path}: silent, all its samples are the same")
    parts = len(recogniser.parts(recording.samples))
    if parts > 1:
        said.say(f"{path}: {seconds:.0f} s, recognised in {parts} parts")
    with said.steps(path.name, parts if parts > 8 else 0, "parts") as advance:
        hypothesis = recogniser.recognise(recording.samples, advance)
    if not as_json:
        return f"{path}\t{hypothesis.text}"
    return json.dumps(_object(path, seconds, hypothesis), ensure_ascii=False, allow_nan=False)


def _object(path: Path, seconds: float, hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "audio_filepath": str(path),
        "duration": round(seconds, _DECIMALS),
        "text": hypothesis.text,
        "confidence": _rounded(hypothesis.confidence),
        "words": [
            {
                "word": word.text,
                "start": round(word.start, _DECIMALS),
                "end": round(word.end, _DECIMALS),
                "confidence": _rounded(word.confidence),
            }
            for word in hypothesis.words
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)


def _write(line: str) -> None:
    """At once, so that what reads the output need not wait for the last file; above the bar, if there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def _close() -> None:
    """What is still to be written at the end of the process goes nowhere, without a complaint."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _listed(name: str) -> Iterator[Path]:
    """The files of a list, as its lines come; empty lines are skipped. Names are relative to where the command runs."""
    from ..errors import RecipeError

    try:
        if name == "-":
            lines = sys.stdin
            yield from (Path(line.rstrip("\n")) for line in lines if line.strip())
            return
        with Path(name).open(encoding="utf-8") as file:
            yield from (Path(line.rstrip("\n")) for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"The list {name} could not be read: {why}.", "Give a file with one audio file a line."
        ) from error
