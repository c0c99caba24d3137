"""Common Voice: a language made here, with its tables and clips."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_train import corpora
from deepspeech_train.data import audio
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.text import Alphabet

HEADER = "client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale"

#: Table -> (speaker, clip, sentence).
ROWS = {
    "train": [("ann", "1", 'He said "Yes!".'), ("ann", "2", "Straße"), ("bob", "3", "Stop — it's \t".strip())],
    "dev": [("cleo", "4", "Go left.")],
    "test": [("dora", "5", "Go right.")],
}
VALIDATED = [*ROWS["train"], *ROWS["dev"], *ROWS["test"], ("cleo", "6", "Again."), ("eve", "7", "More.")]


def table(rows: list[tuple[str, str, str]]) -> str:
    lines = [f"{speaker}\tcommon_voice_{clip}.mp3\tx{clip}\t{sentence}\t2\ten" for speaker, clip, sentence in rows]
    return "\n".join([HEADER, *lines]) + "\n"


@pytest.fixture
def language(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "cv-corpus-17.0-2024-03-15" / "en"
    (folder / "clips").mkdir(parents=True)
    for name, rows in {**ROWS, "validated": VALIDATED}.items():
        (folder / f"{name}.tsv").write_text(table(rows), encoding="utf-8")
    for _, clip, _ in VALIDATED:
        samples = np.random.default_rng(int(clip)).uniform(-0.3, 0.3, 32_000)
        soundfile.write(folder / "clips" / f"common_voice_{clip}.mp3", samples, 32_000)
    milliseconds = [f"common_voice_{clip}.mp3\t1000" for _, clip, _ in VALIDATED]
    (folder / "clip_durations.tsv").write_text("\n".join(["clip\tduration[ms]", *milliseconds]) + "\n")
    return folder


def problems(folder: Path) -> list[tuple[str, str, str]]:
    (listed,) = folder.glob("commonvoice-*/problems.jsonl")
    found = [json.loads(line) for line in listed.read_text().splitlines()]
    return [(problem["kind"], problem["name"], problem["detail"]) for problem in found]


def test_the_official_splits(language: Path, tmp_path: Path) -> None:
    corpus = corpora.load("commonvoice", tmp_path / "a", language, progress=False)
    assert [(u.id, u.text, u.speaker) for u in corpus.train] == [
        ("common_voice_1", "he said yes", "ann"),
        ("common_voice_3", "stop it's", "bob"),
    ]
    assert [utterance.text for utterance in (*corpus.dev, *corpus.test)] == ["go left", "go right"]
    assert corpus.train[0].duration == 1.0
    assert len(audio.load(corpus.train[0])) == 16_000
    assert problems(tmp_path / "a") == [("characters outside the alphabet", "common_voice_2", "ß")]


def test_the_alphabet_decides_what_can_be_used(language: Path, tmp_path: Path) -> None:
    german = Alphabet(" 'abcdefghijklmnopqrstuvwxyzäöüß")
    corpus = corpora.load("commonvoice", tmp_path / "a", language, progress=False, alphabet=german)
    assert [utterance.text for utterance in corpus.train] == ["he said yes", "straße", "stop it's"]
    corpora.load("commonvoice", tmp_path / "a", language, progress=False)
    assert len(list((tmp_path / "a").glob("commonvoice-*"))) == 2, "another alphabet is another import"


@pytest.mark.parametrize("form", ["parent", "grandparent", "archive"])
def test_every_form_of_the_source(language: Path, tmp_path: Path, form: str) -> None:
    source = {"parent": language.parent, "grandparent": language.parents[1]}.get(form, tmp_path / "cv-en.tar.gz")
    if form == "archive":
        with tarfile.open(source, "w:gz") as tar:
            tar.add(language.parent, language.parent.name)
    corpus = corpora.load("commonvoice", tmp_path / "a", source, progress=False, wav=1)
    assert [utterance.audio.name for utterance in corpus.train] == ["common_voice_1.wav", "common_voice_3.wav"]
    assert soundfile.info(corpus.train[0].audio).samplerate == 16_000
    assert len(audio.load(corpus.train[0])) == pytest.approx(16_000, abs=16)


def test_all_validated_clips_of_speakers_who_are_not_held_out(language: Path, tmp_path: Path) -> None:
    corpus = corpora.load("commonvoice", tmp_path / "a", language, progress=False, train="validated")
    assert [(u.id, u.speaker) for u in corpus.train] == [
        ("common_voice_1", "ann"),
        ("common_voice_3", "bob"),
        ("common_voice_7", "eve"),
    ]


def test_what_is_wrong_is_named_and_left_out(language: Path, tmp_path: Path) -> None:
    clip = language / "clips" / "common_voice_1.mp3"
    clip.write_bytes(clip.read_bytes()[:-2000])
    rows = [*ROWS["train"], ("bob", "99", "Absent."), ("bob", "6", "Cropped."), ("bob", "7", "  ")]
    text = table(rows) + "bob\n\tcommon_voice_8.mp3\tx\tno speaker\t2\ten\nbob\ta/../../evil.mp3\tx\tevil\t2\ten\n"
    (language / "train.tsv").write_text(text, encoding="utf-8")
    durations = language / "clip_durations.tsv"
    durations.write_text(durations.read_text().replace("common_voice_6.mp3\t1000", "common_voice_6.mp3\t4000"))
    corpus = corpora.load("commonvoice", tmp_path / "a", language, progress=False)
    assert [utterance.id for utterance in corpus.train] == ["common_voice_3"]
    assert problems(tmp_path / "a") == [
        ("not a line of the table", "train.tsv, line 8", ""),
        ("not a line of the table", "train.tsv, line 9", ""),
        ("not a name of a clip", "train.tsv, line 10", "a/../../evil.mp3"),
        ("unreadable audio", "common_voice_1", "is cut short: its last samples are not there"),
        ("characters outside the alphabet", "common_voice_2", "ß"),
        ("unreadable audio", "common_voice_99", "cannot be read: No such file or directory"),
        ("duration mismatch", "common_voice_6", "4.00 s stated, 1.00 s of audio"),
        ("empty transcript", "common_voice_7", ""),
    ]


def test_a_speaker_in_two_splits_is_refused(language: Path, tmp_path: Path) -> None:
    (language / "dev.tsv").write_text(table([("ann", "4", "Go left.")]))
    with pytest.raises(RecipeError, match=r"speaker in two splits: 1: ann \(train and dev\)"):
        corpora.load("commonvoice", tmp_path / "a", language, progress=False)


def test_a_language_is_chosen(language: Path, tmp_path: Path) -> None:
    language.rename(language.parent / "de")
    (language.parent / "fr").mkdir()
    (language.parent / "fr" / "train.tsv").write_text(HEADER)
    with pytest.raises(SettingsError, match=r"holds the languages de, fr, and the option language .* is ''"):
        corpora.load("commonvoice", tmp_path / "a", language.parent, progress=False)
    corpus = corpora.load("commonvoice", tmp_path / "a", language.parent, progress=False, language="de")
    assert len(corpus.train) == 2


def test_what_cannot_be_had_is_told(language: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ds_commonvoice_source", raising=False)
    with pytest.raises(RecipeError, match="cannot be downloaded without an account") as failure:
        corpora.load("commonvoice", tmp_path / "a", progress=False)
    assert "ds_commonvoice_source" in failure.value.hint
    (language / "dev.tsv").write_text("path\tsentence\n")
    with pytest.raises(RecipeError, match=r"dev\.tsv has no column client_id"):
        corpora.load("commonvoice", tmp_path / "a", language, progress=False)
    (language / "dev.tsv").unlink()
    with pytest.raises(RecipeError, match=r"there is no dev\.tsv in"):
        corpora.load("commonvoice", tmp_path / "a", language, progress=False)
    with pytest.raises(RecipeError, match=r"holds no train\.tsv"):
        corpora.load("commonvoice", tmp_path / "a", language / "clips", progress=False)
