"""The model card: what it says of the training, the results and the formats, and what it must not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspeech_train import models
from deepspeech_train.checkpoints import Network
from deepspeech_train.exporting.comparing import Comparison
from deepspeech_train.model_card import About, card
from deepspeech_train.scoring import Score
from deepspeech_train.settings import Settings

HYPER = {
    "context": {"time_finished": "2026-11-20T10:00:00+00:00", "git_hash": "a" * 40},
    "parameters": {
        "decoder": "beam",
        "data_set": {
            "name": "fsdd",
            "split": "speaker",
            "test_speaker": "theo",
            "train": "/home/ann/train.csv",
            "left_out": 3,
            "train_utterances": 2700,
            "train_hours": 0.32,
            "dev_utterances": 90,
            "dev_hours": 0.01,
            "test_utterances": 300,
            "test_hours": 0.04,
        },
    },
    "results": {"test_wer": 0.0123, "test_cer": 0.004, "words": 1200, "utterances": 300},
    "packages": {"tensorflow": "2.21.0"},
}


@pytest.fixture(scope="module")
def network() -> Network:
    settings = Settings.from_namespace({"model": "fastconv", "n_hidden": 12, "n_blocks": 1, "epochs": 17}, {})
    return Network(models.build(settings), settings, None, settings.n_stride)


def results(folder: Path, hyper: Any = HYPER) -> Path:
    """A result folder: in each of 40 utterances of ten words one to three are wrong, 20 speakers."""
    random = np.random.default_rng(1)
    line = {"deletions": 0, "insertions": 0, "words": 10}
    lines = [
        json.dumps({**line, "substitutions": int(random.integers(1, 4)), "speaker": f"s{place % 20}"})
        for place in range(40)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hyper.json").write_text(json.dumps(hyper))
    (folder / "utterances.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_card_tells_of_data_results_and_formats(network: Network, tmp_path: Path) -> None:
    about = About.of_results(results(tmp_path))
    assert about.interval is not None
    assert about.interval.drawn == "speakers"
    assert 0.1 < about.interval.low < about.interval.high < 0.3
    comparisons = [
        Comparison("trained", "the trained network", 4000, 12, 90.0, 0.0, 0, Score(100, 1, 1, 0, 500, 5), 50.0),
        Comparison("onnx", "ONNX", 5_000_000, 12, 90.0, 3.2e-6, 1, Score(100, 1, 2, 0, 500, 6), 80.0),
    ]
    text = card(network, about, comparisons)
    assert text.startswith("# fastconv, trained on fsdd\n")
    for part in (
        f"{network.model.count_params():,} parameters",
        "CC BY-SA 4.0",
        "| train | 2700 | 0.32 |",
        "3 training utterances could not be used",
        "Options of the importer: split=speaker, test_speaker=theo.",
        "**1.23 %**",
        "95 % interval 1",
        "bootstrap over 20 speakers",
        "decoder beam",
        "| ONNX | 5.0 MB | 3.2e-06 | 3.00 % | 1.20 % | 1 of 12 | 80 |",
        "1.5 minutes of speech",
        "onnxruntime",
        "## Use and limits",
        "| epochs | 17 |",
        "tensorflow 2.21.0",
        "Trained until 2026-11-20",
    ):
        assert part in text, part
    assert "Interpreter" not in text  # how to load what is not there
    assert "ann" not in text
    assert str(tmp_path) not in text
    assert str(Path.home()) + "/" not in text


def test_a_card_without_results_says_so(network: Network) -> None:
    text = card(network, About(), [])
    assert text.startswith("# fastconv\n")
    assert "Not known" in text
    assert "## Results" not in text


@pytest.mark.parametrize("hyper", [{}, [], {"parameters": None, "results": []}, {"parameters": {"data_set": "fsdd"}}])
def test_results_of_another_form_are_not_known(hyper: Any, network: Network, tmp_path: Path) -> None:
    assert "Not known" in card(network, About.of_results(results(tmp_path, hyper)), [])
    (tmp_path / "utterances.jsonl").write_text('{"words": "ten"}\n')
    assert About.of_results(tmp_path) == About()
    assert About.of_results(tmp_path / "absent") == About()


def test_the_results_are_found_from_the_checkpoint(tmp_path: Path) -> None:
    results(tmp_path / "run")
    (tmp_path / "run" / "checkpoints").mkdir()
    for path in ("run", "run/checkpoints", "run/checkpoints/best.npz", "run/last.npz"):
        assert About.of_checkpoint(tmp_path / path).hyper, path
    assert not About.of_checkpoint(tmp_path / "elsewhere" / "best.npz").hyper
