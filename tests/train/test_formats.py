"""Manifests of other tools: read as they are, written as they want them, and what is lost is told."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_train.data import audio, formats
from deepspeech_train.data.features import FeatureOptions
from deepspeech_train.data.formats import kaldi
from deepspeech_train.data.manifest import Span, Utterance, read_manifest, write_manifest
from deepspeech_train.data.packing import Packing, pack
from deepspeech_train.errors import RecipeError, SettingsError

RATE = 16000


def sound(path: Path, seconds: float = 0.5, seed: int = 1, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * RATE), channels))
    soundfile.write(path, made, RATE, subtype="PCM_16", format="NIST" if path.suffix == ".sph" else None)
    return path


@pytest.fixture
def utterances(tmp_path: Path) -> tuple[Utterance, ...]:
    """Files of several kinds, two segments of a talk, one in a shard; ids and texts that are hard to write."""
    folder = tmp_path / "corpus"
    shard = folder / "some.bin"
    plain = sound(folder / "b.wav", 0.25, 2)
    shard.write_bytes(b"x" * 100 + plain.read_bytes() + b"y")
    talk = sound(folder / "talk.flac", 2.0, 3, channels=2)
    return (
        Utterance("m1-a", sound(folder / "a b.wav", 0.5), 0.5, 'it\'s one, "two"', "m1"),
        Utterance("m0 b", sound(folder / "c.flac", 0.75, 4), 0.75, "zoë und öl", "m0"),
        Utterance("talk-1", talk, 0.3, "first", "f 1", start=0.1),
        Utterance("talk-2", talk, 0.1 + 0.2, "second", "f 1", start=1.2),
        Utterance("shard", shard, 0.25, "of a shard", "f-2", span=Span(100, plain.stat().st_size)),
        Utterance("m1-z", sound(folder / "d.sph", 0.4, 5), 0.4, "", ""),
    )


def target(folder: Path, format_name: str) -> Path:
    names = {"jsonl": "t.jsonl", "nemo": "t.jsonl", "pytorch": "t.json", "kaldi": "kaldi"}
    return folder / format_name / names.get(format_name, "t.csv")


def samples(utterances: tuple[Utterance, ...]) -> list[tuple[str, np.ndarray]]:
    return [(utterance.text, audio.load(utterance)) for utterance in utterances]


PAIRS = list(itertools.product(formats.WRITTEN, repeat=2))


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_from_any_format_to_any_other(
    utterances: tuple[Utterance, ...], tmp_path: Path, first: str, second: str
) -> None:
    expected = samples(utterances)
    known = utterances
    for folder, name in ((tmp_path / "1", first), (tmp_path / "2", second)):
        path = target(folder, name)
        path.parent.mkdir(parents=True)
        formats.write(path, known, name)
        # What is written for NeMo is taken for ours where it holds all that ours does.
        assert formats.detect(path) in (("jsonl", "nemo") if name == "nemo" else (name,))
        found = formats.load(path)
        order = {text: place for place, (text, _) in enumerate(expected)}
        by_text = sorted(found, key=lambda utterance: order[utterance.text])
        if name != "kaldi":
            assert list(found) == by_text or first == "kaldi"
        assert len({utterance.id for utterance in found}) == len(utterances)
        for utterance, (text, made) in zip(by_text, expected, strict=True):
            assert utterance.text == text
            assert utterance.duration == pytest.approx(len(made) / RATE, abs=1e-4)
            got = audio.load(utterance)
            assert len(got) == len(made)
            # 16-bit WAV holds the mean of two channels exactly only where both are kept, which they are.
            np.testing.assert_array_equal(got, made)
        known = tuple(by_text)
    whole = {"jsonl", "nemo", "kaldi"}
    if {first, second} <= whole:
        same = [(u.id, u.duration, u.text, u.start) for u in known]
        assert same == [(u.id, u.duration, u.text, u.start) for u in utterances]
        speakers = [u.speaker for u in utterances]
        kept = speakers if "kaldi" not in (first, second) else [name.replace(" ", "_") for name in speakers]
        assert [u.speaker for u in known] == kept


def test_shards_can_be_converted_and_features_cannot(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    packed = pack(utterances, tmp_path / "packed", Packing()).index
    assert formats.detect(tmp_path / "packed") == "shards"
    formats.write(tmp_path / "t.csv", formats.load(tmp_path / "packed"))
    assert [path.suffix for path in sorted((tmp_path / "t-audio").iterdir())].count(".flac") == 3
    for one, other in zip(formats.load(tmp_path / "t.csv"), packed, strict=True):
        np.testing.assert_array_equal(audio.load(one), audio.load(other))
    formats.write(tmp_path / "t.jsonl", packed)
    assert read_manifest(tmp_path / "t.jsonl") == tuple(packed)
    features = pack(utterances, tmp_path / "features", Packing(features=FeatureOptions())).index
    with pytest.raises(SettingsError, match="features, not audio"):
        formats.write(tmp_path / "u.csv", features)


def test_what_is_lost_is_told(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    told = "\n".join(formats.write(tmp_path / "t.csv", utterances))
    assert "the speaker of 5 utterances is not kept" in told
    assert "2 audio files are not WAV" in told
    assert formats.write(tmp_path / "t.jsonl", utterances) == []
    told = "\n".join(formats.write(tmp_path / "kaldi", utterances))
    assert "the order is not kept" in told
    assert "utt2id keeps their own" in told
    assert "1 speakers have another name" in told


def test_deepspeech_csv_as_deepspeech_writes_it(tmp_path: Path) -> None:
    sound(tmp_path / "clips" / "1.wav", 0.5)
    outside = sound(tmp_path / "elsewhere" / "2.wav", 0.25)
    (tmp_path / "t.csv").write_bytes(
        b"\xef\xbb\xbfwav_filename,wav_filesize,transcript\r\n"
        b'clips/1.wav,16044,"one, two"\r\n\r\n' + f"{outside},8044,zwölf\r\n".encode()
    )
    first, second = formats.load(tmp_path / "t.csv")
    assert first == Utterance("clips/1", tmp_path / "clips" / "1.wav", 0.5, "one, two", "")
    assert second == Utterance("elsewhere/2", outside, 0.25, "zwölf", "")
    formats.write(tmp_path / "again.csv", [first])
    assert (tmp_path / "again.csv").read_text() == (
        'wav_filename,wav_filesize,transcript\nclips/1.wav,16044,"one, two"\n'
    )


def test_bad_lines_are_all_counted_and_the_first_are_named(tmp_path: Path) -> None:
    sound(tmp_path / "1.wav")
    lines = ["wav_filename,wav_filesize,transcript", "1.wav,1,yes", "1.wav,yes", ",1,yes", "absent.wav,1,yes"]
    (tmp_path / "t.csv").write_bytes("\n".join(lines).encode() + b"\n1.wav,1,caf\xe9\n" + b"x\n" * 7)
    reading = formats.read(tmp_path / "t.csv")
    assert [utterance.id for utterance in reading.utterances] == ["1"]
    assert len(reading.problems) == 11
    assert [problem.of_audio for problem in reading.problems].count(True) == 1
    with pytest.raises(RecipeError) as failure:
        formats.load(tmp_path / "t.csv")
    message = failure.value.message
    assert "11 bad lines: line 3: 2 fields, 3 expected; line 4: wav_filename is empty" in message
    assert "line 6: not UTF-8" in message
    assert "and 6 more" in message


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ('{"text": "x", "duration": 1}', "'audio_filepath' is missing"),
        ('{"audio_filepath": "1.wav", "duration": 1}', "'text' is missing"),
        ('{"audio_filepath": "1.wav", "duration": 0, "text": "x"}', "more than 0 seconds"),
        ('{"audio_filepath": "1.wav", "duration": 1, "text": "x", "offset": -1}', "'offset' is -1"),
        ('{"audio_filepath": ["1.wav"], "duration": 1, "text": "x"}', "'audio_filepath' is"),
        ('{"audio_filepath": "1.wav", "text": "x", "offset": 7}', "begins at 7.0 s"),
    ],
)
def test_a_bad_line_of_json_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    sound(tmp_path / "1.wav")
    (tmp_path / "t.jsonl").write_text('{"audio_filepath": "1.wav", "text": "yes"}\n' + line + "\n")
    with pytest.raises(RecipeError) as failure:
        formats.load(tmp_path / "t.jsonl")
    assert "1 bad line: line 2: " in failure.value.message
    assert complaint in failure.value.message


def test_nemo_and_paddle_have_neither_ids_nor_always_lengths(tmp_path: Path) -> None:
    talk = sound(tmp_path / "talk.wav", 3.0)
    records: list[dict[str, object]] = [
        {"audio_filepath": "talk.wav", "duration": 0.5, "offset": 0.25, "text": "one", "speaker": 7},
        {"audio_filepath": str(talk), "duration": None, "offset": 1.0, "text": "two"},
        {"audio_filepath": str(talk), "duration": None, "offset": 1.0, "text": "two"},
        {"utt": "u4", "utt2spk": "s4", "feat": str(talk), "feat_shape": [3.0], "text": "four"},
    ]
    (tmp_path / "t.json").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert formats.detect(tmp_path / "t.json") == "nemo"
    assert formats.load(tmp_path / "t.json") == (
        Utterance("talk-0000250", talk, 0.5, "one", "7", start=0.25),
        Utterance("talk-0001000", talk, 2.0, "two", "", start=1.0),
        Utterance("talk-0001000-2", talk, 2.0, "two", "", start=1.0),
        Utterance("u4", talk, 3.0, "four", "s4"),
    )


def test_deepspeech_pytorch_finds_its_files_where_they_are(tmp_path: Path) -> None:
    sound(tmp_path / "an4" / "wav" / "1.wav")
    (tmp_path / "an4" / "txt").mkdir()
    (tmp_path / "an4" / "txt" / "1.txt").write_text("GO LEFT\n")
    pair = {"wav_path": "wav/1.wav", "transcript_path": "txt/1.txt"}
    manifest = tmp_path / "an4" / "t.json"
    # As it was made, after it was moved with its folder, and with a root that is relative.
    for root in (tmp_path / "an4", "/absent/an4", "."):
        manifest.write_text(json.dumps({"root_path": str(root), "samples": [pair]}, indent=2))
        assert formats.load(manifest) == (Utterance("wav/1", tmp_path / "an4" / "wav" / "1.wav", 0.5, "GO LEFT", ""),)
    manifest.write_text(json.dumps({"root_path": ".", "samples": [pair, {}, {**pair, "transcript_path": "txt/2.txt"}]}))
    with pytest.raises(RecipeError, match=r"2 bad lines: sample 2: no wav_path.*; sample 3: cannot read .*2\.txt"):
        formats.load(manifest)


def kaldi_folder(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_scp", ".scp")).write_text(content)
    return folder


def test_kaldi_with_segments_and_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk, clip = sound(tmp_path / "egs" / "wav" / "talk.sph", 3.0), sound(tmp_path / "egs" / "wav" / "a b.flac", 0.5)
    folder = kaldi_folder(
        tmp_path / "egs" / "data" / "train",
        wav_scp=f"r1 sph2pipe -f wav -p wav/talk.sph |\nr2 flac -c -d -s '{clip}' |\n",
        segments="u1 r1 0.50 1.25\nu2 r2 0 -1\nu3 r1 1.5 -1\n",
        text="u1 go  left\nu2\nu3 stop\n",
        utt2spk="u1 s1\nu2 u2\nu3 s1\n",
        utt2dur="u1 0.75\n",
    )
    assert formats.load(folder) == (
        Utterance("u1", tmp_path / "egs" / "wav" / "talk.sph", 0.75, "go  left", "s1", start=0.5),
        Utterance("u2", clip, 0.5, "", ""),
        Utterance("u3", talk, 1.5, "stop", "s1", start=1.5),
    )


@pytest.mark.parametrize(
    "value",
    [
        "sox a.mp3 -t wav - |",
        "flac -c -d -s a.flac | sox - -t wav - |",
        "sph2pipe -f wav -c 2 a.sph |",
        "flac -c -d -s --skip=100 a.flac |",
        "cat $(rm -rf x) |",
        "touch hacked; cat a.wav |",
        "raw.ark:1234",
        "-",
        "'unclosed |",
        "|",
    ],
)
def test_kaldi_commands_are_not_run(value: str) -> None:
    with pytest.raises(ValueError, match="wav-copy"):
        kaldi.file_of(value)


def test_kaldi_problems_name_file_and_line(tmp_path: Path) -> None:
    clip = sound(tmp_path / "a.wav")
    folder = kaldi_folder(
        tmp_path / "data",
        wav_scp=f"u1 {clip}\nu2 sox x |\nu3 {clip}\nu3 {clip}\nu5\nu6 {clip}\n",
        text="u1 yes\nu2 no\nu3 x\nu4 no\n",
    )
    reading = formats.read(folder)
    assert [utterance.id for utterance in reading.utterances] == ["u1", "u3"]
    problems = "\n".join(map(str, reading.problems))
    for start in (
        "wav.scp, line 2: the command 'sox x |' is not run",
        "wav.scp, line 4: 'u3' is already in line 3",
        "wav.scp, line 5: 'u5' has no value",
        "text, line 4: 'u4' is not in wav.scp",
        "wav.scp, line 6: 'u6' has no text",
    ):
        assert start in problems
    assert len(reading.problems) == 5
    (folder / "text").unlink()
    with pytest.raises(RecipeError, match=r"cannot read .*text"):
        formats.load(folder)


def test_kaldi_tables_are_sorted_as_kaldi_checks_it(tmp_path: Path) -> None:
    names = ["b", "a", "a b", "a+", "a1", "", "Z", "é"]
    clip = sound(tmp_path / "a.wav")
    made = [Utterance(f"{9 - n}x{n}", clip, 0.5, f"t {n}", name) for n, name in enumerate(names * 2)]
    formats.write(tmp_path / "data", made)
    tables = {
        path.name: [line.split(b" ", 1) for line in path.read_bytes().splitlines()]
        for path in (tmp_path / "data").iterdir()
    }
    for name, rows in tables.items():
        assert [row[0] for row in rows] == sorted({row[0] for row in rows}), name
    by_speaker = sorted(tables["utt2spk"], key=lambda row: (row[1], row[0]))
    assert by_speaker == tables["utt2spk"]
    inverted = {utterance: row[0] for row in tables["spk2utt"] for utterance in row[1].split()}
    assert inverted == dict(map(tuple, tables["utt2spk"]))
    assert sorted(u.id for u in formats.load(tmp_path / "data")) == sorted(u.id for u in made)
    assert len({u.speaker for u in formats.load(tmp_path / "data")}) == len(set(names))


def test_a_stale_segments_file_does_not_stay(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    formats.write(tmp_path / "data", utterances)
    assert (tmp_path / "data" / "segments").is_file()
    formats.write(tmp_path / "data", [dataclasses.replace(utterances[0], id="only")])
    assert [u.id for u in formats.load(tmp_path / "data")] == ["only"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"audio_filepath": "a", "duration": 1, "text": "x"}\n', "nemo"),
        (b'\n{"id": "1", "audio_filepath": "a", "duration": 1, "text": "x", "speaker": ""}\n', "jsonl"),
        (b'{\n "root_path": "x",\n "samples": []}', "pytorch"),
        (b"transcript,wav_filename\nx,y\n", "deepspeech"),
        (b"a.wav,a.txt\n", "pytorch-csv"),
    ],
)
def test_formats_are_told_apart_by_content(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert formats.detect(tmp_path / "file") == found


@pytest.mark.parametrize("content", [b"", b"\n\n", b"hello\n", b"[1, 2]", b"{}", b"\x00\xff", b"a,b,c\n", b"RIFF\0\0"])
def test_what_is_no_manifest_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RecipeError, match=r"is in no format that is known|is empty"):
        formats.load(tmp_path / "file")
    with pytest.raises(RecipeError, match="is no manifest"):
        formats.load(tmp_path)
    with pytest.raises(RecipeError, match="cannot read"):
        formats.load(tmp_path / "absent")
    with pytest.raises(SettingsError, match="there is no format 'csv'"):
        formats.load(tmp_path / "file", "csv")


def test_a_format_that_cannot_be_written_is_told(utterances: tuple[Utterance, ...], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not tell its format"):
        formats.write(tmp_path / "t.xml", utterances)
    with pytest.raises(SettingsError, match="there is no format 'shards' to write"):
        formats.write(tmp_path / "t", utterances, "shards")
    with pytest.raises(RecipeError, match="1 transcript with an end of line"):
        formats.write(tmp_path / "t", [dataclasses.replace(utterances[0], text="a\nb")], "kaldi")
    with pytest.raises(RecipeError, match=r"cannot read the audio file .*absent"):
        formats.write(tmp_path / "t.csv", [dataclasses.replace(utterances[0], audio=tmp_path / "absent.wav")])
    assert not (tmp_path / "t.csv").exists()
    write_manifest(tmp_path / "t.jsonl", utterances)
    assert formats.load(tmp_path / "t.jsonl") == utterances
