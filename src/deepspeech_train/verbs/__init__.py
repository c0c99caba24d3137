"""The verbs of ``deepspeech-train``, one module each: ``HELP``, ``arguments(parser)`` and ``main(options)``.

A verb's module is loaded whenever the command is, so that it loads what is heavy (TensorFlow, NumPy) in ``main``.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ..fields import PREFIX

if TYPE_CHECKING:
    from ..settings import Settings


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The option ``--set``, for a verb whose work follows the settings."""
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="a setting")


def settings_of(options: argparse.Namespace, **values: object) -> Settings:
    """The settings from the environment, over it from ``--set``, and over both ``values``; SettingsError."""
    from ..settings import Settings

    said = {PREFIX + name: str(value) for name, value in values.items() if value is not None}
    return Settings.from_assignments([*options.set, *(f"{name}={value}" for name, value in said.items())], os.environ)
