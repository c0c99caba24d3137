"""``deepspeech-train convert A B``: a manifest of one format as one of another."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "convert a manifest: DeepSpeech CSV, deepspeech.pytorch, NeMo, Kaldi, JSON lines, shards"
_FORMATS = "jsonl, nemo, deepspeech, pytorch, pytorch-csv, kaldi"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="A", type=Path, help="the manifest that is there: a file or a folder")
    parser.add_argument(
        "target", metavar="B", type=Path, help="the manifest to write (.jsonl, .csv, .json or a folder)"
    )
    parser.add_argument(
        "--from",
        dest="source_format",
        metavar="FORMAT",
        default="",
        help=f"A's format (default: by content): {_FORMATS}, shards",
    )
    parser.add_argument(
        "--to", dest="target_format", metavar="FORMAT", default="", help=f"B's format (default: by name): {_FORMATS}"
    )
    parser.add_argument(
        "--audio",
        metavar="DIR",
        type=Path,
        help="where segments go that B cannot hold, as WAV files (default: B-audio)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad lines out instead of stopping")


def main(options: argparse.Namespace) -> int:
    from ..corpora._progress import Progress
    from ..data import formats
    from ..data.manifest import durations, spoken
    from ..errors import RecipeError

    progress = Progress("convert", enabled=True)
    target_format = options.target_format or formats.format_for(options.target)
    reading = formats.read(options.source, options.source_format, progress)
    if reading.problems:
        problems = formats.told(options.source, reading.problems)
        if not options.skip_bad:
            raise RecipeError(problems, "mend these lines, or leave them out with --skip-bad")
        print(f"deepspeech-train: left out of {problems}", file=sys.stderr)
    utterances = reading.utterances
    if options.skip_bad and reading.format != "shards":
        gone = [utterance.id for utterance in utterances if not utterance.audio.is_file()]
        if gone:
            utterances = tuple(utterance for utterance in utterances if utterance.id not in set(gone))
            shown = ", ".join(gone[:5]) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
            print(f"deepspeech-train: left out, their audio is not there: {shown}", file=sys.stderr)
    if not len(utterances):
        raise RecipeError(f"{options.source} has no utterance that can be converted", "give another manifest")
    remarks = formats.write(options.target, utterances, target_format, audio_folder=options.audio, progress=progress)
    for remark in remarks:
        print(f"deepspeech-train: {remark}", file=sys.stderr)
    length = spoken(float(durations(utterances).sum()))
    print(
        f"{options.source} ({reading.format}) -> {options.target} ({target_format}): "
        f"{len(utterances)} utterances, {length}"
    )
    return 0
