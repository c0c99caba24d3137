"""``deepspeech-train settings``: every setting with its value, what it is about and what it may be; and the options of
each corpus."""

from __future__ import annotations

import argparse
import dataclasses
import os
import textwrap

from . import add_settings, settings_of

HELP = "every setting with its value and what it may be, and the options of each corpus"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="*", metavar="NAME", help="only these; a part of a name is enough")
    add_settings(parser)


def main(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    from .. import corpora
    from ..errors import SettingsError
    from ..fields import PREFIX, allowed

    fields = [
        field
        for field in dataclasses.fields(settings)
        if not options.name or any(name.removeprefix(PREFIX) in field.name for name in options.name)
    ]
    if not fields:
        raise SettingsError(f"No setting has {' or '.join(options.name)} in its name.", "Leave the name out for all.")
    without_effect = settings.without_effect
    for field in fields:
        value, default = getattr(settings, field.name), field.default
        value, default = ("" if one is None else int(one) if isinstance(one, bool) else one for one in (value, default))
        changed = "" if default in (value, dataclasses.MISSING) else f"  (default: {default})"
        print(f"{PREFIX}{field.name}={value}{changed}")
        limits = allowed(field)
        print(textwrap.indent(field.metadata["about"] + (f"; {limits}" if limits else ""), "    "))
        if field.name in without_effect:
            print(f"    {without_effect[field.name]}")
    if not options.name:
        print("\ncorpora, with the options that corpus_options takes:")
        for name in corpora.NAMES:
            chosen = ", ".join(f"{option}={value}" for option, value in corpora.options_of(name).items())
            print(
                textwrap.fill(
                    f"{name}: {chosen or 'none'}", int(os.environ.get("COLUMNS", 100)), subsequent_indent="    "
                )
            )
    return 0
