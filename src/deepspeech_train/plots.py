"""Plots of a run: how it learnt, what the network heard in one utterance, and where its errors are.

Each function makes one matplotlib figure and returns it; a notebook shows it. What cannot be drawn (audio that is gone,
a set without errors) is said in the figure: a plot never ends a run.

>>> figure = learning_curve(progress.curve)  # doctest: +SKIP
>>> figure.savefig("curve.png")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import scoring
from .data import audio
from .data.features import FeatureOptions, Statistics, extract
from .data.loading import Loader, stored_features
from .data.manifest import Utterance
from .decoding import from_path, log_probabilities
from .decoding.alignment import best_path
from .errors import RecipeError
from .scoring import Part, Transcription
from .settings import Settings
from .text import Alphabet

if TYPE_CHECKING:
    from .checkpoints import Epoch

#: Substitutions, deletions, insertions: colours that the colour-blind can tell apart (Okabe and Ito, 2008).
_KINDS = (("substituted", "#0072B2"), ("deleted", "#E69F00"), ("inserted", "#009E73"))
_MOST_SPEAKERS = 12
_MOST_WORDS = 12
#: Characters of a text that a title has room for.
_MOST_CHARACTERS = 100
#: Mel bands, window and step (seconds) of the spectrogram: fine enough for the eye, whatever the network is given.
_SPECTROGRAM = {"n_input": 80, "window": 0.025, "step": 0.01}
#: The spectrogram's quietest tenth of a per cent is one colour, so that digital silence leaves some for speech.
_DARKEST = 0.1


def learning_curve(curve: Sequence[Epoch]) -> Figure:
    """Losses, and the word error rate of the validation set, by epoch; the best epoch is marked."""
    figure, (losses, rates) = plt.subplots(1, 2, figsize=(11, 3.5), layout="constrained")
    epochs = [line.epoch for line in curve]
    for label, values in (
        ("training", [line.train_loss for line in curve]),
        ("validation", [line.validation_loss for line in curve]),
    ):
        _line(losses, epochs, values, label)
    losses.set(xlabel="epoch", ylabel="CTC loss of an utterance", ylim=(0, None))
    if losses.lines:
        losses.legend()
    measured = [(line.epoch, line.validation_wer) for line in curve if line.validation_wer is not None]
    _line(rates, epochs, [line.validation_wer for line in curve], "validation")
    if measured:
        epoch, wer = min(measured, key=lambda point: point[1])
        rates.plot([epoch], [wer], "o", color="#D55E00", label=f"best: {scoring.percent(wer)} in epoch {epoch}")
        rates.legend()
    rates.set(xlabel="epoch", ylabel="word error rate", ylim=(0, None))
    rates.yaxis.set_major_formatter(lambda rate, _: f"{100 * rate:g} %")
    for axes in (losses, rates):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def alignment(model: Any, settings: Settings, utterance: Utterance, statistics: Statistics | None = None) -> Figure:
    """An utterance's log-mel spectrogram, and under it, on the same seconds, what the network makes of it.

    The line below a character is the probability that the network gives to it in each frame, on the likeliest path that
    spells the reference (the hypothesis, where no path does); the dotted one is that of the blank. ``statistics`` are
    those of the features, where they are normalised by corpus.
    """
    from . import models  # Keras takes seconds to load, and the other plots do not need it
    from .computing import forward

    figure, (above, below) = plt.subplots(
        2, 1, figsize=(11, 5), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    characters, stride = settings.characters, models.stride(settings)
    try:
        if stored_features(utterance):
            raise RecipeError(f"Of {utterance.id} there are features, and no audio that could be shown.")
        loaded = Loader(settings.feature_options, characters, stride, statistics).load(utterance, None)
        if loaded.example is None:
            raise RecipeError(f"{utterance.id} cannot be shown: {loaded.reason}")
        features = loaded.example.features
        length = np.array([len(features)], np.int32)
        logits = forward(model).logits(features[None], length)
        [log_probs] = log_probabilities(logits, np.array([-(-len(features) // stride)]), characters)
        samples = audio.load(utterance, settings.sample_rate)
    except RecipeError as error:
        _say(above, error.message)
        _say(below, error.hint)
        return figure
    seconds = settings.window_step * stride
    _spectrogram(above, samples, settings.sample_rate)
    heard = from_path(log_probs.argmax(axis=1), log_probs, characters, seconds).text
    text = " ".join(utterance.text.split())
    try:
        path, spelt = best_path(log_probs, text, characters), "reference"
    except RecipeError:  # a text that is too long for the audio, or of other characters
        path, spelt = log_probs.argmax(axis=1), "hypothesis"
    _characters(below, np.exp(log_probs), path, characters, seconds)
    title = f"{utterance.id}\nRef: {_shortened(text)}\nHyp: {_shortened(heard)}"
    above.set_title(title, loc="left", family="monospace", parse_math=False)
    below.set(xlabel="seconds", ylabel="probability", ylim=(0, 1.25), xlim=(0, len(samples) / settings.sample_rate))
    below.set_title(f"aligned with the {spelt}; dotted: blank", loc="left", fontsize="small", parse_math=False)
    return figure


def errors(transcriptions: Sequence[Transcription]) -> Figure:
    """The errors of a set by length, by speaker and by word, each told apart by kind."""
    figure, (lengths, speakers, words) = plt.subplots(1, 3, figsize=(13, 4.5), layout="constrained")
    total, interval = scoring.total(transcriptions), scoring.confidence_interval(transcriptions)
    between = f", {100 * interval.low:.1f} to {scoring.percent(interval.high)} by bootstrap" if interval else ""
    figure.suptitle(
        f"WER {scoring.percent(total.wer)}{between}: {total.substitutions} substituted, {total.deletions} deleted, "
        f"{total.insertions} inserted of {total.words} words in {len(transcriptions)} utterances"
    )
    _rates(lengths, "by length", [part for part in scoring.by_length(transcriptions) if part.score.words])
    by_speaker = [part for part in scoring.by_speaker(transcriptions) if part.score.words]
    by_speaker.sort(key=lambda part: (-(part.score.wer or 0), part.name))
    more = f", the worst {_MOST_SPEAKERS} of {len(by_speaker)}" if len(by_speaker) > _MOST_SPEAKERS else ""
    named = [replace(part, name=part.name or "not known") for part in by_speaker[:_MOST_SPEAKERS]]
    _rates(speakers, f"by speaker{more}", named)
    _words(words, scoring.confusions(transcriptions))
    if lengths.get_legend_handles_labels()[0]:
        lengths.legend(fontsize="small")
    return figure


def _line(axes: Axes, epochs: list[int], values: list[float | None], label: str) -> None:
    """A line through what was measured; epochs without a value are passed over."""
    points = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
    if points:
        axes.plot(*zip(*points, strict=True), marker=".", label=label)


def _spectrogram(axes: Axes, samples: npt.NDArray[np.float32], rate: int) -> None:
    bands = extract(samples, FeatureOptions("logmel", rate, normalisation="none", **_SPECTROGRAM))  # type: ignore[arg-type]
    extent = (0.0, len(samples) / rate, 0.0, float(bands.shape[1]))
    darkest = float(np.percentile(bands, _DARKEST))
    axes.imshow(bands.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=darkest)
    axes.set(ylabel="mel band")


def _characters(
    axes: Axes,
    probabilities: npt.NDArray[np.float64],
    path: npt.NDArray[np.integer[Any]],
    alphabet: Alphabet,
    seconds: float,
) -> None:
    """The probability of each output that ``path`` (frames,) takes, and over their stretches the characters."""
    at = (np.arange(len(path)) + 0.5) * seconds  # the middle of each frame
    axes.plot(at, probabilities[:, alphabet.blank], color="0.7", linestyle=":")
    colours = {output: f"C{place % 10}" for place, output in enumerate(sorted({*path.tolist()} - {alphabet.blank}))}
    for output, colour in colours.items():
        axes.plot(at, probabilities[:, output], color=colour, linewidth=1)
    starts = np.flatnonzero(np.r_[True, path[1:] != path[:-1]]) if len(path) else np.zeros(0, int)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(path)], strict=True):
        output = int(path[start])
        if output == alphabet.blank:
            continue
        # A space is no sign that could be seen.
        sign = alphabet.characters[output].replace(" ", "_")
        top = start + int(probabilities[start:end, output].argmax())
        axes.axvspan(start * seconds, end * seconds, color=colours[output], alpha=0.12, linewidth=0)
        axes.text(at[top], 1.05, sign, ha="center", color=colours[output], family="monospace", parse_math=False)


def _rates(axes: Axes, title: str, parts: Sequence[Part]) -> None:
    """Bars of error rates, the first part on top, each put together of the kinds of errors."""
    axes.set_title(title)
    if not parts:
        _say(axes, "no words")
        return
    places, left = np.arange(len(parts)), np.zeros(len(parts))
    for (label, colour), counts in zip(
        _KINDS,
        zip(*((p.score.substitutions, p.score.deletions, p.score.insertions) for p in parts), strict=True),
        strict=True,
    ):
        widths = np.array(counts) / [part.score.words for part in parts]
        axes.barh(places, widths, left=left, color=colour, label=label)
        left += widths
    axes.set_yticks(places, [f"{part.name} ({part.utterances})" for part in parts], parse_math=False)
    axes.set(xlabel="errors per word", xlim=(0, max(1.15 * left.max(), 0.01)))
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda rate, _: f"{100 * rate:g} %")


def _words(axes: Axes, found: scoring.Confusions) -> None:
    """Bars of the most frequent errors, whatever their kind."""
    axes.set_title("by word")
    entries = [
        *((count, f"{said} → {heard}", 0) for (said, heard), count in found.substitutions[:_MOST_WORDS]),
        *((count, f"{word} → –", 1) for word, count in found.deletions[:_MOST_WORDS]),
        *((count, f"– → {word}", 2) for word, count in found.insertions[:_MOST_WORDS]),
    ]
    entries = sorted(entries, key=lambda entry: (-entry[0], entry[1]))[:_MOST_WORDS]
    if not entries:
        _say(axes, "no errors")
        return
    axes.barh(
        range(len(entries)), [count for count, _, _ in entries], color=[_KINDS[kind][1] for _, _, kind in entries]
    )
    axes.set_yticks(range(len(entries)), [label for _, label, _ in entries], parse_math=False)
    axes.set(xlabel="times")
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 4] + " ..."


def _say(axes: Axes, message: str) -> None:
    """Words in place of a plot."""
    axes.text(0.5, 0.5, message, ha="center", va="center", wrap=True, transform=axes.transAxes, parse_math=False)
    axes.set_axis_off()
