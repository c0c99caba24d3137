"""The network's input: what an utterance's audio becomes, fifty to a hundred times a second.

``mfcc``     mel-frequency cepstral coefficients (Davis and Mermelstein, 1980), DeepSpeech's input: pre-emphasis 0.97,
             Hamming windows, power spectrum, triangular filters even on the mel scale, logarithm, DCT-II (orthonormal)
``logmel``   the same without the DCT: the logarithm of ``n_input`` mel bands
``logspec``  the logarithm of the power spectrum, one number a Fourier bin of the window; DeepSpeech2's input (Amodei et
             al., 2016). No pre-emphasis, no padding of the window: 20 ms at 16 kHz are 161 numbers

Normalisation brings each number to mean 0 and variance 1: ``utterance`` over the frames of the utterance, ``corpus`` by
statistics of a sample of the training set, ``none`` not at all. NumPy alone, float32, the same numbers at every run.

>>> extract(np.zeros(16000, np.float32), FeatureOptions()).shape
(49, 26)
>>> FeatureOptions("logspec", window=0.02, step=0.01).size
161
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_PRE_EMPHASIS = 0.97
#: Added to a filter's energy before the logarithm. Audio is in [-1, 1]; this is about 16-bit rounding noise
#: in one filter, so that digital silence is merely quiet and not an outlier of the utterance's statistics.
_ENERGY_FLOOR = 1e-7
#: The same for one Fourier bin, of which a filter holds several.
_BIN_FLOOR = 1e-8
#: Added to a standard deviation before it is divided by: a number that never changes becomes 0.
_DEVIATION_FLOOR = 1e-3
#: Frames transformed at a time: what is between the steps stays in the processor's cache, which halves the time, and
#: an hour of audio needs little memory.
_BLOCK = 128
#: Share of the band in which formants are moved: 6.4 of 8 kHz, 3.2 of 4.
_WARPED_LOW = 0.8


@dataclass(frozen=True)
class FeatureOptions:
    """``kind`` is mfcc, logmel or logspec; ``window`` and ``step`` are seconds; ``n_input`` is the number of MFCCs or
    mel bands (logspec has as many numbers as its window has Fourier bins); ``normalisation`` is utterance, corpus or
    none."""

    kind: str = "mfcc"
    sample_rate: int = 16000
    n_input: int = 26
    window: float = 0.025
    step: float = 0.02
    normalisation: str = "utterance"

    @property
    def window_samples(self) -> int:
        return max(1, round(self.window * self.sample_rate))

    @property
    def step_samples(self) -> int:
        return max(1, round(self.step * self.sample_rate))

    @property
    def size(self) -> int:
        """Numbers a frame."""
        return self.window_samples // 2 + 1 if self.kind == "logspec" else self.n_input

    def frame_count(self, samples: int) -> int:
        """Frames of so many samples: whole windows alone, and one at least."""
        return 1 + max(0, samples - self.window_samples) // self.step_samples


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and standard deviation of each number of a frame, float32, shape ``(size,)``."""

    mean: Floats
    std: Floats


def extract(samples: Floats, options: FeatureOptions, statistics: Statistics | None = None) -> Floats:
    """Features (frames, size), float32, of mono audio (samples,) in [-1, 1], normalised as ``options`` say.

    The audio's last part that fills no window is left; audio shorter than one window is padded with silence to one
    frame. ValueError if the normalisation is by corpus and there are no ``statistics``.
    """
    return normalise(raw(samples, options), options, statistics)


def normalise(features: Floats, options: FeatureOptions, statistics: Statistics | None = None) -> Floats:
    """What :func:`raw` gave (frames, size), normalised as ``options`` say; ValueError as of :func:`extract`."""
    if options.normalisation == "none":
        return features
    if options.normalisation == "utterance":
        mean, std = features.mean(axis=0), features.std(axis=0)
    elif statistics is None:
        raise ValueError("features normalised by corpus need the corpus' statistics")
    else:
        mean, std = statistics.mean, statistics.std
    normalised: Floats = (features - mean) / (std + np.float32(_DEVIATION_FLOOR))
    return normalised


def statistics_of(arrays: Iterable[Floats]) -> Statistics:
    """The statistics over all frames of features that are not normalised (frames, size), one array an utterance.

    ValueError if there are none.
    """
    count = 0
    total = squares = np.zeros(1)
    for array in arrays:
        exact = array.astype(np.float64)
        count, total, squares = count + len(exact), total + exact.sum(axis=0), squares + (exact**2).sum(axis=0)
    if not count:
        raise ValueError("there is no utterance to take statistics from")
    mean = total / count
    variance = np.maximum(0.0, squares / count - mean**2)
    return Statistics(mean.astype(np.float32), np.sqrt(variance).astype(np.float32))


def raw(samples: Floats, options: FeatureOptions, warp: float = 1.0) -> Floats:
    """Features (frames, size) as they are before any normalisation; ``warp`` is :func:`warped`'s factor."""
    tables = _tables(options.kind, options.sample_rate, options.window_samples, options.n_input)
    if samples.size < options.window_samples:
        samples = np.pad(samples, (0, options.window_samples - samples.size))
    if options.kind != "logspec":
        samples = np.append(samples[:1], samples[1:] - np.float32(_PRE_EMPHASIS) * samples[:-1])
    windows = np.lib.stride_tricks.sliding_window_view(samples, options.window_samples)[:: options.step_samples]
    features = np.empty((len(windows), options.size), np.float32)
    padded = np.zeros((_BLOCK, tables.fft_size), np.float32)
    for start in range(0, len(windows), _BLOCK):
        block = windows[start : start + _BLOCK]
        frames = padded[: len(block)]
        np.multiply(block, tables.window, out=frames[:, : options.window_samples])
        spectrum = np.fft.rfft(frames)
        power = np.square(spectrum.real)
        power += spectrum.imag**2
        power /= np.float32(tables.fft_size)
        if warp != 1.0:
            power = warped(power, warp)
        features[start : start + _BLOCK] = _of_power(power, options.kind, tables)
    return features


def warped(power: Floats, factor: float) -> Floats:
    """Power spectra (frames, bins) as of a vocal tract ``factor`` times shorter: what was at one frequency is at
    ``factor`` times it. Up to :data:`_WARPED_LOW` of the band, above which it goes straight to the band's end, which
    stays where it is (Jaitly and Hinton, 2013); linear between bins."""
    last = power.shape[1] - 1
    knee = _WARPED_LOW * min(1.0, 1 / factor)  # a share of the band before warping
    places = np.interp(np.arange(last + 1), [0.0, knee * factor * last, last], [0.0, knee * last, last])
    below = np.minimum(places.astype(np.intp), max(0, last - 1))
    part = (places - below).astype(np.float32)
    between: Floats = power[:, below] * (1 - part) + power[:, np.minimum(below + 1, last)] * part
    return between


@dataclass(frozen=True)
class _Tables:
    """A filter's energy is the rising flank's sum and the next segment's falling one, a segment being the bins from
    one edge of a filter to the next: two products a bin, where a matrix of filters takes one a bin and filter."""

    fft_size: int
    window: Floats  # (window_samples,)
    bins: slice  # those between the lowest and the highest edge
    rising: Floats  # (bins,)
    falling: Floats  # (bins,)
    starts: npt.NDArray[np.intp]  # where in bins each segment begins that has any
    segments: npt.NDArray[np.intp]  # which those are
    filters: int
    cosines: Floats  # (n_input, filters)


def _of_power(power: Floats, kind: str, tables: _Tables) -> Floats:
    """The features (frames, size) of power spectra (frames, bins)."""
    if kind == "logspec":
        bins: Floats = np.log(power + np.float32(_BIN_FLOOR))
        return bins
    power = power[:, tables.bins]
    flanks = np.zeros((2, len(power), tables.filters + 1), np.float32)
    for flank, weights in enumerate((tables.rising, tables.falling)):
        flanks[flank][:, tables.segments] = np.add.reduceat(power * weights, tables.starts, axis=1)
    bands: Floats = np.log(flanks[0, :, :-1] + flanks[1, :, 1:] + np.float32(_ENERGY_FLOOR))
    if kind == "logmel":
        return bands
    # einsum, not @: on products this small BLAS spends its time waking threads, above all on a busy machine.
    cepstra: Floats = np.einsum("tf,cf->tc", bands, tables.cosines)
    return cepstra


@functools.lru_cache(maxsize=8)
def _tables(kind: str, sample_rate: int, size: int, n_input: int) -> _Tables:
    fft_size = size if kind == "logspec" else 1 << (size - 1).bit_length()
    filters = max(40, n_input) if kind == "mfcc" else n_input
    edges = _hertz(np.linspace(_mel(20.0), _mel(sample_rate / 2), filters + 2))
    hertz = np.fft.rfftfreq(fft_size, 1 / sample_rate)
    segment = np.searchsorted(edges, hertz, side="right") - 1
    inside = np.flatnonzero((segment >= 0) & (segment <= filters))
    if not inside.size:  # so short a window that no bin lies between the edges; one that weighs nothing
        inside, segment = np.array([0]), np.zeros_like(segment)
    segment = segment[inside]
    rising = np.clip((hertz[inside] - edges[segment]) / (edges[segment + 1] - edges[segment]), 0.0, 1.0)
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    place = np.arange(filters)[:, None]
    cosines = np.cos(np.pi / filters * (place + 0.5) * np.arange(n_input)) * np.sqrt(2 / filters)
    cosines[:, 0] /= np.sqrt(2)
    return _Tables(
        fft_size=fft_size,
        window=np.hamming(size).astype(np.float32),
        bins=slice(int(inside[0]), int(inside[-1]) + 1),
        rising=rising.astype(np.float32),
        falling=(1 - rising).astype(np.float32),
        starts=starts,
        segments=segment[starts],
        filters=filters,
        cosines=np.ascontiguousarray(cosines.T, dtype=np.float32),
    )


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
