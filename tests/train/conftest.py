"""A tiny real corpus, and what the tests of training share."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from deepspeech_train import corpora
from deepspeech_train.settings import Settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: Few utterances and a small network: a training run of a second or two.
SMOKE = {
    "corpus_options": "train_utterances=24,dev_utterances=6,test_utterances=8",
    "n_hidden": 16,
    "n_context": 3,
    "epochs": 3,
    "train_batch_size": 4,
    "learning_rate": 0.01,
    "random_seed": 11,
}


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the tests' corpora are imported."""
    return tmp_path_factory.mktemp("corpora")


@pytest.fixture(scope="session")
def corpus(dataset_path: Path) -> Any:
    """24, 6 and 8 utterances of real synthesised speech."""
    options = Settings.from_namespace(SMOKE, {}).importer_options
    return corpora.load("espeak", dataset_path, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def smoke_elsewhere(dataset_path: Path) -> Settings:
    """Settings of a quick run, whose ``logs_dir`` is still to be set."""
    return dataclasses.replace(Settings.from_namespace(SMOKE, {}), dataset_path=dataset_path)


@pytest.fixture
def smoke(smoke_elsewhere: Settings, tmp_path: Path) -> Settings:
    """Settings of a quick run that writes under ``tmp_path``."""
    return dataclasses.replace(smoke_elsewhere, logs_dir=tmp_path / "logs")


@pytest.fixture(scope="session")
def smoke_environment() -> dict[str, str]:
    """The same as ``ds_*`` variables, for runs in another process; nothing else of ``ds_`` is passed on."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("ds_")}
    return outer | {f"ds_{name}": str(value) for name, value in SMOKE.items()}
