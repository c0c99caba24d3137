"""Reading speech: from shards, from loose files and with WebDataset's reader, in seconds of audio per second.

    python tests/benchmarks/input_pipeline.py [--clips 1500] [--seconds 6] [--rounds 5] [--only decode] [--folder DIR]

The same FLAC clips of speech-like noise lie as loose files, and in shards of 64 MB that ``pack`` wrote. In turn, in one
run, all of them are read; what counts is the ratio of the medians to WebDataset and, for shards, to loose files: 1.0 at
least is the aim. In brackets the ratio by seconds of the processor, which a machine that is busy otherwise spoils less.

    bytes     the bytes of each clip; for ours with the utterance itself, made from the index or the manifest
    decode    and float32 samples of it, by the same decoder, in one thread
    pipeline  and log-mel features in padded batches, in as many threads as cores; WebDataset has no threads of its
              own, its clips go to the same number of them

WebDataset reads in the order of the shards, and shuffles in a buffer of 1,000; ours read in a shuffled order of all.
``warm``: everything is in the page cache. ``cold``: it is put out of it before each round (and, by root, the cache of
names and inodes of the file system too). Needs webdataset.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from deepspeech_train.data import audio, spans
from deepspeech_train.data.batches import Batching
from deepspeech_train.data.features import FeatureOptions, extract
from deepspeech_train.data.manifest import Utterance, Utterances, read_manifest, write_manifest
from deepspeech_train.data.packing import Packing, pack
from deepspeech_train.data.pipeline import Pipeline
from deepspeech_train.data.shards import ShardIndex
from deepspeech_train.text import ENGLISH

RATE = 16000
BATCH = 32
FEATURES = FeatureOptions("logmel", n_input=64, step=0.01)
THREADS = len(os.sched_getaffinity(0))
PEER = "WebDataset"

Work = Callable[[], int]


def write_clips(folder: Path, count: int, seconds: float) -> list[Utterance]:
    """Clips of noise with the spectrum and the pauses of speech, of which FLAC makes about half."""
    rng = np.random.default_rng(1)
    made = []
    (folder / "clips").mkdir(parents=True)
    noise = np.convolve(rng.standard_normal(RATE * 60), np.hanning(24), "same")
    noise *= 0.2 / np.abs(noise).max() * (1.1 + np.sin(np.arange(noise.size) / 2000))
    for number in range(count):
        length = round(RATE * seconds * rng.uniform(0.4, 1.6))
        first = rng.integers(0, noise.size - length)
        path = folder / "clips" / f"{number:06d}.flac"
        soundfile.write(path, noise[first : first + length], RATE, subtype="PCM_16")
        made.append(Utterance(f"u{number:06d}", path, length / RATE, "some words", f"s{number % 50}"))
    return made


def shuffled(utterances: Utterances) -> Iterator[Utterance]:
    """All of them; of shards the system is told ahead what will be read, as a pipeline does."""
    order = np.random.default_rng(2).permutation(len(utterances))
    for first in range(0, len(order), BATCH):
        if isinstance(utterances, ShardIndex):
            utterances.will_need(order[first + 4 * BATCH : first + 5 * BATCH] if first else order[: 5 * BATCH])
        for place in order[first : first + BATCH]:
            yield utterances[int(place)]


def webdataset_samples(index: ShardIndex) -> Iterator[bytes]:
    import webdataset

    urls = [str(index.folder / shard.name) for shard in index.shards]
    dataset = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).shuffle(1000)
    for sample in dataset:
        yield sample["flac"]


def bytes_of_ours(utterances: Utterances) -> int:
    return sum(len(audio.stored_bytes(utterance)) > 0 for utterance in shuffled(utterances))


def decode_ours(utterances: Utterances) -> int:
    return sum(audio.load(utterance).size > 0 for utterance in shuffled(utterances))


def pipeline_ours(utterances: Utterances) -> int:
    pipeline = Pipeline(
        utterances,
        options=FEATURES,
        alphabet=ENGLISH,
        stride=2,
        batching=Batching(BATCH),
        seed=1,
        threads=THREADS,
    )
    with pipeline.batches(1) as batches:
        return sum(batch.count for batch in batches)


def decoded(content: bytes) -> np.ndarray:
    return audio.read(io.BytesIO(content))[0]


def pipeline_webdataset(index: ShardIndex) -> int:
    """Threads for decoding and features, batches of the order in which the clips come, padded to the longest."""

    def features(content: bytes) -> np.ndarray:
        return extract(decoded(content), FEATURES)

    count = 0
    samples = webdataset_samples(index)
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque(pool.submit(features, content) for content in itertools.islice(samples, 4 * BATCH))
        while waiting:
            rows = [waiting.popleft().result() for _ in range(min(BATCH, len(waiting)))]
            waiting.extend(pool.submit(features, content) for content in itertools.islice(samples, len(rows)))
            padded = np.zeros((len(rows), max(map(len, rows)), FEATURES.size), np.float32)
            for place, row in enumerate(rows):
                padded[place, : len(row)] = row
            count += len(padded)
    return count


def works(manifest: Path, index: ShardIndex) -> dict[str, dict[str, Work]]:
    """For each kind of work, who does it. The names of ours begin with what is read."""
    loose = read_manifest(manifest)
    return {
        "bytes": {
            "shards": lambda: bytes_of_ours(index),
            "loose files": lambda: bytes_of_ours(loose),
            PEER: lambda: sum(len(content) > 0 for content in webdataset_samples(index)),
        },
        "decode": {
            "shards": lambda: decode_ours(index),
            "loose files": lambda: decode_ours(loose),
            PEER: lambda: sum(decoded(content).size > 0 for content in webdataset_samples(index)),
        },
        "pipeline": {
            "shards": lambda: pipeline_ours(index),
            "loose files": lambda: pipeline_ours(loose),
            PEER: lambda: pipeline_webdataset(index),
        },
    }


def put_out_of_cache(folder: Path) -> None:
    """The contents of all files under ``folder``; by root, names and inodes of the machine too."""
    spans.forget()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("2")


def measure(
    kinds: dict[str, Work], count: int, rounds: int, folder: Path | None
) -> dict[str, list[tuple[float, float]]]:
    """(seconds, seconds of processor) of each round, by who did the work; ``folder`` is put out of the cache before."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, work in kinds.items():
            if folder is not None:
                put_out_of_cache(folder)
            began, processor = time.perf_counter(), time.process_time()
            done = work()
            took = time.perf_counter() - began, time.process_time() - processor
            assert done == count, (name, done, count)
            if number:  # the first warms the caches, and imports
                times[name].append(took)
    return times


def table(title: str, seconds: float, times: dict[str, list[tuple[float, float]]]) -> None:
    medians = {
        name: tuple(seconds / statistics.median(column) for column in zip(*values, strict=True))
        for name, values in times.items()
    }
    print(f"\n{title}: seconds of audio")
    print(f"{'':14}{'a second':>10}{'range':>20}{'per processor second':>22}{f'against {PEER}':>24}{'loose files':>20}")
    for name, values in times.items():
        mine = medians[name]
        span = f"{seconds / max(values)[0]:,.0f} - {seconds / min(values)[0]:,.0f}"
        ratios = [
            "{:.2f} ({:.2f})".format(*(one / other for one, other in zip(mine, medians[peer], strict=True)))
            for peer in (PEER, "loose files")
        ]
        print(f"{name:14}{mine[0]:10,.0f}{span:>20}{mine[1]:22,.0f}{ratios[0]:>24}{ratios[1]:>20}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("bytes", "decode", "pipeline"), action="append")
    parser.add_argument("--cache", choices=("warm", "cold"), action="append")
    parser.add_argument("--folder", type=Path, help="on the file system to measure (default: a temporary one)")
    options = parser.parse_args()
    try:
        import webdataset  # noqa: F401
    except ImportError:
        sys.exit("webdataset is missing: pip install webdataset")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        clips = write_clips(folder, options.clips, options.seconds)
        write_manifest(folder / "clips.jsonl", clips)
        index = pack(clips, folder / "packed", Packing(shard_bytes=64 << 20)).index
        seconds = float(index.durations.sum())
        size = sum(shard.bytes for shard in index.shards)
        print(f"{len(clips)} clips, {seconds / 60:.0f} minutes, {len(index.shards)} shards, {size / 1e6:.0f} MB,")
        print(f"{THREADS} cores")
        for kind, kinds in works(folder / "clips.jsonl", index).items():
            for cache in options.cache or ("warm", "cold"):
                if not options.only or kind in options.only:
                    os.sync()
                    times = measure(kinds, len(clips), options.rounds, folder if cache == "cold" else None)
                    table(f"{kind}, {cache}", seconds, times)


if __name__ == "__main__":
    main()
