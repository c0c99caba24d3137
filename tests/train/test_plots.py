"""The plots of a run: what stands in the figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from deepspeech_train import models, plots, scoring
from deepspeech_train.checkpoints import Epoch
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.scoring import Transcription
from deepspeech_train.settings import Settings
from deepspeech_train.text import ENGLISH


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def _epoch(number: int, loss: float | None, wer: float | None) -> Epoch:
    return Epoch(number, 3, loss, None if wer is None else 2.0, wer, 1.0, 10.0, 0.0)


def _item(name: str, reference: str, hypothesis: str, speaker: str = "s") -> Transcription:
    utterance = Utterance(name, Path(), 1.0, reference, speaker)
    return Transcription(utterance, hypothesis, scoring.score(reference, hypothesis))


def _drawn(figure: Figure) -> str:
    """All the words of a figure, which is drawn for that."""
    figure.canvas.draw()
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    for axes in figure.axes:
        words += [axes.get_title(), axes.get_title(loc="left")]
        words += [label.get_text() for label in axes.get_yticklabels()]
    return "\n".join([figure.get_suptitle(), *words])


def test_the_learning_curve_passes_over_what_was_not_measured_and_marks_the_best() -> None:
    curve = [_epoch(1, 30.0, 0.9), _epoch(2, None, None), _epoch(3, 10.0, 0.25)]
    figure = plots.learning_curve(curve)
    losses, rates = figure.axes
    assert losses.lines[0].get_xydata().tolist() == [[1, 30], [3, 10]]
    assert rates.lines[0].get_xydata().tolist() == [[1, 0.9], [3, 0.25]]
    assert rates.get_legend().get_texts()[-1].get_text() == "best: 25.0 % in epoch 3"


@pytest.mark.parametrize("curve", [[], [_epoch(1, None, None)]])
def test_a_curve_without_a_point_is_drawn_all_the_same(curve: list[Epoch]) -> None:
    _drawn(plots.learning_curve(curve))


def test_the_errors_are_told_apart_by_length_speaker_and_word() -> None:
    items = [
        _item("a", "turn the light on", "turn a light", "anna"),
        _item("b", "go left", "go left now", "bert"),
        _item("c", "turn the fan on", "turn a fan on", ""),
    ]
    figure = plots.errors(items)
    told = _drawn(figure)
    assert "WER 40.0 %: 2 substituted, 1 deleted, 1 inserted of 10 words in 3 utterances" in told
    assert "2 to 3 words (1)\n4 to 7 words (2)" in told
    assert "anna (1)\nbert (1)\nnot known (1)" in told  # from the worst to the best
    assert "the → a\non → –\n– → now" in told
    by_length = figure.axes[0]
    widths = [[bar.get_width() for bar in kind] for kind in by_length.containers]
    assert widths == [[0, 2 / 8], [0, 1 / 8], [1 / 2, 0]]
    assert [kind[1].get_x() for kind in by_length.containers] == [0, 2 / 8, 3 / 8]  # one behind the other


def test_words_that_look_like_formulas_are_words() -> None:
    assert "$x_1$ → $" in _drawn(plots.errors([_item("a", "$x_1$ $", "$ $", "s$_$t")]))


def test_the_errors_of_a_set_without_any() -> None:
    assert "no errors" in _drawn(plots.errors([_item("a", "go", "go")]))


@pytest.mark.parametrize("items", [[], [_item("a", "", "go")]])
def test_the_errors_of_a_set_without_words(items: list[Transcription]) -> None:
    assert "no words" in _drawn(plots.errors(items))


def test_of_many_speakers_the_worst_are_shown() -> None:
    items = [_item(f"u{place}", "go " * 20, "go " * place, f"s{place:02d}") for place in range(20)]
    speakers = plots.errors(items).axes[1]
    assert [label.get_text() for label in speakers.get_yticklabels()] == [f"s{place:02d} (1)" for place in range(12)]
    assert speakers.get_title() == "by speaker, the worst 12 of 20"


def test_characters_stand_where_the_path_has_them() -> None:
    blank = ENGLISH.blank
    letter_a, space = ENGLISH.encode("a ").tolist()
    path = np.array([blank, letter_a, letter_a, blank, letter_a, space])
    probabilities = np.full((6, ENGLISH.size), 0.01)
    probabilities[np.arange(6), path] = [0.9, 0.5, 0.7, 0.9, 0.8, 0.6]
    _, axes = plt.subplots()
    plots._characters(axes, probabilities, path, ENGLISH, 0.04)
    assert [(text.get_text(), round(text.get_position()[0], 2)) for text in axes.texts] == [
        ("a", 0.1),
        ("a", 0.18),
        ("_", 0.22),
    ]


@pytest.fixture(scope="module")
def model(smoke_elsewhere: Settings) -> Any:
    return models.build(smoke_elsewhere)


def test_an_alignment_shows_the_spectrogram_and_the_characters_of_the_reference(
    smoke: Settings, model: Any, corpus: Any
) -> None:
    utterance = corpus.test[0]
    figure = plots.alignment(model, smoke, utterance)
    told = _drawn(figure)
    assert f"{utterance.id}\nRef: {utterance.text}\nHyp: " in told
    above, below = figure.axes
    letters = "".join(text.get_text() for text in below.texts).replace("_", "")
    assert letters == utterance.text.replace(" ", "")
    [picture] = above.images
    assert picture.get_array().shape[0] == 80
    assert below.get_xlim()[1] == pytest.approx(utterance.duration, abs=0.01)
    assert below.get_title(loc="left").startswith("aligned with the reference")
    assert max(text.get_position()[0] for text in below.texts) < utterance.duration


def test_a_text_that_no_path_spells_is_shown_as_it_was_heard(smoke: Settings, model: Any, corpus: Any) -> None:
    utterance = replace(corpus.test[0], text="go " * 400 + "ö")
    figure = plots.alignment(model, smoke, utterance)
    _drawn(figure)
    title = figure.axes[0].get_title(loc="left")
    assert max(map(len, title.splitlines())) == len("Ref: ") + 100
    assert figure.axes[1].get_title(loc="left").startswith("aligned with the hypothesis")


@pytest.mark.parametrize(
    ("name", "message"), [("gone.wav", "gone.wav"), ("kept.npy", "there are features, and no audio")]
)
def test_audio_that_cannot_be_shown_is_told_in_the_figure(
    smoke: Settings, model: Any, corpus: Any, tmp_path: Path, name: str, message: str
) -> None:
    told = _drawn(plots.alignment(model, smoke, replace(corpus.test[0], audio=tmp_path / name)))
    assert message in told
