"""``deepspeech-train import NAME``: bring a corpus to this machine, so that runs find it ready."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import corpora
from . import add_settings, settings_of

HELP = "import a corpus, so that runs find it ready"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=", ".join(corpora.NAMES))
    parser.add_argument("--to", metavar="DIR", type=Path, help="where to (default: ds_dataset_path)")
    parser.add_argument("--source", metavar="PATH", type=Path, help="a local copy of the original data")
    add_settings(parser)
    parser.epilog = (
        "Options of a corpus: --set corpus_options=NAME=VALUE,NAME=VALUE. A name that there is not is answered with"
        " those that there are."
    )


def main(options: argparse.Namespace) -> int:
    # What is imported is what the options of the corpus are checked for.
    settings = settings_of(options, importer=options.name)
    from ..data.manifest import durations

    given: dict[str, object] = dict(settings.importer_options)
    if options.source:
        given["source"] = options.source
    corpus = corpora.load(
        settings.importer,
        options.to or settings.dataset_path,
        alphabet=settings.characters,
        max_duration=settings.max_duration,
        **given,  # type: ignore[arg-type]
    )
    for split, utterances in (("train", corpus.train), ("dev", corpus.dev), ("test", corpus.test)):
        print(f"{corpus.name} {split}: {len(utterances)} utterances, {_length(float(durations(utterances).sum()))}")
    return 0


def _length(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
