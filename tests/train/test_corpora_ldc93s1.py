"""One sentence of TIMIT: from the real files, and from files that are wrong."""

from __future__ import annotations

import http.server
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import support
from deepspeech_train import corpora
from deepspeech_train.corpora import ldc93s1
from deepspeech_train.data import audio
from deepspeech_train.errors import RecipeError

SENTENCE = "she had your dark suit in greasy wash water all year"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder like LDC's, with a tone for the audio."""
    folder = tmp_path / "source"
    folder.mkdir()
    tone = (0.3 * np.sin(np.arange(16000) / 9)).astype(np.float32)
    audio.write_wav(folder / "LDC93S1.wav", tone, 16000)
    (folder / "LDC93S1.txt").write_text("0 16000 She had your dark suit.\n")
    return folder


@pytest.mark.parametrize("form", ["speech", "speech/LDC93S1.wav"])
def test_the_real_sentence(tmp_path: Path, form: str) -> None:
    corpus = corpora.load("ldc93s1", tmp_path, support.shared_data(form), progress=False)
    assert corpus.name == "ldc93s1"
    (utterance,) = corpus.train
    assert corpus.train == corpus.dev == corpus.test
    assert utterance.text == SENTENCE
    assert utterance.duration == 46797 / 16000
    assert audio.load(utterance).shape == (46797,)
    assert utterance.audio.is_relative_to(tmp_path)


def test_the_real_files_are_the_ones_that_a_download_is_checked_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web server on this machine in place of LDC's, which gives the real files."""
    folder = support.shared_data("speech")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.delenv("ds_ldc93s1_source", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            monkeypatch.setattr(ldc93s1, "URL", f"http://127.0.0.1:{server.server_port}/")
            corpus = corpora.load("ldc93s1", tmp_path / "a", progress=False)
            assert corpus.test[0].text == SENTENCE
            monkeypatch.setitem(ldc93s1.SHA256, "LDC93S1.txt", "0" * 64)
            with pytest.raises(RecipeError) as failure:
                corpora.load("ldc93s1", tmp_path / "b", progress=False)
        finally:
            server.shutdown()
            thread.join()
    assert "something else than the file it was" in failure.value.message
    assert "ds_ldc93s1_source" in failure.value.hint
    with pytest.raises(RecipeError, match="Connection refused"):
        corpora.load("ldc93s1", tmp_path / "b", progress=False)
    assert {path.suffix for path in (tmp_path / "b").iterdir()} == {".lock"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("She had your dark suit.", "does not begin with two sample numbers"),
        ("0 16000", "does not begin with two sample numbers"),
        ("", "does not begin with two sample numbers"),
        ("0 16001 She had your dark suit.", "the audio has 16000"),
        ("9 9 She had your dark suit.", "samples 9 to 9"),
        ("0 16000 She had 2 suits.", "characters outside the alphabet"),
        ("0 16000 \u2026", "empty transcript"),
    ],
)
def test_a_bad_transcript_is_told(source: Path, tmp_path: Path, text: str, complaint: str) -> None:
    (source / "LDC93S1.txt").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=complaint):
        corpora.load("ldc93s1", tmp_path / "corpora", source, progress=False)
    assert [path.suffix for path in (tmp_path / "corpora").iterdir()] == [".lock"]


def test_bad_audio_is_told(source: Path, tmp_path: Path) -> None:
    wav = source / "LDC93S1.wav"
    whole = wav.read_bytes()
    for content, complaint in ((b"", "not audio"), (whole[:-2], "cut short"), (whole[:44], "cut short")):
        wav.write_bytes(content)
        with pytest.raises(RecipeError, match=complaint):
            corpora.load("ldc93s1", tmp_path / "corpora", source, progress=False)


def test_a_missing_file_is_named(source: Path, tmp_path: Path) -> None:
    (source / "LDC93S1.txt").unlink()
    with pytest.raises(RecipeError, match=r"LDC93S1\.txt is not beside"):
        corpora.load("ldc93s1", tmp_path, source, progress=False)
    (source / "LDC93S1.wav").unlink()
    with pytest.raises(RecipeError, match=r"no LDC93S1\.wav in"):
        corpora.load("ldc93s1", tmp_path, source, progress=False)


def test_the_corpus_does_not_need_its_source_to_stay_as_it_was(source: Path, tmp_path: Path) -> None:
    corpus = corpora.load("ldc93s1", tmp_path / "corpora", source / "LDC93S1.wav", progress=False)
    shutil.rmtree(source)
    assert audio.load(corpus.train[0]).shape == (16000,)
