"""Audio as arrays: whatever was recorded, and wherever it lies, becomes mono float32 at the rate of the recipe.

WAV, FLAC, MP3, OGG, NIST SPHERE and the rest of what libsndfile reads. An utterance is a file, a segment of one
(``start``) or the bytes of a shard (``span``): all give the same samples. Channels are averaged. Another sample rate
is converted by libsoxr (anti-aliased, linear phase), after a segment has been cut out.

>>> from deepspeech_train.data import audio
>>> samples = audio.load("speech.flac")  # doctest: +SKIP
>>> audio.inspect("speech.flac")  # doctest: +SKIP
Header(rate=44100, channels=2, seconds=3.1, frames=136710, subtype='PCM_16', format='FLAC')
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from deepspeech_train.data import _containers, spans
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError

Samples = npt.NDArray[np.float32]

#: Samples a second that the recipe's features are made for.
SAMPLE_RATE = 16_000

#: Seconds by which a segment may end after its recording does: times in transcripts are rounded. As Kaldi allows.
OVERSHOOT = 0.5

#: A file up to this many bytes is read at once, which is quicker than libsndfile's small reads through Python.
_AT_ONCE = 4 << 20

#: Samples of MP3 decoded before a segment: 32 frames, more than hold the 511 bytes that a frame may reach back.
_MP3_RUN_UP = 32 * 1152

_NPY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class Header:
    """What an audio file says of itself: samples a second, channels, length; names of formats as in libsndfile."""

    rate: int
    channels: int
    seconds: float
    frames: int
    subtype: str
    format: str


@dataclass(frozen=True)
class Recording:
    """``samples``, float32 ``(n,)`` in [-1, 1] at the rate that was asked for, of what was recorded in ``channels``
    at ``rate`` Hz."""

    samples: Samples
    rate: int
    channels: int


def load(source: Utterance | Path | str, sample_rate: int = SAMPLE_RATE) -> Samples:
    """The audio of an utterance or a file: float32, shape ``(samples,)``, in [-1, 1], at ``sample_rate`` Hz.

    Raises :class:`RecipeError`, naming the file, if it cannot be read, is cut short, holds no samples or
    holds values that are not numbers.
    """
    return recording(source, sample_rate).samples


def recording(source: Utterance | Path | str, sample_rate: int = SAMPLE_RATE) -> Recording:
    """As :func:`load`, with what was recorded: a pipeline tells which utterances were converted."""
    start, duration = (source.start, source.duration) if isinstance(source, Utterance) else (None, 0.0)
    with _errors_named(source), _opened(source) as file:
        channels, rate = _read(file, start, duration)
    mono = _mono(channels)
    return Recording(resample(mono, rate, sample_rate), rate, channels.shape[1])


def inspect(source: Utterance | Path | str) -> Header:
    """What the header of the audio says; for an utterance that is a segment, of the recording it is cut from.

    Raises :class:`RecipeError` as :func:`load` does, but reads no samples, so that damage inside is not seen.
    """
    with _errors_named(source), _opened(source, at_once=False) as file, _sound(file) as sound:
        if sound.frames == 0:
            raise ValueError("is empty: it holds no samples")
        return _header(sound)


def stored_bytes(utterance: Utterance) -> bytes:
    """The file of the utterance as it lies there, or the bytes of its shard: audio, or features that were stored
    (:func:`is_features`). Raises :class:`RecipeError` that names the utterance."""
    with _errors_named(utterance):
        if utterance.span is None:
            return utterance.audio.read_bytes()
        return _span_bytes(utterance)


def is_features(content: bytes) -> bool:
    """Whether stored bytes are features (a NumPy ``.npy`` file) and not audio."""
    return content.startswith(_NPY_MAGIC)


def is_silent(samples: Samples) -> bool:
    """Whether all samples are the same: digital silence, or a recorder that was not connected."""
    return samples.size == 0 or bool((samples == samples[0]).all())


def read(file: BinaryIO) -> tuple[Samples, int]:
    """``(samples, rate)`` of an open audio file: mono float32 ``(samples,)`` in [-1, 1], rate in Hz.

    Raises ValueError, whose message goes on from "the audio file X ...", for what :func:`load` refuses.
    """
    channels, rate = _read(file, None, 0.0)
    return _mono(channels), rate


def resample(samples: Samples, rate: int, new_rate: int) -> Samples:
    """``samples`` (shape ``(n,)``, at ``rate`` Hz) at ``new_rate`` Hz, about ``n * new_rate / rate`` of them."""
    if rate == new_rate:
        return samples
    # The filter overshoots at full-scale edges: what is promised is [-1, 1].
    converted: Samples = np.clip(soxr.resample(samples, rate, new_rate, quality="HQ"), -1.0, 1.0)
    return converted


def write_wav(path: Path, samples: Samples, sample_rate: int) -> None:
    """Writes mono ``samples`` in [-1, 1] as a 16-bit WAV file. Raises OSError."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    path.write_bytes(buffer.getvalue())


def cut(utterance: Utterance, *, wav: bool = False) -> tuple[bytes, str]:
    """The segment that the utterance is, as an audio file of its own: its bytes, and the suffix of its kind.

    The rate and the channels stay. What was recorded with up to 24 bits becomes FLAC, which holds the same samples,
    the rest (MP3, float) WAV of float32; with ``wav`` all becomes WAV of 16 bits, as old recipes want it.
    Raises :class:`RecipeError` as :func:`load` does.
    """
    with _errors_named(utterance), _opened(utterance) as file:
        with _sound(file) as sound:
            subtype = sound.subtype
        channels, rate = _read(file, utterance.start, utterance.duration)
    if wav:
        kind, kept = "WAV", "PCM_16"
    elif subtype in ("PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW"):
        kind, kept = "FLAC", "PCM_16"
    elif subtype == "PCM_24":
        kind, kept = "FLAC", "PCM_24"
    else:
        return _float_wav(channels, rate), "wav"
    buffer = io.BytesIO()
    # FLAC knows eight channels and rates up to 655,350 Hz: what is beyond is no speech.
    soundfile.write(buffer, channels, rate, format=kind, subtype=kept)
    return buffer.getvalue(), kind.lower()


def suffix_of(content: bytes, name: str) -> str:
    """The suffix, without a dot, that audio of these bytes should have; ``name`` is asked where they do not tell."""
    return _containers.suffix(content) or Path(name).suffix[1:].lower() or "audio"


def _float_wav(channels: Samples, rate: int) -> bytes:
    """WAV of float32. libsndfile writes the time of day into such files, in a PEAK chunk: no two would be the same."""
    audio = channels.astype("<f4").tobytes()
    width = 4 * channels.shape[1]
    form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, 3, channels.shape[1], rate, rate * width, width, 32, 0)
    fact = struct.pack("<4sII", b"fact", 4, len(channels))
    data = struct.pack("<4sI", b"data", len(audio)) + audio
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form + fact + data), b"WAVE") + form + fact + data


def _read(file: BinaryIO, start: float | None, duration: float) -> tuple[Samples, int]:
    """``(samples, rate)`` of an open audio file or of a segment of it: float32 ``(n, channels)`` in [-1, 1]."""
    missing = _containers.missing_bytes(file)
    if missing and start is None:
        raise ValueError(f"is cut short: {missing} bytes that its header promises are not there")
    with _sound(file) as sound:
        promised, rate = sound.frames, sound.samplerate
        before = 0
        if start is not None:
            first, promised = _place(sound, start, duration, cut_short=bool(missing))
            # A frame of MP3 uses bits of those before it: begun in the middle, it is silent or noise.
            before = min(first, _MP3_RUN_UP) if sound.subtype.startswith("MPEG") else 0
            if first > before:
                sound.seek(first - before)
        # In one go: between two reads soundfile seeks, and begins in the middle again.
        channels: Samples = sound.read(before + promised, dtype="float32", always_2d=True)[before:]
        whole_numbers = sound.subtype.startswith(("PCM_", "ULAW", "ALAW"))
    if len(channels) == 0:
        raise ValueError("is empty: it holds no samples")
    if len(channels) < promised:
        raise ValueError(f"is cut short: {len(channels)} of {promised} samples are there")
    if not whole_numbers:
        if not np.isfinite(channels).all():
            raise ValueError("holds samples that are not numbers")
        np.clip(channels, -1.0, 1.0, out=channels)
    return channels, rate


def _place(sound: soundfile.SoundFile, start: float, duration: float, cut_short: bool) -> tuple[int, int]:
    """First sample and number of samples of a segment; ValueError if it is not there."""
    rate = sound.samplerate
    first, count = round(start * rate), round(duration * rate)
    beyond = first + count - sound.frames
    if beyond > (0 if cut_short else OVERSHOOT * rate) or first >= sound.frames or count == 0:
        raise ValueError(
            f"has {sound.frames / rate:.2f} seconds{' (it is cut short)' if cut_short else ''}, "
            f"and the segment is from {start:.2f} to {start + duration:.2f}"
        )
    return first, count - max(0, beyond)


def _mono(channels: Samples) -> Samples:
    return channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1, dtype=np.float32)


def _header(sound: soundfile.SoundFile) -> Header:
    seconds = sound.frames / sound.samplerate
    return Header(sound.samplerate, sound.channels, seconds, sound.frames, sound.subtype, sound.format)


@contextmanager
def _sound(file: BinaryIO) -> Iterator[soundfile.SoundFile]:
    """The file from its beginning as libsndfile reads it; ValueError if it does not."""
    file.seek(0)
    try:
        with soundfile.SoundFile(file) as sound:
            yield sound
    except soundfile.LibsndfileError as error:
        why = _containers.refused(file)
        raise ValueError(why or f"is not audio that can be read: {error.error_string}") from error


@contextmanager
def _opened(source: Utterance | Path | str, *, at_once: bool = True) -> Iterator[BinaryIO]:
    if isinstance(source, Utterance) and source.span is not None:
        yield io.BytesIO(_span_bytes(source))
        return
    path = source.audio if isinstance(source, Utterance) else Path(source)
    if path.exists() and not (
        path.is_file() or path.is_dir()
    ):  # a pipe or a device would be waited for, or have no end
        raise ValueError("is no regular file")
    with path.open("rb") as file:
        # Of a long recording a segment is wanted, and of any file perhaps the header alone.
        if at_once and os.fstat(file.fileno()).st_size <= _AT_ONCE:
            yield io.BytesIO(file.read())
        else:
            yield file


def _span_bytes(utterance: Utterance) -> bytes:
    assert utterance.span is not None
    offset, size = utterance.span.offset, utterance.span.size
    content = spans.read(utterance.audio, offset, size)
    if len(content) < size:
        raise RecipeError(
            f"the shard {utterance.audio} is cut short: of the utterance {utterance.id}, {size} bytes from byte "
            f"{offset} on, {len(content)} are there",
            f"see what else is damaged with deepspeech-train pack --check {utterance.audio.parent}, "
            "and copy the shard again or pack again",
        )
    return content


@contextmanager
def _errors_named(source: Utterance | Path | str) -> Iterator[None]:
    """OSError and ValueError of the block as RecipeError that names the file and the utterance."""
    path = source.audio if isinstance(source, Utterance) else Path(source)
    whose = f" (utterance {source.id})" if isinstance(source, Utterance) else ""
    in_shard = isinstance(source, Utterance) and source.span is not None
    what = "shard" if in_shard else "audio file"
    try:
        yield
    except OSError as error:
        raise RecipeError(
            f"cannot read the {what} {path}{whose}: {error.strerror or error}",
            "check the path in the manifest, or import the corpus again",
        ) from error
    except ValueError as error:
        raise RecipeError(
            f"the audio {'in the shard' if in_shard else 'file'} {path}{whose} {error}",
            "replace the file by a whole copy, or take its line out of the manifest",
        ) from error
