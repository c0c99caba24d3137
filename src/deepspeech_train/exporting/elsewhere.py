"""Export on another backend: a child process with Keras on TensorFlow does it.

The formats are made from TensorFlow's graphs. The child is given, pickled, over its standard input, the weights as
arrays and what :func:`exporting.export` was called with; it answers with the folder and the comparisons, or the error.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints import Network
from ..data.manifest import Utterances
from ..errors import RecipeError

if TYPE_CHECKING:
    from ..model_card import About
    from . import Exported


def export_on_tensorflow(
    network: Network,
    folder: Path,
    names: str | Sequence[str],
    remove: bool,
    utterances: Utterances,
    about: About | None,
    progress: bool,
) -> Exported:
    """As :func:`exporting.export`."""
    order = {
        "weights": [np.asarray(array) for array in network.model.get_weights()],
        "network": (network.settings, network.statistics, network.stride),
        "arguments": (Path(folder), names),
        "options": {"remove": remove, "utterances": list(utterances), "about": about, "progress": progress},
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=pickle.dumps(order),
        stdout=subprocess.PIPE,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
        check=False,
    )
    try:
        answer: Any = pickle.loads(done.stdout)
    except (EOFError, pickle.UnpicklingError):
        raise RecipeError(
            f"The export, in a process of its own with Keras on TensorFlow, ended with {done.returncode}.",
            "See what it said above.",
        ) from None
    if isinstance(answer, RecipeError):
        raise answer
    result: Exported = answer
    return result


def _main() -> None:
    order = pickle.load(sys.stdin.buffer)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is not part of the answer
    from .. import models
    from . import export

    settings, statistics, stride = order["network"]
    model = models.build(settings)
    model.set_weights(order["weights"])
    result: Exported | RecipeError
    try:
        result = export(Network(model, settings, statistics, stride), *order["arguments"], **order["options"])
    except RecipeError as error:
        result = error
    with answer:
        pickle.dump(result, answer)


if __name__ == "__main__":
    _main()
