"""``deepspeech-train import NAME``: bring a corpus to this machine, so that runs find it ready."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import add_settings, settings_of

HELP = "import a corpus, so that runs find it ready"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="ldc93s1, fsdd or espeak")
    parser.add_argument("--to", metavar="DIR", type=Path, help="where to (default: ds_dataset_path)")
    parser.add_argument("--source", metavar="PATH", type=Path, help="a local copy of the original data")
    add_settings(parser)


def main(options: argparse.Namespace) -> int:
    # What is imported is what the options of the corpus are checked for.
    settings = settings_of(options, importer=options.name)
    from .. import corpora

    folder = options.to or settings.dataset_path
    corpus = corpora.load(settings.importer, folder, options.source, **settings.importer_options)  # type: ignore[arg-type]
    for split, utterances in (("train", corpus.train), ("dev", corpus.dev), ("test", corpus.test)):
        minutes = sum(utterance.duration for utterance in utterances) / 60
        print(f"{corpus.name} {split}: {len(utterances)} utterances, {minutes:.1f} minutes")
    return 0
