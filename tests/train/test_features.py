"""Features against their definitions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deepspeech_train.data.features import FeatureOptions, Statistics, extract, normalise, raw, statistics_of, warped

MFCC = FeatureOptions()
LOGMEL = FeatureOptions("logmel", n_input=40)
LOGSPEC = FeatureOptions("logspec", window=0.02, step=0.01)


def _plain(options: FeatureOptions) -> FeatureOptions:
    return dataclasses.replace(options, normalisation="none")


def _noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)


def _mel_by_definition(samples: np.ndarray, rate: int) -> np.ndarray:
    """The logarithm of 40 mel bands in float64, loop by loop, as a textbook writes them."""
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
        frames.append(logs)
    return np.array(frames)


def _mfcc_by_definition(logs: np.ndarray, n_input: int) -> np.ndarray:
    n_filters = logs.shape[1]
    return np.array(
        [
            [
                np.sqrt((1 if i == 0 else 2) / n_filters)
                * sum(log * np.cos(np.pi * i * (j + 0.5) / n_filters) for j, log in enumerate(frame))
                for i in range(n_input)
            ]
            for frame in logs
        ]
    )


@pytest.mark.parametrize("rate", [16000, 12000])
def test_mel_bands_and_mfccs_agree_with_the_definition(rate: int) -> None:
    samples = _noise(0.2)
    bands = _mel_by_definition(samples, rate)
    for options, expected in ((LOGMEL, bands), (MFCC, _mfcc_by_definition(bands, 26))):
        features = extract(samples, _plain(dataclasses.replace(options, sample_rate=rate)))
        assert features.dtype == np.float32
        assert features.shape == expected.shape
        np.testing.assert_allclose(features, expected, atol=2e-3)


def test_a_log_spectrogram_agrees_with_the_definition() -> None:
    samples = _noise(0.1)
    features = extract(samples, _plain(LOGSPEC))
    hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(320) / 319)
    expected = [
        np.log(np.abs(np.fft.fft(samples[start : start + 320] * hamming)[:161]) ** 2 / 320 + 1e-8)
        for start in range(0, 1600 - 319, 160)
    ]
    assert features.shape == (9, LOGSPEC.size) == (9, 161)
    np.testing.assert_allclose(features, expected, atol=2e-3)


def test_a_tone_is_loudest_where_it_is() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    assert (extract(tone, _plain(LOGSPEC)).argmax(axis=1) == 20).all()  # bins of 50 Hz
    assert len(np.unique(extract(tone, _plain(LOGMEL)).argmax(axis=1))) == 1


@pytest.mark.parametrize("options", [MFCC, LOGMEL, LOGSPEC])
def test_the_same_audio_gives_the_same_bits_also_as_part_of_a_long_recording(options: FeatureOptions) -> None:
    samples = _noise(3)
    whole = raw(samples, options)
    assert whole.tobytes() == raw(samples, options).tobytes()
    # From the second frame on: the first sample has none before it to take emphasis from.
    part = raw(samples[options.step_samples * 70 :], options)
    assert part[1:].tobytes() == whole[71:].tobytes()


@pytest.mark.parametrize(
    ("rate", "step", "samples", "frames"),
    [
        (16000, 0.02, 16000, 49),
        (16000, 0.01, 16000, 98),
        (8000, 0.02, 4000, 24),
        (16000, 0.02, 16, 1),
        (16000, 0.02, 0, 1),
    ],
)
def test_number_of_frames(rate: int, step: float, samples: int, frames: int) -> None:
    options = FeatureOptions(sample_rate=rate, step=step)
    assert extract(np.ones(samples, np.float32), options).shape == (frames, 26)
    assert options.frame_count(samples) == frames


@pytest.mark.parametrize("options", [MFCC, LOGMEL, LOGSPEC])
def test_features_normalised_by_utterance_have_mean_0_and_variance_1_and_no_volume(options: FeatureOptions) -> None:
    features = extract(_noise(2), options)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-2)
    # Not exactly: the floor under the energies does not grow with the volume.
    np.testing.assert_allclose(extract(_noise(2) * np.float32(4), options), features, atol=0.2)
    assert np.abs(extract(_noise(2) * np.float32(4), _plain(options)) - extract(_noise(2), _plain(options))).max() > 1


def test_the_corpus_statistics_are_those_of_all_frames_together() -> None:
    by_corpus = dataclasses.replace(LOGMEL, normalisation="corpus")
    arrays = [raw(_noise(seconds, seed) * np.float32(seed + 1), LOGMEL) for seed, seconds in enumerate((1, 0.3, 2))]
    together = np.concatenate(arrays).astype(np.float64)
    statistics = statistics_of(arrays)
    np.testing.assert_allclose(statistics.mean, together.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics.std, together.std(axis=0), rtol=1e-4)
    normalised = np.concatenate([normalise(array, by_corpus, statistics) for array in arrays])
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-3)
    # The volume of one utterance against another stays.
    assert normalise(arrays[2], by_corpus, statistics).mean() > normalise(arrays[0], by_corpus, statistics).mean() + 0.5


def test_statistics_that_are_missing_are_an_error_and_not_forgotten() -> None:
    with pytest.raises(ValueError, match="statistics"):
        extract(_noise(1), dataclasses.replace(MFCC, normalisation="corpus"))
    with pytest.raises(ValueError, match="no utterance"):
        statistics_of([])


@pytest.mark.parametrize("options", [MFCC, LOGMEL, LOGSPEC])
def test_silence_is_finite(options: FeatureOptions) -> None:
    assert np.isfinite(extract(np.zeros(16000, np.float32), options)).all()
    zeros = Statistics(np.zeros(options.size, np.float32), np.zeros(options.size, np.float32))
    by_corpus = dataclasses.replace(options, normalisation="corpus")
    assert np.isfinite(extract(np.zeros(16000, np.float32), by_corpus, zeros)).all()


@pytest.mark.parametrize(
    "options",
    [FeatureOptions("logmel", 4000, 256, 0.001, 0.001), FeatureOptions("mfcc", 4000, 1, 0.001, 0.2), LOGSPEC],
)
def test_odd_options_still_give_finite_features_of_their_size(options: FeatureOptions) -> None:
    features = extract(_noise(0.5), options)
    assert features.shape == (options.frame_count(8000), options.size)
    assert np.isfinite(features).all()


@pytest.mark.parametrize("factor", [0.8, 1.1, 1.25])
def test_a_shorter_vocal_tract_moves_formants_up_and_leaves_the_band_in_its_place(factor: float) -> None:
    bins = np.arange(129)
    formant = np.exp(-0.5 * ((bins - 40) / 4) ** 2).astype(np.float32)
    assert warped(formant[None], factor)[0].argmax() == round(40 * factor)
    ramp = warped(np.linspace(0, 1, 129, dtype=np.float32)[None], factor)[0]
    assert (ramp[0], ramp[-1]) == (0, 1)
    assert (np.diff(ramp) > 0).all()  # nothing is folded, nothing left out


@pytest.mark.parametrize("options", [MFCC, LOGMEL, LOGSPEC])
def test_a_warped_tone_is_the_tone_at_its_new_frequency(options: FeatureOptions) -> None:
    time = np.arange(16000) / 16000
    tone, higher = (np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (1000, 1200))
    asked, plain = raw(tone, options, 1.2), raw(tone, options)
    assert np.abs(asked - raw(higher, options)).mean() < 0.5 * np.abs(plain - raw(higher, options)).mean()
    assert (raw(tone, options, 1.0) == plain).all()
