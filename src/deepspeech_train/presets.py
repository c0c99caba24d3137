"""Presets: a network's size and what its training needs, under one name.

Anything said in the notebook, the environment or on the command line stands over a preset.
"""

from __future__ import annotations

from typing import Any

from .errors import SettingsError

#: ``smoke`` learns a sentence in seconds, ``small`` suits one machine, ``paper`` is what was published.
NAMES = ("smoke", "small", "paper")

_VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "deepspeech1": {
        "smoke": {"n_hidden": 64, "n_context": 5},
        "small": {"n_hidden": 494},
        "paper": {"n_hidden": 2048, "learning_rate": 0.0001, "dropout_rate": 0.05},
    },
    "deepspeech2": {
        "smoke": {"n_hidden": 64, "n_conv_channels": 8, "n_recurrent_layers": 1},
        "small": {"n_hidden": 512, "n_recurrent_layers": 3},
        "paper": {"n_hidden": 1024, "n_recurrent_layers": 5},
    },
    "fastconv": {
        "smoke": {"n_hidden": 64, "n_blocks": 2},
        "small": {"n_hidden": 192, "n_blocks": 5},
        "paper": {"n_hidden": 512, "n_blocks": 15},
    },
}


def values(model: str, preset: str) -> dict[str, Any]:
    """The settings of a preset of ``model``; none for a model that is not known (its setting tells that)."""
    of_model = _VALUES.get(model, {preset: {}})
    if preset not in of_model:
        raise SettingsError(f"preset = {preset!r} is not allowed.", f"{model} has {', '.join(of_model)}.")
    return dict(of_model[preset])
