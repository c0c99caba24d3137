# ruff: noqa: RUF009 - _setting() gives a dataclass field; it is not a default shared by instances
"""Every setting of a training run, in one place.

A setting is a field of :class:`Settings`. The notebook assigns it by its name in the parameters cell
(``learning_rate = 0.001``); the environment overrides it as ``ds_<name>`` (``ds_learning_rate=0.001``), which
is how a job scheduler or a tracker reaches it.

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

from . import corpora
from .data.features import MfccOptions
from .errors import SettingsError

PREFIX = "ds_"
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
#: What every importer is told by other settings or by its caller.
_NOT_OPTIONS = ("name", "folder", "progress")


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepspeech_train"


def _setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with its range: ``low``/``high`` are allowed themselves, ``above``/``below`` are not."""
    limits = {"low": low, "high": high, "above": above, "below": below}
    metadata = {"about": about, "choices": choices, **limits}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


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
    importer: str = _setting("espeak", "the corpus, by the name of its importer")
    dataset_path: Path = _setting(_cache_folder, "the folder into which corpora are imported")
    corpus_options: str = _setting("", "options of the importer: name=value, separated by commas")
    limit_train: int = _setting(0, "train on so many utterances at most (0: all)", low=0)
    limit_dev: int = _setting(0, "validate on so many utterances at most (0: all)", low=0)
    limit_test: int = _setting(0, "test on so many utterances at most (0: all)", low=0)
    sample_rate: int = _setting(16000, "audio is resampled to this, in Hz", low=4000, high=192000)
    window_length: float = _setting(0.025, "length of a window of features, in seconds", low=0.001, high=0.2)
    window_step: float = _setting(0.02, "from one window to the next, in seconds", low=0.001, high=0.2)
    normalise_features: bool = _setting(True, "bring every utterance's features to mean 0 and variance 1")

    # Network
    n_input: int = _setting(26, "MFCCs a frame", low=1, high=80)
    n_context: int = _setting(9, "frames of context on each side", low=0, high=50)
    n_stride: int = _setting(2, "the network takes every n-th frame, as in the paper", low=1, high=8)
    n_hidden: int = _setting(128, "units of the layers whose own size is not set", low=1)
    n_hidden_1: int = _setting(0, "units of layer 1 (0: n_hidden)", low=0)
    n_hidden_2: int = _setting(0, "units of layer 2 (0: n_hidden)", low=0)
    n_hidden_3: int = _setting(0, "units of layer 3 (0: n_hidden)", low=0)
    n_cell_dim: int = _setting(0, "units of the LSTM in each direction (0: n_hidden)", low=0)
    n_hidden_5: int = _setting(0, "units of layer 5 (0: n_hidden)", low=0)
    relu_clip: float = _setting(20.0, "the rectifiers' upper bound", above=0)
    dropout_rate: float = _setting(0.1, "share of units dropped in the dense layers", low=0, below=1)
    default_stddev: float = _setting(
        0.0, "standard deviation of the dense layers' first weights (0: by their fan-in)", low=0
    )

    # Training
    epochs: int = _setting(8, "times through the training set", low=1)
    train_batch_size: int = _setting(32, "utterances a training step", low=1)
    dev_batch_size: int = _setting(64, "utterances a validation batch", low=1)
    test_batch_size: int = _setting(64, "utterances a test batch", low=1)
    learning_rate: float = _setting(0.003, "Adam's step size at its highest", above=0)
    learning_rate_schedule: str = _setting(
        "cosine", "how the step size goes down after the warm-up", choices=("constant", "cosine")
    )
    warmup_epochs: float = _setting(1.0, "epochs in which the step size rises from 0", low=0)
    beta1: float = _setting(0.9, "Adam's decay of the first moment", low=0, below=1)
    beta2: float = _setting(0.999, "Adam's decay of the second moment", low=0, below=1)
    epsilon: float = _setting(1e-8, "Adam's epsilon", above=0)
    max_gradient_norm: float = _setting(5.0, "gradients are scaled down to this norm", above=0)
    max_skipped_batches: int = _setting(
        10, "stop when more batches than this had a loss or gradient that is not finite", low=0
    )
    random_seed: int = _setting(4567, "seed of weights, dropout and order", low=0, high=2**31 - 1)

    # Watching and keeping
    display_step: int = _setting(1, "print a line every so many epochs (0: only the last)", low=0)
    validation_step: int = _setting(1, "validate every so many epochs (0: never)", low=0)
    report_count: int = _setting(5, "utterances in each part of the WER report", low=0)
    checkpoint_step: int = _setting(1, "write a checkpoint every so many epochs (0: never)", low=0)
    checkpoint_dir: Path | None = _setting(None, "where checkpoints are (default: beside the logs)")
    restore_checkpoint: bool = _setting(False, "go on from the last checkpoint in checkpoint_dir")
    export_dir: Path | None = _setting(None, "where the model is exported to (default: not at all)")
    remove_export: bool = _setting(False, "remove what was exported there before")
    logs_dir: Path = _setting(lambda: Path("logs"), "where logs and, by default, results are written")
    result_dir: Path | None = _setting(None, "where hyper.json is written (default: a folder in logs_dir)")
    do_fulltrace: bool = _setting(False, "write a TensorFlow profile of some steps into the logs")
    log_variables: bool = _setting(False, "write losses and weights for TensorBoard into the logs")
    log_device_placement: bool = _setting(False, "print on which device each operation runs")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
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
    def mfcc(self) -> MfccOptions:
        return MfccOptions(
            sample_rate=self.sample_rate,
            n_input=self.n_input,
            window=self.window_length,
            step=self.window_step,
            normalise=self.normalise_features,
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
            options[name.strip()] = _number_or_text(value.strip())
        return options

    @classmethod
    def from_namespace(cls, namespace: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from a notebook's ``globals()``: the known names out of it, then ``ds_<name>`` on top.

        Other names of the namespace are left alone. An empty environment variable counts as not set.
        """
        environ = os.environ if environ is None else environ
        names = [field.name for field in dataclasses.fields(cls)]
        values = {name: namespace[name] for name in names if name in namespace}
        for name in names:
            if environ.get(PREFIX + name):
                values[name] = environ[PREFIX + name]
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


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """``value`` as the field's type, in the field's range; SettingsError otherwise."""
    kind = str(field.type)
    try:
        value = _converted(kind, value)
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(
            f"{field.name} = {value!r} is not {_KINDS[kind]}.",
            f"{field.name}: {field.metadata['about']}. Set it in the parameters cell or as {PREFIX}{field.name}.",
        ) from None
    meta = field.metadata
    wrong = []
    if meta["low"] is not None and value < meta["low"]:
        wrong.append(f"at least {meta['low']}")
    if meta["high"] is not None and value > meta["high"]:
        wrong.append(f"at most {meta['high']}")
    if meta["above"] is not None and value <= meta["above"]:
        wrong.append(f"more than {meta['above']}")
    if meta["below"] is not None and value >= meta["below"]:
        wrong.append(f"less than {meta['below']}")
    if meta["choices"] and value not in meta["choices"]:
        wrong.append("one of " + ", ".join(meta["choices"]))
    if wrong:
        raise SettingsError(
            f"{field.name} = {value!r} is not allowed: it must be {' and '.join(wrong)}.",
            f"{field.name}: {meta['about']}. Set it in the parameters cell or as {PREFIX}{field.name}.",
        )
    return value


def _number_or_text(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a finite number",
    "bool": "a yes or no (1 or 0)",
    "Path": "a path",
    "Path | None": "a path",
}


def _converted(kind: str, value: Any) -> Any:
    if kind == "str":
        if not isinstance(value, str):
            raise TypeError
        return value
    if kind in ("Path", "Path | None"):
        if value is None or value == "":
            if kind == "Path":
                raise ValueError
            return None
        return Path(value).expanduser()
    if kind == "bool":
        if isinstance(value, str):
            if value.strip().lower() not in _TRUE + _FALSE:
                raise ValueError
            return value.strip().lower() in _TRUE
        if value not in (0, 1):
            raise ValueError
        return bool(value)
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if number != number or abs(number) == float("inf"):
        raise ValueError
    if kind == "float":
        return number
    # A whole number may be written 1e3, but 2**60 must not lose digits on the way through a float.
    whole = int(value) if not isinstance(value, float) and str(value).strip().lstrip("+-").isdigit() else int(number)
    if whole != number:
        raise ValueError
    return whole
