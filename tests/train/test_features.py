"""MFCCs against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from deepspeech_train.data.features import MfccOptions, mfcc


def _noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)


def _by_definition(samples: np.ndarray, rate: int, n_input: int) -> np.ndarray:
    """The same coefficients in float64, loop by loop, as a textbook writes them."""
    size, step, n_fft, n_filters = round(0.025 * rate), round(0.02 * rate), 512, 40
    emphasised = samples.astype(np.float64).copy()
    emphasised[1:] -= 0.97 * samples[:-1].astype(np.float64)
    hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(size) / (size - 1))
    top = 2595 * np.log10(1 + rate / 2 / 700)
    bottom = 2595 * np.log10(1 + 20 / 700)
    edges = [700 * (10 ** (mel / 2595) - 1) for mel in np.linspace(bottom, top, n_filters + 2)]
    frames = []
    for start in range(0, len(samples) - size + 1, step):
        power = np.abs(np.fft.fft(emphasised[start : start + size] * hamming, n_fft)) ** 2 / n_fft
        logs = []
        for left, middle, right in zip(edges, edges[1:], edges[2:], strict=False):
            energy = 0.0
            for k in range(n_fft // 2 + 1):
                hertz = k * rate / n_fft
                if left < hertz <= middle:
                    energy += power[k] * (hertz - left) / (middle - left)
                elif middle < hertz < right:
                    energy += power[k] * (right - hertz) / (right - middle)
            logs.append(np.log(energy + 1e-7))
        frames.append(
            [
                np.sqrt((1 if i == 0 else 2) / n_filters)
                * sum(log * np.cos(np.pi * i * (j + 0.5) / n_filters) for j, log in enumerate(logs))
                for i in range(n_input)
            ]
        )
    return np.array(frames)


def test_agrees_with_the_definition() -> None:
    samples = _noise(0.2)
    expected = _by_definition(samples, 16000, 26)
    features = mfcc(samples, MfccOptions(normalise=False))
    assert features.dtype == np.float32
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, atol=2e-3)


def test_the_same_audio_gives_the_same_bits() -> None:
    assert mfcc(_noise(1), MfccOptions()).tobytes() == mfcc(_noise(1), MfccOptions()).tobytes()


@pytest.mark.parametrize(
    ("rate", "step", "seconds", "frames"),
    [(16000, 0.02, 1.0, 49), (16000, 0.01, 1.0, 98), (8000, 0.02, 0.5, 24), (16000, 0.02, 0.001, 1)],
)
def test_number_of_frames(rate: int, step: float, seconds: float, frames: int) -> None:
    samples = np.ones(round(rate * seconds), np.float32)
    options = MfccOptions(sample_rate=rate, step=step)
    assert mfcc(samples, options).shape == (frames, 26)


def test_normalised_features_have_mean_0_and_variance_1_and_no_volume() -> None:
    features = mfcc(_noise(2), MfccOptions())
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-2)
    # Not exactly: the floor under the energies does not grow with the volume.
    np.testing.assert_allclose(mfcc(_noise(2) * np.float32(4), MfccOptions()), features, atol=0.1)
    plain = MfccOptions(normalise=False)
    assert np.abs(mfcc(_noise(2) * np.float32(4), plain) - mfcc(_noise(2), plain))[:, 0].min() > 1


def test_silence_is_finite() -> None:
    assert np.isfinite(mfcc(np.zeros(16000, np.float32), MfccOptions())).all()
