"""How long an audio file is, from its header, and whether all of it is there: without decoding it.

0.1 ms a file. A FLAC or MP3 file that was cut shows when its last sample is asked for; WAV and NIST SPHERE files only
when their headers are compared with what is there, because libsndfile takes a short one for a whole one.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import soundfile


@dataclass(frozen=True)
class Header:
    """``frames`` samples a channel at ``rate`` Hz."""

    frames: int
    rate: int
    channels: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def header(path: Path) -> Header:
    """The header of the audio file ``path``; ValueError says what is wrong with it."""
    try:
        with path.open("rb") as file:
            beginning = file.read(1024)
            shortened = _promised(beginning, b"sample_coding")
            if "shorten" in shortened:
                raise ValueError(f"is a SPHERE file compressed with shorten ({shortened}): unpack it with sph2pipe")
            missing = _missing_wav_bytes(file, beginning)
            if missing:
                raise ValueError(f"is cut short by {missing} bytes")
            file.seek(0)
            with soundfile.SoundFile(file) as sound:
                found = Header(sound.frames, sound.samplerate, sound.channels)
                promised = _promised(beginning, b"sample_count")
                if promised.isdecimal() and found.frames < int(promised):
                    raise ValueError(f"is cut short: {found.frames} of {promised} samples are there")
                if found.frames:
                    _reach_the_end(sound)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    except soundfile.LibsndfileError as error:
        raise ValueError(f"is not audio that can be read: {error.error_string}") from error
    return found


def _reach_the_end(sound: soundfile.SoundFile) -> None:
    try:
        sound.seek(sound.frames - 1)
        reached = len(sound.read(1, dtype="float32"))
    except soundfile.LibsndfileError:
        reached = 0
    if not reached:
        raise ValueError("is cut short: its last samples are not there")


def _promised(beginning: bytes, field: bytes) -> str:
    """The value of a field of a NIST SPHERE header, "" in other files: ``sample_count -i 186560``."""
    if not beginning.startswith(b"NIST_1A"):
        return ""
    for line in beginning.split(b"end_head")[0].split(b"\n"):
        parts = line.split()
        if len(parts) >= 3 and parts[0] == field:
            return parts[2].decode("ascii", errors="replace")
    return ""


def _missing_wav_bytes(file: BinaryIO, beginning: bytes) -> int:
    """Bytes of its audio that a RIFF WAVE file lacks; 0 for a whole one and for other formats."""
    if beginning[:4] != b"RIFF" or beginning[8:12] != b"WAVE":
        return 0
    size = file.seek(0, io.SEEK_END)
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            # A recorder that writes to a pipe does not know the length and says "all that comes".
            streamed = length in (0, 0xFFFFFFFF, 0x7FFFFFFF)
            return 0 if streamed else max(0, file.tell() + length - size)
        file.seek(length + length % 2, io.SEEK_CUR)
    return 0
