"""The same network in the same run: DeepSpeech2 in training on two CPU cores, here and in PyTorch.

    python tests/benchmarks/same_network.py [ROUNDS] [--network 3x512] [--network 5x1024] [--without NAME ...]

Two 2-D convolutions, bidirectional LSTM layers whose directions are added, batch normalisation, CTC, Adam, gradients
bounded by their norm; batches of 8 utterances of 6 seconds (600 frames of 161 bins, 90 characters), all in float32.
Five contenders, each in a process of its own on the same two cores, take steps in turn:

    PyTorch         as its users write it: packed sequences, so that padding is not read
    PyTorch, padded quicker, and wrong where utterances differ in length: the backward direction starts in the padding
    ours            deepspeech2 of this recipe with the training step that training itself takes, on TensorFlow
    ours on JAX     the same by KERAS_BACKEND=jax
    plain Keras     the network as one writes it in Keras: its own LSTM, strided convolutions, keras.ops.ctc_loss

What counts are the ratios of the medians. Aim: ours at least 0.75 of PyTorch, for both sizes. Steps are warm: each
contender takes one before. PyTorch and JAX are left out, with a word, where they are not installed:

    pip install torch
    pip install jax
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH, SECONDS, FRAMES, BINS, CHARACTERS, CLASSES = 8, 6.0, 600, 161, 90, 29
PYTORCH, PADDED, OURS, JAX, PLAIN = "PyTorch", "PyTorch, padded", "ours", "ours on JAX", "plain Keras"
#: A contender that has taken this many seconds for its steps is not asked for more.
PATIENCE = 300.0


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features, frames, labels, label lengths; the same in every process."""
    random = np.random.default_rng(1)
    features = random.normal(size=(BATCH, FRAMES, BINS)).astype(np.float32)
    labels = random.integers(0, CLASSES - 1, (BATCH, CHARACTERS)).astype(np.int32)
    return features, np.full(BATCH, FRAMES, np.int32), labels, np.full(BATCH, CHARACTERS, np.int32)


def pytorch(layers: int, units: int, packed: bool) -> Callable[[], float]:
    import torch
    from torch import nn

    torch.set_num_threads(2)
    torch.manual_seed(1)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolutions = nn.Sequential(
                nn.Conv2d(1, 32, (41, 11), stride=(2, 2), padding=(20, 5), bias=False),
                nn.BatchNorm2d(32),
                nn.Hardtanh(0, 20),
                nn.Conv2d(32, 32, (21, 11), stride=(2, 1), padding=(10, 5), bias=False),
                nn.BatchNorm2d(32),
                nn.Hardtanh(0, 20),
            )
            sizes = [32 * 41] + [units] * (layers - 1)
            self.norms = nn.ModuleList(nn.BatchNorm1d(units) for _ in range(layers))
            self.lstms = nn.ModuleList(nn.LSTM(size, units, bidirectional=True) for size in sizes)
            self.characters = nn.Linear(units, CLASSES)

        def forward(self, features: Any, frames: Any) -> Any:
            outputs = self.convolutions(features.transpose(1, 2)[:, None])
            outputs = outputs.flatten(1, 2).permute(2, 0, 1)
            for norm, lstm in zip(self.norms, self.lstms, strict=True):
                if packed:
                    outputs = nn.utils.rnn.pad_packed_sequence(
                        lstm(nn.utils.rnn.pack_padded_sequence(outputs, frames))[0]
                    )[0]
                else:
                    outputs = lstm(outputs)[0]
                outputs = outputs.unflatten(2, (2, units)).sum(2)
                outputs = norm(outputs.flatten(0, 1)).unflatten(0, outputs.shape[:2])
            return self.characters(outputs).log_softmax(-1)

    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    loss_of = nn.CTCLoss(blank=CLASSES - 1)
    features, frames, labels, lengths = map(torch.from_numpy, arrays())

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network(features, (frames + 1) // 2), labels, (frames + 1) // 2, lengths)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    return step


def ours(layers: int, units: int) -> Callable[[], float]:
    from deepspeech_train import computing, models
    from deepspeech_train.data.batches import Batch
    from deepspeech_train.data.manifest import Utterance
    from deepspeech_train.settings import Settings

    _two_threads()
    settings = Settings(
        model="deepspeech2",
        features="logspec",
        window_length=0.02,
        window_step=0.01,
        n_stride=2,
        n_hidden=units,
        n_recurrent_layers=layers,
        dropout_rate=0.0,
        random_seed=1,
    )
    computing.begin(settings)
    step = computing.training_step(models.build(settings), settings)
    utterance = Utterance("u", Path("u.wav"), "u", "x", SECONDS)
    batch = Batch(0, (utterance,) * BATCH, *arrays())
    return lambda: float(np.mean(step(batch, 1e-4, 1.0).losses))


def plain_keras(layers: int, units: int) -> Callable[[], float]:
    import keras
    import tensorflow as tf

    _two_threads()
    keras.utils.set_random_seed(1)
    features = keras.Input((None, BINS))
    outputs = keras.layers.Reshape((-1, BINS, 1))(features)
    for kernel, strides in (((11, 41), (2, 2)), ((11, 21), (1, 2))):
        outputs = keras.layers.Conv2D(32, kernel, strides, padding="same", use_bias=False)(outputs)
        outputs = keras.layers.ReLU(20)(keras.layers.BatchNormalization()(outputs))
    outputs = keras.layers.Reshape((-1, 32 * 41))(outputs)
    for _ in range(layers):
        lstm = keras.layers.LSTM(units, return_sequences=True)
        outputs = keras.layers.Bidirectional(lstm, merge_mode="sum")(outputs)
        outputs = keras.layers.BatchNormalization()(outputs)
    model = keras.Model(features, keras.layers.Dense(CLASSES)(outputs))
    optimizer = keras.optimizers.Adam(1e-4, global_clipnorm=5.0)
    optimizer.build(model.trainable_variables)
    inputs, frames, labels, lengths = map(tf.constant, arrays())

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            loss = tf.reduce_mean(
                keras.ops.ctc_loss(labels, logits, lengths, (frames + 1) // 2, mask_index=CLASSES - 1)
            )
        optimizer.apply(tape.gradient(loss, model.trainable_variables))
        return loss

    return lambda: float(step())


def _two_threads() -> None:
    """JAX takes the cores that the process may run on; TensorFlow asks the machine."""
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(2)
        tf.config.threading.set_inter_op_parallelism_threads(2)


def contend(name: str, layers: int, units: int) -> None:
    """A contender: takes a step for each line it reads, and writes how long it took, of the clock and of the cores."""
    make: Callable[[], Callable[[], float]] = {
        PYTORCH: lambda: pytorch(layers, units, packed=True),
        PADDED: lambda: pytorch(layers, units, packed=False),
        OURS: lambda: ours(layers, units),
        JAX: lambda: ours(layers, units),
        PLAIN: lambda: plain_keras(layers, units),
    }[name]
    told, sys.stdout = sys.stdout, sys.stderr
    step = make()
    step()
    print("ready", file=told, flush=True)
    for _ in sys.stdin:
        began, busy = time.perf_counter(), _busy()
        loss = step()
        assert np.isfinite(loss), f"{name} has a loss of {loss}"
        print(time.perf_counter() - began, _busy() - busy, file=told, flush=True)


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(names: list[str], layers: int, units: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """(seconds, seconds of a core) of each contender's steps, taken in turn."""
    contenders = {}
    for name in names:
        environ = dict(os.environ, KERAS_BACKEND="jax" if name == JAX else "tensorflow", OMP_NUM_THREADS="2")
        command = [sys.executable, __file__, "--contend", name, "--network", f"{layers}x{units}"]
        contenders[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
        )
        if contenders[name].stdout.readline() != "ready\n":
            raise SystemExit(f"{name} did not start. See: {' '.join(command)}")
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    try:
        for _ in range(rounds):
            for name, process in contenders.items():
                if sum(seconds for seconds, _ in taken[name]) > PATIENCE:
                    continue
                process.stdin.write("\n")
                process.stdin.flush()
                seconds, busy = map(float, process.stdout.readline().split())
                taken[name].append((seconds, busy))
    finally:
        for process in contenders.values():
            process.stdin.close()
            process.kill()
            process.wait()
    return taken


def told(taken: dict[str, list[tuple[float, float]]], layers: int, units: int) -> None:
    audio = BATCH * SECONDS
    medians = {name: statistics.median(seconds for seconds, _ in steps) for name, steps in taken.items()}
    print(f"\n{layers} x {units}: {BATCH} utterances of {SECONDS:g} s a step")
    print(f"{'':18}{'steps':>6}{'median s':>10}{'best s':>8}{'core s':>8}{'audio s/s':>11}", end="")
    peers = [name for name in (PYTORCH, PADDED) if name in medians]
    print("".join(f"{'of ' + name:>20}" for name in peers))
    for name, steps in taken.items():
        median, best = medians[name], min(seconds for seconds, _ in steps)
        busy = statistics.median(busy for _, busy in steps)
        print(f"{name:18}{len(steps):6}{median:10.2f}{best:8.2f}{busy:8.2f}{audio / median:11.1f}", end="")
        print("".join(f"{medians[peer] / median:20.2f}" for peer in peers))
    if OURS in medians:
        print(f"An epoch of 100 hours of speech: {100 * medians[OURS] / audio:.1f} hours ({OURS})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=7)
    parser.add_argument("--network", action="append", help="layers x units (default: 3x512 and 5x1024)")
    parser.add_argument("--without", action="append", default=[], help="leave a contender out")
    parser.add_argument("--contend", help=argparse.SUPPRESS)
    options = parser.parse_args()
    networks = [tuple(map(int, each.split("x"))) for each in options.network or ("3x512", "5x1024")]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    if options.contend:
        contend(options.contend, *networks[0])
        return
    names = [name for name in (PYTORCH, PADDED, OURS, JAX, PLAIN) if name not in options.without]
    for module, package in (("torch", "PyTorch"), ("jax", "JAX")):
        if importlib.util.find_spec(module) is None:
            names = [name for name in names if package not in name]
            print(f"{package} is not installed and left out; see the head of {Path(__file__).name}.")
    for layers, units in networks:
        told(measure(names, layers, units, options.rounds), layers, units)


if __name__ == "__main__":
    main()
