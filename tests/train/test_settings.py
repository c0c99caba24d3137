"""Settings: where values come from, and what is said about bad ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from deepspeech_train.errors import SettingsError
from deepspeech_train.settings import Settings


def test_the_environment_overrides_the_notebook_which_overrides_the_defaults() -> None:
    namespace = {"epochs": 7, "learning_rate": 0.01, "unrelated": object(), "__name__": "__main__"}
    settings = Settings.from_namespace(namespace, {"ds_learning_rate": "0.5", "ds_gpu_usage_root": "/x"})
    assert (settings.epochs, settings.learning_rate, settings.beta1) == (7, 0.5, 0.9)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_namespace({"epochs": 7}, {"ds_epochs": ""}).epochs == 7


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("restore_checkpoint", "0", False),
        ("remove_export", "yes", True),
        ("limit_train", "1e3", 1000),
        ("random_seed", "2147483647", 2147483647),
        ("epsilon", "1e-6", 1e-6),
        ("export_dir", "out/model", Path("out/model")),
        ("logs_dir", "~/logs", Path.home() / "logs"),
    ],
)
def test_text_from_the_environment_becomes_the_settings_type(name: str, text: str, value: object) -> None:
    assert getattr(Settings.from_namespace({}, {f"ds_{name}": text}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("epochs", "many", "a whole number"),
        ("epochs", "2.5", "a whole number"),
        ("epochs", "0", "at least 1"),
        ("epochs", True, "a whole number"),
        ("epochs", 10**400, "a whole number"),
        ("window_step", "0.0001", "at least 0.001"),
        ("learning_rate", "nan", "a finite number"),
        ("learning_rate", "0", "more than 0"),
        ("dropout_rate", "1", "less than 1"),
        ("dropout_rate", [0.1], "a finite number"),
        ("do_fulltrace", "maybe", "a yes or no"),
        ("learning_rate_schedule", "linear", "one of constant, cosine"),
        ("importer", 3, "a text"),
        ("sample_rate", "1000000", "at most 192000"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: object, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_namespace({name: value}, {})
    assert name in caught.value.message
    assert repr(value) in caught.value.message or str(value) in caught.value.message
    assert told in caught.value.message
    assert f"ds_{name}" in caught.value.hint


def test_layers_follow_n_hidden_unless_set() -> None:
    layers = Settings.from_namespace({"n_hidden": 10, "n_hidden_3": 7, "n_cell_dim": 9}, {}).layers
    assert (layers.n_hidden_1, layers.n_hidden_2, layers.n_hidden_3) == (10, 10, 7)
    assert (layers.n_cell_dim, layers.n_hidden_5) == (9, 10)


def test_assignments_override_the_environment_and_a_typo_gets_a_suggestion() -> None:
    settings = Settings.from_assignments(["epochs=4", "ds_n_hidden=8"], {"ds_epochs": "9"})
    assert (settings.epochs, settings.n_hidden) == (4, 8)
    with pytest.raises(SettingsError, match="Did you mean learning_rate"):
        Settings.from_assignments(["learing_rate=1"], {})
    with pytest.raises(SettingsError, match="not name=value"):
        Settings.from_assignments(["epochs"], {})


def test_importer_options_are_taken_apart_with_numbers_as_numbers() -> None:
    options = Settings.from_namespace({"importer": "fsdd", "corpus_options": "split=speaker, train_utterances=40"}, {})
    assert options.importer_options == {"split": "speaker", "train_utterances": 40}
    for wrong in ("speaker", "=3", "folder=/tmp"):
        with pytest.raises(SettingsError, match=f"'{wrong}' is not an option"):
            Settings.from_namespace({"corpus_options": wrong}, {})


def test_a_corpus_or_an_option_that_does_not_exist_is_told_with_the_settings() -> None:
    with pytest.raises(SettingsError, match="did you mean 'espeak'"):
        Settings.from_namespace({"importer": "espeek"}, {})
    with pytest.raises(SettingsError, match="espeak has no option 'split'"):
        Settings.from_namespace({"corpus_options": "split=speaker"}, {})
    with pytest.raises(SettingsError, match="give at least 1"):
        Settings.from_namespace({"corpus_options": "dev_utterances=0"}, {})


def test_restoring_needs_to_be_told_from_where() -> None:
    with pytest.raises(SettingsError, match="ds_checkpoint_dir"):
        Settings.from_namespace({"restore_checkpoint": 1}, {})


def test_windows_must_not_leave_most_of_the_audio_out() -> None:
    with pytest.raises(SettingsError, match="window_step"):
        Settings.from_namespace({"window_length": 0.02, "window_step": 0.2}, {})


@pytest.mark.parametrize(
    "values",
    [{"early_stop": 3}, {"average_best": 2}, {"learning_rate_schedule": "plateau"}],
    ids=lambda v: next(iter(v)),
)
def test_what_needs_validation_is_refused_without_any(values: dict[str, object]) -> None:
    Settings.from_namespace(values, {}).check_training()
    unvalidated = Settings.from_namespace({**values, "validation_step": 0}, {})  # as a checkpoint may say
    with pytest.raises(SettingsError, match=f"{next(iter(values))} = .* validation_step = 0"):
        unvalidated.check_training()


def test_a_mean_of_epochs_needs_epochs_that_are_kept() -> None:
    with pytest.raises(SettingsError, match=r"average_best = 2 .* checkpoint_step = 0"):
        Settings.from_namespace({"average_best": 2, "checkpoint_step": 0}, {}).check_training()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"augment_noise_path": "/noise"}, ["augment_noise_path = /noise has no effect: augment_noise = 0.0."]),
        ({"augment_noise_path": "/noise", "augment_noise": 0.5}, []),
        ({"features": "logspec", "n_input": 40}, ["n_input = 40 has no effect: features = logspec."]),
        ({"features": "logmel", "n_input": 40}, []),
        ({"n_blocks": 3}, ["n_blocks = 3 has no effect: model = deepspeech1."]),
        ({"export_formats": "onnx"}, ["export_formats = onnx has no effect: export_dir is not set."]),
        # What the preset set, and nobody else, is no mistake of whoever changed something else.
        ({"model": "fastconv", "preset": "small", "augment_noise": 0.0}, []),
    ],
)
def test_a_setting_without_effect_is_told(values: dict[str, object], told: list[str]) -> None:
    assert list(Settings.from_namespace(values, {}).without_effect.values()) == told


def test_every_condition_names_a_setting_and_a_value_that_it_may_have() -> None:
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    for field in fields.values():
        name, _, values = field.metadata["only"].partition("=")
        assert not name or name in fields
        assert not values or set(values.split("|")) < set(fields[name].metadata["choices"])
