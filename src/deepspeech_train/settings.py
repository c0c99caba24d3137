# ruff: noqa: RUF009 - setting() gives a dataclass field; it is not a default shared by instances
"""Every setting of a training run, in one place.

A setting is a field of :class:`Settings`. The notebook assigns it by its name in the parameters cell
(``learning_rate = 0.001``); the environment overrides it as ``ds_<name>`` (``ds_learning_rate=0.001``), which
is how a job scheduler or a tracker reaches it. A preset (``ds_preset=small``) stands under both.

>>> Settings.from_namespace({"epochs": 3}, environ={"ds_learning_rate": "0.002"}).learning_rate
0.002
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import corpora, presets
from .data.features import FeatureOptions
from .errors import SettingsError
from .fields import PREFIX, checked, number_or_text, setting, unused
from .text import ENGLISH, Alphabet

__all__ = ["PREFIX", "LayerSizes", "Settings"]

#: What every importer is told by other settings or by its caller.
_NOT_OPTIONS = ("name", "folder", "progress", "alphabet", "max_duration")


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepspeech_train"


@dataclass(frozen=True)
class LayerSizes:
    """Units of DeepSpeech's layers, numbered as in Hannun et al. (2014); ``n_cell_dim`` in each direction."""

    n_hidden_1: int
    n_hidden_2: int
    n_hidden_3: int
    n_cell_dim: int
    n_hidden_5: int


@dataclass(frozen=True)
class Settings:
    """The settings, checked when made: SettingsError names the setting, its value and what is allowed."""

    # Data
    importer: str = setting("espeak", "the corpus, by the name of its importer")
    dataset_path: Path = setting(_cache_folder, "the folder into which corpora are imported")
    corpus_options: str = setting("", "options of the importer: name=value, separated by commas")
    alphabet: str = setting("english", "the characters of transcripts: english, or the characters themselves")
    limit_train: int = setting(0, "train on so many utterances at most (0: all)", low=0)
    limit_dev: int = setting(0, "validate on so many utterances at most (0: all)", low=0)
    limit_test: int = setting(0, "test on so many utterances at most (0: all)", low=0)
    max_duration: float = setting(0.0, "leave out longer utterances, in seconds (0: none)", low=0)
    max_left_out: float = setting(0.5, "stop when a larger share of the training set cannot be used", low=0, high=1)
    sample_rate: int = setting(16000, "audio is resampled to this, in Hz", low=4000, high=192000)
    reading_threads: int = setting(0, "threads that read audio and make features (0: one a core)", low=0, high=256)
    prefetch_batches: int = setting(4, "batches made ready ahead of training", low=1, high=1000)
    feature_cache: bool = setting(False, "keep features in memory: quicker, but audio is augmented once for all epochs")

    # Features
    features: str = setting("mfcc", "the network's input", choices=("mfcc", "logmel", "logspec"))
    n_input: int = setting(
        26, "MFCCs or mel bands a frame (logspec: by the window)", low=1, high=256, only="features=mfcc|logmel"
    )
    window_length: float = setting(0.025, "length of a window of features, in seconds", low=0.001, high=0.2)
    window_step: float = setting(0.02, "from one window to the next, in seconds", low=0.001, high=0.2)
    normalisation: str = setting(
        "utterance", "features to mean 0 and variance 1", choices=("utterance", "corpus", "none")
    )
    normalisation_sample: int = setting(
        200, "utterances that the corpus statistics are taken from", low=1, only="normalisation=corpus"
    )

    # Augmentation, of the training set alone
    augment_speed: float = setting(0.0, "change of speed at most (0.1: 0.9 to 1.1 times)", low=0, high=0.5)
    augment_vocal_tract: float = setting(
        0.0, "change of the vocal tract's length at most (0.1: formants 0.9 to 1.1 times as high)", low=0, high=0.5
    )
    augment_gain: float = setting(0.0, "change of level at most, in dB", low=0, high=60)
    augment_noise: float = setting(0.0, "share of the utterances that noise is mixed into", low=0, high=1)
    augment_noise_path: Path | None = setting(
        None, "a folder of noise recordings (default: white noise)", only="augment_noise"
    )
    augment_snr_low: float = setting(
        10.0, "lowest ratio of speech to mixed noise, in dB", low=-20, high=100, only="augment_noise"
    )
    augment_snr_high: float = setting(
        30.0, "highest ratio of speech to mixed noise, in dB", low=-20, high=100, only="augment_noise"
    )
    specaugment_freq_masks: int = setting(0, "bands of features blanked in an utterance", low=0, high=20)
    specaugment_freq_width: float = setting(
        0.15, "a band's width at most, as a share of all", low=0, high=1, only="specaugment_freq_masks"
    )
    specaugment_time_masks: int = setting(0, "stretches of time blanked in an utterance", low=0, high=100)
    specaugment_time_width: float = setting(
        0.05, "a stretch's length at most, as a share of all", low=0, high=1, only="specaugment_time_masks"
    )

    # Network
    model: str = setting("deepspeech1", "the network", choices=("deepspeech1", "deepspeech2", "fastconv"))
    preset: str = setting(
        "", "sizes of the network and their training: smoke, small or paper", choices=("", *presets.NAMES)
    )
    n_context: int = setting(9, "deepspeech1: frames of context on each side", low=0, high=50, only="model=deepspeech1")
    n_stride: int = setting(2, "the network gives an output for every n-th frame", low=1, high=8)
    n_hidden: int = setting(128, "units of the layers whose own size is not set", low=1)
    n_hidden_1: int = setting(0, "deepspeech1: units of layer 1 (0: n_hidden)", low=0, only="model=deepspeech1")
    n_hidden_2: int = setting(0, "deepspeech1: units of layer 2 (0: n_hidden)", low=0, only="model=deepspeech1")
    n_hidden_3: int = setting(0, "deepspeech1: units of layer 3 (0: n_hidden)", low=0, only="model=deepspeech1")
    n_cell_dim: int = setting(
        0, "units of a recurrent layer in each direction (0: n_hidden)", low=0, only="model=deepspeech1|deepspeech2"
    )
    n_hidden_5: int = setting(0, "deepspeech1: units of layer 5 (0: n_hidden)", low=0, only="model=deepspeech1")
    n_conv_layers: int = setting(
        2, "deepspeech2: convolutions before the recurrent layers", low=2, high=3, only="model=deepspeech2"
    )
    n_conv_channels: int = setting(
        32, "deepspeech2: channels of the first convolutions", low=1, only="model=deepspeech2"
    )
    n_recurrent_layers: int = setting(3, "deepspeech2: recurrent layers", low=1, high=9, only="model=deepspeech2")
    recurrent_cell: str = setting(
        "lstm", "deepspeech2: the recurrent cell", choices=("lstm", "gru"), only="model=deepspeech2"
    )
    bidirectional: bool = setting(True, "deepspeech2: read each utterance in both directions", only="model=deepspeech2")
    n_row_context: int = setting(
        0,
        "deepspeech2: frames of future that the row convolution sees, for bidirectional=0",
        low=0,
        high=80,
        only="model=deepspeech2",
    )
    n_blocks: int = setting(5, "fastconv: residual blocks", low=1, high=50, only="model=fastconv")
    kernel_size: int = setting(
        11, "fastconv: frames that a block's convolution sees", low=3, high=99, only="model=fastconv"
    )
    relu_clip: float = setting(20.0, "the rectifiers' upper bound", above=0)
    dropout_rate: float = setting(0.1, "share of units dropped", low=0, below=1)
    default_stddev: float = setting(
        0.0, "standard deviation of the dense layers' first weights (0: by their fan-in)", low=0
    )

    # Training
    epochs: int = setting(8, "times through the training set", low=1)
    train_batch_size: int = setting(32, "utterances a training step", low=1)
    dev_batch_size: int = setting(64, "utterances a validation batch", low=1)
    test_batch_size: int = setting(64, "utterances a test batch", low=1)
    max_batch_seconds: float = setting(0.0, "seconds of audio in a batch at most, padding counted (0: no bound)", low=0)
    sortagrad: bool = setting(False, "go through the first epoch from short to long utterances")
    learning_rate: float = setting(0.003, "Adam's step size at its highest", above=0)
    learning_rate_schedule: str = setting(
        "cosine",
        "how the step size goes down after the warm-up",
        choices=("constant", "cosine", "exponential", "plateau"),
    )
    warmup_epochs: float = setting(1.0, "epochs in which the step size rises from 0", low=0)
    decay_factor: float = setting(
        0.9,
        "exponential: step size from epoch to epoch; plateau: at a plateau",
        above=0,
        high=1,
        only="learning_rate_schedule=exponential|plateau",
    )
    plateau_epochs: int = setting(
        2,
        "plateau: validations without a better loss until the step size goes down",
        low=1,
        only="learning_rate_schedule=plateau",
    )
    beta1: float = setting(0.9, "Adam's decay of the first moment", low=0, below=1)
    beta2: float = setting(0.999, "Adam's decay of the second moment", low=0, below=1)
    epsilon: float = setting(1e-8, "Adam's epsilon", above=0)
    max_gradient_norm: float = setting(5.0, "gradients are scaled down to this norm", above=0)
    max_skipped_batches: int = setting(
        10, "stop when more batches than this had a loss or gradient that is not finite", low=0
    )
    early_stop: int = setting(0, "stop after so many validations without a better one (0: never)", low=0)
    average_best: int = setting(1, "the model in the end: the mean of so many best validated epochs", low=1, high=50)
    precision: str = setting("float32", "arithmetic of the layers", choices=("float32", "bfloat16", "float16"))
    xla: bool = setting(False, "compile with XLA (JAX: always; TensorFlow on a GPU: fastconv alone)")
    data_parallel: bool = setting(True, "share each batch among all GPUs of the machine")
    random_seed: int = setting(4567, "seed of weights, dropout, order and augmentation", low=0, high=2**31 - 1)

    # Decoding
    decoder: str = setting("greedy", "how outputs become text", choices=("greedy", "beam"))
    beam_width: int = setting(64, "beam: prefixes kept at each frame", low=1, high=10000, only="decoder=beam")
    lm_path: Path | None = setting(None, "beam: a KenLM language model, ARPA or binary (extra: lm)")
    lm_alpha: float = setting(0.5, "beam: weight of the language model", low=0, only="decoder=beam")
    lm_beta: float = setting(1.0, "beam: bonus of each word", only="decoder=beam")
    word_list: Path | None = setting(None, "beam: only the words of this file, one a line")

    # Watching and keeping
    display_step: int = setting(1, "print a line every so many epochs (0: only the last)", low=0)
    validation_step: int = setting(1, "validate every so many epochs (0: never)", low=0)
    report_count: int = setting(5, "utterances in each part of the WER report", low=0)
    checkpoint_step: int = setting(1, "write a checkpoint every so many epochs (0: never)", low=0)
    checkpoint_minutes: float = setting(
        10.0, "write a checkpoint also within an epoch, so often (0: never)", low=0, only="checkpoint_step"
    )
    checkpoint_dir: Path | None = setting(None, "where checkpoints are (default: beside the logs)")
    restore_checkpoint: bool = setting(False, "go on from the last checkpoint in checkpoint_dir")
    init_checkpoint: Path | None = setting(None, "begin with the weights of this checkpoint (fine-tuning)")
    export_dir: Path | None = setting(None, "where the model is exported to (default: not at all)")
    export_formats: str = setting(
        "savedmodel", "what is exported: savedmodel, litert, litert-int8, onnx, with commas", only="export_dir"
    )
    remove_export: bool = setting(False, "remove what was exported there before", only="export_dir")
    logs_dir: Path = setting(lambda: Path("logs"), "where logs and, by default, results are written")
    result_dir: Path | None = setting(None, "where hyper.json is written (default: a folder in logs_dir)")
    do_fulltrace: bool = setting(False, "write a profile of some steps into the logs")
    log_variables: bool = setting(False, "write losses and weights for TensorBoard into the logs")
    log_device_placement: bool = setting(False, "print on which device each operation runs (TensorFlow)")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, checked(field, getattr(self, field.name)))
        self.characters  # noqa: B018 - SettingsError for characters that cannot be an alphabet
        corpora.check(self.importer, self.importer_options)
        if self.restore_checkpoint and self.checkpoint_dir is None:
            raise SettingsError(
                "restore_checkpoint is set, but no checkpoint_dir says where the checkpoint is.",
                f"Set {PREFIX}checkpoint_dir to the folder of the earlier run's checkpoints.",
            )
        if self.window_step > self.window_length * 4:
            raise SettingsError(
                f"window_step = {self.window_step} leaves most of the audio out of windows of "
                f"window_length = {self.window_length}.",
                "Both are in seconds; 0.02 and 0.025 are usual.",
            )
        if self.augment_snr_low > self.augment_snr_high:
            raise SettingsError(
                f"augment_snr_low = {self.augment_snr_low} is above augment_snr_high = {self.augment_snr_high}.",
                "Both are in dB; 10 and 30 are usual.",
            )
        if (self.lm_path or self.word_list) and self.decoder != "beam":
            raise SettingsError(
                "lm_path or word_list is set, but the decoder is greedy, which uses neither.",
                f"Set {PREFIX}decoder=beam.",
            )

    def check_training(self) -> None:
        """SettingsError where training would never do what is asked for. A checkpoint whose training was asked for
        such a thing is a recogniser all the same."""
        by_validation = {
            f"early_stop = {self.early_stop}": self.early_stop > 0,
            f"average_best = {self.average_best}": self.average_best > 1,
            "learning_rate_schedule = plateau": self.learning_rate_schedule == "plateau",
        }
        wanted = [told for told, asked in by_validation.items() if asked]
        if wanted and not self.validation_step:
            raise SettingsError(
                f"{' and '.join(wanted)} cannot do anything: validation_step = 0 says that nothing is validated.",
                f"Set {PREFIX}validation_step=1.",
            )
        if self.average_best > 1 and not self.checkpoint_step:
            raise SettingsError(
                f"average_best = {self.average_best} cannot do anything: checkpoint_step = 0 keeps no epoch.",
                f"Set {PREFIX}checkpoint_step=1.",
            )

    @property
    def without_effect(self) -> dict[str, str]:
        """A sentence for each setting, by its name, that was set by more than the preset and is not used as others are
        set."""
        preset = presets.values(self.model, self.preset) if self.preset else {}
        told = {}
        for field in dataclasses.fields(self):
            value, why = getattr(self, field.name), unused(field, self)
            if why and value not in (field.default, preset.get(field.name)):
                told[field.name] = f"{field.name} = {value} has no effect: {why}."
        return told

    @property
    def characters(self) -> Alphabet:
        """The alphabet that ``alphabet`` names or spells."""
        return ENGLISH if self.alphabet == "english" else Alphabet(self.alphabet)

    @property
    def layers(self) -> LayerSizes:
        """The sizes with those that follow ``n_hidden`` filled in."""
        return LayerSizes(
            n_hidden_1=self.n_hidden_1 or self.n_hidden,
            n_hidden_2=self.n_hidden_2 or self.n_hidden,
            n_hidden_3=self.n_hidden_3 or self.n_hidden,
            n_cell_dim=self.n_cell_dim or self.n_hidden,
            n_hidden_5=self.n_hidden_5 or self.n_hidden,
        )

    @property
    def feature_options(self) -> FeatureOptions:
        return FeatureOptions(
            kind=self.features,
            sample_rate=self.sample_rate,
            n_input=self.n_input,
            window=self.window_length,
            step=self.window_step,
            normalisation=self.normalisation,
        )

    @property
    def importer_options(self) -> dict[str, int | float | str]:
        """``corpus_options`` taken apart; what looks like a number is one."""
        options: dict[str, int | float | str] = {}
        for part in filter(None, (part.strip() for part in self.corpus_options.split(","))):
            name, equals, value = part.partition("=")
            if not equals or not name.strip().isidentifier() or name.strip() in _NOT_OPTIONS:
                raise SettingsError(
                    f"corpus_options = {self.corpus_options!r}: {part!r} is not an option written as name=value.",
                    "Write options as in split=speaker,test_speaker=theo.",
                )
            options[name.strip()] = number_or_text(value.strip())
        return options

    @classmethod
    def from_namespace(cls, namespace: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from a notebook's ``globals()``: the known names out of it, then ``ds_<name>`` on top, all over
        what the preset says.

        Other names of the namespace are left alone. An empty environment variable counts as not set.
        """
        environ = os.environ if environ is None else environ
        names = [field.name for field in dataclasses.fields(cls)]
        values = {name: namespace[name] for name in names if name in namespace}
        for name in names:
            if environ.get(PREFIX + name):
                values[name] = environ[PREFIX + name]
        if values.get("preset"):
            model = values.get(
                "model", next(field.default for field in dataclasses.fields(cls) if field.name == "model")
            )
            values = {**presets.values(str(model), str(values["preset"])), **values}
        return cls(**values)

    @classmethod
    def from_assignments(cls, assignments: typing.Sequence[str], environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from the environment with ``name=value`` assignments of a command line on top."""
        environ = dict(os.environ if environ is None else environ)
        names = [field.name for field in dataclasses.fields(cls)]
        for assignment in assignments:
            name, equals, value = assignment.partition("=")
            name = name.strip().removeprefix(PREFIX)
            if not equals:
                raise SettingsError(f"{assignment!r} is not name=value.", "Write, say, epochs=3.")
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"Settings are: {', '.join(names)}."
                raise SettingsError(f"There is no setting {name!r}.", hint)
            environ[PREFIX + name] = value
        return cls.from_namespace({}, environ)
