"""Presets: a network's size, the input that suits it and what its training needs, under one name.

``smoke`` learns a sentence in seconds, ``small`` suits one machine, ``paper`` is what was published. Anything said in
the notebook, the environment or on the command line stands over a preset.

>>> values("deepspeech2", "paper")["n_recurrent_layers"]
5
"""

from __future__ import annotations

from typing import Any

from .errors import SettingsError

NAMES = ("smoke", "small", "paper")

#: DeepSpeech2's input (Amodei et al., 2015): 20 ms every 10 ms, 161 bins at 16 kHz, an output every 20 ms.
_SPECTROGRAM = {"features": "logspec", "window_length": 0.02, "window_step": 0.01, "n_stride": 2}

#: An output every 40 ms makes a convolutional network quick; English of the usual speed needs one every 60 to 100.
_MEL = {"features": "logmel", "n_input": 40, "window_length": 0.025, "window_step": 0.01, "n_stride": 4}

_VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "deepspeech1": {
        "smoke": {"n_hidden": 64, "n_context": 5},
        "small": {"n_hidden": 494},
        "paper": {"n_hidden": 2048, "learning_rate": 0.0001, "dropout_rate": 0.05},
    },
    "deepspeech2": {
        "smoke": {"features": "logmel", "n_hidden": 64, "n_conv_channels": 8, "n_recurrent_layers": 1},
        "small": {
            **_SPECTROGRAM,
            "n_hidden": 512,
            "n_recurrent_layers": 3,
            "learning_rate": 0.001,
            "sortagrad": True,
        },
        # The paper has none of our dropout; its step size went down by a factor each epoch.
        "paper": {
            **_SPECTROGRAM,
            "n_hidden": 1024,
            "n_recurrent_layers": 5,
            "dropout_rate": 0.0,
            "sortagrad": True,
            "learning_rate": 0.0003,
            "learning_rate_schedule": "exponential",
            "decay_factor": 0.9,
            "max_gradient_norm": 400.0,
            "epochs": 20,
        },
    },
    "fastconv": {
        "smoke": {**_MEL, "n_hidden": 64, "n_blocks": 2},
        # Speakers differ most in level, then in pace, pitch and noise: FSDD's theo, unheard in training and 20 dB
        # quieter than the others, had a WER of 40 % with the audio as it is and of 23 % with it changed so.
        "small": {
            **_MEL,
            "n_hidden": 192,
            "n_blocks": 5,
            "train_batch_size": 16,
            "augment_gain": 20.0,
            "augment_speed": 0.15,
            "augment_noise": 0.5,
            "augment_snr_low": 5.0,
        },
        # As large as QuartzNet 5x5 (Kriman et al., 2019), which halves the frames, too.
        "paper": {
            **_MEL,
            "n_input": 64,
            "n_stride": 2,
            "n_hidden": 512,
            "n_blocks": 25,
            "kernel_size": 33,
            "learning_rate": 0.001,
            "epochs": 50,
            "specaugment_freq_masks": 2,
            "specaugment_time_masks": 5,
            "augment_speed": 0.1,
        },
    },
}


def values(model: str, preset: str) -> dict[str, Any]:
    """The settings of a preset of ``model``; none for a model that is not known (its setting tells that)."""
    of_model = _VALUES.get(model, {preset: {}})
    if preset not in of_model:
        raise SettingsError(f"preset = {preset!r} is not allowed.", f"{model} has {', '.join(of_model)}.")
    return dict(of_model[preset])
