"""The verb convert: one command from any manifest to any other, and what it says."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_train.data import audio, formats
from deepspeech_train.data.manifest import Utterance, write_manifest
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.verbs import converting

RATE = 16000


def convert(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    converting.arguments(parser)
    return converting.main(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two segments of a talk and a file."""
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "talk.flac", rng.uniform(-0.3, 0.3, 2 * RATE), RATE)
    soundfile.write(tmp_path / "one.wav", rng.uniform(-0.3, 0.3, RATE), RATE)
    utterances = [
        Utterance("talk-1", tmp_path / "talk.flac", 0.5, "go", "m1", start=0.25),
        Utterance("talk-2", tmp_path / "talk.flac", 0.5, "stop", "m1", start=1.25),
        Utterance("one", tmp_path / "one.wav", 1.0, "left", "f1"),
    ]
    write_manifest(tmp_path / "a.jsonl", utterances)
    return tmp_path / "a.jsonl"


def test_segments_are_cut_beside_the_csv(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "csv").mkdir()
    assert convert(manifest, tmp_path / "csv" / "b.csv") == 0
    said = capsys.readouterr()
    assert "3 utterances, 0.0 minutes" in said.out
    assert "(jsonl) -> " in said.out
    assert "the speaker of 3 utterances is not kept" in said.err
    assert [path.name for path in sorted((tmp_path / "csv" / "b-audio").iterdir())] == ["talk-1.wav", "talk-2.wav"]
    for one, other in zip(formats.load(tmp_path / "csv" / "b.csv"), formats.load(manifest), strict=True):
        np.testing.assert_array_equal(audio.load(one), audio.load(other))
    # A CSV is moved together with what lies beside it.
    (tmp_path / "csv").rename(tmp_path / "moved")
    assert {u.audio.parent for u in formats.load(tmp_path / "moved" / "b.csv")} == {
        tmp_path / "moved" / "b-audio",
        tmp_path,
    }


def test_the_folder_of_audio_and_the_formats_can_be_named(manifest: Path, tmp_path: Path) -> None:
    assert convert(manifest, tmp_path / "b.lst", "--to", "pytorch-csv", "--audio", tmp_path / "cut") == 0
    assert len(list((tmp_path / "cut").iterdir())) == 2
    assert convert(tmp_path / "b.lst", tmp_path / "kaldi", "--from", "pytorch-csv") == 0
    assert (tmp_path / "kaldi" / "wav.scp").is_file()
    with pytest.raises(SettingsError, match="does not tell its format"):
        convert(manifest, tmp_path / "b.lst")
    with pytest.raises(RecipeError, match="is not a CSV of DeepSpeech"):
        convert(tmp_path / "b.lst", tmp_path / "c.jsonl", "--from", "deepspeech")


def test_bad_lines_stop_it_unless_they_may_be_skipped(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(manifest.read_text() + "{\n{\n")
    with pytest.raises(RecipeError, match="2 bad lines: line 4: not JSON") as failure:
        convert(manifest, tmp_path / "b.csv")
    assert "--skip-bad" in failure.value.hint
    assert not (tmp_path / "b.csv").exists()
    assert convert(manifest, tmp_path / "b.csv", "--skip-bad") == 0
    assert "left out of" in capsys.readouterr().err
    assert len(formats.load(tmp_path / "b.csv")) == 3
    manifest.write_text("{}\n")
    with pytest.raises(RecipeError, match="no utterance"):
        convert(manifest, tmp_path / "c.csv", "--skip-bad", "--from", "jsonl")


def test_audio_that_cannot_be_cut_is_named_and_nothing_is_written(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.flac").write_bytes(b"no audio")
    with pytest.raises(RecipeError, match=r"talk\.flac \(utterance talk-1\)"):
        convert(manifest, tmp_path / "b.csv")
    assert not (tmp_path / "b.csv").exists()
    with pytest.raises(RecipeError, match="could not be written"):
        convert(manifest, tmp_path / "absent" / "b.jsonl")


def test_ids_made_of_paths_hold_no_folder_of_this_machine(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    rows = [f"{tmp_path / 'one.wav'},16000,left", f"{tmp_path / 'sub' / 'two.wav'},16000,right"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "two.wav").write_bytes((tmp_path / "one.wav").read_bytes())
    (tmp_path / "elsewhere" / "a.csv").write_text("\n".join(["wav_filename,wav_filesize,transcript", *rows]) + "\n")
    assert [utterance.id for utterance in formats.load(tmp_path / "elsewhere" / "a.csv")] == ["one", "sub/two"]


def test_audio_that_is_gone_is_left_out_with_skip_bad(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.wav").unlink()
    with pytest.raises(RecipeError, match="cannot read the audio file"):
        convert(manifest, tmp_path / "b.csv")
    assert convert(manifest, tmp_path / "b.csv", "--skip-bad") == 0
    assert "their audio is not there: one" in capsys.readouterr().err
    assert len(formats.load(tmp_path / "b.csv")) == 2
