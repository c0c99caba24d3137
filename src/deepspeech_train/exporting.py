"""Export: the trained network as a TensorFlow SavedModel, in numbered versions as TensorFlow Serving has them.

``export_dir/1/``, ``export_dir/2/`` ... each hold one; a new export takes the next number.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from .errors import RecipeError


def export(model: Any, folder: Path, remove: bool) -> Path:
    """Exports ``model`` and returns the version's folder; ``remove`` takes the earlier versions away, after
    the new one is whole.

    The signature ``serve`` takes {"features": (batch, frames, n_input), "frames": (batch,)} and gives logits.
    RecipeError when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(
            (path for path in folder.iterdir() if path.name.isdigit() and (path / "saved_model.pb").exists()),
            key=lambda path: int(path.name),
        )
        version = folder / str(int(earlier[-1].name) + 1 if earlier else 1)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
            whole = Path(temporary) / version.name
            model.export(whole, format="tf_saved_model", verbose=False)
            whole.replace(version)
        if remove:
            for path in earlier:
                shutil.rmtree(path)
    except (OSError, tf.errors.OpError) as error:  # TensorFlow tells a full disk in its own way
        reason = error.message if isinstance(error, tf.errors.OpError) else error.strerror or error
        raise RecipeError(
            f"The model could not be exported to {folder}: {reason}.",
            "Free space, or name a folder that can be written with ds_export_dir.",
        ) from error
    return version
