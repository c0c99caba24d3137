"""The synthesised corpus: real espeak-ng, listened to with numbers."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from deepspeech_train import corpora
from deepspeech_train.corpora import _espeak_library, _espeak_worker, espeak
from deepspeech_train.corpora._espeak_grammar import WORDS
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Corpus
from deepspeech_train.errors import RecipeError

COUNTS = {"train_utterances": 176, "dev_utterances": 12, "test_utterances": 24}
FEW = {"train_utterances": 20, "dev_utterances": 6, "test_utterances": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("espeak")


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return corpora.load("espeak", folder, seed=7, progress=False, **COUNTS)


def contents(folder: Path) -> dict[str, str]:
    """Path -> hash of every file of the one corpus in ``folder``."""
    (root,) = (path for path in folder.iterdir() if not path.name.startswith("."))
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_one_seed_gives_one_corpus_to_the_bit_and_another_seed_another(corpus: Corpus, tmp_path: Path) -> None:
    for number, seed in enumerate((7, 7, 8)):
        other = corpora.load("espeak", tmp_path / str(number), seed=seed, progress=False, **FEW)
    assert contents(tmp_path / "0") == contents(tmp_path / "1")
    assert [u.text for u in other.train] != [u.text for u in corpus.train[:20]]
    assert {u.speaker for u in other.test} == {u.speaker for u in corpus.test}, "the split is the corpus's own"


def test_the_splits_have_voices_and_files_of_their_own(corpus: Corpus) -> None:
    assert [len(corpus.train), len(corpus.dev), len(corpus.test)] == [176, 12, 24]
    variants = [{u.speaker.split("+")[1] for u in split} for split in (corpus.train, corpus.dev, corpus.test)]
    assert [len(found) for found in variants] == [len(espeak.VARIANTS[s]) for s in ("train", "dev", "test")]
    assert sum(map(len, variants)) == len(set.union(*variants))
    utterances = [*corpus.train, *corpus.dev, *corpus.test]
    assert len({u.id for u in utterances}) == len({u.audio for u in utterances}) == len(utterances)
    per_voice = [sum(u.speaker == speaker for u in corpus.test) for speaker in {u.speaker for u in corpus.test}]
    assert set(per_voice) == {2}


def test_the_sentences_are_of_the_grammar_and_the_sets_differ(corpus: Corpus) -> None:
    said = {word for u in corpus.train for word in u.text.split()}
    assert said == WORDS
    assert 25 <= len(WORDS) <= 40
    assert {len(u.text.split()) for u in corpus.train} == {1, 2, 3, 4, 5}
    train, test = ({u.text for u in split} for split in (corpus.train, corpus.test))
    assert test - train, "a model that learnt the sentences by heart must not be right about all"
    assert {word for text in test for word in text.split()} <= said


def test_the_audio_is_speech_of_the_length_that_the_manifest_says(corpus: Corpus) -> None:
    seconds_a_word = []
    for utterance in (*corpus.train, *corpus.dev, *corpus.test):
        samples = audio.load(utterance)
        assert len(samples) == round(utterance.duration * 16000)
        level = 20 * np.log10(np.sqrt(np.mean(samples**2)))
        assert -40 < level < -12, utterance
        assert 0.17 < np.abs(samples).max() < 0.8, utterance
        # Speech, not noise: the loud frames stand out from the pause before the first word.
        pause = np.sqrt(np.mean(samples[:1200] ** 2))
        assert 1e-6 < pause < 0.2 * np.abs(samples).max(), utterance
        seconds_a_word.append(utterance.duration / len(utterance.text.split()))
    assert min(seconds_a_word) > 0.25
    assert max(seconds_a_word) < 1.8
    assert 0.4 < np.mean(seconds_a_word) < 0.7


def spectrum(samples: np.ndarray) -> np.ndarray:
    """Mean log power in 24 bands up to 8 kHz, without the level."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    bands = np.array([np.log(band.sum(axis=1) + 1e-6).mean() for band in np.array_split(power[:, 2:], 24, axis=1)])
    return np.asarray(bands - bands.mean())


@pytest.fixture(scope="module")
def library() -> _espeak_library.EspeakLibrary:
    return _espeak_library.EspeakLibrary()


def test_the_voices_sound_different_and_the_same_voice_does_not(
    library: _espeak_library.EspeakLibrary,
) -> None:
    assert library.sample_rate == 22050

    def speak(variant: str, text: str, accent: str = "en-us", pitch: int = 50, rate: int = 160) -> np.ndarray:
        spoken = library.synthesise(
            text, accent=accent, variant=variant, rate=rate, pitch=pitch, pitch_range=50, word_gap=0, seed=1
        )
        return spoken.astype(np.float32) / 32768

    text = "turn the light on seven three zero nine"
    variants = [variant for split in espeak.VARIANTS.values() for variant in split]
    spectra = {variant: spectrum(speak(variant, text)) for variant in variants}
    again = spectrum(speak("m3", text))
    assert np.sqrt(np.mean((again - spectra["m3"]) ** 2)) < 0.05
    for split in ("dev", "test"):
        for variant in espeak.VARIANTS[split]:
            nearest = min(
                float(np.sqrt(np.mean((spectra[variant] - spectra[other]) ** 2)))
                for other in variants
                if other not in espeak.VARIANTS[split]
            )
            assert nearest > 0.3, f"{variant} of the {split} voices has a twin in another split"
    assert len(speak("m3", text, rate=130)) > 1.2 * len(speak("m3", text, rate=185))
    assert not np.array_equal(speak("m3", text, pitch=35), speak("m3", text, pitch=65))
    assert not np.array_equal(speak("m3", text), speak("m3", text, accent="en-gb-x-rp"))


def test_a_voice_that_does_not_exist_is_refused(library: _espeak_library.EspeakLibrary) -> None:
    for text, accent, variant, message in (
        ("go", "en-us", "nobody", "no voice variant 'nobody'"),
        ("go", "xx-yy", "m3", "SetVoiceByName"),
        (" ", "en-us", "m3", "says nothing"),
    ):
        with pytest.raises(_espeak_library.EspeakError, match=message):
            library.synthesise(
                text, accent=accent, variant=variant, rate=160, pitch=50, pitch_range=50, word_gap=0, seed=1
            )


def a_request() -> espeak.Request:
    return espeak.Request(
        id="a",
        path="a.wav",
        text="go left",
        accent="en-us",
        variant="m3",
        rate=160,
        pitch=50,
        pitch_range=50,
        word_gap=0,
        peak=0.5,
        snr=25.0,
        lead=0.1,
        trail=0.2,
        noise_seed=1,
    )


def work(folder: Path, *requests: espeak.Request) -> int:
    path = folder / "synthesis.jsonl"
    path.write_text("".join(json.dumps(asdict(request)) + "\n" for request in requests))
    return _espeak_worker.main(path)


def test_level_noise_and_pauses_are_as_asked() -> None:
    speech = (0.9 * np.sin(np.arange(8000) / 5)).astype(np.float32)
    recorded = _espeak_worker._recorded(a_request(), speech)
    assert len(recorded) == 8000 + round(0.3 * 16000)
    clean = np.pad(speech / 0.9 * 0.5, (1600, 3200))
    noise = recorded - clean
    snr = 10 * np.log10(np.mean(clean[1600:9600] ** 2) / np.mean(noise**2))
    assert snr == pytest.approx(25.0, abs=0.2)
    assert np.array_equal(_espeak_worker._recorded(a_request(), speech), recorded)
    loud = _espeak_worker._recorded(replace(a_request(), peak=1.0, snr=0.0), speech)
    assert np.abs(loud).max() == 1.0


def test_a_refused_request_ends_the_worker_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert work(tmp_path, a_request(), replace(a_request(), variant="nobody")) == 1
    output = capsys.readouterr()
    assert output.out.count("\n") == 1
    assert output.err == "there is no voice variant 'nobody'\n"


def with_data_in(data: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The worker in a process of its own, with the library's data in another place."""
    (folder / "synthesis.jsonl").write_text(json.dumps(asdict(a_request())) + "\n")
    code = (
        "import sys, espeakng_loader; espeakng_loader.get_data_path = lambda: sys.argv[1];"
        "from pathlib import Path; from deepspeech_train.corpora import _espeak_worker;"
        "sys.exit(_espeak_worker.main(Path(sys.argv[2])))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(data), str(folder / "synthesis.jsonl")], capture_output=True, text=True
    )


def test_a_data_path_too_long_for_the_library_is_worked_around(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120) / "espeak-ng-data"
    deep.parent.mkdir(parents=True)
    deep.symlink_to(espeakng_loader.get_data_path())
    done = with_data_in(deep, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a ")
    assert len(audio.load(tmp_path / "a.wav")) == int(done.stdout.split()[1])


def test_a_library_without_its_data_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = with_data_in(tmp_path / "data", tmp_path)
    assert done.returncode == 1
    assert "found no usable data in" in done.stderr.splitlines()[-1]


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A fake in place of the Python that runs the worker: a library that crashes is not to be had at will."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo espeak-train-00000 5; kill -SEGV $$", r"crashed with SIGSEGV at utterance espeak-train-00001"),
        ("echo no voice >&2; exit 1", r"failed with exit code 1 at utterance espeak-train-00000.*: no voice"),
        ("sleep 60", r"gave nothing for 0\.2 s at utterance espeak-train-00000"),
        ("exit 0", r"failed with exit code 0 at utterance espeak-train-00000"),
    ],
)
def test_a_synthesiser_that_dies_is_an_error_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    stand_in(tmp_path, monkeypatch, f"exec sh -c '{script}'" if "sleep" not in script else f"exec {script}")
    monkeypatch.setattr(espeak, "PATIENCE", 0.2 if "sleep" in script else 60)
    with pytest.raises(RecipeError) as failure:
        corpora.load("espeak", tmp_path / "corpora", progress=False, **FEW)
    assert re.search(message, failure.value.message)
    assert "espeakng-loader" in failure.value.hint
    assert [path.suffix for path in (tmp_path / "corpora").iterdir()] == [".lock"]


def test_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="has no source"):
        corpora.load("espeak", tmp_path, tmp_path)


def test_a_module_of_the_working_directory_does_not_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soundfile.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    counts = {"train_utterances": 2, "dev_utterances": 1, "test_utterances": 1}
    assert len(corpora.load("espeak", tmp_path / "corpora", progress=False, **counts).train) == 2
    shutil.rmtree(tmp_path / "corpora")
