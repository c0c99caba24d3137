"""Time to a WER: training on this machine's cores until the FSDD test set is at 5 %, the fast preset against a peer.

    python tests/benchmarks/time_to_wer.py [--source fsdd.tar.xz] [--width 800] [--patience 4] [--wer 0.05]

The peer is the network that published recipes take for it (deepspeech.pytorch's: two 2-D convolutions and five
bidirectional LSTM layers, the directions added up, batch normalisation between), in PyTorch on the CPU: Adam with a
constant step size, gradients clipped, log-spectrograms of 20 ms every 10 ms, batches of 32 utterances padded to their
longest. ``--width`` is its layers' units: 800 and 1024 are what such recipes have, 256 is a small one, to be fair.

Both learn the same strings (importer fsdd, split=official) and have the same stopping rule: after every fourth of an
epoch the whole test set is recognised, greedily. What counts is the time spent in training steps, reading and features
included, testing left out. Features are kept in memory by both where nothing augments the audio. Ours is trained first;
the peer is given up when it has taken ``--patience`` times as long, and the ratio is then at most the inverse.

Beside the time on the clock stands the processor's, of all threads, divided by the cores: on a machine that does other
things, too, that is the fairer one. Aim: at most half. Needs PyTorch (pip install torch; its
build for the CPU will do)
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from deepspeech_train import computing, decoding, models, run, schedules, scoring
from deepspeech_train.data.batches import Batch
from deepspeech_train.data.pipeline import Pipeline
from deepspeech_train.evaluation import Evaluator
from deepspeech_train.settings import Settings

PARTS = 4  # tests in an epoch
CORES = len(os.sched_getaffinity(0))
OURS = {"model": "fastconv", "preset": "small", "importer": "fsdd", "sample_rate": "8000"}
PEERS = {"features": "logspec", "window_length": 0.02, "window_step": 0.01, "n_stride": 2, "train_batch_size": 32}
NO_AUGMENTATION = {
    "augment_speed": 0.0,
    "augment_gain": 0.0,
    "augment_noise": 0.0,
    "specaugment_freq_masks": 0,
    "specaugment_time_masks": 0,
}


@dataclass(frozen=True)
class Reached:
    """Seconds on the clock and of the processor (all cores' mean) in training, and the WER then."""

    seconds: float
    processor: float
    wer: float
    epochs: float


def train(
    pipeline: Pipeline,
    epochs: int,
    step: Callable[[Batch, int, int, int], Any],
    tested: Callable[[], float],
    wer: float,
    longest: float = math.inf,
) -> Reached:
    """Trains until a test shows ``wer``, or for ``epochs``, or ``longest`` seconds of the processor, then tested."""
    seconds = processor = 0.0
    reached = Reached(0.0, 0.0, 1.0, 0.0)
    for epoch in range(epochs):
        count = pipeline.count(epoch + 1)
        tests = {round(count * part / PARTS) for part in range(1, PARTS + 1)}
        with pipeline.batches(epoch + 1) as batches:
            began = time.monotonic(), time.process_time()
            for batch in batches:
                step(batch, epoch, batch.number, count)
                given_up = processor + (time.process_time() - began[1]) / CORES > longest
                if batch.number + 1 not in tests and not given_up:
                    continue
                seconds += time.monotonic() - began[0]
                processor += (time.process_time() - began[1]) / CORES
                reached = Reached(seconds, processor, tested(), epoch + (batch.number + 1) / count)
                print(
                    f"  epoch {reached.epochs:5.2f}  {seconds:7.1f} s  {processor:7.1f} s of {CORES} cores"
                    f"  test WER {scoring.percent(reached.wer)}",
                    flush=True,
                )
                if given_up or reached.wer <= wer:
                    return reached
                began = time.monotonic(), time.process_time()
    return reached


def ours(settings: Settings, wer: float) -> Reached:
    """Our network, trained as ``deepspeech-train run`` does."""
    computing.begin(settings)
    data = run.load_data(settings, run.load_corpus(settings))
    model = models.build(settings)
    step = computing.training_step(model, settings)
    decoder = decoding.from_settings(settings, settings.window_step * settings.n_stride)
    evaluator = Evaluator(model, decoder, settings)

    def learn(batch: Batch, epoch: int, number: int, count: int) -> None:
        step(batch, schedules.learning_rate(epoch, number, count, settings), 1.0)

    def tested() -> float:
        step.publish()
        return evaluator.evaluate(data.test).score.wer or 0.0

    return train(data.train, settings.epochs, learn, tested, wer)


def peer(settings: Settings, width: int, wer: float, longest: float) -> Reached:
    """The peer, in PyTorch."""
    import torch
    from _peer import Peer

    torch.manual_seed(settings.random_seed)
    torch.set_num_threads(CORES)
    data = run.load_data(settings, run.load_corpus(settings))
    network = Peer(width, settings.characters.size, settings.feature_options.size)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
    loss_of = torch.nn.CTCLoss(blank=settings.characters.blank, reduction="sum", zero_infinity=True)

    def learn(batch: Batch, epoch: int, number: int, count: int) -> None:
        network.train()
        outputs, lengths = network(torch.from_numpy(batch.features), torch.from_numpy(batch.frames))
        labels, label_lengths = torch.from_numpy(batch.labels), torch.from_numpy(batch.label_lengths)
        loss = loss_of(outputs.log_softmax(-1).transpose(0, 1), labels, lengths, label_lengths) / batch.count
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 400.0)
        optimizer.step()

    def tested() -> float:
        network.eval()
        decoder = decoding.from_settings(settings, settings.window_step * settings.n_stride)
        scores = []
        with torch.no_grad(), data.test.evaluation_batches() as batches:
            for batch in batches:
                outputs, lengths = network(torch.from_numpy(batch.features), torch.from_numpy(batch.frames))
                hypotheses = decoder.decode(outputs.numpy(), lengths.numpy().astype(np.int32))
                for utterance, hypothesis in zip(batch.utterances, hypotheses, strict=True):
                    scored = scoring.score(utterance.text, hypothesis.text)
                    scores.append(scoring.Transcription(utterance, hypothesis.text, scored))
        return scoring.total(scores).wer or 0.0

    return train(data.train, 1000, learn, tested, wer, longest)


def main() -> int:
    options = _options()
    with _folder(options.dataset) as folder:
        if options.source:
            os.environ["ds_fsdd_source"] = str(options.source)
        assignments = [f"{name}={value}" for name, value in OURS.items()]
        settings = Settings.from_assignments([*assignments, f"dataset_path={folder}", *options.set], {})
        summary = models.summary(models.build(settings), settings)
        print(f"ours: {settings.model}, preset {settings.preset}, {summary.parameters:,} parameters")
        mine = ours(settings, options.wer)
        if options.only_ours:
            return 0
        longest = options.patience * mine.processor
        of_peer = dataclasses.replace(settings, **PEERS, **NO_AUGMENTATION, feature_cache=True)
        rows = [("ours", mine)]
        for width in options.width:
            print(f"peer: five bidirectional LSTM layers of {width} in PyTorch")
            rows.append((f"peer {width}", peer(of_peer, width, options.wer, longest)))
    print(f"{'':12}{'minutes':>10}{'processor':>11}{'epochs':>9}{'test WER':>10}{'ours/its':>12}")
    for name, reached in rows:
        ratio = mine.processor / reached.processor
        sign = "" if reached.wer <= options.wer else "<"
        print(
            f"{name:12}{reached.seconds / 60:10.1f}{reached.processor / 60:11.1f}{reached.epochs:9.2f}"
            f"{scoring.percent(reached.wer):>10}{sign + format(ratio, '.2f'):>12}"
        )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, help="the recordings, as ds_fsdd_source names them (default: download)")
    parser.add_argument("--dataset", type=Path, help="where the corpus is imported to (default: a folder for this run)")
    parser.add_argument("--width", type=int, nargs="*", default=[800, 256], help="units of the peer's layers")
    parser.add_argument("--patience", type=float, default=4.0, help="the peer is given up at so many times our time")
    parser.add_argument("--wer", type=float, default=0.05)
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of ours")
    options = parser.parse_args()
    if not options.only_ours:
        try:
            import torch  # noqa: F401
        except ImportError:
            sys.exit("The peer needs PyTorch: pip install torch")
    return options


def _folder(given: Path | None) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext(given) if given else tempfile.TemporaryDirectory()


if __name__ == "__main__":
    sys.exit(main())
