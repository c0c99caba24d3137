"""The command ``deepspeech-wer``: its verbs, and nothing else."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from deepspeech_wer import __version__, config
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import EXIT_DONE, EXIT_RUN_FAILED, TrackerError
from deepspeech_wer.log import Log

EPILOG = """\
exit codes:
  0    done, or nothing to do
  2    usage, or a setting is wrong or missing
  70   a run failed, or could not be begun (repository away, disk full)
  75   another run holds the lock
  76   publishing failed; what was on the server is still there
  130  ended by Ctrl-C;  143  ended by SIGTERM;  129  by a closed terminal

Settings come from --set NAME=VALUE, else the environment, else config.toml in
$XDG_CONFIG_HOME/deepspeech_wer/. `deepspeech-wer settings` lists them all.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    options = _parser().parse_args(arguments)
    try:
        code = int(options.verb(options))
        sys.stdout.flush()
        return code
    except TrackerError as error:
        print(f"deepspeech-wer: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("deepspeech-wer: ended by Ctrl-C; the next run goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `deepspeech-wer settings | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"deepspeech-wer: {error.strerror or error}{where}", file=sys.stderr)
        print("  check the disk, and the owner and the permissions of that place", file=sys.stderr)
        return EXIT_RUN_FAILED


def _end(number: int, frame: FrameType | None) -> None:
    """Leave through every ``finally``, once: a second signal must not cut the cleaning up short."""
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    print(f"deepspeech-wer: ended by {signal.Signals(number).name}; the next run goes on from here", file=sys.stderr)
    sys.exit(128 + number)


def _run(options: argparse.Namespace) -> int:
    from deepspeech_wer import tick

    settings = _settings(options)
    if options.dry_run:
        return tick.plan(settings, Log())
    return tick.tick(settings, _log(settings))


def _site_build(options: argparse.Namespace) -> int:
    from deepspeech_wer import lock, page

    settings = _settings(options)
    with lock.held(settings.cache / "lock", "deepspeech-wer site build"):
        page.build(settings, _log(settings))
    return EXIT_DONE


def _publish(options: argparse.Namespace) -> int:
    from deepspeech_wer import lock, page

    settings = _settings(options)
    page.require_website(settings, is_needed=True)
    with lock.held(settings.cache / "lock", "deepspeech-wer publish"):
        page.build(settings, _log(settings))
        page.publish(settings, _log(settings))
    return EXIT_DONE


def _import_legacy(options: argparse.Namespace) -> int:
    from deepspeech_wer.results import archive

    settings = _settings(options)
    added, troubles = archive.import_legacy(settings.dataroot, options.folder)
    for trouble in troubles:
        print(f"deepspeech-wer: {trouble}", file=sys.stderr)
    print(f"{len(added)} runs added; `deepspeech-wer site build` or `deepspeech-wer publish` shows them")
    return EXIT_RUN_FAILED if troubles and not added else EXIT_DONE


def _list_settings(options: argparse.Namespace) -> int:
    for name, about in config.names().items():
        default = about["default_text"] or about["default"] or "none"
        print(f"{name}\n    {about['help']}\n    default: {default}")
    return EXIT_DONE


def _settings(options: argparse.Namespace) -> Settings:
    command_line = dict(config.parse_assignment(text) for text in options.set)
    for name in ("repository", "ref", "automation_force_sha"):
        if value := getattr(options, name, None):
            command_line[f"ds_{name}"] = value
    parameters = dict(config.parse_parameter(text) for text in getattr(options, "parameter", []))
    return config.load(command_line, file=options.config, parameters=parameters)


def _log(settings: Settings) -> Log:
    return Log(settings.dataroot / "logs" / "deepspeech-wer.log")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepspeech-wer",
        description="Track the word error rate of every landing on a branch, and publish it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"deepspeech-wer {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="settings file instead of the usual one")
    common.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; may be repeated")

    run = verbs.add_parser("run", parents=[common], help="one tick: train and publish what has landed")
    run.add_argument("--repository", metavar="URL", help="git URL or path to track (ds_repository)")
    run.add_argument("--ref", help="branch to track (ds_ref)")
    run.add_argument(
        "--sha", metavar="A,B", dest="automation_force_sha", help="train these commits now, whatever has landed"
    )
    run.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value that is injected into the notebook; may be repeated",
    )
    run.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    run.set_defaults(verb=_run)

    site = verbs.add_parser("site", help="the web root on this machine")
    build = site.add_subparsers(metavar="VERB", required=True).add_parser(
        "build", parents=[common], help="make the web root again from the archive"
    )
    build.set_defaults(verb=_site_build)

    publish = verbs.add_parser("publish", parents=[common], help="build the site and publish it again")
    publish.set_defaults(verb=_publish)

    legacy = verbs.add_parser(
        "import-legacy", parents=[common], help="take runs made before the tracker into the archive"
    )
    legacy.add_argument("folder", nargs="+", type=Path, help="a hyper.json, or a folder with folders that hold one")
    legacy.set_defaults(verb=_import_legacy)

    listing = verbs.add_parser("settings", help="list every setting, what it means and its default")
    listing.set_defaults(verb=_list_settings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
