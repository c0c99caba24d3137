"""``deepspeech-train``: corpora, training, recognition and scoring. The verbs are in ``verbs``; no logic here."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from .errors import RecipeError, SettingsError
from .signals import Stopped, Terminated, stopped_like_ctrl_c
from .verbs import (
    converting,
    describing,
    evaluating,
    exporting,
    importing,
    packing,
    running,
    scoring,
    showing,
    transcribing,
    tuning,
)

_DESCRIPTION = "Imports corpora, trains and tests networks that recognise speech, and scores what was recognised."
_EPILOG = """\
Settings come from the environment (ds_epochs=3) and, over it, from --set (--set epochs=3).
exit codes: 0 done; 1 the work failed, also for data and files that cannot be had, written or are bad;
  2 usage or settings, also a corpus' source that is not there, and a folder that a run cannot write to or that another
  run has; 130 stopped by Ctrl-C, 143 by SIGTERM: what was reached is kept, and the next call goes on from there
"""

#: In the order of --help.
_VERBS: dict[str, ModuleType] = {
    "import": importing,
    "convert": converting,
    "pack": packing,
    "settings": showing,
    "summary": describing,
    "run": running,
    "evaluate": evaluating,
    "tune": tuning,
    "transcribe": transcribing,
    "score": scoring,
    "export": exporting,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code. Errors of our family are told without a traceback."""
    options = _parser().parse_args(arguments)
    try:
        with stopped_like_ctrl_c():
            return int(options.main(options))
    except Stopped as error:
        return _told(error, 128 + error.signal)
    except SettingsError as error:
        return _told(error, 2)
    except RecipeError as error:
        return _told(error, 1)
    except KeyboardInterrupt as interrupt:
        number = interrupt.signal if isinstance(interrupt, Terminated) else signal.SIGINT
        print(f"deepspeech-train: stopped by {number.name} before it was done.", file=sys.stderr)
        return 128 + number
    except BrokenPipeError:  # whoever read has what they wanted: deepspeech-train ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepspeech-train",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb in _VERBS.items():
        of_verb = verbs.add_parser(name, help=verb.HELP, description=verb.HELP)
        verb.arguments(of_verb)
        of_verb.set_defaults(main=verb.main)
    return parser


def _told(error: RecipeError, code: int) -> int:
    print(f"deepspeech-train: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
