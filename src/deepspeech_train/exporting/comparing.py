"""Comparison: each exported network, loaded again, against the one it was made from, on the same speech.

A conversion can be wrong and still look right: a wrong order of gates or a lost mask gives plausible nonsense, on some
utterances alone. So every artefact is run on real utterances, batched with padding where it takes batches: how far its
logits are from the network's at most, on how many utterances the recognised text is another, and what its word error
rate is. Recognition is by the best path for all. With no utterances at hand, noise is run, so that each is loaded and
run at least.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import computing, scoring
from ..checkpoints import Network
from ..corpora._progress import Progress
from ..data.batches import Batch, Batching
from ..data.manifest import Utterances
from ..data.pipeline import Pipeline
from ..errors import RecipeError
from ..models import output_frames
from .formats import Floats, Format, Ints, Runner
from .frontend import Frontend

#: What float32 may come to, other orders of summation given, as a share of the largest logit.
TOLERANCE = 0.01
_ROWS = 8


@dataclass(frozen=True)
class Comparison:
    """``difference`` is the largest of a logit; ``changed`` counts the utterances with another text than the network's;
    ``speed`` is seconds of audio a second of computing. The first of a table is the network itself (``"trained"``)."""

    format: str
    title: str
    bytes: int
    utterances: int
    seconds: float
    difference: float
    changed: int
    score: scoring.Score
    speed: float | None

    def as_json(self) -> dict[str, Any]:
        """What :func:`json.dumps` takes."""
        return {
            "format": self.format,
            "bytes": self.bytes,
            "utterances": self.utterances,
            "seconds": round(self.seconds, 3),
            "max_logit_difference": float(f"{self.difference:.3g}"),
            "changed_transcripts": self.changed,
            "wer": self.score.wer,
            "cer": self.score.cer,
            "edits": self.score.edits,
            "words": self.score.words,
            "audio_seconds_per_second": self.speed and round(self.speed, 1),
        }


def compare(
    network: Network,
    front: Frontend,
    artefacts: Sequence[tuple[Format, Path, int]],
    utterances: Utterances,
    progress: Progress,
) -> tuple[Comparison, ...]:
    """The network and each artefact (format, path, bytes) on ``utterances``; those whose audio cannot be used are left
    out by name.

    RecipeError for an artefact whose logits are not finite, or which is exact but differs by more than TOLERANCE from a
    network trained in float32.
    """
    forward = computing.forward(network.model)
    size = 4 * network.model.count_params()
    rows = [_Row("trained", "the trained network", size, forward.logits, batches=True)]
    rows += [_Row(each.name, each.title, held, each.load(path), each.batches) for each, path, held in artefacts]
    exact = {each.name for each, _, _ in artefacts if each.exact and network.settings.precision == "float32"}
    if len(utterances):
        _run_speech(network, front, rows, utterances, progress)
    else:
        _run_noise(network, rows)
    if not np.isfinite(rows[0].largest):
        raise RecipeError(
            "The network cannot be exported: its outputs are not finite numbers.",
            "Its training went wrong; take an earlier checkpoint.",
        )
    for row in rows[1:]:
        off = not np.isfinite(row.difference)
        if off or (row.name in exact and row.difference > TOLERANCE * (1 + rows[0].largest)):
            raise RecipeError(
                f"The network exported to {row.name} does not compute what the trained one does: its logits, up to "
                f"{rows[0].largest:.3g}, differ by {row.difference:.3g}.",
                "This is an error of the conversion: leave the format out of the export, and please report it.",
            )
    return tuple(row.comparison() for row in rows)


def table(comparisons: Sequence[Comparison], markdown: bool = False) -> str:
    """The comparisons as lines for people, or as a Markdown table."""
    header = ("format", "size", "largest logit difference", "WER", "CER", "texts changed", "x real time")
    lines = [header]
    for item in comparisons:
        first = item.format == "trained"
        lines.append(
            (
                item.title if markdown else item.format,
                size_text(item.bytes),
                "-" if first else f"{item.difference:.2g}",
                scoring.percent(item.score.wer, 2),
                scoring.percent(item.score.cer, 2),
                "-" if first or not item.utterances else f"{item.changed} of {item.utterances}",
                f"{item.speed:.0f}" if item.speed else "-",
            )
        )
    if markdown:
        rule = "|".join(["---", *["---:"] * (len(header) - 1)])
        body = [f"| {' | '.join(line)} |" for line in lines]
        return "\n".join([body[0], f"|{rule}|", *body[1:]])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def size_text(count: int) -> str:
    """``1536000`` as ``1.5 MB``."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


class _Row:
    """What is gathered of one network."""

    def __init__(self, name: str, title: str, size: int, run: Runner, batches: bool) -> None:
        self.name, self.title, self.size = name, title, size
        self._run, self._batches = run, batches
        self.largest = self.difference = self.seconds = 0.0
        self._computing = self._audio = 0.0
        self.changed = self.utterances = 0
        self.score = scoring.Score()
        self._warm = False

    def logits(self, features: Floats, frames: Ints, seconds: float) -> Floats:
        """Logits of a batch; the first call, in which things are set up, is not counted in the speed."""
        started = time.perf_counter()
        if self._batches:
            result = self._run(features, frames)
        else:
            each = [
                self._run(features[row : row + 1, : max(1, int(count))], frames[row : row + 1])[0]
                for row, count in enumerate(frames)
            ]
            result = np.zeros((len(each), max(map(len, each)), each[0].shape[1]), np.float32)
            for row, one in enumerate(each):
                result[row, : len(one)] = one
        if self._warm:
            self._computing += time.perf_counter() - started
            self._audio += seconds
        self._warm = True
        return result

    def comparison(self) -> Comparison:
        return Comparison(
            format=self.name,
            title=self.title,
            bytes=self.size,
            utterances=self.utterances,
            seconds=self.seconds,
            difference=self.difference,
            changed=self.changed,
            score=self.score,
            speed=self._audio / self._computing if self._computing and self._audio else None,
        )


def _run_speech(
    network: Network, front: Frontend, rows: Sequence[_Row], utterances: Utterances, progress: Progress
) -> None:
    pipeline = Pipeline(
        utterances,
        options=front.options,
        alphabet=front.alphabet,
        stride=network.stride,
        batching=Batching(_ROWS),
        seed=network.settings.random_seed,
        statistics=network.statistics,
    )
    with (
        progress.steps("comparing", len(utterances), "utterances") as advance,
        pipeline.evaluation_batches() as batches,
    ):
        for batch in batches:
            _run_batch(network, front, rows, batch)
            advance(batch.count)
    for name, reason in pipeline.left_out.items():
        progress.say(f"{name} left out of the comparison: {reason}")
    if not rows[0].utterances:
        raise RecipeError(
            f"None of the {len(utterances)} utterances to compare on could be used.",
            f"The first: {next(iter(pipeline.left_out.items()), '')}.",
        )


def _run_batch(network: Network, front: Frontend, rows: Sequence[_Row], batch: Batch) -> None:
    outputs = np.asarray(output_frames(batch.frames, network.stride))
    texts: list[str] = []
    reference: Floats | None = None
    for row in rows:
        logits = row.logits(batch.features[: batch.count], batch.frames[: batch.count], batch.duration)
        for place, utterance in enumerate(batch.utterances):
            real = logits[place, : outputs[place]]
            text = front.text(real)
            if reference is None:
                texts.append(text)
            else:
                row.difference = _largest(row.difference, real - reference[place, : outputs[place]])
                row.changed += text != texts[place]
            row.largest = _largest(row.largest, real)
            row.score += scoring.score(utterance.text, text)
            row.utterances += 1
        row.seconds += batch.duration
        reference = logits if reference is None else reference


def _run_noise(network: Network, rows: Sequence[_Row]) -> None:
    """Two utterances of noise, one shorter than the other."""
    frames = np.array([90, 141], np.int32)
    size = network.settings.feature_options.size
    features = np.random.default_rng(0).normal(size=(2, int(frames.max()), size)).astype(np.float32)
    features[0, frames[0] :] = 0
    outputs = np.asarray(output_frames(frames, network.stride))
    reference: Floats | None = None
    for row in rows:
        logits = row.logits(features, frames, 0.0)
        reference = logits if reference is None else reference
        for place, count in enumerate(outputs):
            row.difference = _largest(row.difference, logits[place, :count] - reference[place, :count])
            row.largest = _largest(row.largest, logits[place, :count])


def _largest(before: float, values: Floats) -> float:
    """The largest magnitude; not a number stays one."""
    return float(np.max(np.abs(values), initial=before))
