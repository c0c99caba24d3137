"""``deepspeech-train pack MANIFEST... --to DIR``: many small audio files into a few shards; ``--check`` reads them."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from . import add_settings, settings_of

HELP = "pack the audio of manifests into shards, or check shards (--check)"

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
#: How many damaged members are named; the rest is counted.
_NAMED = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifests", metavar="MANIFEST", nargs="*", type=Path, help="manifests of any format")
    parser.add_argument("--to", metavar="DIR", type=Path, help="the folder that the shards go into")
    parser.add_argument(
        "--shard-size", metavar="SIZE", default="1GiB", help="the size that no shard passes (default: 1GiB)"
    )
    parser.add_argument(
        "--nodes",
        metavar="N",
        type=int,
        default=1,
        help="shards for N machines, each with an even share of the seconds",
    )
    parser.add_argument(
        "--features", action="store_true", help="store the features that the settings name in the place of audio"
    )
    parser.add_argument("--again", action="store_true", help="remove the shards that are there, and pack anew")
    parser.add_argument(
        "--check", metavar="DIR", type=Path, help="read all that was packed and compare it with its checksums"
    )
    add_settings(parser)


def main(options: argparse.Namespace) -> int:
    from ..errors import SettingsError

    if options.check is not None:
        if options.manifests or options.to:
            raise SettingsError("--check checks a folder of shards, and packs nothing", "give --check DIR alone")
        return _check(options.check)
    if not options.manifests or options.to is None:
        raise SettingsError(
            "what is to be packed, and where to, must be said",
            "as in deepspeech-train pack train.jsonl --to packed/train, or deepspeech-train pack --check packed/train",
        )
    return _pack(options)


def bytes_of(size: str) -> int:
    """``1GiB``, ``500M``, ``4096`` as bytes; SettingsError for anything else."""
    from ..errors import SettingsError

    matched = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([kmgt]?)(?:i?b)?\s*", size.lower())
    if not matched:
        raise SettingsError(f"--shard-size {size!r} is no size", "write, say, 1GiB, 500M or 4096")
    return int(float(matched.group(1)) * _UNITS[matched.group(2)])


def _pack(options: argparse.Namespace) -> int:
    from ..corpora._progress import Progress
    from ..data import formats
    from ..data.manifest import Utterance, spoken
    from ..data.packing import Packing, pack
    from ..data.shards import ShardIndex
    from ..errors import SettingsError

    settings = settings_of(options)
    packing = Packing(
        shard_bytes=bytes_of(options.shard_size),
        nodes=options.nodes,
        features=settings.feature_options if options.features else None,
    )
    progress = Progress("pack", enabled=True)
    utterances: list[Utterance] = []
    for manifest in options.manifests:
        loaded = formats.load(manifest, progress=progress)
        if isinstance(loaded, ShardIndex) and loaded.features is not None:
            raise SettingsError(f"{manifest} holds features, not audio", "pack the manifest that it was packed from")
        utterances += loaded
    packed = pack(utterances, options.to, packing, again=options.again, progress=progress)
    index = packed.index
    size = sum(shard.bytes for shard in index.shards)
    print(
        f"{options.to}: {len(index)} utterances, {spoken(float(index.durations.sum()))}, "
        f"{len(index.shards)} shard{'s' if len(index.shards) != 1 else ''}, {size / 1e9:.2f} GB"
        + (", all there already" if packed.was_there else "")
    )
    for node in range(index.nodes if index.nodes > 1 else 0):
        names = [shard.name for shard in index.shards if shard.node == node]
        length = spoken(sum(shard.seconds for shard in index.shards if shard.node == node))
        print(f"  node {node}: {length}, {names[0] if names else 'nothing'} to {names[-1] if names else ''}")
    if packed.left_out:
        identity, reason = packed.left_out[0]
        print(
            f"deepspeech-train: {len(packed.left_out)} of {len(utterances)} utterances could not be packed, "
            f"the first is {identity}: {reason}\n  all of them are in {options.to / 'left_out.jsonl'}",
            file=sys.stderr,
        )
    return 1 if packed.left_out else 0


def _check(folder: Path) -> int:
    from ..corpora._progress import Progress
    from ..data.shard_check import damage
    from ..data.shards import read_index

    found = damage(folder, Progress("pack --check", enabled=True))
    for line in found[:_NAMED]:
        print(f"deepspeech-train: {line}", file=sys.stderr)
    if len(found) > _NAMED:
        print(f"deepspeech-train: and {len(found) - _NAMED} more", file=sys.stderr)
    index = read_index(folder)
    shards = f"{len(index.shards)} shard{'s' if len(index.shards) != 1 else ''}"
    sound = f"all {len(index)} utterances in {shards} are as they were packed"
    print(f"{folder}: {sound if not found else f'{len(found)} damaged; copy these shards again, or pack again'}")
    return 1 if found else 0
