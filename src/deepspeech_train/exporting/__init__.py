"""Export: the trained network in the formats that others run, each loaded again and compared with the original.

One export is one numbered folder, as TensorFlow Serving has them; a new one takes the next number::

    export_dir/1/saved_model.pb, variables/ ...     SavedModel
                 model.tflite, model-int8.tflite    LiteRT, float and with eight-bit weights
                 model.onnx                         ONNX
                 frontend.json, alphabet.txt        features and characters: what an input is, what an output stands for
                 comparison.json, README.md         what each format gives on real speech; the model card

Each takes features and their true number of frames and gives logits. A folder with a number is whole: it is written
under another name and renamed.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from .. import model_card
from ..checkpoints import Network
from ..corpora._progress import Progress
from ..data.manifest import Utterances, durations
from ..data.parts import spread
from ..errors import RecipeError
from . import comparing, formats
from .comparing import Comparison
from .formats import FORMATS
from .frontend import Frontend

__all__ = ["FORMATS", "Comparison", "Exported", "check", "export", "some"]

VERSION = 1
COMPARISON = "comparison.json"
_SECONDS = 300.0


@dataclass(frozen=True)
class Exported:
    """An export: its folder, and how each format compares; the first is the network itself."""

    folder: Path
    comparisons: tuple[Comparison, ...]

    def table(self) -> str:
        """Formats, sizes, differences and word error rates, for people."""
        return comparing.table(self.comparisons)


def check(names: str | Sequence[str]) -> None:
    """SettingsError for formats that are none, or for which a package is missing: better before a training."""
    formats.chosen(names)


def some(utterances: Utterances, seconds: float = _SECONDS) -> Utterances:
    """Utterances of about so many seconds, spread evenly over the set; all, where they are fewer."""
    total = float(durations(utterances).sum())
    return spread(utterances, math.ceil(len(utterances) * seconds / total) if total else 0)


def export(
    network: Network,
    folder: Path,
    names: str | Sequence[str] = "savedmodel",
    *,
    remove: bool = False,
    utterances: Utterances = (),
    about: model_card.About | None = None,
    progress: bool = True,
) -> Exported:
    """Exports ``network`` in the formats ``names`` into the next numbered folder of ``folder``, and compares each with
    it on ``utterances``. ``remove`` takes the earlier exports away, after the new one is whole.

    SettingsError as of :func:`check`. RecipeError when the folder cannot be written, or a format does not compute what
    the network does; nothing is left behind then.
    """
    wanted = formats.chosen(names)
    if keras.config.backend() != "tensorflow":
        from .elsewhere import export_on_tensorflow

        return export_on_tensorflow(network, folder, names, remove, utterances, about, progress)
    said = Progress("export", progress)
    front = Frontend(network.settings.feature_options, network.settings.characters, network.statistics, network.stride)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = _exports(folder)
        version = folder / str(int(earlier[-1].name) + 1 if earlier else 1)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
            whole = Path(temporary) / version.name
            whole.mkdir()
            artefacts = []
            with said.steps("converting", len(wanted), "formats") as advance:
                for each in wanted:
                    artefacts.append((each, whole / each.path, _written(each, network.model, whole)))
                    advance(1)
            comparisons = comparing.compare(network, front, artefacts, utterances, said)
            front.save(whole)
            content = {"version": VERSION, "decoder": "best path", "formats": [item.as_json() for item in comparisons]}
            (whole / COMPARISON).write_text(json.dumps(content, indent=1) + "\n")
            card = model_card.card(network, about or model_card.About(), comparisons)
            (whole / "README.md").write_text(card, encoding="utf-8")
            whole.chmod(0o755)  # a temporary folder is its owner's alone; a server may be someone else
            whole.replace(version)
        if remove:
            for path in earlier:
                shutil.rmtree(path)
    except OSError as error:
        raise RecipeError(
            f"The model could not be exported to {folder}: {error.strerror or error}.",
            "Free space, or name a folder that can be written with ds_export_dir.",
        ) from error
    return Exported(version, comparisons)


def _exports(folder: Path) -> list[Path]:
    """The exports in ``folder``, from the first to the last; also those of earlier versions of the recipe."""
    marks = ("saved_model.pb", COMPARISON)
    found = [path for path in folder.iterdir() if path.name.isdigit() and any((path / mark).exists() for mark in marks)]
    return sorted(found, key=lambda path: int(path.name))


def _written(each: formats.Format, model: Any, whole: Path) -> int:
    """Writes one format; returns how many bytes it takes. OSError, RecipeError."""
    import tensorflow as tf

    before = set(whole.rglob("*"))
    try:
        each.write(model, whole / each.path if each.path else whole)
    except tf.errors.OpError as error:  # TensorFlow tells a full disk in its own way
        raise OSError(0, error.message) from error
    except (OSError, RecipeError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        # Converters raise whatever they like; that is a fault of the format, not of the user's.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(
            f"The network could not be converted to {each.name}: {reason[0]}",
            f"Leave {each.name} out of the formats (ds_export_formats), and please report it.",
        ) from error
    return sum(path.stat().st_size for path in whole.rglob("*") if path.is_file() and path not in before)
