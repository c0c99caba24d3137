"""How long an audio file is, from its header, and whether all of it is there: without decoding it.

0.1 ms a file. A FLAC or MP3 file that was cut shows when its last sample is asked for; where libsndfile takes a short
file for a whole one (WAV, NIST SPHERE), the header is compared with what is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soundfile

from deepspeech_train.data import _containers


@dataclass(frozen=True)
class Header:
    """``frames`` samples a channel at ``rate`` Hz."""

    frames: int
    rate: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def header(path: Path) -> Header:
    """The header of the audio file ``path``; ValueError says what is wrong with it."""
    try:
        with path.open("rb") as file:
            missing = _containers.missing_bytes(file)
            if missing:
                raise ValueError(f"is cut short by {missing} bytes")
            file.seek(0)
            try:
                with soundfile.SoundFile(file) as sound:
                    found = Header(sound.frames, sound.samplerate)
                    if found.frames:
                        _reach_the_end(sound)
            except soundfile.LibsndfileError as error:
                why = _containers.refused(file)
                raise ValueError(why or f"is not audio that can be read: {error.error_string}") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    return found


def _reach_the_end(sound: soundfile.SoundFile) -> None:
    try:
        sound.seek(sound.frames - 1)
        reached = len(sound.read(1, dtype="float32"))
    except soundfile.LibsndfileError:
        reached = 0
    if not reached:
        raise ValueError("is cut short: its last samples are not there")
