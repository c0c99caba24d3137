"""``deepspeech-train summary``: what the network of the settings costs, before anything is trained."""

from __future__ import annotations

import argparse

from . import add_settings, settings_of

HELP = "the network's layers, parameters and multiply-adds"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", metavar="N", type=_seconds, default=10.0, help="of the utterance that is counted for (default: 10)"
    )
    add_settings(parser)


def main(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    from .. import models

    print(models.summary(models.build(settings), settings, options.seconds))
    return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.1 to 3600 seconds")
    return seconds
