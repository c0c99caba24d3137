"""Checkpoints: all that training needs to go on as if it had not been stopped, in one file.

A folder holds ``last.npz`` (weights, the random state of dropout, Adam's moments, and where training was) and
``best.npz`` (the same at the best validation so far). Each is a NumPy archive: arrays named by variable, and
under ``progress`` a JSON text. It is written under a temporary name and renamed, so that a file with one of
these names is whole.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import RecipeError
from .files import written_whole

LAST = "last.npz"
BEST = "best.npz"


@dataclass(frozen=True)
class Epoch:
    """One epoch's line of the learning curve: losses are means over utterances, rates are ratios; None where
    nothing was measured."""

    epoch: int
    epochs: int
    train_loss: float | None
    validation_loss: float | None
    validation_wer: float | None
    seconds: float
    audio_seconds_per_second: float
    eta_seconds: float


@dataclass(frozen=True)
class Progress:
    """Where training is: ``epoch`` epochs are complete, and ``batch`` batches of the next, whose losses so
    far are summed in ``loss_sum`` over ``loss_count`` utterances."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    audio_seconds: float = 0.0
    epoch_seconds: float = 0.0
    skipped_batches: int = 0
    best_epoch: int | None = None
    curve: tuple[Epoch, ...] = field(default=())


def save(path: Path, variables: Mapping[str, Any], progress: Progress) -> None:
    """Writes a checkpoint; RecipeError when the file system refuses."""
    arrays = {name: variable.numpy() for name, variable in variables.items()}
    hint = "Free space, or name another folder with ds_checkpoint_dir."
    with contextlib.suppress(OSError):  # what is wrong with the folder is told when the file is opened
        path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, "The checkpoint", hint) as file:
        np.savez(file, progress=np.array(json.dumps(asdict(progress))), **arrays)


def restore(path: Path, variables: Mapping[str, Any]) -> Progress:
    """Sets ``variables`` from a checkpoint; RecipeError when it is damaged or of another network.

    Nothing is set unless all fit.
    """
    hint = "Name another folder with ds_checkpoint_dir, or start anew with ds_restore_checkpoint=0."
    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        saved = json.loads(str(arrays.pop("progress")))
        curve = tuple(Epoch(**line) for line in saved.pop("curve"))
        progress = Progress(**saved, curve=curve)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RecipeError(f"The checkpoint {path} could not be read: {error}.", hint) from error
    if arrays.keys() != variables.keys():
        raise RecipeError(
            f"The checkpoint {path} is of another network: it has {len(arrays)} variables "
            f"where this one has {len(variables)}.",
            hint,
        )
    for name, array in arrays.items():
        if tuple(variables[name].shape) != array.shape:
            raise RecipeError(
                f"The checkpoint {path} is of another network: {name} is {array.shape} there "
                f"and {tuple(variables[name].shape)} here.",
                hint,
            )
    for name, array in arrays.items():
        variables[name].assign(array)
    return progress


def named_variables(model: Any, optimizer: Any) -> dict[str, Any]:
    """Every variable of both, by names that do not depend on what else the process has made."""
    variables = {f"model/{place:03d}": variable for place, variable in enumerate(model.variables)}
    return variables | {f"optimizer/{place:03d}": item for place, item in enumerate(optimizer.variables)}
