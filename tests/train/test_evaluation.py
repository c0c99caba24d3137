"""What a run leaves behind: results, report, export."""

from __future__ import annotations

import dataclasses
import json
import re
import resource
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deepspeech_train import checkpoints, files, models, results, run, scoring
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.settings import Settings
from deepspeech_wer.results import hyper as tracker_hyper


@dataclasses.dataclass(frozen=True)
class Finished:
    settings: Settings
    folder: Path
    hyper: dict[str, Any]


@pytest.fixture(scope="module")
def finished(smoke_elsewhere: Settings, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A whole run inside a git repository, with a result folder of its own and an export."""
    folder = tmp_path_factory.mktemp("run")
    git = ("git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    for arguments in (("init", "-q", "-b", "trunk"), ("commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    settings = dataclasses.replace(
        smoke_elsewhere,
        logs_dir=folder / "logs",
        result_dir=folder / "result",
        export_dir=folder / "export",
        epochs=2,
        limit_train=20,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run.run(settings) == folder / "result"
    return Finished(settings, folder, json.loads((folder / "result" / "hyper.json").read_text()))


def test_hyper_json_is_what_the_tracker_takes(finished: Finished) -> None:
    text = (finished.folder / "result" / "hyper.json").read_text()
    assert tracker_hyper.parse(text) == finished.hyper
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=finished.folder, capture_output=True, text=True)
    assert finished.hyper["context"]["git_hash"] == head.stdout.strip()
    assert finished.hyper["context"]["git_branch"] == "trunk"


def test_hyper_json_keeps_the_names_of_2016_and_adds_its_own(finished: Finished) -> None:
    hyper = finished.hyper
    parameters = hyper["parameters"]
    legacy = (
        "beta1 beta2 data_set dev_batch_size dropout_rate epochs epsilon learning_rate n_cell_dim n_character "
        "n_context n_hidden_1 n_hidden_2 n_hidden_3 n_hidden_5 n_hidden_6 n_input relu_clip test_batch_size "
        "total_batches_test total_batches_train total_batches_validation train_batch_size validation_step"
    )
    assert set(legacy.split()) <= parameters.keys()
    assert (parameters["n_hidden_1"], parameters["n_cell_dim"], parameters["n_character"]) == (16, 16, 29)
    assert (parameters["total_batches_train"], parameters["total_batches_test"]) == (5, 1)
    assert parameters["data_set"]["name"] == "espeak"
    assert parameters["data_set"]["train_utterances"] == 20
    assert parameters["data_set"]["test_utterances"] == 8

    numbers = hyper["results"]
    assert numbers["utterances"] == 8
    edits = numbers["substitutions"] + numbers["deletions"] + numbers["insertions"]
    assert numbers["test_wer"] == pytest.approx(edits / numbers["words"], abs=1e-6)
    assert numbers["last_train_wer"] >= 0
    assert numbers["last_validation_wer"] == hyper["learning_curve"][-1]["validation_wer"]
    started, ended = (datetime.fromisoformat(hyper["context"][f"time_{at}"]) for at in ("started", "finished"))
    assert str(started.tzinfo) == "UTC"
    assert numbers["duration"] == (ended - started).total_seconds()
    assert (hyper["version"], hyper["seed"], len(hyper["learning_curve"])) == (2, 11, 2)
    assert hyper["machine"]["cores"] >= 1
    assert hyper["packages"]["tensorflow"] == tf.__version__


def test_hyper_json_tells_nothing_of_who_ran_it_where(finished: Finished) -> None:
    text = json.dumps(finished.hyper)
    for private in (str(finished.folder), str(finished.settings.dataset_path), str(Path.home()) + "/", "Ann"):
        assert private not in text
    assert not re.search(r'"[^"]*_(dir|path)"', text)


def test_utterances_jsonl_adds_up_to_the_results(finished: Finished) -> None:
    lines = (finished.folder / "result" / "utterances.jsonl").read_text().splitlines()
    utterances = [json.loads(line) for line in lines]
    assert len(utterances) == 8
    for name in ("words", "substitutions", "deletions", "insertions"):
        assert sum(utterance[name] for utterance in utterances) == finished.hyper["results"][name]
    for utterance in utterances:
        again = scoring.score(utterance["reference"], utterance["hypothesis"])
        assert (again.words, again.substitutions) == (utterance["words"], utterance["substitutions"])
        assert utterance["speaker"]
        assert utterance["duration"] > 0.1


def test_nothing_half_written_is_left(finished: Finished) -> None:
    names = sorted(path.name for path in (finished.folder / "result").iterdir())
    assert names == ["hyper.json", "learning.jsonl", "utterances.jsonl"]
    assert sorted(path.name for path in (finished.folder / "export").iterdir()) == ["1"]


def test_the_export_gives_the_logits_of_the_tested_network(finished: Finished) -> None:
    served = tf.saved_model.load(finished.folder / "export" / "1")
    model = models.build(finished.settings)
    [logs] = (finished.folder / "logs").iterdir()
    saved = np.load(logs / "checkpoints" / checkpoints.BEST)
    assert json.loads(str(saved["progress"]))["epoch"] == finished.hyper["results"]["tested_epoch"]
    for place, variable in enumerate(model.variables):
        variable.assign(saved[f"model/{place:03d}"])
    features = np.random.default_rng(0).normal(size=(2, 30, 26)).astype(np.float32)
    inputs = {"features": tf.constant(features), "frames": tf.constant([30, 30], tf.int32)}
    np.testing.assert_allclose(
        served.serve(inputs).numpy(), model(inputs, training=False).numpy(), rtol=1e-4, atol=1e-5
    )


def test_limits_take_a_part_that_the_seed_chooses(smoke: Settings, corpus: Any) -> None:
    def names(**changes: int) -> list[str]:
        part = run.load_corpus(dataclasses.replace(smoke, **changes)).train
        return [utterance.id for utterance in part]

    everyone = [utterance.id for utterance in corpus.train]
    assert names() == everyone
    assert names(limit_train=1000) == everyone
    assert names(limit_train=5) == names(limit_train=5)
    assert names(limit_train=5) != names(limit_train=5, random_seed=12)
    assert [name for name in everyone if name in names(limit_train=5)] == names(limit_train=5)


def test_outside_a_repository_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert results._git("rev-parse", "HEAD") == "unknown"


def test_two_runs_in_one_second_have_two_folders(smoke: Settings) -> None:
    first, second = run.begin(smoke), run.begin(smoke)
    assert first.folders.result != second.folders.result
    assert first.folders.result.is_dir()
    assert second.folders.result.is_dir()


def test_its_folders_are_the_runs_alone_until_it_is_finished(finished: Finished, smoke: Settings) -> None:
    code = "import sys, pathlib, deepspeech_train.files as f; print(*(f.claim(pathlib.Path(p)) for p in sys.argv[1:]))"

    def free(*folders: Path) -> list[str]:
        command = [sys.executable, "-c", code, *map(str, folders)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert free(finished.folder / "result", finished.folder / "export") == ["True", "True"]
    begun = run.begin(
        dataclasses.replace(smoke, result_dir=smoke.logs_dir / "one", checkpoint_dir=smoke.logs_dir / "two")
    )
    assert free(smoke.logs_dir, begun.folders.result, begun.folders.checkpoints) == ["True", "False", "False"]
    files.let_go()
    assert free(begun.folders.result, begun.folders.checkpoints) == ["True", "True"]


@pytest.mark.parametrize("setting", ["logs_dir", "result_dir", "checkpoint_dir", "export_dir"])
@pytest.mark.parametrize("place", ["file", "file/inside", "/proc"])
def test_a_folder_that_cannot_be_written_is_told_before_training(
    smoke: Settings, tmp_path: Path, setting: str, place: str
) -> None:
    """/proc is there, and refuses files even to root."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match=rf"^{setting} = .*cannot be made or written") as caught:
        run.begin(dataclasses.replace(smoke, **{setting: tmp_path / place}))  # type: ignore[arg-type]
    assert f"ds_{setting}" in caught.value.hint


def test_a_checkpoint_folder_that_is_not_used_need_not_be_writable(smoke: Settings) -> None:
    run.begin(dataclasses.replace(smoke, checkpoint_dir=Path("/proc"), checkpoint_step=0))


def test_a_failed_export_loses_no_results(smoke: Settings, tmp_path: Path) -> None:
    """No file may grow beyond a limit that the results keep and a model does not, as on a full disk."""
    settings = dataclasses.replace(smoke, export_dir=tmp_path / "export", epochs=1, n_hidden=64)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    begun = run.begin(settings)
    data = run.load_data(settings, run.load_corpus(settings))
    model = models.build(settings)
    tested = run.test(begun, model, data)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(RecipeError, match="could not be exported") as caught:
            run.finish(begun, model, data, checkpoints.Progress(), tested)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(begun.folders.result) in caught.value.hint
    tracker_hyper.parse((begun.folders.result / "hyper.json").read_text())
    assert list((tmp_path / "export").iterdir()) == []
