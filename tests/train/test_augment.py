"""Augmentation: what it does to audio and features, and that it is the same wherever it is done."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspeech_train.data import audio, augment
from deepspeech_train.data.augment import Augmentation
from deepspeech_train.errors import SettingsError
from deepspeech_train.settings import Settings

RATE = 16000
ALL = Augmentation(speed=0.1, gain=6, noise=0.5, freq_masks=2, time_masks=2, time_width=0.2, seed=3)
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
NAMES = [f"utterance-{number}" for number in range(60)]


def _power(samples: np.ndarray) -> float:
    return float(np.square(samples.astype(np.float64)).mean())


def test_it_is_a_function_of_seed_epoch_and_name_in_any_thread() -> None:
    features = np.random.default_rng(1).normal(size=(50, 26)).astype(np.float32)

    def both(augmentation: Augmentation, name: str, epoch: int) -> tuple[bytes, bytes]:
        return (
            augmentation.audio(TONE, RATE, name, epoch).tobytes(),
            augmentation.features(features, name, epoch).tobytes(),
        )

    one_by_one = [both(ALL, name, 1) for name in NAMES[:12]]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: both(ALL, name, 1), NAMES[:12])) == one_by_one
    others = [both(ALL, NAMES[0], 2), both(dataclasses.replace(ALL, seed=4), NAMES[0], 1), one_by_one[1]]
    assert all(other[part] != one_by_one[0][part] for other in others for part in (0, 1))


def test_what_comes_in_is_left_as_it_is() -> None:
    samples, features = TONE.copy(), np.ones((50, 26), np.float32)
    features[:25] = 0
    for name in NAMES[:5]:
        ALL.audio(samples, RATE, name, 1)
        ALL.features(features, name, 1)
    assert (samples == TONE).all()
    assert features.sum() == 25 * 26


def test_speed_changes_length_and_pitch_within_its_bounds() -> None:
    lengths = []
    for name in NAMES:
        samples = Augmentation(speed=0.1).audio(TONE, RATE, name, 1)
        lengths.append(len(samples))
        assert samples.dtype == np.float32
        pitch = np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)
        assert pitch == pytest.approx(440 * RATE / len(samples), abs=2)
        assert len(samples) <= RATE * ALL.longest + 1
    assert RATE / 1.1 - 1 <= min(lengths) < RATE / 1.07
    assert RATE / 0.93 < max(lengths) <= RATE / 0.9 + 1


def test_a_speed_that_leaves_too_little_for_the_text_is_not_taken() -> None:
    lengths = {len(Augmentation(speed=0.3).audio(TONE, RATE, name, 1, shortest=RATE)) for name in NAMES}
    assert min(lengths) == RATE
    assert max(lengths) > RATE * 1.2


def test_gain_is_in_decibels_within_its_bounds() -> None:
    gains = [10 * np.log10(_power(Augmentation(gain=6).audio(TONE, RATE, name, 1)) / _power(TONE)) for name in NAMES]
    assert -6.01 < min(gains) < -4
    assert 4 < max(gains) < 6.01


def test_noise_is_mixed_into_its_share_at_its_ratio() -> None:
    augmentation = Augmentation(noise=0.5, snr_low=10, snr_high=20)
    noises = [augmentation.audio(TONE, RATE, name, 1) - TONE for name in NAMES]
    ratios = [10 * np.log10(_power(TONE) / _power(noise)) for noise in noises if noise.any()]
    assert 0.3 < len(ratios) / len(noises) < 0.7
    assert 9.9 < min(ratios) < 12
    assert 18 < max(ratios) < 20.1


def test_noise_comes_from_the_recordings_of_a_folder(tmp_path: Path) -> None:
    hum = np.sin(2 * np.pi * 3000 * np.arange(8000) / 8000).astype(np.float32)
    (tmp_path / "deep").mkdir()
    audio.write_wav(tmp_path / "deep" / "hum.wav", hum[:2000], 8000)  # shorter than the speech
    augmentation = Augmentation(noise=1.0, noise_path=tmp_path, snr_low=10, snr_high=10)
    noise = augmentation.audio(TONE, RATE, "a", 1) - TONE
    spectrum = np.abs(np.fft.rfft(noise))
    assert spectrum.argmax() == pytest.approx(3000, abs=3)
    assert 10 * np.log10(_power(TONE) / _power(noise)) == pytest.approx(10, abs=0.1)


def test_a_noise_folder_that_cannot_be_used_is_told_of_before_training(tmp_path: Path, smoke: Settings) -> None:
    settings = dataclasses.replace(smoke, augment_noise=0.5, augment_noise_path=tmp_path / "none")
    with pytest.raises(SettingsError, match=r"augment_noise_path.*holds no recording"):
        augment.from_settings(settings)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(SettingsError, match=r"augment_noise_path.*broken\.wav"):
        augment.from_settings(dataclasses.replace(settings, augment_noise_path=tmp_path / "some"))


def test_noise_that_cannot_be_read_any_more_is_not_blamed_on_the_utterance(tmp_path: Path) -> None:
    audio.write_wav(tmp_path / "hum.wav", TONE, RATE)
    augmentation = Augmentation(noise=1.0, noise_path=tmp_path)
    augmentation.audio(TONE, RATE, "a", 1)
    (tmp_path / "hum.wav").unlink()
    with pytest.raises(SettingsError, match=r"hum\.wav"):
        augmentation.audio(TONE, RATE, "a", 1)


@pytest.mark.parametrize("samples", [np.zeros(1000, np.float32), np.ones(3, np.float32)])
def test_silence_and_a_click_come_through(samples: np.ndarray) -> None:
    for name in NAMES[:10]:
        changed = ALL.audio(samples, RATE, name, 1)
        assert changed.size
        assert np.isfinite(changed).all()


def test_masks_are_bands_and_stretches_of_the_mean_within_their_widths() -> None:
    features = np.random.default_rng(1).normal(size=(100, 40)).astype(np.float32)
    mean = features.mean(axis=0)
    widths: dict[str, list[int]] = {"freq": [], "time": []}
    for name in NAMES:
        bands = Augmentation(freq_masks=1, freq_width=0.25).features(features, name, 1)
        stretches = Augmentation(time_masks=1, time_width=0.1).features(features, name, 1)
        for kind, masked, axis in (("freq", bands, 0), ("time", stretches, 1)):
            changed = np.flatnonzero((masked != features).any(axis=axis))
            widths[kind].append(len(changed))
            assert len(changed) == 0 or np.ptp(changed) == len(changed) - 1  # one piece, whole across
            places = np.ix_(range(100), changed) if axis == 0 else np.ix_(changed, range(40))
            assert (masked[places] == np.broadcast_to(mean, masked.shape)[places]).all()
    assert (min(widths["freq"]), max(widths["freq"])) == (0, 10)
    assert (min(widths["time"]), max(widths["time"])) == (0, 10)


def test_one_frame_is_never_masked_away() -> None:
    one = np.arange(26, dtype=np.float32)[None]
    masking = Augmentation(time_masks=5, time_width=1.0)
    assert all((masking.features(one, name, 1) == one).all() for name in NAMES[:5])


def test_the_settings_name_what_is_wanted(smoke: Settings) -> None:
    assert augment.from_settings(smoke) is None
    asked: dict[str, Any] = {"augment_speed": 0.1, "specaugment_time_masks": 2}
    augmentation = augment.from_settings(dataclasses.replace(smoke, **asked))
    assert augmentation is not None
    assert (augmentation.speed, augmentation.time_masks, augmentation.seed) == (0.1, 2, smoke.random_seed)
    assert augmentation.of_audio
    assert augmentation.of_features
    masks = augment.from_settings(dataclasses.replace(smoke, specaugment_freq_masks=1))
    assert masks is not None
    assert not masks.of_audio
    warping = augment.from_settings(dataclasses.replace(smoke, augment_vocal_tract=0.1))
    assert warping is not None
    assert warping.of_audio


def test_the_vocal_tract_is_another_in_each_epoch_and_within_its_bounds() -> None:
    warps = [Augmentation(vocal_tract=0.2, seed=3).warp(name, epoch) for name in NAMES for epoch in (1, 2)]
    assert len(set(warps)) == len(warps)
    assert 0.8 <= min(warps) < 0.82
    assert 1.18 < max(warps) <= 1.2
    assert Augmentation(speed=0.1).warp(NAMES[0], 1) == 1.0
