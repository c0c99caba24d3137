"""The network on a set of utterances it does not learn from: loss, hypotheses, scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from . import ctc, decoding, scoring, text
from .data.batches import Example, collate, evaluation_order, output_frames


@dataclass(frozen=True)
class Evaluation:
    """``loss`` is the mean CTC loss of the utterances for which one is defined (None: there is none, or it
    is not finite); ``transcriptions`` are in the order of the examples."""

    loss: float | None
    transcriptions: tuple[scoring.Transcription, ...]

    @property
    def score(self) -> scoring.Score:
        return scoring.total(self.transcriptions)


class Evaluator:
    """Runs a network; keeps the compiled functions, so that each epoch's validation reuses them."""

    def __init__(self, model: Any, n_stride: int) -> None:
        self._n_stride = n_stride
        floats, ints = tf.TensorSpec((None, None, None)), tf.TensorSpec((None,), tf.int32)

        def forward(features: Any, frames: Any) -> Any:
            return model({"features": features, "frames": frames}, training=False)

        self._forward = tf.function(forward, input_signature=[floats, ints])
        self._loss = tf.function(ctc.loss, input_signature=[floats, ints, tf.TensorSpec((None, None), tf.int32), ints])

    def evaluate(self, examples: Sequence[Example], batch_size: int) -> Evaluation:
        """Every example is decoded and scored, also those that are too short for their text."""
        losses: list[float] = []
        hypotheses: dict[int, str] = {}
        for places in evaluation_order([len(example.features) for example in examples], batch_size):
            batch = collate([examples[place] for place in places])
            logits = self._forward(batch.features, batch.frames)
            frames = np.array([output_frames(int(n), self._n_stride) for n in batch.frames], np.int32)
            hypotheses |= zip(places.tolist(), decoding.greedy(logits.numpy(), frames), strict=True)
            needed = np.array([text.frames_needed(example.labels) for example in batch.examples])
            rows = np.flatnonzero((needed > 0) & (needed <= frames))  # the kernel refuses a batch with others
            if rows.size:
                of_rows = (frames[rows], batch.labels[rows], batch.label_lengths[rows])
                losses += self._loss(tf.gather(logits, rows), *of_rows).numpy().tolist()
        mean = float(np.mean(losses)) if losses else None
        return Evaluation(
            loss=mean if mean is not None and np.isfinite(mean) else None,
            transcriptions=tuple(
                scoring.Transcription(
                    example.utterance,
                    hypotheses[place],
                    scoring.score(example.utterance.text, hypotheses[place]),
                )
                for place, example in enumerate(examples)
            ),
        )
