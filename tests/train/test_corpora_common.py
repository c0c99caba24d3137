"""What all corpora share: names, options, checks, and an import that is whole or not there."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deepspeech_train import corpora
from deepspeech_train.corpora import _checks, _problems
from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Utterance, read_manifest, write_manifest
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.text import Alphabet

#: Large enough that a test can step in while it is made (half a second).
COUNTS = {"train_utterances": 150, "dev_utterances": 6, "test_utterances": 12}
FEW = {"train_utterances": 20, "dev_utterances": 6, "test_utterances": 12}


def importing(folder: Path, counts: dict[str, int]) -> subprocess.Popen[str]:
    """Another process that imports the espeak corpus of ``counts`` into ``folder``."""
    code = f"import sys; from deepspeech_train import corpora;corpora.load('espeak', sys.argv[1], **{counts!r})"
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, text=True)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_the_names_are_had_without_what_is_heavy() -> None:
    code = (
        "import sys; from deepspeech_train import corpora; light = {'numpy', 'soundfile'} & set(sys.modules);"
        "corpora.check('espeak', {});"
        "print(*light, *{'tensorflow', 'keras', 'jax', 'torch', 'deepspeech_wer'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("name", "options", "message", "hint"),
    [
        ("fsd", {}, "no corpus 'fsd'", "did you mean 'fsdd'?"),
        ("", {}, "no corpus ''", "ldc93s1, fsdd, espeak, manifest"),
        ("espeak", {"train_utterance": 3}, "no option 'train_utterance'", "did you mean 'train_utterances'?"),
        ("espeak", {"train_utterances": "3"}, "is '3'", "give int"),
        ("espeak", {"train_utterances": True}, "is True", "give int"),
        ("espeak", {"dev_utterances": 0}, "is 0", "at least 1"),
        ("fsdd", {"split": "random"}, "is 'random'", "'official' or 'speaker'"),
        ("fsdd", {"max_digits": 0}, "is 0", "at least 1"),
        ("librispeech", {"dev": "dev-claen"}, "names the subset 'dev-claen'", "did you mean 'dev-clean'?"),
        ("librispeech", {"dev": "test-clean"}, "test-clean of the corpus librispeech is in dev and in test", "its own"),
        ("librispeech", {"wav": 2}, "wav of the corpus librispeech is 2", "0 or 1"),
        ("tedlium", {"release": 1}, "release of the corpus tedlium is 1", "2 or 3"),
        ("commonvoice", {"train": "other"}, "is 'other'", "'train' or 'validated'"),
        ("an4", {"dev_speakers": 0}, "is 0", "at least 1"),
        ("an4", {"seed": "x"}, "seed of the corpus an4 is 'x'", "whole number"),
        ("ldc93s1", {"split": "official"}, "no option 'split'", "it has no options"),
    ],
)
def test_a_wrong_name_or_option_is_told(name: str, options: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(SettingsError) as failure:
        corpora.check(name, options)
    assert message in failure.value.message
    assert hint in failure.value.hint


def test_a_source_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="source of the corpus fsdd is not there"):
        corpora.load("fsdd", tmp_path, tmp_path / "absent.tar")
    monkeypatch.setenv("ds_fsdd_source", str(tmp_path / "absent.tar"))
    with pytest.raises(SettingsError, match="environment variable ds_fsdd_source"):
        corpora.load("fsdd", tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match="cannot import the corpus espeak into"):
        corpora.load("espeak", tmp_path / "file")


def test_two_importers_at_once_make_one_corpus(tmp_path: Path) -> None:
    both = [importing(tmp_path, FEW), importing(tmp_path, FEW)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("imported into" in text for text in said) == 1
    assert len(visible(tmp_path)) == 1
    assert not list(tmp_path.glob(".*.partial"))


def test_an_importer_waits_for_another_one(tmp_path: Path) -> None:
    corpora.load("espeak", tmp_path, progress=False, **FEW)
    (lock,) = tmp_path.glob(".*.lock")
    (whole,) = [tmp_path / name for name in visible(tmp_path)]
    whole.rename(tmp_path / ".kept")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = importing(tmp_path, FEW)
        assert waiting.stderr
        assert "another process is importing this corpus" in waiting.stderr.readline()
        (tmp_path / ".kept").rename(whole)  # the first one is done
    said = waiting.communicate(timeout=120)[1]
    assert waiting.returncode == 0, said
    assert "imported into" not in said


def test_a_killed_import_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    killed = importing(tmp_path / "killed", COUNTS)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "killed").glob(".*.partial/audio/train/*.wav"))) < 5:
        assert time.monotonic() < deadline, "no audio was written"
        assert killed.poll() is None, "it was done before it could be killed"
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert visible(tmp_path / "killed") == []
    assert list((tmp_path / "killed").glob(".*.partial"))

    after = corpora.load("espeak", tmp_path / "killed", progress=False, **COUNTS)
    assert len(after.train) == COUNTS["train_utterances"]
    for utterance in (*after.train, *after.dev, *after.test):
        assert len(audio.load(utterance)) == pytest.approx(utterance.duration * 16000)
    assert not list((tmp_path / "killed").glob(".*.partial"))


def test_manifests_are_read_where_they_are(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        audio.write_wav(tmp_path / f"{split}.wav", np.full(16000, 0.1, np.float32), 16000)
        write_manifest(tmp_path / f"{split}.jsonl", [Utterance(split, tmp_path / f"{split}.wav", 1.0, "yes", split)])
    options = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "dev")}
    corpus = corpora.load("manifest", tmp_path / "corpora", progress=False, test=options["dev"], **options)
    assert [utterance.audio for utterance in (*corpus.train, *corpus.test)] == [
        tmp_path / "train.wav",
        tmp_path / "dev.wav",
    ]
    assert not (tmp_path / "corpora").exists()
    with pytest.raises(SettingsError, match="the corpus manifest has no source"):
        corpora.load("manifest", tmp_path / "corpora", tmp_path, test=options["dev"], **options)
    with pytest.raises(SettingsError, match="has no option 'tset'"):
        corpora.check("manifest", {**options, "tset": options["dev"]})


def test_an_import_that_fails_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "7_theo_0.wav").write_bytes(b"no audio")
    with pytest.raises(RecipeError):
        corpora.load("fsdd", tmp_path / "corpora", source, progress=False)
    assert visible(tmp_path / "corpora") == []
    assert not list((tmp_path / "corpora").glob(".*.partial"))


def test_progress_in_a_log_is_a_few_lines_and_can_be_silenced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora.load("espeak", tmp_path / "silent", progress=False, **FEW)
    assert capsys.readouterr() == ("", "")
    corpora.load("espeak", tmp_path / "told", **FEW)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert lines[3:5] == ["espeak: synthesising, 38 of 38 utterances", "espeak: checking audio, 10 of 38 files"]
    assert all(line.startswith("espeak: ") for line in lines)
    corpora.load("espeak", tmp_path / "told", **FEW)
    assert capsys.readouterr() == ("", "")


def test_the_folder_can_be_moved_but_its_audio_cannot_be_taken_away(tmp_path: Path) -> None:
    corpus = corpora.load("espeak", tmp_path, progress=False, **FEW)
    (name,) = visible(tmp_path)
    (tmp_path / name / "audio").rename(tmp_path / "elsewhere")
    with pytest.raises(RecipeError, match=f"imported into .*{name}, and its audio is gone") as failure:
        corpora.load("espeak", tmp_path, progress=False, **FEW)
    assert "remove" in failure.value.hint
    (tmp_path / "elsewhere").rename(tmp_path / name / "audio")
    (tmp_path / name).rename(tmp_path / "moved")
    moved = read_manifest(tmp_path / "moved" / "train.jsonl")
    assert [utterance.id for utterance in moved] == [utterance.id for utterance in corpus.train]
    assert all(utterance.audio.is_file() for utterance in moved)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("She had your dark suit in greasy wash water all year.", None),
        ("  Don't -- stop,  it\u2019s\tnine\u2026 ", "don't stop it's nine"),
        ("'quoted' twenty-one!", "quoted twenty one"),
        ("ﬁve & ten", "five ten"),
        ("…", ""),
        ("café 7", "café 7"),
    ],
)
def test_transcripts_are_normalised(text: str, normal: str | None) -> None:
    assert _checks.normalise(text) == (normal if normal is not None else text.lower().rstrip("."))


def utterance(folder: Path, id: str, file: str, text: str = "yes", speaker: str = "f1", **place: float) -> Utterance:
    return Utterance(id, folder / file, text=text, speaker=speaker, **{"duration": 0.0, **place})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of 0.1 s, and others that are wrong."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a", "b", "c"):
        audio.write_wav(folder / f"{name}.wav", np.full(1600, 0.1, np.float32), 16000)
    audio.write_wav(folder / "empty.wav", np.zeros(0, np.float32), 16000)
    (folder / "bad.wav").write_bytes(b"no audio")
    (folder / "cut.wav").write_bytes((folder / "a.wav").read_bytes()[:-100])
    speech = np.random.default_rng(1).uniform(-0.5, 0.5, 16000).astype(np.float32)
    for suffix in ("flac", "mp3"):
        soundfile.write(folder / f"long.{suffix}", speech, 16000)
        (folder / f"cut.{suffix}").write_bytes((folder / f"long.{suffix}").read_bytes()[:-900])
    soundfile.write(folder / "long.sph", speech, 16000, format="NIST", subtype="PCM_16")
    (folder / "cut.sph").write_bytes((folder / "long.sph").read_bytes()[:-900])
    return folder


def checked(rules: _checks.Rules, **splits: list[Utterance]) -> _checks.Checked:
    return _checks.check(splits, rules, Progress("test", enabled=False))


@pytest.mark.parametrize(
    ("id", "file", "options", "problem"),
    [
        ("a", "a.wav", {"text": ""}, "empty transcript: a"),
        ("a", "a.wav", {"text": "caf\u00e9 7"}, "characters outside the alphabet: a: 7 \u00e9"),
        ("a", "bad.wav", {}, "unreadable audio: a: is not audio"),
        ("a", "absent.wav", {}, "unreadable audio: a: cannot be read: No such file"),
        ("a", "cut.wav", {}, "unreadable audio: a: is cut short"),
        ("a", "cut.flac", {}, "unreadable audio: a: is cut short"),
        ("a", "cut.mp3", {}, "unreadable audio: a: is cut short"),
        ("a", "cut.sph", {}, "unreadable audio: a: is cut short"),
        ("a", "empty.wav", {}, "empty audio: a"),
        ("a", "a.wav", {"duration": 0.3}, "duration mismatch: a: 0.30 s stated, 0.10 s of audio"),
        ("a", "a.wav", {"text": "yes or no"}, "duration mismatch: a: 9 characters in 0.10 s"),
        ("a", "long.sph", {"start": 0.5, "duration": 1.1}, "duration mismatch: a: ends at 1.60 s, its audio at 1.00 s"),
        ("a", "long.sph", {"start": 1.0, "duration": 0.1}, "duration mismatch: a: ends at 1.10 s"),
        ("a", "long.sph", {"start": 0.5, "duration": 0.0}, "duration mismatch: a: from 0.50 s to 0.50 s"),
        ("a", "long.sph", {"start": 0.1, "duration": 0.8}, "too long: a: 0.8 s"),
        ("ok", "a.wav", {}, "id twice in one split: ok"),
    ],
)
def test_what_cannot_be_used_is_left_out_by_name(
    clips: Path, id: str, file: str, options: dict[str, Any], problem: str
) -> None:
    good = utterance(clips, "ok", "b.wav", speaker="m2")
    found = checked(_checks.Rules(max_duration=0.7), train=[good, utterance(clips, id, file, **options)])
    assert [one.id for one in found.splits["train"]] == ["ok"]
    assert found.splits["train"][0].duration == 0.1, "the audio's own"
    (only,) = found.problems
    assert f"{only.kind}: {only.name}: {only.detail}".startswith(problem)
    assert only.split == "train"
    assert found.faults == []


def test_what_can_be_used_is_kept(clips: Path) -> None:
    segment = utterance(clips, "s", "long.sph", start=0.6, duration=0.5)
    for file in ("long.flac", "long.mp3", "long.sph"):
        found = checked(_checks.Rules(), train=[utterance(clips, "a", file), segment])
        assert found.problems == []
        assert [one.duration for one in found.splits["train"]] == pytest.approx([1.0, 0.4])
    german = _checks.Rules(Alphabet(" abcdefghijklmnopqrstuvwxyz\u00e9"), max_duration=0.01)
    test = [utterance(clips, "a", "a.wav", "caf\u00e9")]
    assert checked(german, test=test).problems == [], "and the longer ones of a test set are, too"


def test_what_makes_an_import_worthless_is_found(clips: Path) -> None:
    def faults(*, one_for_all: bool = False, **splits: list[Utterance]) -> list[str]:
        rules = _checks.Rules(unseen_speakers=(("train", "test"),), one_for_all=one_for_all)
        return [f"{fault.kind}: {fault.name}" for fault in checked(rules, **splits).faults]

    a, b = utterance(clips, "a", "a.wav"), utterance(clips, "b", "b.wav")
    good = [utterance(clips, "t", "c.wav", speaker="m2")]
    assert faults(train=[a, b], test=good) == []
    assert faults(train=[], test=good) == ["empty split: train"]
    assert faults(train=[utterance(clips, "a", "bad.wav")], test=good) == ["empty split: train"]
    assert faults(train=[utterance(clips, "t", "a.wav")], test=good) == ["id in two splits: t"]
    assert faults(train=[utterance(clips, "a", "c.wav")], test=good) == [f"audio in two splits: {clips / 'c.wav'}"]
    assert faults(train=[utterance(clips, "a", "a.wav", speaker="m2")], test=good) == ["speaker in two splits: m2"]
    assert faults(one_for_all=True, train=[a], dev=[a], test=[utterance(clips, "b", "b.wav", speaker="m2")]) == []


def test_problems_are_counted_and_named(tmp_path: Path) -> None:
    problems = [_problems.Problem("empty audio", f"u{number}") for number in range(12)]
    problems.append(_problems.Problem("bad recording", "7_theo_0.wav", "is empty", "dev"))
    with pytest.raises(RecipeError) as failure:
        _problems.raise_for(problems, "fsdd", "get it again")
    assert failure.value.message.splitlines() == [
        "the corpus fsdd was not imported, 13 problems:",
        "  empty audio: 12: u0, u1, u2, u3, u4 and 7 more",
        "  bad recording: 1: 7_theo_0.wav (is empty)",
    ]
    _problems.raise_for([], "fsdd", "", problems)
    _problems.write(tmp_path, problems)
    lines = (tmp_path / "problems.jsonl").read_text().splitlines()
    assert len(lines) == 13
    assert json.loads(lines[-1]) == {
        "kind": "bad recording",
        "name": "7_theo_0.wav",
        "detail": "is empty",
        "split": "dev",
    }
