"""LibriSpeech: the real layout with one real utterance, and small archives in that layout."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import shutil
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import support
from deepspeech_train import corpora
from deepspeech_train.corpora import librispeech
from deepspeech_train.corpora.librispeech import Subset
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Corpus
from deepspeech_train.errors import RecipeError

ONE = {"train": "dev-clean", "dev": "dev-clean", "test": "dev-clean"}
SEVERAL = {"train": "train-clean-100+train-other-500", "dev": "dev-other", "test": "test-clean"}
ONE_EACH = {"train": "train-clean-100", "dev": "dev-other", "test": "test-clean"}
#: Subset -> its speakers; each reads two utterances.
SPEAKERS = {"train-clean-100": ("19", "26"), "train-other-500": ("20",), "dev-other": ("116",), "test-clean": ("61",)}


def flac(seed: int) -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, 4800)
    soundfile.write(buffer, samples, 16000, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A folder like LibriSpeech's, with noise for speech."""
    for subset, speakers in SPEAKERS.items():
        for speaker in speakers:
            chapter = tmp_path / "LibriSpeech" / subset / speaker / "198"
            chapter.mkdir(parents=True)
            lines = ""
            for number in range(2):
                id = f"{speaker}-198-{number:04d}"
                (chapter / f"{id}.flac").write_bytes(flac(int(speaker) * 2 + number))
                lines += f"{id} IT'S A {'LONG ' * number}DAY\n"
            (chapter / f"{speaker}-198.trans.txt").write_text(lines)
    return tmp_path / "LibriSpeech"


def archives(unpacked: Path, folder: Path) -> Path:
    folder.mkdir()
    for subset in SPEAKERS:
        with tarfile.open(folder / f"{subset}.tar.gz", "w:gz") as tar:
            tar.add(unpacked / subset, f"LibriSpeech/{subset}")
    return folder


def problems(folder: Path) -> list[tuple[str, str, str]]:
    (listed,) = folder.glob("librispeech-*/problems.jsonl")
    found = [json.loads(line) for line in listed.read_text().splitlines()]
    return [(problem["kind"], problem["name"], problem["detail"]) for problem in found]


def essence(corpus: Corpus) -> list[tuple[str, str, float, str]]:
    return [(u.id, u.text, u.duration, u.speaker) for split in (corpus.train, corpus.dev, corpus.test) for u in split]


@pytest.mark.parametrize("wav", [0, 1])
def test_the_real_utterance(tmp_path: Path, wav: int) -> None:
    source = support.shared_data("speech/librispeech-one-utterance.tar.gz")
    corpus = corpora.load("librispeech", tmp_path, source, progress=False, wav=wav, **ONE)
    (utterance,) = corpus.dev
    assert (utterance.id, utterance.speaker, utterance.duration) == ("2412-153948-0000", "2412", 11.66)
    assert utterance.text.startswith("if the reader will excuse me i will say nothing of my antecedents nor")
    assert utterance.audio.suffix == (".wav" if wav else ".flac")
    samples = audio.load(utterance)
    assert samples.shape == (186_560,)
    assert 0.03 < np.sqrt(np.mean(samples**2)) < 0.1
    assert problems(tmp_path) == [("subset not whole", "dev-clean", "1 of 2703 utterances")]


def test_folders_and_archives_give_the_same(unpacked: Path, tmp_path: Path) -> None:
    expected = corpora.load("librispeech", tmp_path / "a", unpacked.parent, progress=False, **SEVERAL)
    assert [len(expected.train), len(expected.dev), len(expected.test)] == [6, 2, 2]
    assert essence(expected)[0] == ("19-198-0000", "it's a day", 0.3, "19")
    assert expected.train[0].audio.is_relative_to(unpacked), "it is read where it is"
    packed = archives(unpacked, tmp_path / "packed")
    for number, source in enumerate((unpacked, packed)):
        corpus = corpora.load("librispeech", tmp_path / str(number), source, progress=False, **SEVERAL)
        assert essence(corpus) == essence(expected)
    shutil.rmtree(packed)
    assert corpus.test[0].audio.read_bytes() == expected.test[0].audio.read_bytes()


def test_an_archive_is_unpacked_once_for_all_imports(
    unpacked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = archives(unpacked, tmp_path / "packed")
    corpora.load("librispeech", tmp_path / "a", packed, **SEVERAL)
    assert capsys.readouterr().err.count("unpacking") >= 4
    converted = corpora.load("librispeech", tmp_path / "a", packed, wav=1, **SEVERAL)
    with pytest.raises(RecipeError, match="too long: 4: 19-198-0000"):
        corpora.load("librispeech", tmp_path / "a", packed, max_duration=0.2, **ONE_EACH)
    assert "unpacking" not in capsys.readouterr().err
    assert len(converted.train) == 6
    assert np.array_equal(
        audio.load(converted.train[0]), audio.load(unpacked / "train-clean-100/19/198/19-198-0000.flac")
    )


def test_the_source_may_be_in_the_folder_that_is_imported_into(unpacked: Path, tmp_path: Path) -> None:
    packed = archives(unpacked, tmp_path / "packed")
    first = corpora.load("librispeech", packed, packed, progress=False, **ONE_EACH)
    assert corpora.load("librispeech", packed, packed, progress=False, **ONE_EACH) == first
    assert len(list(packed.glob("librispeech-*"))) == 2, "one corpus, and what is unpacked"
    (packed / "dev-other.tar.gz").touch()
    corpora.load("librispeech", packed, packed, progress=False, **ONE_EACH)
    assert len(list(packed.glob("librispeech-*"))) == 3, "of a source that has changed"


def test_what_is_wrong_is_named_and_left_out(unpacked: Path, tmp_path: Path) -> None:
    chapter = unpacked / "train-clean-100" / "19" / "198"
    whole = (chapter / "19-198-0000.flac").read_bytes()
    (chapter / "19-198-0000.flac").write_bytes(whole[: len(whole) // 2])
    (chapter / "19-198-0009.flac").write_bytes(flac(9))
    with (chapter / "19-198.trans.txt").open("a") as file:
        file.write("19-198-0002 IT IS NOT THERE\n\n")
    other = unpacked / "train-other-500" / "20" / "198" / "20-198.trans.txt"
    other.write_text("20-198-0000 ROOM 101\n20-198-0001 \n")
    corpus = corpora.load("librispeech", tmp_path / "a", unpacked, progress=False, **SEVERAL)
    assert [utterance.id for utterance in corpus.train] == ["19-198-0001", "26-198-0000", "26-198-0001"]
    found = problems(tmp_path / "a")
    assert [problem for problem in found if problem[0] != "subset not whole"] == [
        ("audio missing", "19-198-0002", "19-198.trans.txt"),
        ("transcript missing", "19-198-0009", "19-198.trans.txt"),
        ("unreadable audio", "19-198-0000", "is cut short: its last samples are not there"),
        ("characters outside the alphabet", "20-198-0000", "0 1"),
        ("empty transcript", "20-198-0001", ""),
    ]


def test_a_speaker_in_two_subsets_is_refused(unpacked: Path, tmp_path: Path) -> None:
    chapter = unpacked / "test-clean" / "19" / "7"
    chapter.mkdir(parents=True)
    (chapter / "19-7-0000.flac").write_bytes(flac(7))
    (chapter / "19-7.trans.txt").write_text("19-7-0000 YES\n")
    with pytest.raises(RecipeError, match=r"speaker in two splits: 1: 19 \(train and test\)"):
        corpora.load("librispeech", tmp_path / "a", unpacked, progress=False, **SEVERAL)


def test_a_subset_that_is_not_there_is_told(unpacked: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no subset dev-clean and no dev-clean\.tar\.gz in"):
        corpora.load("librispeech", tmp_path / "a", unpacked, progress=False, **ONE)
    packed = archives(unpacked, tmp_path / "packed")
    with pytest.raises(RecipeError, match="no subset dev-clean in"):
        corpora.load("librispeech", tmp_path / "a", packed / "test-clean.tar.gz", progress=False, **ONE)


def test_archives_are_downloaded_checked_and_not_kept(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web server on this machine in place of OpenSLR's."""
    packed = archives(unpacked, tmp_path / "packed")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(packed))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    monkeypatch.delenv("ds_librispeech_source", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for subset in SPEAKERS:
        monkeypatch.setitem(librispeech.SUBSETS, subset, Subset(2, "0" * 64))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.02))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        options = {**ONE_EACH, "url": url}
        try:
            with pytest.raises(RecipeError) as wrong:
                corpora.load("librispeech", tmp_path / "a", progress=False, **options)
            for subset in SPEAKERS:
                found = hashlib.sha256((packed / f"{subset}.tar.gz").read_bytes()).hexdigest()
                monkeypatch.setitem(librispeech.SUBSETS, subset, Subset(2, found))
            asked.clear()
            corpus = corpora.load("librispeech", tmp_path / "a", progress=False, **options)
        finally:
            server.shutdown()
            thread.join()
    assert "something else than the file it was" in wrong.value.message
    assert "ds_librispeech_source" in wrong.value.hint
    assert asked == [f"/{subset}.tar.gz" for subset in ("train-clean-100", "dev-other", "test-clean")]
    assert [len(corpus.train), len(corpus.dev), len(corpus.test)] == [4, 2, 2]
    assert all(utterance.audio.is_file() for utterance in corpus.train)
    visible = sorted(path.name.split("-")[1] for path in (tmp_path / "a").iterdir() if path.name[0] != ".")
    assert len(visible) == 2
    assert "unpacked" in visible
    assert not list((tmp_path / "a").rglob("*.tar.gz*"))
    (about,) = (tmp_path / "a").glob("librispeech-*/corpus.json")
    received = json.loads(about.read_text())["downloaded"]
    assert [one["url"] for one in received] == [url + name[1:] for name in asked]
    # With what is unpacked there, another import asks nobody.
    again = corpora.load("librispeech", tmp_path / "a", progress=False, wav=1, **options)
    assert essence(again) == essence(corpus)
