"""Mel-frequency cepstral coefficients, the network's input.

After Davis and Mermelstein (1980), with today's usual constants: pre-emphasis 0.97, Hamming windows, power
spectrum, triangular filters even on the mel scale, logarithm, DCT-II (orthonormal). NumPy alone, float32, and
the same numbers at every run.

>>> features = mfcc(np.zeros(16000, np.float32), MfccOptions(sample_rate=16000))
>>> features.shape
(49, 26)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_PRE_EMPHASIS = 0.97
#: Added to a filter's energy before the logarithm. Audio is in [-1, 1]; this is about 16-bit rounding noise
#: in one filter, so that digital silence is merely quiet and not an outlier of the utterance's statistics.
_ENERGY_FLOOR = 1e-7


@dataclass(frozen=True)
class MfccOptions:
    """``window`` and ``step`` are seconds; ``normalise`` brings each coefficient of an utterance to mean 0
    and variance 1 over its frames."""

    sample_rate: int = 16000
    n_input: int = 26
    window: float = 0.025
    step: float = 0.02
    normalise: bool = True

    @property
    def window_samples(self) -> int:
        return round(self.window * self.sample_rate)

    @property
    def step_samples(self) -> int:
        return round(self.step * self.sample_rate)


def mfcc(samples: Floats, options: MfccOptions) -> Floats:
    """MFCCs (frames, n_input) of mono audio (samples,); the audio's last part that fills no window is left.

    Audio shorter than one window is padded with silence to one frame.
    """
    size, step = options.window_samples, options.step_samples
    if samples.size < size:
        samples = np.pad(samples, (0, size - samples.size))
    emphasised = np.append(samples[:1], samples[1:] - np.float32(_PRE_EMPHASIS) * samples[:-1])
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, size)[::step]
    tables = _tables(options.sample_rate, size, options.n_input)
    spectrum = np.fft.rfft(windows * tables.window, n=tables.fft_size)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) / np.float32(tables.fft_size)
    # einsum, not @: on products this small BLAS spends its time waking threads, above all on a busy machine.
    energies = np.einsum("tb,fb->tf", power, tables.filters)
    cepstra = np.einsum("tf,cf->tc", np.log(energies + np.float32(_ENERGY_FLOOR)), tables.cosines)
    if options.normalise:
        cepstra = (cepstra - cepstra.mean(axis=0)) / (cepstra.std(axis=0) + np.float32(1e-3))
    features: Floats = cepstra.astype(np.float32)
    return features


@dataclass(frozen=True)
class _Tables:
    fft_size: int
    window: Floats  # (window_samples,)
    filters: Floats  # (filters, fft_size // 2 + 1)
    cosines: Floats  # (n_input, filters)


@functools.lru_cache(maxsize=8)
def _tables(sample_rate: int, size: int, n_input: int) -> _Tables:
    fft_size = 1 << (size - 1).bit_length()
    n_filters = max(40, n_input)
    edges = _hertz(np.linspace(_mel(20.0), _mel(sample_rate / 2), n_filters + 2))
    bins = np.fft.rfftfreq(fft_size, 1 / sample_rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling))
    place = np.arange(n_filters)[:, None]
    cosines = np.cos(np.pi / n_filters * (place + 0.5) * np.arange(n_input)) * np.sqrt(2 / n_filters)
    cosines[:, 0] /= np.sqrt(2)
    return _Tables(
        fft_size,
        np.hamming(size).astype(np.float32),
        np.ascontiguousarray(filters.T, dtype=np.float32),
        np.ascontiguousarray(cosines.T, dtype=np.float32),
    )


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
