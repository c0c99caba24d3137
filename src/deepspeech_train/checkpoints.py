"""Checkpoints: all that training needs to go on as if it had not been stopped, in one file.

A folder holds ``last.npz`` (weights, the random state of dropout, Adam's moments, and where training was) and
``best.npz`` (the same at the best validation so far); with ``average_best``, ``epoch-0007.npz`` of each of the best
and, in the end, ``averaged.npz``. Each is a NumPy archive: arrays named by variable, under ``progress`` and ``network``
JSON texts, and with ``normalisation=corpus`` the statistics. ``network`` holds the settings and the names of the
variables, so that the file alone is a recogniser. Each is written under a temporary name and renamed: a file with one
of these names is whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .data.features import Statistics
from .errors import RecipeError, SettingsError
from .files import written_whole
from .settings import Settings

LAST = "last.npz"
BEST = "best.npz"
AVERAGED = "averaged.npz"

#: What a checkpoint says of its network; a number of its own for each form.
_FORM = 2
#: Settings that are about a run and its machine, not about the recogniser that came out of it.
_OF_THE_RUN = frozenset({"importer", "corpus_options", "restore_checkpoint", "preset", "log_device_placement"})

_HINT = "Name another folder with ds_checkpoint_dir, or start anew with ds_restore_checkpoint=0."

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Epoch:
    """One epoch's line of the learning curve: losses are means over utterances, rates are ratios; None where
    nothing was measured. ``waiting`` is the share of training's time in which there was no batch ready."""

    epoch: int
    epochs: int
    train_loss: float | None
    validation_loss: float | None
    validation_wer: float | None
    seconds: float
    audio_seconds_per_second: float
    eta_seconds: float
    learning_rate: float | None = None
    waiting: float | None = None


@dataclass(frozen=True)
class Progress:
    """Where training is: ``epoch`` epochs are complete, and ``batch`` batches of the next, whose losses so
    far are summed in ``loss_sum`` over ``loss_count`` utterances.

    ``rate_factor`` is what plateaus have made of the step size. ``scale`` multiplies the loss in float16, and
    ``steps_at_scale`` were finite since it last changed.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    audio_seconds: float = 0.0
    epoch_seconds: float = 0.0
    waiting_seconds: float = 0.0
    skipped_batches: int = 0
    best_epoch: int | None = None
    rate_factor: float = 1.0
    scale: float = 1.0
    steps_at_scale: int = 0
    curve: tuple[Epoch, ...] = field(default=())


@dataclass(frozen=True)
class Network:
    """A recogniser from a checkpoint: the model with its weights, the settings that it was made with, the corpus
    statistics of its features (None: it needs none) and how many input frames an output stands for."""

    model: Any
    settings: Settings
    statistics: Statistics | None
    stride: int


def save(
    path: Path, variables: Mapping[str, Any], progress: Progress, settings: Settings, statistics: Statistics | None
) -> None:
    """Writes a checkpoint; RecipeError when the file system refuses."""
    from . import computing  # Keras takes seconds to load

    arrays = {name: computing.array(variable) for name, variable in variables.items()}
    _write(path, arrays, progress, settings, statistics, [getattr(item, "path", "") for item in variables.values()])


def restore(path: Path, variables: Mapping[str, Any]) -> Progress:
    """Sets ``variables`` from a checkpoint; RecipeError when it is damaged or of another network.

    Nothing is set unless all fit.
    """
    arrays, progress, _ = _read(path)
    # The run has made its own statistics, of the same utterances.
    arrays = {name: array for name, array in arrays.items() if not name.startswith("statistics/")}
    if arrays.keys() != variables.keys():
        raise RecipeError(
            f"The checkpoint {path} is of another network: it has {len(arrays)} variables "
            f"where this one has {len(variables)}.",
            _HINT,
        )
    for name, array in arrays.items():
        if tuple(variables[name].shape) != array.shape:
            raise RecipeError(
                f"The checkpoint {path} is of another network: {name} is {array.shape} there "
                f"and {tuple(variables[name].shape)} here.",
                _HINT,
            )
    for name, array in arrays.items():
        variables[name].assign(array)
    return progress


def load_network(path: Path | str, **changes: Any) -> Network:
    """The recogniser in a checkpoint; ``path`` is its file, or the folder, of which the averaged, the best or the last
    one is taken. ``changes`` are settings to go over its own (``decoder="beam"``).

    Raises RecipeError when there is none, it is damaged, or it does not say what network it is of.
    """
    found = checkpoint_file(Path(path))
    arrays, _, about = _read(found)
    settings = dataclasses.replace(_settings(found, about), **changes)
    from . import models

    model = models.build(settings)
    of_model = {name: array for name, array in arrays.items() if name.startswith("model/")}
    variables = {f"model/{place:03d}": variable for place, variable in enumerate(model.variables)}
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    if {name: array.shape for name, array in of_model.items()} != shapes:
        raise RecipeError(
            f"The checkpoint {found} does not fit the network that its own settings describe.",
            "It was written by another version of the recipe; use that one, or train anew.",
        )
    for name, array in of_model.items():
        variables[name].assign(array)
    statistics = None
    if "statistics/mean" in arrays:
        statistics = Statistics(arrays["statistics/mean"], arrays["statistics/std"])
    return Network(model, settings, statistics, models.stride(settings))


def differences(path: Path, settings: Settings) -> list[str]:
    """What ``settings`` have otherwise than those that the checkpoint was written with: ``name: before -> now``."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            before = json.loads(str(archive["network"]))["settings"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    now = {name: getattr(settings, name, value) for name, value in before.items()}
    return [f"{name}: {value} -> {now[name]}" for name, value in before.items() if now[name] != value]


def put_aside(folder: Path) -> Path | None:
    """Moves the checkpoints in ``folder`` that a new training would write over into a folder of their own there, and
    returns it; None where there are none. RecipeError when the file system refuses."""
    there = [path for path in (folder / LAST, folder / BEST, folder / AVERAGED) if path.is_file()]
    there += sorted(folder.glob("epoch-*.npz"))
    if not there:
        return None
    newest = max(path.stat().st_mtime for path in there)
    aside = folder / time.strftime("until-%Y%m%d-%H%M%S", time.gmtime(newest))
    try:
        aside.mkdir(exist_ok=True)
        for path in there:
            path.replace(aside / path.name)
    except OSError as error:
        raise RecipeError(
            f"The earlier checkpoints in {folder} could not be put aside: {error.strerror or error}.",
            "Name another folder with ds_checkpoint_dir, or go on from them with ds_restore_checkpoint=1.",
        ) from error
    return aside


def checkpoint_file(path: Path) -> Path:
    """``path`` itself, or of a folder the averaged, else the best, else the last checkpoint in it, or in its folder
    ``checkpoints``; RecipeError where there is none."""
    if path.is_file():
        return path
    for folder in (path, path / "checkpoints"):
        for name in (AVERAGED, BEST, LAST):
            if (folder / name).is_file():
                return folder / name
    raise RecipeError(
        f"There is no checkpoint at {path}.",
        f"Name a checkpoint's file, or the folder of a run that holds {BEST} or {LAST} (ds_checkpoint_dir).",
    )


def average(
    paths: Sequence[Path],
    target: Path,
    model: Any,
    progress: Progress,
    settings: Settings,
    statistics: Statistics | None,
) -> None:
    """Sets the variables of ``model`` to the mean of those in the checkpoints ``paths``, and writes ``target``.

    Integers (the random state of dropout) are those of the first.
    """
    every = [_read(path)[0] for path in paths]
    variables = {f"model/{place:03d}": variable for place, variable in enumerate(model.variables)}
    for name, variable in variables.items():
        arrays = [of_one[name] for of_one in every]
        inexact = np.issubdtype(arrays[0].dtype, np.inexact)
        variable.assign(np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype) if inexact else arrays[0])
    save(target, variables, progress, settings, statistics)


def transfer(path: Path, model: Any, settings: Settings) -> str:
    """Begins ``model`` with the weights of the checkpoint at ``path`` (file or folder); says what was taken.

    The networks must be the same but for the alphabet: outputs of characters that both have are taken, with the blank;
    the others stay as they were made. RecipeError for another network, naming the first that does not fit.
    """
    from . import computing

    found = checkpoint_file(path)
    arrays, _, about = _read(found)
    before = _settings(found, about).characters
    new = settings.characters
    # The random state of dropout is this run's own, and there is none without dropout.
    variables = [item for item in model.variables if np.issubdtype(computing.array(item).dtype, np.inexact)]
    of_model = sorted((name, array) for name, array in arrays.items() if name.startswith("model/"))
    held = [array for _, array in of_model if np.issubdtype(array.dtype, np.inexact)]
    hint = "Fine-tune with the network's own settings (ds_model, ds_n_hidden ...); only the alphabet may differ."
    if len(held) != len(variables):
        raise RecipeError(
            f"The checkpoint {found} is of another network: it has {len(held)} variables, this one {len(variables)}.",
            hint,
        )
    shared = [character for character in new.characters if character in before.characters]
    to = [new.characters.index(character) for character in shared] + [new.blank]
    of = [before.characters.index(character) for character in shared] + [before.blank]
    assigned = []
    for array, variable in zip(held, variables, strict=True):
        shape = tuple(variable.shape)
        is_output = shape[-1:] == (new.size,) and array.shape == (*shape[:-1], before.size) and before != new
        if not is_output and array.shape != shape:
            raise RecipeError(
                f"The checkpoint {found} is of another network: {variable.path} is {array.shape} there "
                f"and {shape} here.",
                hint,
            )
        value = array
        if is_output:
            value = np.array(computing.array(variable))
            value[..., to] = array[..., of]
        assigned.append((variable, value))
    for variable, value in assigned:
        variable.assign(value)
    fresh = [character for character in new.characters if character not in before.characters]
    told = f"Began with the weights of {found}"
    return told + (f"; new in the alphabet: {' '.join(fresh)}." if fresh else ".")


def _write(
    path: Path,
    arrays: Mapping[str, npt.NDArray[Any]],
    progress: Progress,
    settings: Settings,
    statistics: Statistics | None,
    names: Sequence[str],
) -> None:
    about = {
        "form": _FORM,
        "variables": list(names),
        "settings": {
            item.name: getattr(settings, item.name)
            for item in dataclasses.fields(settings)
            if item.name not in _OF_THE_RUN and not str(item.type).startswith("Path")
        },
    }
    texts = {"progress": asdict(progress), "network": about}
    of_features = {} if statistics is None else {"statistics/mean": statistics.mean, "statistics/std": statistics.std}
    hint = "Free space, or name another folder with ds_checkpoint_dir."
    with contextlib.suppress(OSError):  # what is wrong with the folder is told when the file is opened
        path.parent.mkdir(parents=True, exist_ok=True)
    of_texts = {name: np.array(json.dumps(text)) for name, text in texts.items()}
    everything: dict[str, Any] = {**of_texts, **of_features, **arrays}
    with written_whole(path, "The checkpoint", hint) as file:
        np.savez(file, **everything)


def _read(path: Path) -> tuple[Arrays, Progress, dict[str, Any]]:
    """The arrays of a checkpoint, where training was, and what it says of its network."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        saved = json.loads(str(arrays.pop("progress")))
        about = json.loads(str(arrays.pop("network")))
        curve = tuple(Epoch(**line) for line in saved.pop("curve"))
        progress = Progress(**saved, curve=curve)
        if about["form"] != _FORM:
            raise ValueError(f"it is of form {about['form']}, not {_FORM}")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    return arrays, progress, about


def _unreadable(path: Path, error: Exception) -> RecipeError:
    # NumPy's own words advise to load what it takes for a pickle all the same.
    reason = "it is no NumPy archive" if "pickle" in str(error) else str(error).rstrip(".")
    return RecipeError(
        f"The checkpoint {path} could not be read: {reason}.",
        f"Name a whole checkpoint ({BEST} or {LAST} of a run), or a folder that has one.",
    )


def _settings(path: Path, about: Mapping[str, Any]) -> Settings:
    """The settings of a checkpoint; those of another version that are not known here are left."""
    known = {item.name for item in dataclasses.fields(Settings)}
    try:
        return Settings(**{name: value for name, value in about["settings"].items() if name in known})
    except SettingsError as error:
        raise RecipeError(
            f"The settings in the checkpoint {path} cannot be used: {error.message}", error.hint
        ) from error
