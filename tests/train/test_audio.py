"""Audio: every file becomes mono float32 at one rate, and a bad one is named."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import support
from deepspeech_train.data import audio
from deepspeech_train.data.manifest import Span, Utterance
from deepspeech_train.errors import RecipeError


def tone(hertz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def level_at(samples: np.ndarray, hertz: float, rate: int) -> float:
    """Amplitude of the sine of ``hertz`` in the middle of ``samples``."""
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    phase = np.exp(-2j * np.pi * hertz * np.arange(len(middle)) / rate)
    return float(2 * abs(np.mean(middle * phase)))


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_at_the_wanted_rate_comes_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    written = np.random.default_rng(1).integers(-32768, 32767, 4000, dtype=np.int16)
    soundfile.write(path, written, 16000, subtype="PCM_16")
    samples = audio.load(path)
    assert samples.dtype == np.float32
    assert samples.shape == (4000,)
    np.testing.assert_array_equal(samples, written.astype(np.float32) / 32768)
    np.testing.assert_array_equal(audio.load(Utterance("a", path, 0.25, "yes", "f1")), samples)
    np.testing.assert_array_equal(audio.load(str(path)), samples)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    left, right = tone(300, 16000), tone(1000, 16000)
    soundfile.write(path, np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(path), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_another_rate_keeps_what_fits_and_drops_what_would_alias(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1000, rate), rate, subtype="FLOAT")
    samples = audio.load(path)
    assert abs(len(samples) - 16000) <= 1
    assert level_at(samples, 1000, 16000) == pytest.approx(0.5, abs=0.002)
    if rate > 22050:
        # 10 kHz is above the new Nyquist frequency: without a filter it would be heard at 6 kHz.
        soundfile.write(path, tone(10_000, rate), rate, subtype="FLOAT")
        assert np.abs(audio.load(path)[1000:-1000]).max() < 1e-4


def test_samples_stay_within_full_scale(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.tile([2.0, 2.0, -2.0, -2.0], 2000), 8000, subtype="FLOAT")
    samples = audio.load(path)
    assert np.abs(samples).max() == 1.0


def damage(whole: bytes) -> dict[str, bytes]:
    return {
        "nothing.wav": b"",
        "text.wav": b"this is not audio, whatever its name says",
        "header-only.wav": whole[:44],
        "cut.wav": whole[: len(whole) // 2],
        "one-byte-short.wav": whole[:-1],
        "cut-in-header.wav": whole[:30],
        # A chunk before the audio, so that the header's size is not always 44 bytes.
        "cut-after-list.wav": whole[:36] + b"LIST\x03\0\0\0abc\0" + whole[36:5000],
    }


@pytest.mark.parametrize("name", list(damage(b"")))
def test_a_bad_wav_is_named(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "whole.wav", tone(440, 16000), 16000, subtype="PCM_16")
    path = tmp_path / name
    path.write_bytes(damage((tmp_path / "whole.wav").read_bytes())[name])
    with pytest.raises(RecipeError) as failure:
        audio.load(Utterance("utt-7", path, 1.0, "yes", "f1"))
    assert str(path) in failure.value.message
    assert "utt-7" in failure.value.message
    assert failure.value.hint
    if "cut" in name or "short" in name:
        assert "cut short" in failure.value.message or name == "cut-in-header.wav"


def test_a_wav_of_no_samples_and_one_of_nan_are_named(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty.wav", tmp_path / "nan.wav"
    soundfile.write(empty, np.zeros(0), 16000)
    soundfile.write(broken, np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    with pytest.raises(RecipeError, match="is empty"):
        audio.load(empty)
    with pytest.raises(RecipeError, match="not numbers"):
        audio.load(broken)


def test_a_cut_flac_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 50_000), 16000)
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(RecipeError, match=r"cut\.flac"):
        audio.load(path)


def test_an_absent_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.wav", tmp_path):
        with pytest.raises(RecipeError, match="cannot read the audio file"):
            audio.load(path)


def test_a_wav_from_a_pipe_says_no_length_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(440, 16000), 16000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(audio.load(path)) == 16000


def test_real_speech_at_its_own_rate() -> None:
    samples = audio.load(support.shared_data("speech/LDC93S1.wav"))
    assert samples.shape == (46797,)
    assert 0.005 < np.sqrt(np.mean(samples**2)) < 0.3


def test_what_is_written_is_16_bit(tmp_path: Path) -> None:
    samples = tone(440, 16000)
    audio.write_wav(tmp_path / "a.wav", samples, 16000)
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    np.testing.assert_allclose(audio.load(tmp_path / "a.wav"), samples, atol=1 / 32768)


def made(path: Path, samples: np.ndarray, rate: int = 16000, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype, format="NIST" if path.suffix == ".sph" else None)
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.sph", "a.ogg", "a.mp3"])
def test_a_segment_and_a_span_give_the_samples_of_the_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / name, np.stack([tone(300, 16000, 5.0), tone(500, 16000, 5.0)], axis=1))
    whole = audio.load(path)
    shard = tmp_path / "shard"
    shard.write_bytes(b"before" + path.read_bytes() + b"after")
    span = Span(6, path.stat().st_size)
    np.testing.assert_array_equal(audio.load(Utterance("a", shard, 5.0, "", "", span=span)), whole)
    # The decoders of MP3 and OGG begin elsewhere for a segment: the last bits differ.
    tolerance = 1e-6 if name in ("a.mp3", "a.ogg") else 0
    for limit in (1 << 20, 10):  # read at once, and through the open file
        monkeypatch.setattr(audio, "_AT_ONCE", limit)
        for start in (0.0, 0.5, 2.3, 4.5):
            segment = audio.load(Utterance("a", path, 0.25, "", "", start=start))
            assert len(segment) == 4000
            in_shard = Utterance("a", shard, 0.25, "", "", start=start, span=span)
            np.testing.assert_array_equal(audio.load(in_shard), segment)
            first = round(start * 16000)
            np.testing.assert_allclose(segment, whole[first : first + 4000], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("start", "duration"), [(0.9, 0.7), (1.0, 0.1), (2.0, 0.1), (0.5, 1e-6)])
def test_a_segment_that_is_not_there_is_named(tmp_path: Path, start: float, duration: float) -> None:
    path = made(tmp_path / "a.wav", tone(300, 16000))
    with pytest.raises(RecipeError, match=r"a\.wav \(utterance u\) has 1\.00 seconds, and the segment is from"):
        audio.load(Utterance("u", path, duration, "", "", start=start))


def test_a_segment_may_end_a_little_after_its_recording_but_not_if_that_is_cut_short(tmp_path: Path) -> None:
    path = made(tmp_path / "a.wav", tone(300, 16000))
    assert len(audio.load(Utterance("u", path, 0.75, "", "", start=0.5))) == 8000
    path.write_bytes(path.read_bytes()[:-4000])
    assert len(audio.load(Utterance("u", path, 0.2, "", "", start=0.5))) == 3200
    with pytest.raises(RecipeError, match="it is cut short"):
        audio.load(Utterance("u", path, 0.5, "", "", start=0.5))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.sph", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_file_that_is_cut_short_is_told_whatever_it_is(tmp_path: Path, name: str, kept: float) -> None:
    path = made(tmp_path / name, np.random.default_rng(1).uniform(-0.3, 0.3, 32000))
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * kept)])
    with pytest.raises(RecipeError, match=r"a\.[a-z0-9]+ "):
        audio.load(path)


def test_what_was_recorded_is_told(tmp_path: Path) -> None:
    path = made(tmp_path / "a.flac", np.stack([tone(300, 44100)] * 2, axis=1), 44100)
    recording = audio.recording(path)
    assert (recording.rate, recording.channels, recording.samples.shape) == (44100, 2, (16000,))
    assert audio.inspect(path) == audio.Header(44100, 2, 1.0, 44100, "PCM_16", "FLAC")
    for source in (made(tmp_path / "empty.wav", np.zeros(0)), tmp_path / "absent", tmp_path):
        with pytest.raises(RecipeError):
            audio.inspect(source)


def test_silence_is_told() -> None:
    assert audio.is_silent(np.zeros(10, np.float32))
    assert audio.is_silent(np.full(10, 0.25, np.float32))
    assert not audio.is_silent(np.array([0, 0, 1e-6], np.float32))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"NIST_1A\n   1024\nsample_count -i 5\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n", "sph2pipe"),
        (b"<!DOCTYPE html><title>404</title>", "what a server answered"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_what_is_no_audio_and_why(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.sph").write_bytes(content.ljust(2000, b"\0"))
    with pytest.raises(RecipeError, match=told):
        audio.load(tmp_path / "a.sph")


@pytest.mark.parametrize(
    ("subtype", "kind"), [("PCM_16", "flac"), ("ULAW", "flac"), ("PCM_24", "flac"), ("FLOAT", "wav"), ("PCM_32", "wav")]
)
def test_a_cut_loses_nothing_and_is_the_same_bytes_at_any_time(
    tmp_path: Path, subtype: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "a.wav", np.stack([tone(300, 22050), tone(500, 22050)], axis=1), 22050, subtype)
    utterance = Utterance("u", path, 0.5, "", "", start=0.25)
    content, suffix = audio.cut(utterance)
    assert suffix == kind
    (tmp_path / "cut").write_bytes(content)
    np.testing.assert_array_equal(audio.load(tmp_path / "cut"), audio.load(utterance))
    assert audio.inspect(tmp_path / "cut").channels == 2
    time.sleep(1.1 if subtype == "FLOAT" else 0)  # libsndfile's float WAV holds the second in which it was written
    assert audio.cut(utterance)[0] == content
    sixteen, suffix = audio.cut(utterance, wav=True)
    (tmp_path / "cut").write_bytes(sixteen)
    assert (suffix, soundfile.info(tmp_path / "cut").subtype) == ("wav", "PCM_16")


def test_a_pipe_or_a_device_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(RecipeError, match="is no regular file"):
            audio.load(path)
