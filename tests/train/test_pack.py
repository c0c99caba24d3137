"""The verb pack: what it says, and its exit codes."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_train.data import shards
from deepspeech_train.data.manifest import Utterance, write_manifest
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.settings import Settings
from deepspeech_train.verbs import packing


def pack(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    packing.arguments(parser)
    return packing.main(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def manifests(tmp_path: Path) -> list[Path]:
    paths = []
    for split in "ab":
        made = []
        for number in range(4):
            path = tmp_path / f"{split}{number}.wav"
            soundfile.write(path, np.random.default_rng(number).uniform(-0.3, 0.3, 4000 + 1000 * number), 16000)
            made.append(Utterance(path.stem, path, soundfile.info(path).duration, "yes", "m"))
        paths.append(tmp_path / f"{split}.jsonl")
        write_manifest(paths[-1], made)
    return paths


def test_manifests_are_packed_checked_and_not_packed_twice(
    manifests: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "packed"
    assert pack(*manifests, "--to", folder, "--shard-size", "40k", "--nodes", 2) == 0
    said = capsys.readouterr().out
    assert "8 utterances, 0.0 minutes, 4 shards" in said
    assert "node 1: 0.0 minutes, shard-000002.tar to shard-000003.tar" in said
    assert [u.id for u in shards.read_index(folder)] == [f"{split}{number}" for split in "ab" for number in range(4)]
    assert pack(*manifests, "--to", folder, "--shard-size", "40k", "--nodes", 2) == 0
    assert "all there already" in capsys.readouterr().out
    assert pack("--check", folder) == 0
    assert "all 8 utterances in 4 shards are as they were packed" in capsys.readouterr().out

    shard = folder / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:9000])
    assert pack("--check", folder) == 1
    said = capsys.readouterr().err
    assert "shard-000001.tar: the audio of " in said
    with pytest.raises(SettingsError, match="other options"):
        pack(*manifests, "--to", folder)
    assert pack(*manifests, "--to", folder, "--again") == 0
    assert pack("--check", folder) == 0


def test_features_are_those_of_the_settings(manifests: list[Path], tmp_path: Path) -> None:
    chosen = ["--set", "features=logmel", "--set", "n_input=12"]
    assert pack(manifests[0], "--to", tmp_path / "packed", "--features", *chosen) == 0
    settings = Settings.from_namespace({"features": "logmel", "n_input": 12}, {})
    features = shards.read_index(tmp_path / "packed").features
    assert features == dataclasses.replace(settings.feature_options, normalisation="none")
    with pytest.raises(SettingsError, match="holds features, not audio"):
        pack(tmp_path / "packed", "--to", tmp_path / "again")


def test_what_is_left_out_gives_another_exit_code(
    manifests: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(b"bad")
    write_manifest(tmp_path / "bad.jsonl", [Utterance("bad", path, 1.0, "x", "", start=0.5)])
    assert pack(manifests[0], tmp_path / "bad.jsonl", "--to", tmp_path / "packed") == 1
    said = capsys.readouterr()
    assert "1 of 5 utterances could not be packed, the first is bad: the audio file" in said.err
    assert "4 utterances" in said.out
    assert "left_out.jsonl" in said.err


@pytest.mark.parametrize(
    ("size", "count"), [("1GiB", 1 << 30), ("500M", 500 << 20), ("1.5 kb", 1536), ("4096", 4096), ("2TB", 2 << 40)]
)
def test_sizes_are_read(size: str, count: int) -> None:
    assert packing.bytes_of(size) == count


@pytest.mark.parametrize("size", ["", "many", "-1G", "1G1", "1e9", "9" * 30])
def test_what_is_no_size_is_told(size: str) -> None:
    with pytest.raises(SettingsError, match="is no size"):
        packing.bytes_of(size)


def test_usage_is_told(manifests: list[Path], tmp_path: Path) -> None:
    for arguments in ([], [manifests[0]], ["--to", tmp_path / "packed"]):
        with pytest.raises(SettingsError, match="must be said"):
            pack(*arguments)
    with pytest.raises(SettingsError, match="packs nothing"):
        pack(manifests[0], "--check", tmp_path)
    with pytest.raises(SettingsError):
        pack(manifests[0], "--to", tmp_path / "packed", "--nodes", 0)
    with pytest.raises(RecipeError, match="there are no shards"):
        pack("--check", tmp_path)
    with pytest.raises(RecipeError, match=r"ids? come"):
        pack(manifests[0], manifests[0], "--to", tmp_path / "packed")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecipeError, match="cannot pack into"):
        pack(manifests[0], "--to", tmp_path / "file")
