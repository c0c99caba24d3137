"""``python -m deepspeech_wer.publish PAGE``: publishes a page and what it needs, with nothing of the tracker about it.

No archive is looked at, and the tracker's lock is not taken; the settings are the tracker's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deepspeech_wer import command, config, website
from deepspeech_wer.errors import EXIT_DONE, SettingsError
from deepspeech_wer.log import Log

PROGRAM = "python -m deepspeech_wer.publish"

EPILOG = """\
Where to, and as whom, say the settings ds_website_...: from --set NAME=VALUE, else
the environment, else config.toml in $XDG_CONFIG_HOME/deepspeech_wer/; they are
listed by `deepspeech-wer settings`.

exit codes: 0 done, or nothing to do; 2 usage, or a setting is wrong or missing;
76 publishing failed, and what was published is still there
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    return command.run(lambda: _do(sys.argv[1:] if arguments is None else arguments), PROGRAM)


def _do(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    root, page = _site(options.page, options.root)
    settings = config.load(dict(config.parse_assignment(text) for text in options.set), file=options.config)
    if options.dry_run:
        website.preview(settings, root, page=page, verify=options.verify)
    else:
        website.publish(settings, root, Log(), page=page, verify=options.verify)
    return EXIT_DONE


def _site(page: Path, root: Path | None) -> tuple[Path, str]:
    """The folder that is the web root here, and the page as it is named in it."""
    root = Path.absolute(page.parent if root is None else root)
    try:
        inside = Path.absolute(page).relative_to(root)
    except ValueError as error:
        raise SettingsError(f"the page {page} is not in the folder {root}", "name a folder that holds it") from error
    if not (root / inside).is_file():
        example = page / "index.html"
        hint = f"name the page in it, such as {example}" if page.is_dir() else "name an HTML file that is there"
        raise SettingsError(f"there is no page {page} to publish", hint)
    return root, inside.as_posix()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Publish a page of your own, and what it needs from its folder.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("page", type=Path, metavar="PAGE", help="the HTML file")
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="the folder that becomes the web root (default: the page's own)"
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be sent, and change nothing")
    parser.add_argument("--verify", action="store_true", help="read back and compare what is there already")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file instead of the usual one")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; may be repeated")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
