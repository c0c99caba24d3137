"""Recognising audio as it comes: cut where it is quiet, put together again; the verb transcribe."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspeech_train import checkpoints, cli, models
from deepspeech_train.checkpoints import Network, Progress
from deepspeech_train.data import audio
from deepspeech_train.decoding import Hypothesis, Word
from deepspeech_train.recognising import Recogniser, cut, joined
from deepspeech_train.settings import Settings
from deepspeech_train.verbs import transcribing


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learnt nothing, whose weights are large enough for it to say something."""
    settings = Settings.from_namespace({"n_hidden": 12, "n_context": 2}, {})
    model = models.build(settings)
    for variable in model.trainable_variables:
        variable.assign(3 * variable.numpy())
    folder = tmp_path_factory.mktemp("checkpoint")
    variables = {f"model/{place:03d}": variable for place, variable in enumerate(model.variables)}
    checkpoints.save(folder / "best.npz", variables, Progress(), settings, None)
    return folder


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> Network:
    return checkpoints.load_network(checkpoint)


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_the_whole_and_none_is_longer_than_the_window(seed: int) -> None:
    random = np.random.default_rng(seed)
    samples = random.normal(size=random.integers(0, 5000)).astype(np.float32)
    window = int(random.integers(2, 700))
    parts = cut(samples, window, int(random.integers(1, 300)))
    assert parts[0][0] == 0
    assert parts[-1][1] == len(samples)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(parts))
    assert all(end - start <= window for start, end in parts)
    assert all(end > start for start, end in parts) or not len(samples)
    assert all(end - start >= window // 2 for start, end in parts[:-1])


def test_audio_is_cut_where_it_is_quiet() -> None:
    samples = np.ones(1000, np.float32)
    samples[20:60] = 0  # quiet, but in the first half of the window
    samples[330:360] = 0.01
    assert cut(samples, 400, 20)[0][1] == pytest.approx(345, abs=10)
    samples[340:360] = 0  # the quieter part of it
    assert cut(samples, 400, 20)[0] == (0, 350)


def test_parts_are_put_together_with_their_times() -> None:
    first = Hypothesis("go left", 0.5, (Word("go", 0.2, 0.5, 0.6), Word("left", 0.6, 1.1, 0.4)))
    last = Hypothesis("now", 0.25, (Word("now", 0.1, 0.4, 0.25),))
    whole = joined([first, Hypothesis(""), last], [0.0, 1.0, 3.0], [1.0, 2.0, 0.5])
    assert whole.text == "go left now"
    times = [(word.text, word.start, word.end) for word in whole.words]
    assert times == [("go", 0.2, 0.5), ("left", 0.6, 1.0), ("now", 3.1, 3.4)]  # none ends after its part
    # Seven characters and three, each with the confidence of its part.
    assert whole.confidence == pytest.approx((0.5**7 * 0.25**3) ** 0.1)
    assert joined([Hypothesis("")], [0.0], [1.0]) == Hypothesis("")


def test_long_audio_is_recognised_as_its_parts_are(network: Network, corpus: Any) -> None:
    samples = np.concatenate([audio.load(item.audio) for item in corpus.test[:4]])
    whole, in_parts = Recogniser(network, window=0), Recogniser(network, window=1.0)
    assert whole.parts(samples) == [(0, len(samples))]
    parts = in_parts.parts(samples)
    assert len(parts) > 4
    done: list[int] = []
    found = in_parts.recognise(samples, done.append)
    assert sum(done) == len(parts)
    alone = [whole.recognise(samples[start:end]) for start, end in parts]
    assert found.text == " ".join(item.text for item in alone if item.text)
    assert found.text
    starts = [word.start for word in found.words]
    assert starts == sorted(starts)
    assert found.words[-1].end <= len(samples) / 16000


def test_digital_silence_has_no_words(network: Network, corpus: Any) -> None:
    recogniser = Recogniser(network)
    silence = np.zeros(16000, np.float32)
    assert recogniser.recognise(silence) == Hypothesis("")
    # Between parts with speech too.
    samples = np.concatenate([audio.load(corpus.test[0].audio), np.zeros(40000, np.float32)])
    assert Recogniser(network, window=1.0).recognise(samples).text


def test_files_are_written_a_line_each(checkpoint: Path, corpus: Any, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(item.audio) for item in corpus.test[:3]]
    assert cli.main(["transcribe", str(checkpoint), *paths]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == paths
    recogniser = Recogniser(checkpoints.load_network(checkpoint))
    assert [line[1] for line in lines] == [recogniser.recognise(audio.load(path)).text for path in paths]


def test_a_bad_file_is_named_and_the_others_are_done(
    checkpoint: Path, corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.wav").write_text("not audio")
    good = str(corpus.test[0].audio)
    assert cli.main(["transcribe", str(checkpoint), "/absent.wav", str(tmp_path / "notes.wav"), good]) == 1
    said = capsys.readouterr()
    assert [line.split("\t")[0] for line in said.out.splitlines()] == [good]
    assert "/absent.wav" in said.err
    assert "notes.wav" in said.err
    assert "2 of 3 files could not be recognised" in said.err
    assert "Traceback" not in said.err


def test_json_has_words_with_times(
    checkpoint: Path, corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a file in stereo at another rate, longer than the window, named in a list with an empty line."""
    import soundfile

    samples = np.concatenate([audio.load(item.audio) for item in corpus.test[:3]])
    stereo = np.stack([audio.resample(samples, 16000, 22050)] * 2, axis=1)
    soundfile.write(tmp_path / "talk.flac", stereo, 22050)
    (tmp_path / "list").write_text(f"{tmp_path / 'talk.flac'}\n\n")
    arguments = ["transcribe", str(checkpoint), "--list", str(tmp_path / "list"), "--json", "--window", "1.5"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert "parts" in said.err
    found = json.loads(said.out)
    assert found["audio_filepath"] == str(tmp_path / "talk.flac")
    assert found["duration"] == pytest.approx(len(samples) / 16000, abs=0.01)
    assert found["text"] == " ".join(word["word"] for word in found["words"])
    assert found["words"]
    assert all(0 <= word["start"] < word["end"] <= found["duration"] for word in found["words"])
    assert 0 < found["confidence"] <= 1


def test_the_list_may_come_over_standard_input(
    checkpoint: Path, corpus: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{corpus.test[1].audio}\n"))
    assert cli.main(["transcribe", str(checkpoint), "--list", "-", "--set", "decoder=beam"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_who_reads_the_output_may_have_enough(
    checkpoint: Path, corpus: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(line: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(transcribing, "_write", broken)
    assert cli.main(["transcribe", str(checkpoint), *[str(item.audio) for item in corpus.test[:2]]]) == 1
    assert capsys.readouterr().err.count("recognised") == 0  # the second was not begun


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["."], "Give the audio files"),
        (["CHECKPOINT", "a.wav", "--list", "b"], "and not both"),
        (["CHECKPOINT", "a.wav", "--window", "0.1"], "--window 0.1 is not allowed"),
        (["CHECKPOINT", "a.wav", "--set", "decoder=best"], "decoder = 'best' is not allowed"),
        (["CHECKPOINT", "a.wav", "--set", "n_hidden=3"], "n_hidden cannot be set here"),
        (["CHECKPOINT", "a.wav", "--set", "beam_with=3"], "There is no setting 'beam_with'"),
        (["CHECKPOINT", "a.wav", "--set", "beam_width"], "'beam_width' is not name=value"),
    ],
)
def test_usage_that_cannot_be_ends_with_2(
    arguments: list[str], told: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint) if part == "CHECKPOINT" else part for part in arguments]
    assert cli.main(["transcribe", *arguments]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["nothing", "empty", "damaged.npz"])
def test_a_checkpoint_that_cannot_be_used_ends_with_1(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04")
    assert cli.main(["transcribe", str(tmp_path / name), "a.wav"]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / name) in said
    assert "Traceback" not in said


@pytest.mark.parametrize("content", [None, "\n", b"\xff\xfe\xff"])
def test_a_list_without_files_ends_with_1(
    content: Any, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "list").write_bytes(content.encode() if isinstance(content, str) else content)
    assert cli.main(["transcribe", str(checkpoint), "--list", str(tmp_path / "list")]) == 1
    assert f"The list {tmp_path / 'list'}" in capsys.readouterr().err
