"""The start of an epoch over one million utterances in shards: the index opened, the epoch sorted or shuffled.

    python tests/benchmarks/sorted_start.py [--entries 1000000] [--rounds 5]

The index is a synthetic one, of the form that ``pack`` writes; no shard is read. Measured is, in a process of its own
after its imports, each time: opening the index; leaving out by their lengths what cannot be trained on (0.7 %); the
batches of an epoch (SortaGrad: from short to long; or shuffled); and the utterances of the first batch. Beside it the
same from a manifest of JSON lines, which must be read from its beginning to its end, for a ratio. The aim is 2 seconds
at most.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from deepspeech_train.data.batches import Batching, epoch_batches
from deepspeech_train.data.features import FeatureOptions
from deepspeech_train.data.loading import usable
from deepspeech_train.data.manifest import durations, read_manifest
from deepspeech_train.data.shards import COLUMNS, INDEX, LINES, TABLE, VERSION, hash_of, read_index
from deepspeech_train.text import ENGLISH, frames_needed

AIM = 2.0
PER_SHARD = 8000
TEXT = "some words that somebody may have said into a microphone on a rainy day "


def write_index(folder: Path, count: int) -> None:
    """The index of shards that are not there, and a manifest of the same utterances."""
    rng = np.random.default_rng(1)
    seconds = np.round(np.minimum(30, 1 + rng.gamma(4.0, 3.0, count)), 3)
    table = np.zeros(count, COLUMNS)
    line_start = 0
    with (folder / LINES).open("wb") as lines, (folder / "manifest.jsonl").open("w") as manifest:
        for place in range(count):
            text = (TEXT * 6)[: round(seconds[place] * 14)].strip()
            about = {"id": f"u{place:07d}", "speaker": f"s{place % 2000}", "duration": seconds[place], "text": text}
            where = {"shard": f"shard-{place // PER_SHARD:06d}.tar", "offset": 512, "size": 90_000, "crc32": 1}
            line = json.dumps(about | where).encode() + b"\n"
            lines.write(line)
            manifest.write(json.dumps(about | {"audio_filepath": f"clips/{place:07d}.flac"}) + "\n")
            numbers = (hash_of(about["id"]), len(line), frames_needed(text), place // PER_SHARD, 1)
            table[place] = (seconds[place], line_start, 512, 90_000, *numbers)
            line_start += len(line)
    np.save(folder / TABLE, table)
    shard = {"bytes": 1 << 30, "sha256": "", "node": 0, "utterances": PER_SHARD, "seconds": PER_SHARD * 13.0}
    about_all = {
        "version": VERSION,
        "utterances": count,
        "characters": "".join(sorted(set(TEXT))),
        "features": None,
        "nodes": 1,
        "files": {},
        "shards": [{"name": f"shard-{number:06d}.tar"} | shard for number in range(-(-count // PER_SHARD))],
    }
    (folder / INDEX).write_text(json.dumps(about_all))


def start(folder: Path, kind: str, sortagrad: bool) -> None:
    """Prints the seconds of the steps as JSON; in a process of its own."""
    times = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        times[name] = time.perf_counter() - began
        began = time.perf_counter()

    utterances = read_index(folder) if kind == "shards" else read_manifest(folder / "manifest.jsonl")
    lap("open")
    kept, _ = usable(utterances, FeatureOptions(step=0.01), ENGLISH, 2, 29.9)
    lap("usable")
    batches = epoch_batches(durations(kept), Batching(32, sortagrad=sortagrad), seed=1, epoch=1)
    lap("batches")
    first = [kept[int(place)] for place in batches[0]]
    assert first
    lap("first batch")
    assert sum(map(len, batches)) == len(kept)
    print(json.dumps(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--start", nargs=3, metavar=("FOLDER", "KIND", "SORTAGRAD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        start(Path(options.start[0]), options.start[1], options.start[2] == "1")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_index(Path(folder), options.entries)
        medians: dict[tuple[str, str], float] = {}
        print(f"{options.entries:,} utterances, medians in seconds")
        print(
            f"{'':24}{'open':>8}{'usable':>8}{'batches':>9}{'first batch':>13}{'all':>8}{'range':>15}{'manifest':>10}"
        )
        for kind, order, rounds in [
            (kind, order, options.rounds if kind == "shards" else 1)
            for order in ("sorted", "shuffled")
            for kind in ("manifest", "shards")
        ]:
            runs = []
            for _ in range(rounds):
                command = [sys.executable, __file__, "--start", folder, kind, "1" if order == "sorted" else "0"]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                runs.append(json.loads(printed.splitlines()[-1]))
            steps = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
            totals = [sum(run.values()) for run in runs]
            medians[kind, order] = statistics.median(totals)
            ratio = medians[kind, order] / medians["manifest", order]
            judged = (
                f"  aim {AIM:g}: {'reached' if medians[kind, order] <= AIM else 'MISSED'}" if kind == "shards" else ""
            )
            print(
                f"{f'{kind}, {order}':24}{steps['open']:8.3f}{steps['usable']:8.3f}{steps['batches']:9.3f}"
                f"{steps['first batch']:13.3f}{medians[kind, order]:8.3f}"
                f"{f'{min(totals):.2f} - {max(totals):.2f}':>15}{ratio:10.3f}{judged}",
                flush=True,
            )


if __name__ == "__main__":
    main()
