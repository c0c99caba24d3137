"""The command ``deepspeech-wer``: its verbs, and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepspeech_wer import __version__, command, config, kinds
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import EXIT_DONE, EXIT_RUN_FAILED
from deepspeech_wer.log import Log

if TYPE_CHECKING:
    import argparse

#: What git sets for its hooks: a tick that one of them starts would take the hook's repository for the tracked one.
_GITS_OWN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")

EPILOG = """\
exit codes:
  0    done, or nothing to do
  2    usage, or a setting is wrong or missing
  70   a run failed, or could not be begun (repository away, disk full)
  75   another run holds the lock
  76   publishing failed; what was published is still there
  130  ended by Ctrl-C;  143  ended by SIGTERM;  129  by a closed terminal

Settings come from --set NAME=VALUE, else the environment, else config.toml in
$XDG_CONFIG_HOME/deepspeech_wer/. `deepspeech-wer settings` lists them all.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    for name in _GITS_OWN:
        os.environ.pop(name, None)
    return command.run(lambda: _do(sys.argv[1:] if arguments is None else arguments))


def _do(arguments: Sequence[str]) -> int:
    if list(arguments) == ["run"]:  # cron's, 96 times a day: to parse this would take a sixth of an idle tick
        return _tick(config.load())
    options = _parser(arguments[0] if arguments else "").parse_args(arguments)
    return int(options.verb(options))


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if options.dry_run:
        from deepspeech_wer import tick

        return tick.plan(settings, Log())
    return _tick(settings)


def _tick(settings: Settings) -> int:
    from deepspeech_wer import tick

    return tick.tick(settings, _log(settings))


def _site_build(options: argparse.Namespace) -> int:
    from deepspeech_wer import lock, page

    settings = _settings(options)
    with lock.held(settings.cache / "lock", "deepspeech-wer site build"):
        page.build(settings, _log(settings))
    return EXIT_DONE


def _publish(options: argparse.Namespace) -> int:
    from deepspeech_wer import lock, page, website

    settings = _settings(options)
    if options.dry_run:
        page.preview(settings, options.verify)
        return EXIT_DONE
    website.require(settings, is_needed=True)
    with lock.held(settings.cache / "lock", "deepspeech-wer publish"):
        page.build(settings, _log(settings))
        page.publish(settings, _log(settings), options.verify)
    return EXIT_DONE


def _rollback(options: argparse.Namespace) -> int:
    from deepspeech_wer import lock, page, website

    settings = _settings(options)
    website.require(settings, is_needed=True)
    with lock.held(settings.cache / "lock", "deepspeech-wer rollback"):
        page.rollback(settings, _log(settings))
    return EXIT_DONE


def _trust_host(options: argparse.Namespace) -> int:
    from deepspeech_wer import website
    from deepspeech_wer.publish.ssh import trust

    return trust.run(website.server_of(_settings(options)), options.fingerprint)


def _import_legacy(options: argparse.Namespace) -> int:
    from deepspeech_wer.results import archive

    settings = _settings(options)
    added, troubles = archive.import_legacy(settings.dataroot, options.folder)
    for trouble in troubles:
        print(f"deepspeech-wer: {trouble}", file=sys.stderr)
    print(f"{len(added)} runs added; `deepspeech-wer site build` or `deepspeech-wer publish` shows them")
    return EXIT_RUN_FAILED if troubles and not added else EXIT_DONE


def _landings(options: argparse.Namespace) -> int:
    from deepspeech_wer.landings.listing import list_landings

    return list_landings(_settings(options), options.since, options.json)


def _status(options: argparse.Namespace) -> int:
    from deepspeech_wer.status import status

    return status(_settings(options), options.json)


def _show_log(options: argparse.Namespace) -> int:
    from deepspeech_wer.runlog import log_of

    return log_of(_settings(options), options.sha, options.follow)


def _doctor(options: argparse.Namespace) -> int:
    from deepspeech_wer.doctor import doctor

    return doctor(_settings(options), options.json, options.config)


def _retry(options: argparse.Namespace) -> int:
    from deepspeech_wer import wishes
    from deepspeech_wer.journal import Journal

    settings = _settings(options)
    print(wishes.retry(settings, Journal(*settings.journal_files), options.sha))
    return EXIT_DONE


def _rerun(options: argparse.Namespace) -> int:
    from deepspeech_wer import wishes
    from deepspeech_wer.journal import Journal

    settings = _settings(options)
    print(wishes.rerun(settings, Journal(*settings.journal_files), options.sha, options.seeds))
    return EXIT_DONE


def _skip(options: argparse.Namespace) -> int:
    from deepspeech_wer import wishes
    from deepspeech_wer.journal import Journal

    settings = _settings(options)
    print(wishes.skip(settings, Journal(*settings.journal_files), options.sha, options.why))
    return EXIT_DONE


def _bisect(options: argparse.Namespace) -> int:
    from deepspeech_wer.bisect import bisect

    settings = _settings(options)
    return bisect(
        settings,
        options.good,
        options.bad,
        _log(settings),
        threshold=options.threshold,
        significance=options.significance,
    )


def _install_cron(options: argparse.Namespace) -> int:
    from deepspeech_wer.schedule import install_cron

    return install_cron(options.config, systemd=options.systemd, print_only=options.print_only, remove=options.remove)


def _list_settings(options: argparse.Namespace) -> int:
    for name, about in config.names().items():
        default = about["default_text"] or config.shown(about["default"]) or "none"
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
    return Log(settings.dataroot / "logs" / "deepspeech-wer.log", settings.keep_logs)


def _parser(verb: str = "") -> argparse.ArgumentParser:
    """The command line; where it begins with ``verb``, only as much of it as that verb needs."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="deepspeech-wer",
        description="Track the word error rate of every landing on a branch, and publish it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"deepspeech-wer {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, prog=parser.prog)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="settings file instead of the usual one")
    if verb != "install-cron":  # what cron starts has its settings from the file
        common.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; may be repeated"
        )

    for add in [_VERBS[verb]] if verb in _VERBS else _VERBS.values():
        add(verbs, common)
    return parser


def _add_run(verbs: Any, common: argparse.ArgumentParser) -> None:
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


def _add_status(verbs: Any, common: argparse.ArgumentParser) -> None:
    status = verbs.add_parser("status", parents=[common], help="tell how things stand: what is on, what waits")
    status.add_argument("--json", action="store_true", help="as JSON")
    status.set_defaults(verb=_status)


def _add_doctor(verbs: Any, common: argparse.ArgumentParser) -> None:
    doctor = verbs.add_parser("doctor", parents=[common], help="look at everything that a run needs")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(verb=_doctor)


def _add_landings(verbs: Any, common: argparse.ArgumentParser) -> None:
    landings = verbs.add_parser("landings", parents=[common], help="list what has landed, oldest first")
    landings.add_argument("--since", metavar="SHA", help="after this commit (default: after last_sha1)")
    landings.add_argument("--json", action="store_true", help="as JSON")
    landings.set_defaults(verb=_landings)


def _add_log(verbs: Any, common: argparse.ArgumentParser) -> None:
    log = verbs.add_parser("log", parents=[common], help="print the log of a landing's newest run")
    log.add_argument("sha", metavar="SHA")
    log.add_argument("--follow", "-f", action="store_true", help="go on until the run is over")
    log.set_defaults(verb=_show_log)


def _add_retry(verbs: Any, common: argparse.ArgumentParser) -> None:
    retry = verbs.add_parser("retry", parents=[common], help="have a failed or skipped landing be tried again")
    retry.add_argument("sha", metavar="SHA")
    retry.set_defaults(verb=_retry)


def _add_skip(verbs: Any, common: argparse.ArgumentParser) -> None:
    skip = verbs.add_parser("skip", parents=[common], help="have a landing not be trained")
    skip.add_argument("sha", metavar="SHA")
    skip.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the journal")
    skip.set_defaults(verb=_skip)


def _add_rerun(verbs: Any, common: argparse.ArgumentParser) -> None:
    rerun = verbs.add_parser("rerun", parents=[common], help="have a landing be trained again, with other seeds")
    rerun.add_argument("sha", metavar="SHA")
    rerun.add_argument("--seeds", type=_seeds, default=1, metavar="N", help="so many times (default: 1)")
    rerun.set_defaults(verb=_rerun)


def _add_bisect(verbs: Any, common: argparse.ArgumentParser) -> None:
    bisect = verbs.add_parser(
        "bisect", parents=[common], help="train landings between GOOD and BAD until the first bad one is known"
    )
    bisect.add_argument("good", metavar="GOOD", help="SHA of a landing whose WER is good")
    bisect.add_argument("bad", metavar="BAD", help="SHA of a later landing whose WER is bad")
    how = bisect.add_mutually_exclusive_group()
    how.add_argument(
        "--threshold",
        type=_points,
        metavar="POINTS",
        help="bad is so many percentage points above GOOD (default: ds_regression)",
    )
    how.add_argument("--significance", action="store_true", help="bad is significantly worse than GOOD")
    bisect.set_defaults(verb=_bisect)


def _add_install_cron(verbs: Any, common: argparse.ArgumentParser) -> None:
    cron = verbs.add_parser(
        "install-cron", parents=[common], help="install the entry that runs a tick every 15 minutes"
    )
    cron.add_argument("--systemd", action="store_true", help="a systemd timer of this user instead of a cron entry")
    what = cron.add_mutually_exclusive_group()
    what.add_argument("--print", dest="print_only", action="store_true", help="only print it")
    what.add_argument("--remove", action="store_true", help="remove it")
    cron.set_defaults(verb=_install_cron)


def _add_site(verbs: Any, common: argparse.ArgumentParser) -> None:
    site = verbs.add_parser("site", help="the web root on this machine")
    build = site.add_subparsers(metavar="VERB", required=True).add_parser(
        "build", parents=[common], help="make the web root again from the archive"
    )
    build.set_defaults(verb=_site_build)


def _add_publish(verbs: Any, common: argparse.ArgumentParser) -> None:
    publish = verbs.add_parser("publish", parents=[common], help="build the site and publish it again")
    publish.add_argument("--dry-run", action="store_true", help="list what would be sent, and change nothing")
    publish.add_argument("--verify", action="store_true", help="read back and compare what is there already")
    publish.set_defaults(verb=_publish)


def _add_rollback(verbs: Any, common: argparse.ArgumentParser) -> None:
    rollback = verbs.add_parser(
        "rollback",
        parents=[common],
        help="show the release before the present one again",
        description="Show the release before the present one again; again, the one before that. It stays until the "
        "next landing, or `deepspeech-wer publish`, makes a new release of all that is archived.",
    )
    rollback.set_defaults(verb=_rollback)


def _add_trust_host(verbs: Any, common: argparse.ArgumentParser) -> None:
    trust = verbs.add_parser(
        "trust-host",
        parents=[common],
        help="show the server's host key, ask, and write it to known_hosts",
        description="Show the fingerprint of the key by which the server proves who it is, ask whether it is the right "
        "one, and write it to known_hosts. Nothing is published to a server whose key is not known.",
    )
    trust.add_argument(
        "--fingerprint", default="", metavar="SHA256:...", help="what it must be, instead of asking; for scripts"
    )
    trust.set_defaults(verb=_trust_host)


def _add_import_legacy(verbs: Any, common: argparse.ArgumentParser) -> None:
    legacy = verbs.add_parser("import-legacy", parents=[common], help="take runs without a landing into the archive")
    legacy.add_argument("folder", nargs="+", type=Path, help="a hyper.json, or a folder with folders that hold one")
    legacy.set_defaults(verb=_import_legacy)


def _add_settings(verbs: Any, common: argparse.ArgumentParser) -> None:
    listing = verbs.add_parser("settings", help="list every setting, what it means and its default")
    listing.set_defaults(verb=_list_settings)


#: Verb -> what adds it to the command line, in the order of the help.
_VERBS: dict[str, Callable[[Any, argparse.ArgumentParser], None]] = {
    "run": _add_run,
    "status": _add_status,
    "doctor": _add_doctor,
    "landings": _add_landings,
    "log": _add_log,
    "retry": _add_retry,
    "skip": _add_skip,
    "rerun": _add_rerun,
    "bisect": _add_bisect,
    "install-cron": _add_install_cron,
    "site": _add_site,
    "publish": _add_publish,
    "rollback": _add_rollback,
    "trust-host": _add_trust_host,
    "import-legacy": _add_import_legacy,
    "settings": _add_settings,
}


def _seeds(text: str) -> int:
    import argparse

    try:
        return kinds.seeds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _points(text: str) -> float:
    import argparse

    try:
        return kinds.amount(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
