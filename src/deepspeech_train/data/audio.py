"""Audio files as arrays: whatever was recorded becomes mono float32 at the rate of the recipe.

WAV, FLAC and the rest of what libsndfile reads. Channels are averaged. Another sample rate is converted
by libsoxr (anti-aliased, linear phase).

>>> from deepspeech_train.data import audio
>>> samples = audio.load("speech.flac")  # doctest: +SKIP
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from deepspeech_train.data.manifest import Utterance
from deepspeech_train.errors import RecipeError

Samples = npt.NDArray[np.float32]

#: Samples a second that the recipe's features are made for.
SAMPLE_RATE = 16_000


def load(source: Utterance | Path | str, sample_rate: int = SAMPLE_RATE) -> Samples:
    """The audio of an utterance or a file: float32, shape ``(samples,)``, in [-1, 1], at ``sample_rate`` Hz.

    Raises :class:`RecipeError`, naming the file, if it cannot be read, is cut short, holds no samples or
    holds values that are not numbers.
    """
    path = source.audio if isinstance(source, Utterance) else Path(source)
    whose = f" (utterance {source.id})" if isinstance(source, Utterance) else ""
    try:
        with path.open("rb") as file:
            samples, rate = read(file)
    except OSError as error:
        raise RecipeError(
            f"cannot read the audio file {path}{whose}: {error.strerror or error}",
            "check the path in the manifest, or import the corpus again",
        ) from error
    except ValueError as error:
        raise RecipeError(
            f"the audio file {path}{whose} {error}",
            "replace the file by a whole copy, or take its line out of the manifest",
        ) from error
    return resample(samples, rate, sample_rate)


def read(file: BinaryIO) -> tuple[Samples, int]:
    """``(samples, rate)`` of an open audio file: mono float32 ``(samples,)`` in [-1, 1], rate in Hz.

    Raises ValueError, whose message goes on from "the audio file X ...", for what :func:`load` refuses.
    """
    missing = _missing_wav_bytes(file)
    if missing:
        raise ValueError(f"is cut short: {missing} bytes that its header promises are not there")
    file.seek(0)
    try:
        with soundfile.SoundFile(file) as sound:
            promised, rate = sound.frames, sound.samplerate
            channels = sound.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"is not audio that can be read: {error.error_string}") from error
    if len(channels) == 0:
        raise ValueError("is empty: it holds no samples")
    if len(channels) < promised:
        raise ValueError(f"is cut short: {len(channels)} of {promised} samples are there")
    mono: Samples = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise ValueError("holds samples that are not numbers")
    return np.clip(mono, -1.0, 1.0), rate


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


def _missing_wav_bytes(file: BinaryIO) -> int:
    """How many bytes of its audio a RIFF WAVE file lacks; 0 for a whole one and for other formats.

    libsndfile takes a WAV file that ends early for a shorter one, so that half an utterance would be
    trained on against the whole transcript. The header knows better.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    header = file.read(12)
    if header[:4] != b"RIFF" or header[8:] != b"WAVE":
        return 0
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            # A recorder that writes to a pipe does not know the length and says "all that comes".
            streamed = length in (0, 0xFFFFFFFF, 0x7FFFFFFF)
            return 0 if streamed else max(0, file.tell() + length - size)
        file.seek(length + length % 2, io.SEEK_CUR)
    return 0
