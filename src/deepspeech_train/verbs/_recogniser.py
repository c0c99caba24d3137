"""What the verbs that use a checkpoint share: which settings may go over those it was trained with."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..fields import PREFIX

if TYPE_CHECKING:
    from ..checkpoints import Network

#: How a network is run and its outputs are read. All else is the network, and stays as it was trained.
FREE = (
    "decoder",
    "beam_width",
    "lm_path",
    "lm_alpha",
    "lm_beta",
    "word_list",
    "test_batch_size",
    "max_batch_seconds",
    "reading_threads",
    "prefetch_batches",
    "report_count",
    "xla",
)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The argument CHECKPOINT and the option ``--set``."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help="a checkpoint's file, or the folder of a run that has one"
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting of decoding, such as decoder=beam; also from the environment, ds_decoder=beam",
    )


def network_of(options: argparse.Namespace) -> Network:
    """The network in the checkpoint, with what the environment and ``--set`` say of how it is run.

    SettingsError for a setting that there is not, or that is the network's own; RecipeError as of ``load_network``.
    """
    import dataclasses

    from .. import checkpoints
    from ..errors import SettingsError
    from ..settings import Settings

    known = {field.name for field in dataclasses.fields(Settings)}
    changes = {name: os.environ[PREFIX + name] for name in FREE if os.environ.get(PREFIX + name)}
    for assignment in options.set:
        name, equals, value = assignment.partition("=")
        name = name.strip().removeprefix(PREFIX)
        if not equals or name not in known:
            Settings.from_assignments([assignment], {})  # tells what is wrong with it
        if name not in FREE:
            raise SettingsError(
                f"{name} cannot be set here: the checkpoint's network was trained with its own.",
                f"What can be set is {', '.join(FREE)}.",
            )
        changes[name] = value
    network = checkpoints.load_network(options.checkpoint, **changes)
    for name, remark in network.settings.without_effect.items():
        if name in changes:
            print(remark, file=sys.stderr, flush=True)
    return network
