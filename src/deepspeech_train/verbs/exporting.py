"""``deepspeech-train export CHECKPOINT --to DIR``: the network for others, in the formats that they run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ._recogniser import add_checkpoint, network_of

if TYPE_CHECKING:
    from ..data.manifest import Utterances

HELP = "export a checkpoint to SavedModel, LiteRT and ONNX, each compared with the original"
DESCRIPTION = """\
Writes the network of a checkpoint into the next numbered folder of DIR, with the front end it needs and a model card.
Each format is loaded again and compared with the checkpoint on real speech: largest difference of a logit, word error
rate, size, speed. A format that does not compute what the network does is an error."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_checkpoint(parser)
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="exports are DIR/1, DIR/2 ...")
    parser.add_argument(
        "--formats",
        metavar="NAMES",
        default="savedmodel",
        help="savedmodel, litert, litert-int8, onnx, with commas, or all (default: savedmodel)",
    )
    parser.add_argument(
        "--compare",
        metavar="MANIFEST",
        help="utterances to compare on, of any form; none: on noise (default: the test set of the corpus that "
        "ds_importer names)",
    )
    parser.add_argument("--limit", metavar="N", type=int, default=0, help="compare on so many (default: 5 minutes)")
    parser.add_argument("--remove", action="store_true", help="remove earlier exports, once the new one is whole")


def main(options: argparse.Namespace) -> int:
    from ..errors import SettingsError

    if options.limit < 0:
        raise SettingsError(f"--limit {options.limit} is below 0.", "Give a whole number from 0 up.")
    from .. import exporting, model_card

    names = ",".join(exporting.FORMATS) if options.formats.strip() == "all" else options.formats
    exporting.check(names)
    network = network_of(options)
    utterances = _compared_on(options)
    exported = exporting.export(
        network,
        options.to,
        names,
        remove=options.remove,
        utterances=utterances,
        about=model_card.About.of_checkpoint(options.checkpoint),
    )
    print(exported.table())
    print(f"Exported to {exported.folder}; its README.md says how to load it.")
    return 0


def _compared_on(options: argparse.Namespace) -> Utterances:
    import os

    from ..data.parts import spread
    from ..errors import SettingsError
    from ..exporting import some
    from ..fields import PREFIX
    from ..settings import Settings
    from ._speech import utterances_of

    if options.compare == "none":
        return ()
    if options.compare is not None:
        found = utterances_of(Path(options.compare))
    elif os.environ.get(f"{PREFIX}importer"):
        from ..run import load_corpus

        found = load_corpus(Settings.from_namespace({})).test
    else:
        raise SettingsError(
            "There is no speech to compare the formats with the network on.",
            f"Name utterances with --compare MANIFEST, a corpus with {PREFIX}importer, or --compare none for noise.",
        )
    return spread(found, options.limit) if options.limit else some(found)
