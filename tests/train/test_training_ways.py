"""Ways to train: precisions, early stop, the mean of the best, fine-tuning, data that is bad, killed in mid-epoch."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deepspeech_train import checkpoints, models, run, schedules, training
from deepspeech_train.checkpoints import Progress
from deepspeech_train.data.manifest import Corpus, Utterance
from deepspeech_train.errors import RecipeError
from deepspeech_train.settings import Settings


def _train(settings: Settings, corpus: Any) -> tuple[Progress, run.Run, Any, run.Data]:
    begun = run.begin(settings)
    model = models.build(settings)
    data = run.load_data(settings, corpus)
    return run.train(begun, model, data), begun, model, data


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_and_keeps_its_weights_in_float32(precision: str, smoke: Settings, corpus: Any) -> None:
    settings = dataclasses.replace(smoke, precision=precision)
    progress, begun, model, _ = _train(settings, corpus)
    losses = [line.train_loss or np.inf for line in progress.curve]
    assert losses[-1] < 0.7 * losses[0]
    assert progress.skipped_batches == 0
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}
    assert (progress.scale > 1) == (precision == "float16")
    again = checkpoints.load_network(begun.folders.checkpoints)
    assert again.settings.precision == precision


def test_a_scale_that_is_too_large_for_float16_goes_down_and_no_batch_is_blamed(
    smoke: Settings, corpus: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "_FIRST_SCALE", 2.0**40)  # far beyond what float16 can hold
    progress, _, _, _ = _train(dataclasses.replace(smoke, precision="float16", epochs=8), corpus)
    assert progress.scale < 2.0**40
    assert progress.skipped_batches == 0
    assert "Skipped" not in capsys.readouterr().out
    assert (progress.curve[-1].train_loss or np.inf) < (progress.curve[5].train_loss or 0) + 1


def test_it_stops_early_when_validation_gets_no_better(
    smoke: Settings, corpus: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schedules, "learning_rate", lambda epoch, *_: 0.01 if epoch < 2 else 0.0)
    progress, _, _, _ = _train(dataclasses.replace(smoke, epochs=20, early_stop=2), corpus)
    assert progress.best_epoch is not None
    assert progress.epoch == progress.best_epoch + 2
    assert "Stopped early" in capsys.readouterr().out


def test_the_mean_of_the_best_is_taken_where_it_is_better(
    smoke: Settings, corpus: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = dataclasses.replace(smoke, epochs=4, average_best=2)
    progress, begun, model, _ = _train(settings, corpus)
    ranked = sorted(progress.curve, key=lambda line: (line.validation_wer, line.validation_loss))
    names = sorted(f"epoch-{line.epoch:04d}.npz" for line in ranked[:2])
    folder = begun.folders.checkpoints
    assert sorted(path.name for path in folder.glob("epoch-*.npz")) == names
    told = capsys.readouterr().out
    assert "The mean of epochs" in told
    taken = " is taken" in told
    assert (folder / checkpoints.AVERAGED).exists() == taken
    parts = [np.load(folder / name)["model/000"] for name in names]
    best = np.load(folder / checkpoints.BEST)["model/000"]
    wanted = np.mean(parts, axis=0) if taken else best
    np.testing.assert_allclose(np.asarray(model.variables[0].value), wanted, rtol=1e-5, atol=1e-7)


def test_a_mean_that_is_worse_is_not_taken(
    smoke: Settings, corpus: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schedules, "learning_rate", lambda epoch, *_: 0.01 if epoch < 3 else 0.5)
    settings = dataclasses.replace(smoke, epochs=4, average_best=4)
    monkeypatch.setattr(training.scoring, "percent", lambda rate: "-" if rate is None else f"{rate:.4f}")
    _, begun, _, _ = _train(settings, corpus)
    told = capsys.readouterr().out
    if "not taken" in told:
        assert not (begun.folders.checkpoints / checkpoints.AVERAGED).exists()
    else:
        assert " is taken" in told


def test_fine_tuning_with_another_alphabet_keeps_what_both_know(
    smoke: Settings, corpus: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first, begun, before, _ = _train(smoke, corpus)
    turned = " '" + "".join(chr(code) for code in range(ord("z"), ord("a") - 1, -1)) + "ä"
    settings = dataclasses.replace(
        smoke, alphabet=turned, init_checkpoint=begun.folders.checkpoints, epochs=1, learning_rate=1e-6
    )
    progress, _, after, _ = _train(settings, corpus)
    assert "new in the alphabet: ä" in capsys.readouterr().out
    # With hardly a step taken it must still know what it knew, letter by letter.
    assert (progress.curve[0].validation_loss or np.inf) < (first.curve[-1].validation_loss or 0) + 3
    old = np.asarray(before.get_layer("layer_6").kernel.value)
    new = np.asarray(after.get_layer("layer_6").kernel.value)
    places = [turned.index(character) for character in " abcdefghijklmnopqrstuvwxyz'"] + [-1]
    np.testing.assert_allclose(new[:, places], old, atol=1e-3)
    without_dropout = dataclasses.replace(settings, dropout_rate=0)  # its random state is a variable, too
    assert _train(without_dropout, corpus)[0].epoch == 1
    with pytest.raises(RecipeError, match=r"another network: layer_\w+/.* there and"):
        _train(dataclasses.replace(settings, n_hidden_2=17), corpus)


def test_the_features_statistics_of_the_corpus_are_kept_with_the_network(smoke: Settings, corpus: Any) -> None:
    settings = dataclasses.replace(smoke, normalisation="corpus", normalisation_sample=10, epochs=1)
    _, begun, _, data = _train(settings, corpus)
    network = checkpoints.load_network(begun.folders.checkpoints)
    assert network.statistics is not None and data.statistics is not None
    np.testing.assert_array_equal(network.statistics.mean, data.statistics.mean)
    assert (network.stride, network.settings.n_hidden) == (settings.n_stride, settings.n_hidden)


def test_a_second_training_in_the_same_folder_puts_the_first_one_aside(
    smoke: Settings, corpus: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = dataclasses.replace(smoke, epochs=1, checkpoint_dir=smoke.logs_dir / "kept")
    _train(settings, corpus)
    first = (smoke.logs_dir / "kept" / "last.npz").read_bytes()
    _train(dataclasses.replace(settings, random_seed=12), corpus)
    assert "were put into" in capsys.readouterr().out
    (aside,) = (smoke.logs_dir / "kept").glob("until-*")
    assert (aside / "last.npz").read_bytes() == first
    assert (smoke.logs_dir / "kept" / "last.npz").read_bytes() != first
    more = dataclasses.replace(settings, random_seed=12, restore_checkpoint=True, epochs=2, learning_rate=0.02)
    assert _train(more, corpus)[0].epoch == 2
    assert "learning_rate: 0.01 -> 0.02" in capsys.readouterr().out


def test_a_checkpoint_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no checkpoint at"):
        checkpoints.load_network(tmp_path)
    (tmp_path / "best.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(RecipeError, match="could not be read"):
        checkpoints.load_network(tmp_path)


def _bad_ones(folder: Path, good: Utterance) -> dict[str, Utterance]:
    """A recording of each kind that a real corpus holds; each says what the good one says."""
    samples, rate = soundfile.read(good.audio, dtype="float32")

    def made(name: str, **values: Any) -> Utterance:
        return dataclasses.replace(good, id=name, audio=folder / f"{name}.wav", **values)

    def written(name: str, content: Any, at: int = rate, subtype: str = "PCM_16") -> None:
        soundfile.write(folder / f"{name}.wav", content, at, subtype=subtype)

    infinite = samples.copy()
    infinite[100] = np.inf
    written("infinite", infinite, subtype="FLOAT")
    written("infeasible", samples)
    written("silent", np.zeros_like(samples))
    written("truncated", samples)
    path = folder / "truncated.wav"
    path.write_bytes(path.read_bytes()[: len(samples)])
    written("slow", samples[::2], rate // 2)
    written("stereo", np.stack([samples, samples], axis=1))
    names = ("infinite", "silent", "truncated", "slow", "stereo")
    return {name: made(name) for name in names} | {"infeasible": made("infeasible", text="go " * 90 + "go")}


def test_bad_recordings_in_the_training_set_are_named_and_training_ends_normally(
    smoke: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    bad = _bad_ones(tmp_path, corpus.train[0])
    settings = dataclasses.replace(smoke, max_left_out=0.5, epochs=2)
    # 30 utterances and batches of 4: the bad ones are spread over the batches.
    mixed = dataclasses.replace(corpus, train=(*corpus.train, *bad.values()))
    begun, model = run.begin(settings), models.build(settings)
    data = run.load_data(settings, mixed)
    progress = run.train(begun, model, data)
    assert progress.epoch == 2
    assert progress.skipped_batches == 0
    assert set(data.left_out) == {"infinite", "infeasible", "silent", "truncated"}
    assert set(data.train.remarks) == {"slow", "stereo"}
    run.finish(begun, model, data, progress, run.test(begun, model, data))
    lines = [json.loads(line) for line in (begun.folders.result / "left_out.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines} == set(bad)
    hyper = json.loads((begun.folders.result / "hyper.json").read_text())
    assert hyper["parameters"]["data_set"]["left_out"] == 4


def test_a_training_set_of_which_no_file_is_there_is_no_training(
    smoke: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    gone = tuple(dataclasses.replace(item, audio=tmp_path / f"{item.id}.wav") for item in corpus.train)
    with pytest.raises(RecipeError, match=r"24 of 24 training utterances cannot be used"):
        _train(smoke, dataclasses.replace(corpus, train=gone))


def test_a_training_set_of_which_too_much_is_bad_stops_training(
    smoke: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    bad = _bad_ones(tmp_path, corpus.train[0])
    mixed = dataclasses.replace(corpus, train=(*corpus.train[:6], *bad.values()))
    with pytest.raises(RecipeError, match=r"of \d+ training utterances cannot be used") as caught:
        _train(dataclasses.replace(smoke, max_left_out=0.2), mixed)
    assert "silent" in caught.value.message


def test_killed_in_mid_epoch_it_goes_on_from_its_last_minute_as_if_nothing_had_been(
    smoke_environment: dict[str, str], dataset_path: Path, tmp_path: Path
) -> None:
    """``kill -9`` leaves nobody time for a checkpoint: the last of those written within the epoch is gone on from."""
    command = [sys.executable, "-m", "deepspeech_train.cli", "run"]
    environment = smoke_environment | {
        "ds_dataset_path": str(dataset_path),
        "ds_logs_dir": str(tmp_path / "logs"),
        "ds_train_batch_size": "1",
        "ds_epochs": "2",
        "ds_checkpoint_minutes": "0.000001",  # after each batch
        "ds_augment_speed": "0.1",
        "ds_specaugment_time_masks": "1",
    }

    def told(folder: str, **more: str) -> list[Any]:
        where = {"ds_result_dir": str(tmp_path / folder), "ds_checkpoint_dir": str(tmp_path / f"{folder}-kept")}
        subprocess.run(command, env=environment | where | more, check=True, capture_output=True, timeout=200)
        curve = json.loads((tmp_path / folder / "hyper.json").read_text())["learning_curve"]
        return [(line["train_loss"], line["validation_loss"], line["validation_wer"]) for line in curve]

    whole = told("whole")
    kept = tmp_path / "killed-kept" / "last.npz"
    where = {"ds_result_dir": str(tmp_path / "killed"), "ds_checkpoint_dir": str(kept.parent)}
    process = subprocess.Popen(command, env=environment | where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (kept.exists() and _batch_in(kept) >= 5):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "hyper.json").exists()
    assert told("killed", ds_restore_checkpoint="1") == whole


def _batch_in(path: Path) -> int:
    with np.load(path) as archive:
        saved = json.loads(str(archive["progress"]))
    return int(saved["batch"]) + 1000 * int(saved["epoch"])


def test_two_devices_share_each_batch_and_learn_the_same(
    smoke_environment: dict[str, str], dataset_path: Path, tmp_path: Path
) -> None:
    """Two devices that TensorFlow or JAX makes of one CPU stand for two GPUs."""
    script = """
import os, sys
import keras
if keras.config.backend() == "tensorflow":
    import tensorflow as tf
    from deepspeech_train.computing import tensorflow as ours
    if sys.argv[1] == "2":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
from deepspeech_train import cli
sys.exit(cli.main(["run"]))
"""
    curves = {}
    for count in ("1", "2"):
        environment = smoke_environment | {
            "ds_dataset_path": str(dataset_path),
            "ds_logs_dir": str(tmp_path / f"logs{count}"),
            "ds_result_dir": str(tmp_path / f"result{count}"),
            "ds_dropout_rate": "0",
            "ds_train_batch_size": "5",  # 24 utterances: the last batch is 4, and 5 do not part evenly either
            "ds_epochs": "2",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        }
        done = subprocess.run(
            [sys.executable, "-c", script, count], env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr[-3000:]
        curve = json.loads((tmp_path / f"result{count}" / "hyper.json").read_text())["learning_curve"]
        curves[count] = [line["train_loss"] for line in curve]
    assert curves["2"] == pytest.approx(curves["1"], rel=1e-3)
