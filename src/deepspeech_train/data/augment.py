"""Augmentation of the training set: the same words, said quicker, louder, in noise, and with parts unheard.

Audio: a change of speed by resampling (Ko et al., 2015), white noise or a stretch of a recording of noise mixed in at a
ratio in dB, a gain in dB, in this order. Its spectra: as of a longer or shorter vocal tract (Jaitly and Hinton, 2013),
which is what tells speakers apart at the same pitch and pace. Features: SpecAugment without time warping (Park et al.,
2019): bands and stretches of time become the utterance's mean.

What an utterance becomes is a function of (seed, epoch, its id) alone: the same in whatever batch, thread, process or
storage.

>>> augmentation = Augmentation(speed=0.1, seed=1)
>>> samples = np.sin(np.arange(16000, dtype=np.float32) / 9)
>>> bool((augmentation.audio(samples, 16000, "a1", 1) == augmentation.audio(samples, 16000, "a1", 1)).all())
True
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr

from ..errors import RecipeError, SettingsError
from . import audio
from .features import Floats
from .manifest import Utterance

if TYPE_CHECKING:
    from ..settings import Settings

#: What recordings of noise are looked for by.
_NOISE_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph")
#: Seconds that a change of speed leaves at least: shorter audio is no speech.
_SHORTEST = 0.01


@dataclass(frozen=True)
class Augmentation:
    """Settings of the same names: ``speed`` and ``vocal_tract`` are the largest change, ``gain`` the largest in dB,
    ``noise`` the share of utterances, ``snr_low`` to ``snr_high`` dB; masks are a number and a largest width, as a
    share of all."""

    speed: float = 0.0
    vocal_tract: float = 0.0
    gain: float = 0.0
    noise: float = 0.0
    noise_path: Path | None = None
    snr_low: float = 10.0
    snr_high: float = 30.0
    freq_masks: int = 0
    freq_width: float = 0.15
    time_masks: int = 0
    time_width: float = 0.05
    seed: int = 0

    @property
    def of_audio(self) -> bool:
        """Whether it changes audio or its spectra, so that features have to be made anew."""
        return bool(self.speed or self.vocal_tract or self.gain or self.noise)

    @property
    def of_features(self) -> bool:
        return bool(self.freq_masks or self.time_masks)

    @property
    def longest(self) -> float:
        """How many times as long an utterance may become."""
        return 1 / (1 - self.speed)

    def audio(self, samples: Floats, sample_rate: int, name: str, epoch: int, *, shortest: int = 0) -> Floats:
        """Augmented audio (n,) of the utterance ``name`` in ``epoch``; ``samples`` are left as they are.

        The speed stays as it is where fewer than ``shortest`` samples would come out: too few for the text.
        SettingsError if a recording of noise cannot be read.
        """
        random = self._random(name, epoch, 0)
        speed = 1 + random.uniform(-self.speed, self.speed)
        noisy, snr, gain = (
            random.random() < self.noise,
            random.uniform(self.snr_low, self.snr_high),
            random.uniform(-1, 1),
        )
        if self.speed and len(samples) / speed >= _SHORTEST * sample_rate:
            quicker: Floats = soxr.resample(samples, sample_rate * speed, sample_rate, quality="MQ")
            samples = quicker if len(quicker) >= shortest else samples
        if noisy:
            samples = _mixed(samples, self._noise(len(samples), sample_rate, random), snr)
        if self.gain:
            samples = samples * np.float32(10 ** (gain * self.gain / 20))
        return samples

    def warp(self, name: str, epoch: int) -> float:
        """By what the frequencies of the utterance ``name`` in ``epoch`` are multiplied (:func:`.features.warped`)."""
        return 1 + self.vocal_tract * self._random(name, epoch, 2).uniform(-1, 1) if self.vocal_tract else 1.0

    def features(self, features: Floats, name: str, epoch: int) -> Floats:
        """Masked features (frames, size) of the utterance ``name`` in ``epoch``; ``features`` are left as they are."""
        if not self.of_features:
            return features
        random = self._random(name, epoch, 1)
        mean, masked = features.mean(axis=0), features.copy()
        for axis, masks, share in ((1, self.freq_masks, self.freq_width), (0, self.time_masks, self.time_width)):
            length = features.shape[axis]
            for _ in range(masks):
                # Less than all, so that something is left to be heard.
                width = min(int(random.integers(0, int(share * length) + 1)), length - 1)
                start = int(random.integers(0, length - width + 1))
                if axis:
                    masked[:, start : start + width] = mean[start : start + width]
                else:
                    masked[start : start + width] = mean
        return masked

    def _random(self, name: str, epoch: int, stream: int) -> np.random.Generator:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return np.random.default_rng((self.seed, epoch, int.from_bytes(digest, "little"), stream))

    def _noise(self, count: int, sample_rate: int, random: np.random.Generator) -> Floats:
        """``count`` samples of noise: white, or from anywhere in one of the recordings, repeated if it is too short."""
        if self.noise_path is None:
            return random.standard_normal(count, np.float32)
        noises = _noises(self.noise_path)
        path, seconds = noises[int(random.integers(len(noises)))]
        wanted = count / sample_rate
        start = random.uniform(0, max(0.0, seconds - wanted))
        part = Utterance("noise", path, min(wanted, seconds - start), "", "", start=start)
        try:
            recorded = audio.load(part, sample_rate)
        except RecipeError as error:
            raise SettingsError(
                f"Noise of augment_noise_path could not be read: {error.message}",
                "Take the recording out of the folder, or put a whole copy there.",
            ) from error
        return np.resize(recorded, count)


def from_settings(settings: Settings) -> Augmentation | None:
    """What the settings ask for; None where that is nothing. SettingsError for a noise folder without a recording, or
    with one that cannot be read."""
    augmentation = Augmentation(
        speed=settings.augment_speed,
        vocal_tract=settings.augment_vocal_tract,
        gain=settings.augment_gain,
        noise=settings.augment_noise,
        noise_path=settings.augment_noise_path,
        snr_low=settings.augment_snr_low,
        snr_high=settings.augment_snr_high,
        freq_masks=settings.specaugment_freq_masks,
        freq_width=settings.specaugment_freq_width,
        time_masks=settings.specaugment_time_masks,
        time_width=settings.specaugment_time_width,
        seed=settings.random_seed,
    )
    if augmentation.noise and augmentation.noise_path is not None:
        _noises(augmentation.noise_path)
    return augmentation if augmentation.of_audio or augmentation.of_features else None


def _mixed(samples: Floats, noise: Floats, snr: float) -> Floats:
    """Both, the noise so loud that the ratio of their powers is ``snr`` dB; silence on either side is left alone."""
    signal_power, noise_power = float(np.square(samples).mean()), float(np.square(noise).mean())
    if not signal_power or not noise_power:
        return samples
    scale = np.sqrt(signal_power / noise_power) * 10 ** (-snr / 20)
    mixed: Floats = samples + noise * np.float32(scale)
    return mixed


@functools.lru_cache(maxsize=4)
def _noises(folder: Path) -> tuple[tuple[Path, float], ...]:
    """The recordings under ``folder`` with their seconds, sorted by name; SettingsError if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _NOISE_SUFFIXES and path.is_file())
    if not found:
        raise SettingsError(
            f"augment_noise_path = {str(folder)!r} holds no recording.",
            f"Name a folder with files that end in {', '.join(_NOISE_SUFFIXES)}, or none for white noise.",
        )
    try:
        return tuple((path, audio.inspect(path).seconds) for path in found)
    except RecipeError as error:
        raise SettingsError(f"augment_noise_path: {error.message}", error.hint) from error
