"""The formats that a network is exported to: what each is called, needs, writes and is run by.

>>> sorted(FORMATS)
['litert', 'litert-int8', 'onnx', 'savedmodel']
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SettingsError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
#: Features (batch, frames, size) and true frames (batch,) to logits (batch, outputs, characters).
Runner = Callable[[Floats, Ints], Floats]


@dataclass(frozen=True)
class Format:
    """``path`` is the artefact's file or folder within an export (``""``: the export's own folder). ``batches`` says
    whether it takes several utterances at a time; ``exact``, whether its arithmetic is the network's own."""

    name: str
    title: str
    path: str
    packages: tuple[str, ...]
    batches: bool
    exact: bool
    write: Callable[[Any, Path], None]
    load: Callable[[Path], Runner]


def _write_savedmodel(model: Any, folder: Path) -> None:
    from . import savedmodel

    savedmodel.write(model, folder)


def _load_savedmodel(folder: Path) -> Runner:
    from . import savedmodel

    return savedmodel.load(folder)


def _write_litert(model: Any, path: Path) -> None:
    from . import litert

    path.write_bytes(litert.converted(model, int8=False))


def _write_litert_int8(model: Any, path: Path) -> None:
    from . import litert

    path.write_bytes(litert.converted(model, int8=True))


def _load_litert(path: Path) -> Runner:
    from . import litert

    return litert.load(path)


def _write_onnx(model: Any, path: Path) -> None:
    from . import onnx

    path.write_bytes(onnx.converted(model))


def _load_onnx(path: Path) -> Runner:
    from . import onnx

    return onnx.load(path)


FORMATS = {
    each.name: each
    for each in (
        Format("savedmodel", "SavedModel", "", ("tensorflow",), True, True, _write_savedmodel, _load_savedmodel),
        Format("litert", "LiteRT", "model.tflite", ("tensorflow",), False, True, _write_litert, _load_litert),
        Format(
            "litert-int8",
            "LiteRT, int8 weights",
            "model-int8.tflite",
            ("tensorflow",),
            False,
            False,
            _write_litert_int8,
            _load_litert,
        ),
        Format(
            "onnx",
            "ONNX",
            "model.onnx",
            ("onnx", "tf2onnx", "onnxruntime"),
            True,
            True,
            _write_onnx,
            _load_onnx,
        ),
    )
}


def chosen(names: str | Sequence[str]) -> tuple[Format, ...]:
    """The formats of these names (a text has commas between them), each once, in the order of FORMATS.

    SettingsError for a name that is none, for no name, and where a package is not installed that a format needs.
    """
    parts = names.split(",") if isinstance(names, str) else list(names)
    wanted = [part.strip() for part in parts if part.strip()]
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        what = f"there is no format {unknown[0]!r}" if unknown else "no format is named"
        raise SettingsError(f"export_formats = {', '.join(parts)!r}: {what}.", f"The formats are {', '.join(FORMATS)}.")
    found = tuple(each for name, each in FORMATS.items() if name in wanted)
    missing = {package: each.name for each in found for package in each.packages if not _installed(package)}
    if missing:
        raise SettingsError(
            f"Export to {next(iter(missing.values()))} needs what is not installed: {', '.join(missing)}.",
            f"pip install 'deepspeech-wer[export]', or: pip install {' '.join(missing)}",
        )
    return found


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
