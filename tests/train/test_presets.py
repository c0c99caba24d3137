"""Presets: what they set, that they stand below what else is said, that each makes a network."""

from __future__ import annotations

import pytest

from deepspeech_train import models, presets
from deepspeech_train.errors import SettingsError
from deepspeech_train.settings import Settings

MODELS = ("deepspeech1", "deepspeech2", "fastconv")


@pytest.mark.parametrize("preset", presets.NAMES)
@pytest.mark.parametrize("model", MODELS)
def test_every_preset_is_allowed_settings(model: str, preset: str) -> None:
    settings = Settings.from_namespace({"model": model, "preset": preset}, {})
    for name, value in presets.values(model, preset).items():
        assert getattr(settings, name) == value


@pytest.mark.parametrize("model", MODELS)
def test_a_smoke_network_is_much_the_smaller(model: str) -> None:
    sizes = []
    for preset in presets.NAMES[:2]:
        settings = Settings.from_namespace({"model": model, "preset": preset}, {})
        sizes.append(models.summary(models.build(settings), settings).parameters)
    assert sizes[0] < sizes[1] / 3


def test_deepspeech2_of_the_paper_is_the_papers() -> None:
    settings = Settings.from_namespace({"model": "deepspeech2", "preset": "paper"}, {})
    assert (settings.features, settings.feature_options.size, settings.window_step) == ("logspec", 161, 0.01)
    assert (settings.n_stride, settings.n_recurrent_layers, settings.layers.n_cell_dim) == (2, 5, 1024)
    assert settings.sortagrad


def test_what_is_said_stands_over_a_preset() -> None:
    said = {"model": "deepspeech1", "preset": "small", "n_hidden": 77}
    assert Settings.from_namespace(said, {}).n_hidden == 77
    assert Settings.from_namespace({**said, "n_hidden": 77}, {"ds_n_hidden": "55"}).n_hidden == 55
    assert Settings.from_namespace({"model": "deepspeech1"}, {"ds_preset": "small"}).n_hidden == 494


def test_a_preset_is_of_the_model_that_is_asked_for_in_the_end() -> None:
    settings = Settings.from_namespace({"model": "deepspeech1", "preset": "small"}, {"ds_model": "fastconv"})
    assert settings.n_hidden == presets.values("fastconv", "small")["n_hidden"]


def test_an_unknown_preset_is_told_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="small"):
        Settings.from_namespace({"preset": "tiny"}, {})


def test_values_are_a_copy() -> None:
    presets.values("deepspeech1", "small")["n_hidden"] = 1
    assert presets.values("deepspeech1", "small")["n_hidden"] == 494
