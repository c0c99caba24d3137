"""The espeak-ng library, as the package ``espeakng-loader`` carries it, through ctypes.

Only what the corpus needs of ``espeak-ng/speak_lib.h``: text in, samples out. The library keeps its state
in globals and may end the process on odd input, so use it in a process of its own (``_espeak_worker``).
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from pathlib import Path

import espeakng_loader
import numpy as np
import numpy.typing as npt

# speak_lib.h: espeak_AUDIO_OUTPUT, espeak_PARAMETER, espeak_POSITION_TYPE and flags.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_RATE, _PITCH, _RANGE, _WORDGAP = 1, 3, 4, 7
_POS_CHARACTER = 1
_CHARS_UTF8 = 1

#: The library keeps its data path in a buffer of 160 bytes and falls back to its compile-time path.
_LONGEST_PATH = 120

_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakError(Exception):
    """The library refused a call; the message says which."""


class EspeakLibrary:
    """One process's espeak-ng. Not reentrant."""

    def __init__(self) -> None:
        """Loads and initialises the library; raises :class:`EspeakError` if that fails."""
        data = Path(espeakng_loader.get_data_path())
        self._variants = data / "voices" / "!v"
        try:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise EspeakError(f"cannot load the library: {error}") from error
        if len(str(data)) > _LONGEST_PATH:
            self._short = tempfile.TemporaryDirectory(prefix="espeak-")
            link = Path(self._short.name) / "espeak-ng-data"
            link.symlink_to(data)
            data = link
        self.sample_rate: int = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), _INITIALIZE_DONT_EXIT
        )
        if self.sample_rate <= 0:
            raise EspeakError(f"espeak_Initialize found no usable data in {data}")
        self._samples: list[bytes] = []
        # ctypes keeps no reference to a callback: this attribute does.
        self._callback: Callable[..., int] = _SynthCallback(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def synthesise(
        self,
        text: str,
        *,
        accent: str,
        variant: str,
        rate: int,
        pitch: int,
        pitch_range: int,
        word_gap: int,
        seed: int,
    ) -> npt.NDArray[np.int16]:
        """``text`` spoken: int16, shape ``(samples,)``, at :attr:`sample_rate` Hz.

        ``rate`` is words a minute (80 to 450), ``pitch`` and ``pitch_range`` are 0 to 100, ``word_gap`` is
        in units of 10 ms; ``seed``, of 31 bits, decides the breath of voices that have one. What was
        spoken before moves the waveform a little: only a whole row of calls can be repeated to the bit.
        Raises :class:`EspeakError` if the voice does not exist or says nothing.
        """
        # An unknown accent is an error of the library, an unknown variant is silently the plain voice.
        if not (self._variants / variant).is_file():
            raise EspeakError(f"there is no voice variant {variant!r}")
        self._call("espeak_SetVoiceByName", f"{accent}+{variant}".encode())
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range), (_WORDGAP, word_gap)):
            self._call("espeak_SetParameter", parameter, value, 0)
        # The library seeds itself with the time of day.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        self._samples.clear()
        encoded = text.encode()
        self._call("espeak_Synth", encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        samples = np.frombuffer(b"".join(self._samples), dtype=np.int16)
        if not samples.any():
            raise EspeakError(f"the voice {accent}+{variant} says nothing to {text!r}")
        return samples

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status != 0:
            raise EspeakError(f"{function}{arguments} gave the status {status}")

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on
