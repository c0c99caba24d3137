"""Training: fresh, stopped, resumed, and with a batch that would destroy it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import support
from deepspeech_train import decoding, models, run, schedules, training
from deepspeech_train.checkpoints import Progress
from deepspeech_train.data.batches import Batch
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.evaluation import Evaluator
from deepspeech_train.settings import Settings


def _train(settings: Settings, corpus: Any) -> tuple[Progress, run.Run, Any]:
    begun = run.begin(settings)
    model = models.build(settings)
    return run.train(begun, model, run.load_data(settings, corpus)), begun, model


def _losses(progress: Progress) -> list[tuple[float | None, float | None, float | None]]:
    return [(line.train_loss, line.validation_loss, line.validation_wer) for line in progress.curve]


def _weights(model: Any) -> list[np.ndarray]:
    return [np.asarray(variable.value) for variable in model.trainable_variables]


@pytest.fixture(scope="module")
def uninterrupted(
    smoke_elsewhere: Settings, corpus: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Progress, list[np.ndarray], run.Run]:
    """Three epochs without a break."""
    settings = dataclasses.replace(smoke_elsewhere, logs_dir=tmp_path_factory.mktemp("uninterrupted"))
    progress, begun, model = _train(settings, corpus)
    return progress, _weights(model), begun


def test_a_fresh_run_learns_and_tells_every_epoch(
    uninterrupted: tuple[Progress, list[np.ndarray], run.Run],
) -> None:
    progress, _, begun = uninterrupted
    losses = [line.train_loss or 0 for line in progress.curve]
    assert len(losses) == 3
    assert losses[-1] < 0.7 * losses[0]
    lines = (begun.folders.result / "learning.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [dataclasses.asdict(line) for line in progress.curve]
    last = json.loads(lines[-1])
    assert (last["epoch"], last["epochs"], last["eta_seconds"]) == (3, 3, 0)
    assert last["audio_seconds_per_second"] > 0
    assert sorted(path.name for path in begun.folders.checkpoints.iterdir()) == ["best.npz", "last.npz"]


def _stop_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real SIGTERM to this process while the given batch (from 1) is being learnt from."""
    train_batch, count = training._Trainer.train_batch, 0

    def counting(trainer: Any, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == batches:
            os.kill(os.getpid(), signal.SIGTERM)
        train_batch(trainer, *arguments)

    monkeypatch.setattr(training._Trainer, "train_batch", counting)


@pytest.mark.parametrize("batches", [6, 9])  # 6 batches an epoch: at its end, and in the middle of the second
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(
    batches: int,
    smoke: Settings,
    corpus: Any,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: tuple[Progress, list[np.ndarray], run.Run],
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    settings = dataclasses.replace(smoke, checkpoint_dir=smoke.logs_dir / "kept")
    with monkeypatch.context() as patch:
        _stop_after(batches, patch)
        with pytest.raises(training.TrainingStopped, match="SIGTERM") as caught:
            _train(settings, corpus)
    assert str(settings.checkpoint_dir) in caught.value.hint
    assert signal.getsignal(signal.SIGTERM) is handler

    progress, begun, model = _train(dataclasses.replace(settings, restore_checkpoint=True), corpus)
    assert _losses(progress) == _losses(uninterrupted[0])
    for resumed, whole in zip(_weights(model), uninterrupted[1], strict=True):
        np.testing.assert_array_equal(resumed, whole)
    lines = (begun.folders.result / "learning.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_ctrl_c_on_the_command_line_leaves_a_checkpoint_that_another_process_goes_on_from(
    smoke_environment: dict[str, str],
    dataset_path: Path,
    tmp_path: Path,
    uninterrupted: tuple[Progress, list[np.ndarray], run.Run],
) -> None:
    command = [sys.executable, "-m", "deepspeech_train.cli", "run", "--checkpoint_dir", str(tmp_path / "kept")]
    environment = smoke_environment | {
        "ds_dataset_path": str(dataset_path),
        "ds_logs_dir": str(tmp_path / "logs"),
        "ds_result_dir": str(tmp_path / "result"),
    }
    # Enough epochs to be surely in the middle when the signal comes; the step size must not depend on them.
    steady = {"ds_learning_rate_schedule": "constant", "ds_epochs": "100000"}
    process = subprocess.Popen(command, env=environment | steady, stderr=subprocess.PIPE, text=True)
    learning = tmp_path / "result" / "learning.jsonl"
    _wait_for(lambda: learning.exists() and learning.read_text().count("\n") >= 2, process)
    with pytest.raises(SettingsError, match="Another process is writing into result_dir"):
        run.begin(Settings.from_namespace({}, environment))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by SIGINT" in stderr
    assert "Traceback" not in stderr
    reached = len(learning.read_text().splitlines())

    more = {"ds_restore_checkpoint": "1", "ds_epochs": str(reached + 1)}
    done = subprocess.run(
        command, env=environment | steady | more, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{reached} epochs were complete" in done.stdout
    curve = json.loads((tmp_path / "result" / "hyper.json").read_text())["learning_curve"]
    assert [line["epoch"] for line in curve] == list(range(1, reached + 2))


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_training_goes_on_from_the_beginning_where_there_is_no_checkpoint(
    smoke: Settings, corpus: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = dataclasses.replace(smoke, epochs=1, restore_checkpoint=True, checkpoint_dir=smoke.logs_dir / "nothing")
    progress, _, _ = _train(settings, corpus)
    assert progress.epoch == 1
    assert "No checkpoint in" in capsys.readouterr().out


def test_a_checkpoint_of_another_network_or_a_damaged_one_is_refused(
    smoke: Settings, corpus: Any, uninterrupted: tuple[Progress, list[np.ndarray], run.Run], tmp_path: Path
) -> None:
    kept = uninterrupted[2].folders.checkpoints
    settings = dataclasses.replace(smoke, restore_checkpoint=True, checkpoint_dir=kept, n_hidden_2=17)
    with pytest.raises(RecipeError, match=r"another network.*\(16, 16\) there and \(16, 17\) here"):
        _train(settings, corpus)
    with pytest.raises(RecipeError, match="another network"):
        _train(dataclasses.replace(settings, dropout_rate=0), corpus)

    (tmp_path / "last.npz").write_bytes((kept / "last.npz").read_bytes()[:-200])
    with pytest.raises(RecipeError, match="could not be read"):
        _train(dataclasses.replace(smoke, restore_checkpoint=True, checkpoint_dir=tmp_path), corpus)


def test_a_checkpoint_that_cannot_be_written_is_told_and_leaves_nothing_half(
    smoke: Settings, corpus: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    for name in ("best.npz", "last.npz"):
        (folder / name / "in the way").mkdir(parents=True)
    with pytest.raises(RecipeError, match="could not be written"):
        _train(dataclasses.replace(smoke, checkpoint_dir=folder), corpus)
    assert {path.name for path in folder.iterdir()} == {"best.npz", "last.npz"}


class _Infinite:
    """A pipeline whose batch of a given number has features that are not finite, as a fault of a GPU would give."""

    def __init__(self, pipeline: Any, number: int) -> None:
        self._pipeline, self._number = pipeline, number
        self.spoilt: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    @contextlib.contextmanager
    def batches(self, epoch: int, start: int = 0) -> Iterator[Iterator[Batch]]:
        with self._pipeline.batches(epoch, start=start) as batches:
            yield map(self._spoil, batches)

    def _spoil(self, batch: Batch) -> Batch:
        if batch.number != self._number:
            return batch
        self.spoilt |= {utterance.id for utterance in batch.utterances}
        return dataclasses.replace(batch, features=np.full_like(batch.features, np.inf))


def test_an_infinite_batch_is_skipped_counted_named_and_kept(
    smoke: Settings, corpus: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    # deepspeech2 has batch normalisation, whose statistics such a batch must not reach either.
    settings = dataclasses.replace(smoke, model="deepspeech2", n_recurrent_layers=1, n_conv_channels=4, epochs=2)
    begun, model = run.begin(settings), models.build(settings)
    data = run.load_data(settings, corpus)
    training_set = _Infinite(data.train, 2)
    progress = run.train(begun, model, dataclasses.replace(data, train=training_set))
    assert progress.skipped_batches == settings.epochs
    told = capsys.readouterr().out
    assert training_set.spoilt
    assert all(name in told for name in training_set.spoilt)
    assert all(np.isfinite(np.asarray(variable.value)).all() for variable in model.variables)
    losses = [line.train_loss or np.inf for line in progress.curve]
    assert losses[-1] < losses[0] < np.inf
    with np.load(next((begun.folders.logs / "skipped").glob("step-*.npz"))) as kept:
        assert set(kept["ids"]) <= training_set.spoilt
        assert np.isinf(kept["features"]).all()


def test_too_many_infinite_batches_stop_training(smoke: Settings, corpus: Any) -> None:
    settings = dataclasses.replace(smoke, max_skipped_batches=1)
    data = run.load_data(settings, corpus)
    spoilt = _Infinite(data.train, 3)
    with pytest.raises(RecipeError, match=r"^2 batches") as caught:
        run.train(run.begin(settings), models.build(settings), dataclasses.replace(data, train=spoilt))
    assert any(name in caught.value.message for name in spoilt.spoilt)
    assert "learning_rate" in caught.value.hint


def test_utterances_too_short_for_their_text_are_left_out_by_name(
    smoke: Settings, corpus: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    wordy = dataclasses.replace(corpus.train[3], id="wordy-one", text="go " * 99 + "go")
    crowded = dataclasses.replace(corpus, train=(*corpus.train, wordy), test=(*corpus.test, wordy))
    data = run.load_data(smoke, crowded)
    assert list(data.left_out) == ["wordy-one"]
    assert len(data.train.utterances) == len(corpus.train)
    assert "Left out 1 training utterances" in (told := capsys.readouterr().out)
    assert "wordy-one" in told
    # In the test set it stays: what is not recognised must count.
    tested = run.test(run.begin(smoke), models.build(smoke), data)[1]
    assert tested.transcriptions[-1].score.words == 100
    assert tested.loss is not None


def test_the_model_has_its_best_validated_weights(
    smoke: Settings, corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After three epochs of six batches the step becomes so large that the network is spoilt.
    monkeypatch.setattr(schedules, "learning_rate", lambda epoch, *_: 0.01 if epoch < 3 else 0.5)
    settings = dataclasses.replace(smoke, epochs=5)
    progress, _, model = _train(settings, corpus)
    ranks = [(line.validation_wer, line.validation_loss or np.inf, line.epoch) for line in progress.curve]
    assert progress.best_epoch == min(ranks)[2]
    assert progress.best_epoch in (1, 2, 3)
    data = run.load_data(settings, corpus)
    decoder = decoding.from_settings(settings, seconds_per_frame=0.04)
    again = Evaluator(model, decoder, settings).evaluate(data.dev)
    assert again.loss == pytest.approx(min(ranks)[1], abs=1e-3)


def test_steps_say_how_often_things_happen(smoke: Settings, corpus: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings = dataclasses.replace(smoke, epochs=5, display_step=2, validation_step=2, checkpoint_step=0)
    progress, begun, _ = _train(settings, corpus)
    told = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert told == ["2/5", "4/5", "5/5"]
    assert [line.epoch for line in progress.curve if line.validation_wer is not None] == [2, 4, 5]
    assert not begun.folders.checkpoints.exists()


def test_log_variables_and_do_fulltrace_write_for_tensorboard(smoke: Settings, corpus: Any) -> None:
    settings = dataclasses.replace(smoke, epochs=1, log_variables=True, do_fulltrace=True)
    _, begun, _ = _train(settings, corpus)
    events = b"".join(path.read_bytes() for path in begun.folders.logs.rglob("events.out.tfevents.*"))
    assert b"validation_loss" in events
    assert b"layer_1/kernel" in events
    traces = list(begun.folders.logs.rglob("*.xplane.pb"))
    assert len(traces) == 1
    assert b"train" in traces[0].read_bytes()


def test_nothing_to_train_on_is_told(smoke: Settings, corpus: Any) -> None:
    wordless = tuple(dataclasses.replace(utterance, text="") for utterance in corpus.train)
    data = run.load_data(smoke, dataclasses.replace(corpus, train=wordless))
    with pytest.raises(RecipeError, match="no utterance to train on"):
        run.train(run.begin(smoke), models.build(smoke), data)


def test_one_sentence_is_learnt_without_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_ldc93s1_source", str(support.shared_data("speech")))
    settings = Settings.from_namespace(
        {
            "importer": "ldc93s1",
            "dataset_path": tmp_path,
            "logs_dir": tmp_path / "logs",
            "epochs": 80,
            "dropout_rate": 0,
            "warmup_epochs": 5,
            "validation_step": 20,
        },
        {},
    )
    hyper = json.loads((run.run(settings) / "hyper.json").read_text())
    assert hyper["results"]["words"] == 11
    assert hyper["results"]["test_wer"] == 0
