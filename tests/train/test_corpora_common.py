"""What all corpora share: names, options, checks, and an import that is whole or not there."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deepspeech_train import corpora
from deepspeech_train.corpora import _checks
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Utterance, read_manifest
from deepspeech_train.errors import RecipeError, SettingsError

#: Large enough that a test can step in while it is made (about a second).
COUNTS = {"train_utterances": 400, "dev_utterances": 6, "test_utterances": 12}


def importing(folder: Path) -> subprocess.Popen[str]:
    """Another process that imports the espeak corpus of COUNTS into ``folder``."""
    code = f"import sys; from deepspeech_train import corpora;corpora.load('espeak', sys.argv[1], **{COUNTS!r})"
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, text=True)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_the_package_does_not_load_a_network_library() -> None:
    code = (
        "import sys, deepspeech_train.corpora;"
        "print(*{'tensorflow', 'keras', 'jax', 'torch', 'deepspeech_wer'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("name", "options", "message", "hint"),
    [
        ("fsd", {}, "no corpus 'fsd'", "did you mean 'fsdd'?"),
        ("", {}, "no corpus ''", "ldc93s1, fsdd, espeak"),
        ("espeak", {"train_utterance": 3}, "no option 'train_utterance'", "did you mean 'train_utterances'?"),
        ("espeak", {"train_utterances": "3"}, "is '3'", "give int"),
        ("espeak", {"train_utterances": True}, "is True", "give int"),
        ("espeak", {"dev_utterances": 0}, "is 0", "at least 1"),
        ("fsdd", {"split": "random"}, "is 'random'", "'official' or 'speaker'"),
        ("fsdd", {"max_digits": 0}, "is 0", "at least 1"),
        ("ldc93s1", {"split": "official"}, "no option 'split'", "it has no options"),
    ],
)
def test_a_wrong_name_or_option_is_told(
    tmp_path: Path, name: str, options: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as failure:
        corpora.load(name, tmp_path / "corpora", None, **options)
    assert message in failure.value.message
    assert hint in failure.value.hint
    assert not (tmp_path / "corpora").exists()


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
    both = [importing(tmp_path), importing(tmp_path)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("imported into" in text for text in said) == 1
    assert len(visible(tmp_path)) == 1
    assert not list(tmp_path.glob(".*.partial"))


def test_an_importer_waits_for_another_one(tmp_path: Path) -> None:
    corpora.load("espeak", tmp_path, progress=False, **COUNTS)
    (lock,) = tmp_path.glob(".*.lock")
    (whole,) = [tmp_path / name for name in visible(tmp_path)]
    whole.rename(tmp_path / ".kept")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = importing(tmp_path)
        assert waiting.stderr
        assert "another process is importing this corpus" in waiting.stderr.readline()
        (tmp_path / ".kept").rename(whole)  # the first one is done
    said = waiting.communicate(timeout=120)[1]
    assert waiting.returncode == 0, said
    assert "imported into" not in said


def test_a_killed_import_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    killed = importing(tmp_path / "killed")
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "killed").glob(".*.partial/audio/train/*.wav"))) < 20:
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
    corpora.load("espeak", tmp_path / "silent", progress=False, **COUNTS)
    assert capsys.readouterr() == ("", "")
    corpora.load("espeak", tmp_path / "told", **COUNTS)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[-2] == "espeak: synthesising, 418 of 418 utterances"
    assert all(line.startswith("espeak: ") for line in lines)
    corpora.load("espeak", tmp_path / "told", **COUNTS)
    assert capsys.readouterr() == ("", "")


def test_the_folder_can_be_moved(tmp_path: Path) -> None:
    corpus = corpora.load("espeak", tmp_path, progress=False, **COUNTS)
    (name,) = visible(tmp_path)
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


def test_every_kind_of_problem_is_found(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        audio.write_wav(tmp_path / f"{name}.wav", np.full(1600, 0.1, np.float32), 16000)
    audio.write_wav(tmp_path / "empty.wav", np.zeros(0, np.float32), 16000)
    (tmp_path / "bad.wav").write_bytes(b"no audio")

    def utterance(id: str, file: str, text: str = "yes", speaker: str = "f1") -> Utterance:
        return Utterance(id, tmp_path / f"{file}.wav", 0.1, text, speaker)

    def kinds(*, one_for_all: bool = False, **splits: list[Utterance]) -> list[str]:
        found = _checks.problems_of(splits, unseen_speakers=[("train", "test")], one_for_all=one_for_all)
        return [f"{problem.kind}: {problem.name}" for problem in found]

    good = [utterance("t", "c", speaker="m2")]
    assert kinds(train=[utterance("a", "a"), utterance("b", "b")], test=good) == []
    assert kinds(train=[], test=good) == ["empty split: train"]
    assert kinds(train=[utterance("a", "a", "")], test=good) == ["empty transcript: a"]
    assert kinds(train=[utterance("a", "a", "caf\u00e9 7")], test=good) == [
        "characters outside a-z, space and apostrophe: a"
    ]
    assert kinds(train=[utterance("a", "bad")], test=good) == ["unreadable audio: a"]
    assert kinds(train=[utterance("a", "absent")], test=good) == ["unreadable audio: a"]
    assert kinds(train=[utterance("a", "empty")], test=good) == ["empty audio: a"]
    assert kinds(train=[utterance("a", "a"), utterance("a", "b")], test=good) == ["id twice in one split: a"]
    assert kinds(train=[utterance("t", "a")], test=good) == ["id in two splits: t"]
    assert kinds(train=[utterance("a", "c")], test=good) == [f"audio in two splits: {tmp_path / 'c.wav'}"]
    assert kinds(train=[utterance("a", "a", speaker="m2")], test=good) == ["speaker in two splits: m2"]
    same = [utterance("a", "a")]
    assert kinds(one_for_all=True, train=same, dev=same, test=[utterance("b", "b", speaker="m2")]) == []


def test_problems_are_counted_and_named() -> None:
    problems = [_checks.Problem("empty audio", f"u{number}") for number in range(12)]
    problems.append(_checks.Problem("bad recording", "7_theo_0.wav", "is empty"))
    with pytest.raises(RecipeError) as failure:
        _checks.raise_for(problems, "fsdd", "get it again")
    assert failure.value.message.splitlines() == [
        "the corpus fsdd was not imported, 13 problems:",
        "  empty audio: 12: u0, u1, u2, u3, u4 and 7 more",
        "  bad recording: 1: 7_theo_0.wav (is empty)",
    ]
    _checks.raise_for([], "fsdd", "")
