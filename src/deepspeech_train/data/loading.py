"""One utterance's way from where it is stored to features and labels, and what is said of it by name on the way.

Left out of training, each with its reason: audio that cannot be read, is cut short, empty, silent, or holds numbers
that are none; text that is empty, or outside the alphabet; more text than CTC can place on the output frames of the
audio as it really is; more seconds than ``max_duration``. Remarked on, and used: audio of another sample rate, of
several channels, or of another length than its manifest says.

TensorFlow gives an utterance that is too short for its text a finite loss of some hundreds, or an error, depending on
the kernel: such ones must be found before.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from ..errors import RecipeError, SettingsError
from ..text import Alphabet, frames_needed
from . import audio, spans
from .augment import Augmentation
from .batches import Example
from .features import FeatureOptions, Floats, Statistics, normalise, raw, statistics_of
from .manifest import Utterance, Utterances, durations

#: Bytes of a file that tell whether it holds features.
_MAGIC_BYTES = 8
#: A manifest may say so many seconds, or so large a share, more or less than there are: what rounding and the padding
#: of MP3 frames make.
_OFF_SECONDS, _OFF_SHARE = 0.1, 0.02


@dataclass(frozen=True)
class Loaded:
    """What became of an utterance: an example, or the reason why there is none; and remarks, "" for none.

    ``readable`` is false where there is nothing to evaluate, either."""

    example: Example | None
    reason: str = ""
    remark: str = ""
    readable: bool = True


@dataclass(frozen=True)
class Loader:
    """Makes examples. ``stored`` are the options of features that were stored in place of audio, if they were.

    ``epoch`` (from 1) is given for training: it augments, and leaves out what cannot be learnt from."""

    options: FeatureOptions
    alphabet: Alphabet
    stride: int
    statistics: Statistics | None = None
    augmentation: Augmentation | None = None
    max_duration: float = 0.0
    stored: FeatureOptions | None = None

    def __post_init__(self) -> None:
        if self.options.normalisation == "corpus" and self.statistics is None:
            raise ValueError("features normalised by corpus need the corpus' statistics")
        if self.stored is not None:
            self._check_stored(self.stored)

    def load(self, utterance: Utterance, epoch: int | None) -> Loaded:
        """The utterance before its features are masked; SettingsError for what concerns more than this one."""
        try:
            labels = self._labels(utterance, training=epoch is not None)
        except RecipeError as error:
            return Loaded(None, reason=error.message)
        try:
            features, seconds, remarks = self._features(utterance, epoch)
        except SettingsError:
            raise
        except RecipeError as error:
            return Loaded(None, reason=error.message, readable=False)
        except ValueError as error:
            return Loaded(None, reason=str(error), readable=False)
        remark = "; ".join(remarks)
        if epoch is not None:
            reason = self._unusable(utterance, len(features), seconds, silent=_SILENT in remarks)
            if reason:
                return Loaded(None, reason=reason, remark=remark)
        return Loaded(Example(utterance, features, labels), remark=remark)

    def masked(self, loaded: Loaded, epoch: int) -> Loaded:
        """With the masks of SpecAugment, which are of this epoch also where the rest was kept from another."""
        if loaded.example is None or self.augmentation is None:
            return loaded
        example = loaded.example
        features = self.augmentation.features(example.features, example.utterance.id, epoch)
        return replace(loaded, example=replace(example, features=features))

    def _labels(self, utterance: Utterance, training: bool) -> npt.NDArray[np.int32]:
        """The labels; outside training none, where the text has none, so that no loss is asked for."""
        if training and not utterance.text:
            raise RecipeError("its text is empty")
        strange = self.alphabet.strange(utterance.text)
        if strange and training:
            raise RecipeError(f"its text holds {strange!r}, which the alphabet lacks")
        return self.alphabet.encode("" if strange else utterance.text)

    def _features(self, utterance: Utterance, epoch: int | None) -> tuple[Floats, float, list[str]]:
        """Normalised features, seconds of audio, remarks. ValueError and RecipeError say what is wrong with it."""
        if stored_features(utterance):
            features = self._stored(utterance)
            # The first frame may differ: emphasis sees nothing before the first sample.
            silent = len(features) > 2 and bool((features[1:] == features[1]).all())
            return features, len(features) * self.options.step, [_SILENT] if silent else []
        options = self.options
        recording = audio.recording(utterance, options.sample_rate)
        samples, remarks = recording.samples, []
        seconds = len(samples) / options.sample_rate
        if audio.is_silent(samples):
            remarks.append(_SILENT)
        if recording.rate != options.sample_rate:
            remarks.append(f"resampled from {recording.rate} Hz")
        if recording.channels > 1:
            remarks.append(f"mixed to mono from {recording.channels} channels")
        if abs(seconds - utterance.duration) > max(_OFF_SECONDS, _OFF_SHARE * utterance.duration):
            remarks.append(f"{seconds:.2f} s long, its manifest says {utterance.duration:.2f} s")
        warp = 1.0
        if epoch is not None and self.augmentation is not None and self.augmentation.of_audio:
            shortest = samples_needed(utterance.text, options, self.stride)
            samples = self.augmentation.audio(samples, options.sample_rate, utterance.id, epoch, shortest=shortest)
            warp = self.augmentation.warp(utterance.id, epoch)
        return normalise(raw(samples, options, warp), options, self.statistics), seconds, remarks

    def _unusable(self, utterance: Utterance, frames: int, seconds: float, silent: bool) -> str:
        """Why it cannot be learnt from; "" if it can."""
        if silent:
            return "is silent: all its samples are the same"
        if self.max_duration and seconds > self.max_duration:
            return f"{seconds:.2f} s are more than max_duration = {self.max_duration:g}"
        return _too_short(frames_needed(utterance.text), -(-frames // self.stride), seconds)

    def _stored(self, utterance: Utterance) -> Floats:
        if self.stored is None:
            raise SettingsError(
                f"{utterance.audio} holds features of utterance {utterance.id}, but nothing says how they were made.",
                "Name the folder that deepspeech-train pack wrote, whose index says it.",
            )
        try:
            array = np.load(io.BytesIO(audio.stored_bytes(utterance)), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"its stored features cannot be read: {error}") from error
        if array.ndim != 2 or array.shape[1] != self.options.size or not len(array) or array.dtype.kind != "f":
            raise ValueError(f"its stored features have shape {array.shape}, wanted are (frames, {self.options.size})")
        features: Floats = array.astype(np.float32, copy=False)
        if not np.isfinite(features).all():
            raise ValueError("its stored features hold values that are not numbers")
        if self.stored.normalisation != "none":
            return features
        return normalise(features, self.options, self.statistics)

    def _check_stored(self, stored: FeatureOptions) -> None:
        """SettingsError if stored features are not those that are asked for."""
        # The size of a log-spectrogram is its window's: n_input says nothing.
        n_input = stored.n_input if stored.kind == "logspec" else self.options.n_input
        same = replace(self.options, n_input=n_input, normalisation=stored.normalisation) == stored
        if not same or stored.normalisation not in ("none", self.options.normalisation):
            raise SettingsError(
                f"The shards hold features made with {stored}; the settings ask for {self.options}.",
                "Set the features as they were packed, or pack the corpus again (without --features: as audio).",
            )
        if self.augmentation is not None and self.augmentation.of_audio:
            raise SettingsError(
                "The shards hold features; augment_speed, augment_vocal_tract, augment_gain, augment_noise need audio.",
                "Set them to 0 (SpecAugment works on features), or pack the corpus without --features.",
            )


def stored_features(utterance: Utterance) -> bool:
    """Whether features are stored in place of the audio; false if that cannot be read."""
    if utterance.span is None:
        return utterance.audio.suffix == ".npy"
    try:
        return audio.is_features(spans.read(utterance.audio, utterance.span.offset, _MAGIC_BYTES))
    except OSError:
        return False


def samples_needed(text: str, options: FeatureOptions, stride: int) -> int:
    """The fewest samples with which CTC can emit ``text``; 0 where any number will do."""
    frames = (frames_needed(text) - 1) * stride + 1
    return options.window_samples + (frames - 1) * options.step_samples if frames > 1 else 0


class Selection(Sequence[Utterance]):
    """Some of ``utterances``, at ``places``, made as they are asked for where those are; with their ``durations``, and
    ``needed`` and ``features`` where those have them."""

    def __init__(self, utterances: Utterances, places: npt.NDArray[np.intp]) -> None:
        self._utterances = utterances
        self._places = places
        self.durations = durations(utterances)[places]
        needed = getattr(utterances, "needed", None)
        self.needed = None if needed is None else np.asarray(needed)[places]
        self.features: FeatureOptions | None = getattr(utterances, "features", None)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Utterance: ...
    @overload
    def __getitem__(self, place: slice) -> Selection: ...
    def __getitem__(self, place: int | slice) -> Utterance | Selection:
        if isinstance(place, slice):
            return Selection(self._utterances, self._places[place])
        return self._utterances[int(self._places[place])]

    def will_need(self, places: npt.NDArray[np.intp]) -> None:
        """Has the system begin to read these, where they lie in shards."""
        hint = getattr(self._utterances, "will_need", None)
        if hint is not None:
            hint(self._places[places])


def usable(
    utterances: Utterances, options: FeatureOptions, alphabet: Alphabet, stride: int, max_duration: float = 0.0
) -> tuple[Utterances, dict[str, str]]:
    """``(kept, {id: reason})`` by what the manifest says, before anything is read.

    A :class:`~.shards.ShardIndex` is looked through at once, without making its utterances, unless there are characters
    outside the alphabet in it.
    """
    seconds = durations(utterances)
    at_hand = getattr(utterances, "needed", None)
    if at_hand is not None:
        needed = np.asarray(at_hand, np.int64)
    else:
        needed = np.array([frames_needed(utterance.text) for utterance in utterances], np.int64)
    # One frame more than the seconds say, which are rounded; the samples decide when they are read.
    outputs = -(-(frames_of(seconds, options) + 1) // stride)
    wrong = (needed == 0) | (needed > outputs)
    if max_duration:
        wrong |= seconds > max_duration
    left_out: dict[str, str] = {}
    for place in np.flatnonzero(wrong).tolist():
        if max_duration and seconds[place] > max_duration:
            reason = f"{seconds[place]:.2f} s are more than max_duration = {max_duration:g}"
        else:
            reason = _too_short(int(needed[place]), int(outputs[place]), float(seconds[place])) or "its text is empty"
        left_out[utterances[place].id] = reason
    if alphabet.strange(getattr(utterances, "characters", "")) or at_hand is None:
        for place, utterance in enumerate(utterances):
            if not wrong[place] and (strange := alphabet.strange(utterance.text)):
                wrong[place] = True
                left_out[utterance.id] = f"its text holds {strange!r}, which the alphabet lacks"
    if not wrong.any():
        return utterances, left_out
    places = np.flatnonzero(~wrong)
    return utterances.subset(places) if hasattr(utterances, "subset") else Selection(utterances, places), left_out


def frames_of(seconds: npt.NDArray[np.float64], options: FeatureOptions) -> npt.NDArray[np.int64]:
    """Frames of so many seconds each, as :meth:`FeatureOptions.frame_count` of their samples."""
    samples = np.rint(seconds * options.sample_rate).astype(np.int64)
    return 1 + np.maximum(0, samples - options.window_samples) // options.step_samples


def corpus_statistics(
    utterances: Utterances, options: FeatureOptions, sample: int = 200, seed: int = 0, threads: int = 2
) -> Statistics:
    """Mean and deviation of each number of a frame over so many utterances, drawn with ``seed``; what cannot be read,
    or is silent, is passed over. RecipeError if there is none that can be read."""
    plain = replace(options, normalisation="none")
    stored: FeatureOptions | None = getattr(utterances, "features", None)
    loader = Loader(plain, Alphabet("a"), 1, stored=stored)
    order = np.random.default_rng(seed).permutation(len(utterances)).tolist()
    arrays: list[Any] = []
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        while order and len(arrays) < sample:
            some, order = order[: sample - len(arrays)], order[sample - len(arrays) :]
            for loaded in pool.map(lambda place: loader.load(utterances[place], None), some):
                if loaded.example is not None and _SILENT not in loaded.remark:
                    arrays.append(loaded.example.features)
    if not arrays:
        raise RecipeError(
            f"None of {len(utterances)} utterances could be read, so that there is nothing to normalise features by.",
            "Check the paths in the manifest, or import the corpus again.",
        )
    return statistics_of(arrays)


_SILENT = "is silent"


def _too_short(needed: int, outputs: int, seconds: float) -> str:
    """Why CTC cannot place a text that needs ``needed`` frames on ``outputs``; "" if it can."""
    if needed <= outputs:
        return ""
    return f"{seconds:.2f} s are too short for its text: the network gives {outputs} frames, CTC needs {needed}"
