"""Manifests: what is written is read again; what is wrong is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech_train.data.manifest import Span, Utterance, read_manifest, write_manifest
from deepspeech_train.errors import RecipeError

GOOD = '{"id": "a", "audio_filepath": "a.wav", "duration": 1.5, "text": "go left", "speaker": "m3"}'


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "b.wav"
    utterances = (
        Utterance("a", tmp_path / "corpus" / "audio" / "a.wav", 1.25, "it's one", "Zoë"),
        Utterance("b\n", elsewhere, 0.1 + 0.2, "", "m3"),
        Utterance("c", elsewhere, 2.0, "a segment", "m3", start=12.0),
        Utterance("d", elsewhere, 2.0, "of a shard", "m3", start=0.5, span=Span(512, 1 << 40)),
    )
    (tmp_path / "corpus").mkdir()
    manifest = tmp_path / "corpus" / "train.jsonl"
    write_manifest(manifest, utterances)
    assert read_manifest(manifest) == utterances
    assert [path.name for path in manifest.parent.iterdir()] == ["train.jsonl"]

    moved = tmp_path / "moved"
    manifest.parent.rename(moved)
    inside, outside, *_ = read_manifest(moved / "train.jsonl")
    assert inside.audio == moved / "audio" / "a.wav"
    assert outside.audio == elsewhere


def test_a_relative_manifest_gives_paths_that_open_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus").mkdir()
    write_manifest(Path("corpus/dev.jsonl"), [Utterance("a", Path("corpus/a.wav"), 1.0, "yes", "f1")])
    (utterance,) = read_manifest(Path("corpus/dev.jsonl"))
    assert utterance.audio == Path("corpus/a.wav")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        (GOOD.replace('"text": "go left", ', ""), "'text' is missing"),
        (GOOD.replace("1.5", '"1.5"'), "'duration' is '1.5'"),
        (GOOD.replace("1.5", "true"), "'duration' is True"),
        (GOOD.replace("1.5", "0"), "more than 0 seconds"),
        (GOOD.replace("1.5", "-1"), "more than 0 seconds"),
        (GOOD.replace("1.5", "NaN"), "more than 0 seconds"),
        (GOOD.replace("1.5", "Infinity"), "more than 0 seconds"),
        (GOOD.replace('"a.wav"', '""'), "must not be empty"),
        (GOOD.replace('"go left"', "7"), "'text' is 7"),
        (GOOD.replace("go left", "caf\udce9"), "not UTF-8"),
        (GOOD.replace('"id": "a"', '"id": "first"'), "already in line 1"),
        ("[" * 100_000, "nested too deeply"),
        (GOOD.replace("1.5", "1" * 400), "less than a year"),
        (GOOD.replace("go left", "caf\\udce9"), "half a character"),
        (GOOD.replace("a.wav", "a\\u0000.wav"), "'audio_filepath' is 'a\\x00.wav'"),
        (GOOD.replace("1.5", '1.5, "offset": -0.1'), "'offset' is -0.1; it must be at least 0 seconds"),
        (GOOD.replace("1.5", '1.5, "offset": "0"'), "'offset' is '0'"),
        (GOOD.replace("1.5", '1.5, "span": [0]'), "'span' is [0]"),
        (GOOD.replace("1.5", '1.5, "span": [0, -1]'), "'span' is [0, -1]"),
        (GOOD.replace("1.5", '1.5, "span": [true, 1]'), "'span' is [True, 1]"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    manifest = tmp_path / "train.jsonl"
    first = GOOD.replace('"id": "a"', '"id": "first"')
    manifest.write_bytes(f"{first}\n\n{line}\n".encode(errors="surrogateescape"))
    with pytest.raises(RecipeError) as failure:
        read_manifest(manifest)
    assert f"{manifest}, line 3: " in failure.value.message
    assert complaint in failure.value.message
    assert failure.value.hint


def test_an_absent_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.jsonl"):
        read_manifest(tmp_path / "absent.jsonl")


def test_a_failed_write_keeps_the_old_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "train.jsonl"
    write_manifest(manifest, [Utterance("a", tmp_path / "a.wav", 1.0, "yes", "f1")])
    before = manifest.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_manifest(manifest, [Utterance("b", tmp_path / "b.wav", float("nan"), "no", "f1")])
    with pytest.raises(UnicodeEncodeError):  # fails when the file is open already
        write_manifest(manifest, [Utterance("b", tmp_path / "b.wav", 1.0, "\udcff", "f1")])
    with pytest.raises(RecipeError, match="could not be written"):
        write_manifest(tmp_path / "absent" / "train.jsonl", [])
    assert manifest.read_bytes() == before
    assert list(tmp_path.iterdir()) == [manifest]
