"""Export: every format computes what the network does, and what surrounds it."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from deepspeech_train import computing, exporting, models
from deepspeech_train.checkpoints import Network
from deepspeech_train.data.features import Statistics
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.data.parts import spread
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.exporting import comparing, formats, frontend, onnx, portable
from deepspeech_train.models.layers import FrameMask
from deepspeech_train.models.recurrent import recurrent
from deepspeech_train.settings import Settings
from deepspeech_train.text import Alphabet

pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")
pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="formats are made on TensorFlow")

#: A layer of each kind: an LSTM in both directions, GRUs in one, convolutions.
NETWORKS = {
    "deepspeech1": {"model": "deepspeech1", "n_hidden": 8, "n_context": 2},
    "deepspeech2": {
        "model": "deepspeech2",
        "n_hidden": 6,
        "n_conv_channels": 2,
        "n_recurrent_layers": 2,
        "recurrent_cell": "gru",
        "bidirectional": 0,
        "n_row_context": 3,
        "n_stride": 1,
    },
    "fastconv": {"model": "fastconv", "n_hidden": 8, "n_blocks": 1, "n_stride": 3, "kernel_size": 4},
}


def network(name: str, **changes: Any) -> Network:
    """One whose every weight is another number, also those that are made zeros and ones."""
    settings = Settings.from_namespace({**NETWORKS[name], **changes}, {})
    model = models.build(settings)
    random = np.random.default_rng(5)
    for variable in model.weights:
        spread_of = random.normal(scale=0.5, size=variable.shape)
        variable.assign(np.abs(1 + spread_of) if "variance" in variable.path else variable.numpy() + spread_of)
    return Network(model, settings, None, models.stride(settings))


@pytest.fixture(scope="module")
def exported_to_all(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Network, exporting.Exported]]:
    """A network and its export, made when first asked for; int8, which converts like litert, of one alone."""

    @functools.cache
    def export(name: str) -> tuple[Network, exporting.Exported]:
        given = network(name)
        names = [each for each in exporting.FORMATS if name == "fastconv" or each != "litert-int8"]
        return given, exporting.export(given, tmp_path_factory.mktemp("export"), names, progress=False)

    return export


@pytest.fixture
def tiny() -> Network:
    return network("fastconv")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_format_computes_what_the_network_does(name: str, exported_to_all: Any) -> None:
    """Lengths that differ, so that some of a batch is padding; LiteRT takes one at a time, padded or not."""
    given, exported = exported_to_all(name)
    frames = np.array([31, 40, 7], np.int32)
    features = np.random.default_rng(1).normal(size=(3, 40, 26)).astype(np.float32)
    padded = features * (np.arange(40)[None, :] < frames[:, None])[:, :, None]
    expected = computing.forward(given.model).logits(padded, frames)
    outputs = models.output_frames(frames, given.stride)
    assert np.abs(expected).max() > 0.5  # a network that says nothing would pass
    for each in formats.chosen("savedmodel,litert,onnx"):
        run = each.load(exported.folder / each.path)
        for row, count in enumerate(outputs):
            of_batch = (
                run(padded, frames)[row] if each.batches else run(padded[row : row + 1], frames[row : row + 1])[0]
            )
            alone = run(features[row : row + 1, : frames[row]], frames[row : row + 1])[0]
            np.testing.assert_allclose(of_batch[:count], expected[row, :count], rtol=1e-3, atol=1e-4, err_msg=each.name)
            np.testing.assert_allclose(alone[:count], expected[row, :count], rtol=1e-3, atol=1e-4, err_msg=each.name)
    differences = {item.format: item.difference for item in exported.comparisons}
    if "litert-int8" in differences:
        assert 0 < differences["litert-int8"] < 0.2 * (1 + np.abs(expected).max())
    assert max(differences[each] for each in ("savedmodel", "litert", "onnx")) < 1e-3


@pytest.mark.parametrize("cells", [("gru", "lstm"), ("lstm", "gru")])
def test_recurrent_layers_of_both_kinds_in_one_direction_and_in_both(cells: tuple[str, str], tmp_path: Path) -> None:
    features, frames = keras.Input((None, 3), name="features"), keras.Input((), dtype="int32", name="frames")
    mask = FrameMask(1, name="mask")(features, frames)
    outputs = recurrent(4, cell=cells[0], bidirectional=True, seed=1, name="both")(features, mask=mask)
    outputs = recurrent(5, cell=cells[1], bidirectional=False, seed=2, name="one")(outputs, mask=mask)
    model = keras.Model({"features": features, "frames": frames}, outputs)
    random = np.random.default_rng(3)
    for variable in model.weights:
        variable.assign(variable.numpy() + random.normal(scale=0.3, size=variable.shape))
    lengths = np.array([9, 4, 6], np.int32)
    inputs = random.normal(size=(3, 9, 3)).astype(np.float32)
    expected = computing.forward(model).logits(inputs, lengths)
    (tmp_path / "model.onnx").write_bytes(onnx.converted(model))
    given = {"features": inputs, "frames": lengths}
    for found in (portable.portable(model)(given).numpy(), onnx.load(tmp_path / "model.onnx")(inputs, lengths)):
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(found[row, :length], expected[row, :length], rtol=1e-4, atol=1e-5)


def test_a_network_trained_in_bfloat16_is_exported_in_float32(tmp_path: Path) -> None:
    exported = exporting.export(network("fastconv", precision="bfloat16"), tmp_path, "savedmodel", progress=False)
    inexact = exported.comparisons[1].difference
    assert 0 < inexact < 1
    float32 = network("fastconv")
    run = exporting.FORMATS["savedmodel"].load(exported.folder)
    features = np.random.default_rng(1).normal(size=(1, 20, 26)).astype(np.float32)
    frames = np.array([20], np.int32)
    expected = float32.model({"features": features, "frames": frames}, training=False).numpy()
    np.testing.assert_allclose(run(features, frames), expected, rtol=1e-3, atol=1e-4)


def test_a_format_that_computes_something_else_is_not_exported(
    tiny: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a converter takes the gates in another order: the numbers look well and are wrong."""

    def wrong(path: Path) -> formats.Runner:
        return lambda features, frames: right(path)(features[:, ::-1], frames)

    right = formats.FORMATS["savedmodel"].load
    monkeypatch.setitem(formats.FORMATS, "savedmodel", dataclasses.replace(formats.FORMATS["savedmodel"], load=wrong))
    with pytest.raises(RecipeError, match="savedmodel does not compute what the trained one does") as caught:
        exporting.export(tiny, tmp_path, "savedmodel", progress=False)
    assert "leave the format out" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_broken_is_not_exported(tiny: Network, tmp_path: Path) -> None:
    tiny.model.weights[0].assign(np.full(tiny.model.weights[0].shape, np.nan))
    with pytest.raises(RecipeError, match="not finite"):
        exporting.export(tiny, tmp_path, "savedmodel", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_recurrent_layer_with_other_weights_is_told() -> None:
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, keras.layers.GRU(4, reset_after=False, return_sequences=True, name="old")(inputs))
    with pytest.raises(RecipeError, match=r"The layer old cannot be exported.*GRU with reset_after"):
        portable.portable(model)


def test_exports_are_numbered_and_earlier_ones_removed_when_told(tiny: Network, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    assert exporting.export(tiny, folder, progress=False).folder == folder / "1"
    (folder / "notes.txt").write_text("mine")
    (folder / "7").mkdir()  # not an export: stays
    assert exporting.export(tiny, folder, remove=True, progress=False).folder == folder / "2"
    assert sorted(path.name for path in folder.iterdir()) == ["2", "7", "notes.txt"]
    names = {path.name for path in (folder / "2").iterdir()}
    assert {"saved_model.pb", "frontend.json", "alphabet.txt", "comparison.json", "README.md"} <= names
    assert (folder / "2").stat().st_mode & 0o055 == 0o055  # a server may be another user
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecipeError, match="could not be exported"):
        exporting.export(tiny, tmp_path / "file", progress=False)


def test_speech_is_compared_and_told(tiny: Network, corpus: Any, tmp_path: Path) -> None:
    given = network("fastconv")
    bad = Utterance("bad-1", tmp_path / "absent.wav", 1.0, "yes", "s")
    exported = exporting.export(given, tmp_path / "to", "savedmodel", utterances=[*corpus.test, bad], progress=False)
    original, other = exported.comparisons
    assert (original.utterances, other.utterances) == (len(corpus.test), len(corpus.test))
    assert original.seconds == pytest.approx(sum(item.duration for item in corpus.test), rel=0.01)
    assert original.score == other.score
    assert original.score.words == sum(len(item.text.split()) for item in corpus.test)
    assert other.changed == 0
    content = json.loads((exported.folder / "comparison.json").read_text())
    assert [item["format"] for item in content["formats"]] == ["trained", "savedmodel"]
    assert content["formats"][1]["wer"] == original.score.wer
    files = [path for path in exported.folder.rglob("*") if path.is_file()]
    written = ("frontend.json", "alphabet.txt", "comparison.json", "README.md")
    assert content["formats"][1]["bytes"] == sum(path.stat().st_size for path in files if path.name not in written)
    assert "savedmodel" in exported.table()
    with pytest.raises(RecipeError, match="None of the 1 utterances"):
        exporting.export(given, tmp_path / "none", "savedmodel", utterances=[bad], progress=False)


@pytest.mark.parametrize(
    ("names", "told"),
    [("", "no format is named"), ("tflite", "no format 'tflite'"), (["onnx", "pmml"], "no format 'pmml'")],
)
def test_formats_that_are_none_are_told(names: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        exporting.check(names)
    assert "litert-int8" in caught.value.hint


def test_a_package_that_is_missing_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_installed", lambda package: package != "tf2onnx")
    with pytest.raises(SettingsError, match="onnx needs what is not installed: tf2onnx") as caught:
        exporting.check("savedmodel, onnx")
    assert "pip install" in caught.value.hint
    exporting.check("savedmodel,litert")


def test_another_process_exports_where_keras_is_on_another_backend(tiny: Network, tmp_path: Path) -> None:
    from deepspeech_train.exporting.elsewhere import export_on_tensorflow

    arguments = (tmp_path, "savedmodel", False, (), None, False)
    exported = export_on_tensorflow(tiny, *arguments)
    assert exported.folder == tmp_path / "1"
    run = exporting.FORMATS["savedmodel"].load(exported.folder)
    features, frames = np.ones((1, 20, 26), np.float32), np.array([20], np.int32)
    expected = tiny.model({"features": features, "frames": frames}, training=False).numpy()
    np.testing.assert_allclose(run(features, frames), expected, rtol=1e-4, atol=1e-5)


def test_the_front_end_is_read_as_it_was_written(tmp_path: Path) -> None:
    options = Settings.from_namespace({"features": "logmel", "n_input": 12}, {}).feature_options
    statistics = Statistics(np.arange(12, dtype=np.float32) / 3, np.ones(12, np.float32) / 7)
    front = frontend.Frontend(options, Alphabet(" abäß"), statistics, 2)
    front.save(tmp_path)
    again = frontend.load(tmp_path)
    assert (again.options, again.alphabet, again.stride) == (options, front.alphabet, 2)
    assert again.statistics is not None
    np.testing.assert_array_equal(again.statistics.mean, statistics.mean)
    np.testing.assert_array_equal(again.statistics.std, statistics.std)
    assert (tmp_path / "alphabet.txt").read_text() == " \na\nb\nä\nß\n"
    assert again.seconds_per_output == pytest.approx(0.04)
    logits = np.eye(6, dtype=np.float32)[[1, 1, 5, 1, 0, 0, 5, 2, 0]]  # the blank is the last
    assert again.text(logits) == "aa b"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": 2}', "{"])
def test_a_front_end_that_is_none_is_told(content: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"frontend\.json could not be read"):
        frontend.load(tmp_path)
    (tmp_path / "frontend.json").write_text(content)
    with pytest.raises(RecipeError, match=r"frontend\.json is not a front end"):
        frontend.load(tmp_path)


def test_a_part_is_spread_evenly(corpus: Any) -> None:
    items = corpus.train
    assert spread(items, 0) is items
    assert spread(items, 99) is items
    assert [item.id for item in spread(items, 3)] == [items[place].id for place in (0, 8, 16)]
    seconds = sum(item.duration for item in items)
    assert len(exporting.some(items, seconds / 3 - 0.01)) == 8
    assert exporting.some(items, seconds) is items
    assert len(exporting.some(())) == 0


def test_sizes_are_told_in_words() -> None:
    assert [comparing.size_text(count) for count in (900, 99_000, 1_536_000)] == ["0.9 kB", "99.0 kB", "1.5 MB"]


def test_what_the_card_says_of_loading_works_as_it_stands(
    exported_to_all: Any, corpus: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block of the card, run in the export's folder, one after the other."""
    pytest.importorskip("ai_edge_litert")
    given, exported = exported_to_all("fastconv")
    shutil.copy(corpus.test[0].audio, exported.folder / "speech.wav")
    monkeypatch.chdir(exported.folder)
    card = (exported.folder / "README.md").read_text()
    blocks = [part.split("```")[0] for part in card.split("```python\n")[1:]]
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    features = names["features"]
    inputs = {"features": features[None], "frames": np.array([len(features)], np.int32)}
    expected = names["front"].text(given.model(inputs, training=False).numpy()[0])
    assert expected
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert said[0] == said[1] == said[3] == expected  # the third has eight-bit weights
