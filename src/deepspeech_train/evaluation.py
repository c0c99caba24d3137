"""The network on a set of utterances it does not learn from: loss, hypotheses, scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import computing, scoring, text
from .data.pipeline import Pipeline
from .decoding import Decoder
from .models import output_frames, stride
from .settings import Settings


@dataclass(frozen=True)
class Evaluation:
    """``loss`` is the mean CTC loss of the utterances for which one is defined (None: there is none, or it
    is not finite); ``transcriptions`` are in the order of the utterances; ``left_out`` are those whose audio could not
    be used, by name, with the reason."""

    loss: float | None
    transcriptions: tuple[scoring.Transcription, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def score(self) -> scoring.Score:
        return scoring.total(self.transcriptions)


class Evaluator:
    """Runs a network; keeps the compiled functions, so that each epoch's validation reuses them."""

    def __init__(self, model: Any, decoder: Decoder, settings: Settings) -> None:
        self._forward = computing.forward(model)
        self._decoder = decoder
        self._stride = stride(settings)

    def evaluate(self, pipeline: Pipeline, advance: Callable[[int], None] | None = None) -> Evaluation:
        """Every utterance whose audio can be read is decoded and scored, also those that are too short for their
        text. ``advance`` is told of how many more there are results."""
        losses: list[float] = []
        found: dict[str, scoring.Transcription] = {}
        with pipeline.evaluation_batches() as batches:
            for batch in batches:
                if not batch.count:
                    continue
                logits = self._forward.logits(batch.features, batch.frames)
                frames = np.asarray(output_frames(batch.frames, self._stride), np.int32)
                hypotheses = self._decoder.decode(logits[: batch.count], frames[: batch.count])
                for utterance, hypothesis in zip(batch.utterances, hypotheses, strict=True):
                    scored = scoring.score(utterance.text, hypothesis.text)
                    found[utterance.id] = scoring.Transcription(
                        utterance, hypothesis.text, scored, hypothesis.confidence
                    )
                needed = np.array([text.frames_needed(utterance.text) for utterance in batch.utterances])
                known = batch.label_lengths[: batch.count] > 0  # the kernel refuses a batch with others
                rows = known & (needed > 0) & (needed <= frames[: batch.count])
                if rows.any():
                    # Others are given no labels, so that the shape is the batch's own and is compiled once.
                    lengths = np.zeros_like(batch.label_lengths)
                    lengths[: batch.count][rows] = batch.label_lengths[: batch.count][rows]
                    of_batch = self._forward.losses(logits, frames, batch.labels, lengths)
                    losses += of_batch[: batch.count][rows].tolist()
                if advance is not None:
                    advance(batch.count)
        mean = float(np.mean(losses)) if losses else None
        return Evaluation(
            loss=mean if mean is not None and np.isfinite(mean) else None,
            transcriptions=tuple(found[item.id] for item in pipeline.utterances if item.id in found),
            left_out=dict(pipeline.left_out),
        )
