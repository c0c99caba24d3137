"""The notebook runs from top to bottom without a person."""

from __future__ import annotations

import ast
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import nbformat

import support
from deepspeech_train.settings import Settings

NOTEBOOK = support.ROOT / "templates" / "notebook" / "DeepSpeech.ipynb"


def test_the_notebook_is_valid_and_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_the_parameters_cell_is_plain_assignments_of_settings() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].metadata.tags == ["parameters"]
    values = {}
    for statement in ast.parse(code[0].source).body:
        assert isinstance(statement, ast.Assign)
        [target] = statement.targets
        assert isinstance(target, ast.Name)
        values[target.id] = ast.literal_eval(statement.value)
    settings = Settings.from_namespace(values, {})
    assert {name: getattr(settings, name) for name in values} == values
    # Without augmentation, features are the same whether they are kept or made anew.
    trained = dataclasses.replace(settings, feature_cache=False)
    assert trained == Settings.from_namespace({}, {}), "deepspeech-train run trains what the notebook trains"


def test_the_notebook_runs_headlessly(smoke_environment: dict[str, str], dataset_path: Path, tmp_path: Path) -> None:
    environment = smoke_environment | {
        "ds_dataset_path": str(dataset_path),
        "ds_logs_dir": str(tmp_path / "logs"),
        "ds_result_dir": str(tmp_path / "result"),
        "ds_epochs": "1",
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", str(NOTEBOOK)]
    command += ["--output-dir", str(tmp_path), "--output", "done.ipynb"]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    hyper = json.loads((tmp_path / "result" / "hyper.json").read_text())
    assert hyper["results"]["utterances"] == 8
    assert hyper["parameters"]["n_hidden"] == 16  # the environment has the last word
    outputs = [output for cell in nbformat.read(tmp_path / "done.ipynb", 4).cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert "Test: 8 utterances" in text
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3  # the learning curve, the alignment, the errors
