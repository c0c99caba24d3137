"""``deepspeech-train``: import a corpus, train and test a model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import RecipeError, SettingsError
from .settings import PREFIX, Settings

_EPILOG = """\
Settings come from the environment (ds_epochs=3) and, over it, from --set (--set epochs=3).
exit codes: 0 done; 1 the import or the run failed, also for data that cannot be had or is bad;
  2 usage or settings, also a source that is not there and a folder that cannot be written
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code. Errors of our family are told without a traceback."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.verb(options, _settings(options)))
    except SettingsError as error:
        return _told(error, 2)
    except RecipeError as error:
        return _told(error, 1)
    except KeyboardInterrupt:
        print("deepspeech-train: stopped before it was done.", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepspeech-train",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    importing = verbs.add_parser("import", help="import a corpus, so that runs find it ready")
    importing.add_argument("name", metavar="NAME", help="ldc93s1, fsdd or espeak")
    importing.add_argument("--to", metavar="DIR", type=Path, help="where to (default: ds_dataset_path)")
    importing.add_argument("--source", metavar="PATH", type=Path, help="a local copy of the original data")
    running = verbs.add_parser("run", help="train and test; leaves hyper.json in ds_result_dir")
    running.add_argument("--checkpoint_dir", metavar="DIR", help="where checkpoints are")
    for verb, function in ((importing, _import), (running, _run)):
        verb.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="a setting")
        verb.set_defaults(verb=function)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    environ = dict(os.environ)
    if getattr(options, "checkpoint_dir", None):
        environ[PREFIX + "checkpoint_dir"] = options.checkpoint_dir
    # What is imported is what the options of the corpus are checked for.
    importer = [f"importer={options.name}"] if hasattr(options, "name") else []
    return Settings.from_assignments([*options.set, *importer], environ)


def _import(options: argparse.Namespace, settings: Settings) -> int:
    from . import corpora

    folder = options.to or settings.dataset_path
    corpus = corpora.load(settings.importer, folder, options.source, **settings.importer_options)  # type: ignore[arg-type]
    for split, utterances in (("train", corpus.train), ("dev", corpus.dev), ("test", corpus.test)):
        minutes = sum(utterance.duration for utterance in utterances) / 60
        print(f"{corpus.name} {split}: {len(utterances)} utterances, {minutes:.1f} minutes")
    return 0


def _run(_: argparse.Namespace, settings: Settings) -> int:
    from .run import run

    print(f"Results: {run(settings)}")
    return 0


def _told(error: RecipeError, code: int) -> int:
    print(f"deepspeech-train: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
