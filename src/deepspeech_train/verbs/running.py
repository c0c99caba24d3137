"""``deepspeech-train run``: train and test, as the notebook does."""

from __future__ import annotations

import argparse

from . import add_settings, settings_of

HELP = "train and test; leaves hyper.json in ds_result_dir"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint_dir", metavar="DIR", help="where checkpoints are")
    add_settings(parser)


def main(options: argparse.Namespace) -> int:
    settings = settings_of(options, checkpoint_dir=options.checkpoint_dir)
    from ..run import run

    print(f"Results: {run(settings)}")
    return 0
