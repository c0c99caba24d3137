"""The verbs evaluate and export: a checkpoint on any manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepspeech_train import checkpoints, cli, models, scoring
from deepspeech_train.checkpoints import Progress
from deepspeech_train.data.manifest import Utterance, write_manifest
from deepspeech_train.settings import Settings


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its training was asked for an early stop without validation, which is refused today and harms no recognition."""
    values = {"model": "fastconv", "n_hidden": 12, "n_blocks": 1, "early_stop": 3, "validation_step": 0}
    settings = Settings.from_namespace(values, {})
    model = models.build(settings)
    for variable in model.trainable_variables:
        variable.assign(2 * variable.numpy())
    folder = tmp_path_factory.mktemp("checkpoint")
    variables = {f"model/{place:03d}": variable for place, variable in enumerate(model.variables)}
    checkpoints.save(folder / "last.npz", variables, Progress(), settings, None)
    return folder


@pytest.fixture
def manifest(corpus: Any, tmp_path: Path) -> Path:
    """The test set and an utterance whose audio is gone."""
    bad = Utterance("gone-1", tmp_path / "gone.wav", 1.0, "yes", "s")
    write_manifest(tmp_path / "test.jsonl", [*corpus.test, bad])
    return tmp_path / "test.jsonl"


def test_the_report_the_json_and_the_hypotheses_are_of_the_same_utterances(
    checkpoint: Path, manifest: Path, corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = ["--json", str(tmp_path / "scores.json"), "--hypotheses", str(tmp_path / "hyp.jsonl")]
    assert cli.main(["evaluate", str(checkpoint), str(manifest), *written, "--listing", "1"]) == 0
    said = capsys.readouterr()
    assert "1 utterances could not be used" in said.err
    assert "gone-1: " in said.err
    lines = [json.loads(line) for line in (tmp_path / "hyp.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [item.id for item in corpus.test]
    total = scoring.Score()
    for line, utterance in zip(lines, corpus.test, strict=True):
        score = scoring.score(utterance.text, line["hypothesis"])
        assert (line["reference"], line["words"]) == (utterance.text, score.words)
        total += score
    found = json.loads((tmp_path / "scores.json").read_text())
    assert (found["wer"], found["words"], found["utterances"]) == (total.wer, total.words, len(lines))
    assert list(found["left_out"]) == ["gone-1"]
    assert found["decoder"] == "greedy"
    assert f"WER {scoring.percent(total.wer, 2)}" in said.out
    assert "Worst 1" in said.out
    # What was written is what the verb score reads.
    assert cli.main(["score", str(tmp_path / "hyp.jsonl")]) == 0
    assert f"WER {scoring.percent(total.wer, 2)}" in capsys.readouterr().out


def test_a_limit_and_another_decoder(
    checkpoint: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_decoder", "beam")
    monkeypatch.setenv("ds_beam_width", "4")
    arguments = ["--limit", "4", "--json", str(tmp_path / "scores.json"), "--set", "test_batch_size=2"]
    assert cli.main(["evaluate", str(checkpoint / "last.npz"), str(manifest), *arguments]) == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    assert (found["decoder"], found["utterances"] + len(found["left_out"])) == ("beam", 4)


def test_a_setting_of_another_decoder_is_told_to_have_no_effect(
    checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(checkpoint), str(manifest), "--limit", "2", "--set", "lm_alpha=2"]) == 0
    assert "lm_alpha = 2.0 has no effect: decoder = greedy." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--limit", "-1"], 2, "--limit -1 is below 0"),
        (["--set", "features=logmel"], 2, "features cannot be set here"),
        (["--json", "/proc/x.json"], 1, "/proc/x.json could not be written"),
    ],
)
def test_what_cannot_be_is_told(
    arguments: list[str], code: int, told: str, checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(checkpoint), str(manifest), *arguments]) == code
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


def test_a_manifest_of_which_nothing_can_be_used_ends_with_1(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(tmp_path / "gone.jsonl", [Utterance("gone-1", tmp_path / "gone.wav", 1.0, "yes", "s")])
    assert cli.main(["evaluate", str(checkpoint), str(tmp_path / "gone.jsonl")]) == 1
    said = capsys.readouterr().err
    assert "None of the 1 utterances" in said
    assert "gone-1" in said
    assert cli.main(["evaluate", str(checkpoint), str(tmp_path / "absent.jsonl")]) == 1
    assert "absent.jsonl" in capsys.readouterr().err


def test_a_checkpoint_is_exported_and_compared_on_a_manifest(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(checkpoint), "--to", str(tmp_path / "to"), "--compare", str(manifest), "--limit", "3"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert str(tmp_path / "to" / "1") in said.out
    found = json.loads((tmp_path / "to" / "1" / "comparison.json").read_text())["formats"]
    assert [item["format"] for item in found] == ["trained", "savedmodel"]
    assert found[1]["utterances"] == 3
    assert found[1]["changed_transcripts"] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "There is no speech to compare"),
        (["--compare", "none", "--formats", "tflite"], "there is no format 'tflite'"),
        (["--compare", "none", "--limit", "-2"], "--limit -2 is below 0"),
    ],
)
def test_an_export_that_cannot_be_ends_with_2(
    arguments: list[str],
    told: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ds_importer", raising=False)
    assert cli.main(["export", str(checkpoint), "--to", str(tmp_path / "to"), *arguments]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
    assert not (tmp_path / "to").exists()
