"""The command line: exit codes, and what it says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepspeech_train import cli


def test_help_does_not_wait_for_tensorflow() -> None:
    code = "import sys, deepspeech_train.cli as c\ntry: c.main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "deepspeech-train" in done.stdout
    assert "tensorflow" not in done.stdout.split()
    assert "keras" not in done.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--set", "epoch=3"], "Did you mean epochs?"),
        (["run", "--set", "epochs=none"], "epochs = 'none' is not a whole number"),
        (["run", "--set", "restore_checkpoint=1"], "checkpoint_dir"),
        (["run", "--set", "importer=espeek"], "there is no corpus 'espeek'"),
        (["run", "--set", "corpus_options=utterances=3"], "no option 'utterances'"),
        (["run", "--set", "logs_dir=/proc/logs"], "logs_dir = '/proc/logs' cannot be made"),
        (["import", "espeek"], "there is no corpus 'espeek'"),
        (["import", "fsdd", "--set", "corpus_options=max_digits=0"], "max_digits"),
        (["import", "fsdd", "--source", "/absent.tar"], "/absent.tar"),
        (["import", "espeak", "--source", "/"], "has no source"),
    ],
)
def test_bad_settings_end_with_2_and_no_traceback(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    stderr = capsys.readouterr().err
    assert told in stderr
    assert "Traceback" not in stderr


def test_bad_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["runn"])
    assert caught.value.code == 2
    assert "runn" in capsys.readouterr().err


def test_data_that_is_bad_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").mkdir()
    monkeypatch.setenv("ds_fsdd_source", str(tmp_path / "source"))
    settings = [f"logs_dir={tmp_path}", f"dataset_path={tmp_path}", "importer=fsdd"]
    assert cli.main(["run", *(part for value in settings for part in ("--set", value))]) == 1
    assert "holds no recording" in capsys.readouterr().err
    assert cli.main(["import", "fsdd", "--to", str(tmp_path), "--source", str(tmp_path / "source")]) == 1
    assert "holds no recording" in capsys.readouterr().err


def test_settings_tells_each_with_what_it_may_be_and_what_a_preset_makes_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_epochs", "7")
    assert cli.main(["settings", "--set", "preset=small"]) == 0
    out = capsys.readouterr().out
    assert "ds_epochs=7  (default: 8)\n    times through the training set; at least 1" in out
    assert "ds_n_hidden=494  (default: 128)" in out
    assert "one of constant, cosine, exponential, plateau" in out
    assert "fsdd: split=official" in out
    assert cli.main(["settings", "beam"]) == 0
    assert "ds_beam_width=64" in (out := capsys.readouterr().out)
    assert "epochs" not in out
    assert cli.main(["settings", "nothing_like_it"]) == 2


def test_sigterm_ends_an_import_with_a_word_and_nothing_half(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deepspeech_train.cli", "import", "espeak", "--to", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--set", "corpus_options=train_utterances=30000"], stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while not list(tmp_path.rglob("*.wav")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped by SIGTERM" in stderr
    assert "Traceback" not in stderr
    assert not list(tmp_path.rglob("*.wav"))


def test_import_makes_the_corpus_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "corpus_options=train_utterances=3,dev_utterances=1,test_utterances=2"
    assert cli.main(["import", "espeak", "--to", str(tmp_path), "--set", options]) == 0
    assert "espeak test: 2 utterances" in capsys.readouterr().out
    assert len(list(tmp_path.rglob("*.wav"))) == 6


def test_run_leaves_hyper_json_where_it_was_told_to(
    smoke_environment: dict[str, str], dataset_path: Path, tmp_path: Path
) -> None:
    environment = smoke_environment | {
        "ds_dataset_path": str(dataset_path),
        "ds_logs_dir": str(tmp_path / "logs"),
        "ds_result_dir": str(tmp_path / "result"),
        "ds_epochs": "9",
    }
    command = [sys.executable, "-m", "deepspeech_train.cli", "run", "--set", "epochs=1"]
    command += ["--checkpoint_dir", str(tmp_path / "kept")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Test: 8 utterances" in done.stdout
    assert (tmp_path / "kept" / "last.npz").exists()
    assert json.loads((tmp_path / "result" / "hyper.json").read_text())["parameters"]["epochs"] == 1
