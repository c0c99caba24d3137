"""The corpus manifest: data of one's own, read where it is."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_train import corpora
from deepspeech_train.corpora import manifest
from deepspeech_train.data import formats
from deepspeech_train.data.manifest import Utterance, write_manifest
from deepspeech_train.data.packing import Packing, pack
from deepspeech_train.data.shards import ShardIndex
from deepspeech_train.errors import RecipeError, SettingsError


def made(folder: Path, split: str, count: int = 3) -> tuple[Utterance, ...]:
    utterances = []
    for number in range(count):
        path = folder / f"{split}{number}.wav"
        soundfile.write(path, np.random.default_rng(number).uniform(-0.3, 0.3, 4000), 16000)
        utterances.append(Utterance(path.stem, path, 0.25, "yes", "m"))
    return tuple(utterances)


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, str]:
    """A manifest, a CSV and a folder of shards."""
    write_manifest(tmp_path / "train.jsonl", made(tmp_path, "train"))
    formats.write(tmp_path / "dev.csv", made(tmp_path, "dev"))
    pack(made(tmp_path, "test"), tmp_path / "test", Packing())
    return {"train": str(tmp_path / "train.jsonl"), "dev": str(tmp_path / "dev.csv"), "test": str(tmp_path / "test")}


def test_each_split_may_be_of_another_format(splits: dict[str, str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    corpus = corpora.load("manifest", tmp_path / "unused", **splits)
    assert corpus.name == f"{tmp_path.name}/train.jsonl"
    assert [u.id for u in corpus.train] == ["train0", "train1", "train2"]
    assert [u.id for u in corpus.dev] == ["dev0", "dev1", "dev2"]
    assert isinstance(corpus.test, ShardIndex)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_path_twice_is_on_purpose(splits: dict[str, str]) -> None:
    corpus = manifest.load(manifest.Options(splits["train"], splits["test"], splits["test"]))
    assert corpus.dev is corpus.test


def test_an_overlap_is_told(splits: dict[str, str], tmp_path: Path) -> None:
    train = formats.load(Path(splits["train"]))
    write_manifest(tmp_path / "some.jsonl", train[1:])
    with pytest.raises(RecipeError, match="train and dev share 2 ids: train1, train2"):
        manifest.load(manifest.Options(splits["train"], str(tmp_path / "some.jsonl"), splits["test"]))
    write_manifest(tmp_path / "other.jsonl", [dataclasses.replace(train[1], id="other")])
    with pytest.raises(RecipeError, match=r"train and dev share 1 audio file: .*train1\.wav"):
        manifest.load(manifest.Options(splits["train"], str(tmp_path / "other.jsonl"), splits["test"]))
    # Two segments of one talk are two utterances.
    parts = [dataclasses.replace(train[0], id=f"p{start}", start=start, duration=0.1) for start in (0.0, 0.1)]
    write_manifest(tmp_path / "p0.jsonl", parts[:1])
    write_manifest(tmp_path / "p1.jsonl", parts[1:])
    manifest.load(manifest.Options(str(tmp_path / "p0.jsonl"), str(tmp_path / "p1.jsonl"), splits["test"]))
    pack([dataclasses.replace(train[2], id="test2")], tmp_path / "again", Packing())
    with pytest.raises(RecipeError, match="dev and test share 1 id: test2"):
        manifest.load(manifest.Options(splits["train"], str(tmp_path / "again"), splits["test"]))


def test_bad_paths_and_lines_are_told(splits: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs the options dev, test"):
        corpora.check("manifest", {"train": "x"})
    with pytest.raises(SettingsError, match="the manifest for dev is not there"):
        manifest.load(manifest.Options(splits["train"], str(tmp_path / "absent"), splits["test"]))
    (tmp_path / "bad.jsonl").write_text('{"audio_filepath": 1}\n')
    with pytest.raises(RecipeError, match="1 bad line: line 1"):
        manifest.load(manifest.Options(str(tmp_path / "bad.jsonl"), splits["dev"], splits["test"]))


def test_unreadable_audio_of_unknown_length_is_left_out_and_told(
    splits: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = threading.active_count()
    (tmp_path / "dev1.wav").write_bytes(b"bad")
    corpus = manifest.load(manifest.Options(**splits))
    assert [u.id for u in corpus.dev] == ["dev0", "dev2"]
    assert "dev1.wav" in capsys.readouterr().err
    for number in (0, 2):
        (tmp_path / f"dev{number}.wav").unlink()
    with pytest.raises(RecipeError, match="no utterance that can be used"):
        manifest.load(manifest.Options(**splits))
    assert threading.active_count() <= before
