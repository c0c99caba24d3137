"""AN4: the layout of CMU's archives, with noise for speech."""

from __future__ import annotations

import http.server
import json
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_train import corpora
from deepspeech_train.data import audio
from deepspeech_train.errors import RecipeError

TRAIN = {"fash": ("P I T T S B U R G H", "TWO SIX"), "mjes": ("GO", "YES"), "fcaw": ("ENTER SIX", "NO")}
TEST = {"mdxn": ("RUBOUT", "STOP")}


def samples(id: str) -> np.ndarray:
    draw = np.random.default_rng(sum(id.encode()))
    return draw.integers(-9000, 9000, 16_000).astype(np.int16)


def made(root: Path, *, raw: bool = False) -> Path:
    base = root / "an4"
    (base / "etc").mkdir(parents=True)
    for split, speakers, folder in (("train", TRAIN, "an4_clstk"), ("test", TEST, "an4test_clstk")):
        lines = []
        for speaker, sentences in speakers.items():
            (base / "wav" / folder / speaker).mkdir(parents=True)
            for number, sentence in enumerate(sentences):
                id = f"an{number}-{speaker}-b"
                path = base / "wav" / folder / speaker / id
                lines.append(f"<s> {sentence} </s> ({id})" if split == "train" else f"{sentence} ({id})")
                if raw:
                    path.with_suffix(".raw").write_bytes(samples(id).astype(">i2").tobytes())
                else:
                    sph = path.with_suffix(".sph")
                    soundfile.write(sph, samples(id), 16_000, format="NIST", subtype="PCM_16", endian="BIG")
        (base / "etc" / f"an4_{split}.transcription").write_text("\n".join(lines) + "\n")
    return root


def packed(root: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / "an4", "an4")
    return archive


def problems(folder: Path) -> list[tuple[str, str, str]]:
    (listed,) = folder.glob("an4-*/problems.jsonl")
    found = [json.loads(line) for line in listed.read_text().splitlines()]
    return [(problem["kind"], problem["name"], problem["detail"]) for problem in found]


@pytest.mark.parametrize("form", ["sphere", "raw", "archive"])
def test_every_form_of_the_source(tmp_path: Path, form: str) -> None:
    source = made(tmp_path / "source", raw=form == "raw")
    if form == "archive":
        source = packed(source, tmp_path / "an4_sphere.tar.gz")
    corpus = corpora.load("an4", tmp_path / "a", source, progress=False, dev_speakers=1)
    everything = {u.id: u for u in (*corpus.train, *corpus.dev, *corpus.test)}
    assert len(everything) == 8
    assert everything["an0-fash-b"].text == "p i t t s b u r g h"
    assert [(u.id, u.text, u.speaker, u.duration) for u in corpus.test] == [
        ("an0-mdxn-b", "rubout", "mdxn", 1.0),
        ("an1-mdxn-b", "stop", "mdxn", 1.0),
    ]
    for id, utterance in everything.items():
        assert np.array_equal(np.round(audio.load(utterance) * 32768), samples(id))
    assert problems(tmp_path / "a") == []


def test_dev_is_drawn_by_speaker_with_the_seed(tmp_path: Path) -> None:
    source = made(tmp_path / "source")
    drawn = set()
    for seed in range(8):
        corpus = corpora.load("an4", tmp_path / "a", source, seed=seed, progress=False, dev_speakers=1)
        dev, train = ({utterance.speaker for utterance in split} for split in (corpus.dev, corpus.train))
        assert len(dev) == 1
        assert dev | train == set(TRAIN)
        assert not dev & train
        drawn |= dev
    assert len(drawn) > 1
    with pytest.raises(RecipeError, match="empty split: 1: train"):
        corpora.load("an4", tmp_path / "a", source, progress=False, dev_speakers=3)


def test_a_speaker_of_the_test_set_who_is_trained_on_is_told_and_never_drawn_for_dev(tmp_path: Path) -> None:
    source = made(tmp_path / "source")
    old = source / "an4" / "wav" / "an4_clstk" / "fash"
    old.rename(old.parent / "mdxn")
    for seed in range(4):
        corpus = corpora.load("an4", tmp_path / str(seed), source, seed=seed, progress=False, dev_speakers=1)
        assert problems(tmp_path / str(seed)) == [("speaker in two splits, kept", "mdxn", "train and test")]
        assert "mdxn" not in {utterance.speaker for utterance in corpus.dev}


def test_what_is_wrong_is_named_and_left_out(tmp_path: Path) -> None:
    source = made(tmp_path / "source", raw=True)
    wav = source / "an4" / "wav"
    (wav / "an4_clstk" / "fash" / "an0-fash-b.raw").write_bytes(b"odd")
    (wav / "an4_clstk" / "mjes" / "an0-mjes-b.raw").unlink()
    (wav / "an4test_clstk" / "mdxn" / "an0-mdxn-b.raw").write_bytes(bytes(400))
    with (source / "an4" / "etc" / "an4_train.transcription").open("a") as file:
        file.write("<s> NO ID </s>\n\n")
    corpus = corpora.load("an4", tmp_path / "a", source, progress=False, dev_speakers=1)
    assert len(corpus.train) + len(corpus.dev) == 4
    assert problems(tmp_path / "a") == [
        ("audio missing", "an0-mjes-b", ""),
        ("not a line of transcripts", "an4_train.transcription, line 7", "<s> NO ID </s>"),
        ("unreadable audio", "an0-fash-b", "3 bytes of 16 bits"),
        ("duration mismatch", "an0-mdxn-b", "6 characters in 0.01 s of audio"),
    ]


def test_it_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server on this machine in place of CMU's."""
    archive = packed(made(tmp_path / "source"), tmp_path / "an4_sphere.tar.gz")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.delenv("ds_an4_source", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.02))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/an4_sphere.tar.gz"
        try:
            whole = archive.read_bytes()
            archive.write_bytes(whole[:-1000])
            with pytest.raises(RecipeError, match="read to its end"):
                corpora.load("an4", tmp_path / "a", progress=False, dev_speakers=1, url=url)
            archive.write_bytes(whole)
            corpus = corpora.load("an4", tmp_path / "a", progress=False, dev_speakers=1, url=url)
        finally:
            server.shutdown()
            thread.join()
    assert len(corpus.test) == 2
    (about,) = (tmp_path / "a").glob("an4-*/corpus.json")
    (received,) = json.loads(about.read_text())["downloaded"]
    assert (received["url"], received["bytes"]) == (url, len(whole))
    assert not list((tmp_path / "a").rglob("*.gz"))


def test_a_folder_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(RecipeError, match="holds no folder an4/etc"):
        corpora.load("an4", tmp_path / "a", tmp_path / "source", progress=False)
    (tmp_path / "source" / "an4" / "etc").mkdir(parents=True)
    with pytest.raises(RecipeError, match=r"cannot read the transcripts .*an4_train\.transcription"):
        corpora.load("an4", tmp_path / "a", tmp_path / "source", progress=False)
