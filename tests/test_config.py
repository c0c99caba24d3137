from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech_wer import config
from deepspeech_wer.errors import SettingsError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_command_line_then_environment_then_file_then_default(tmp_path: Path) -> None:
    file = write(tmp_path, 'ds_ref = "file"\nds_notebook = "file.ipynb"\nds_site_title = "file"\n')
    environment = {"ds_ref": "environment", "ds_notebook": "environment.ipynb", "ds_kernel": ""}
    settings = config.load({"ds_ref": "line"}, environment, file)
    assert settings.ref == "line"
    assert settings.notebook == "environment.ipynb"
    assert settings.site_title == "file"
    assert settings.wer_automation == "./bin/run-wer-automation.sh"
    assert settings.website_server_port is None
    assert settings.website_retries == 3


def test_an_unknown_setting_in_the_file_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ds_repositry") as caught:
        config.load({}, {}, write(tmp_path, 'ds_repositry = "x"'))
    assert "did you mean ds_repository" in caught.value.hint
    assert caught.value.exit_code == 2


def test_variables_of_the_recipe_in_the_environment_are_left_alone(tmp_path: Path) -> None:
    assert config.load({}, {"ds_learning_rate": "0.1"}, write(tmp_path, "")).repository == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ds_website_server_port", "ssh"),
        ("ds_website_server_port", "70000"),
        ("ds_run_timeout", "-1"),
        ("ds_run_timeout", "inf"),
        ("ds_commit_url", "javascript:alert(1)//{sha}"),
        ("ds_commit_url", "https://example.org/commit"),
        ("ds_repository", "--upload-pack=touch x"),
    ],
)
def test_a_value_that_cannot_be_used_names_the_setting_and_where_it_came_from(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=f"{name} in the environment"):
        config.load({}, {name: value}, write(tmp_path, ""))


def test_a_secret_value_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        config.load({}, {"ds_website_privkey": "~nobody-of-that-name/s3cret"}, write(tmp_path, ""))
    assert "s3cret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("text", ["ds_ref = ", "ds_ref = {a = 1}", "[job]\nx = [1]", "[parameters]\nx = {y = 1}"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"config\.toml"):
        config.load({}, {}, write(tmp_path, text))


def test_a_named_file_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no settings file"):
        config.load({}, {}, tmp_path / "absent.toml")


def test_the_tables_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "[job]\nds_epochs = 30\nds_use_x = true\n[parameters]\nn_hidden = 512\n")
    settings = config.load({}, {}, file, parameters={"seed": 2})
    assert settings.parameters == {"n_hidden": 512, "seed": 2}
    assert settings.job_environment()["ds_epochs"] == "30"
    assert settings.job_environment()["ds_use_x"] == "1"
    assert settings.job_environment()["ds_dataset_path"] == str(settings.dataroot / "datasets")
    monkeypatch.setenv("ds_epochs", "5")
    assert "ds_epochs" not in settings.job_environment(), "the environment comes before the file"


def test_the_old_names_of_the_repository() -> None:
    settings = config.load({}, {"ds_github_account": "acme", "ds_github_ref": "devel"})
    assert settings.require_repository() == "https://github.com/acme/DeepSpeech.git"
    assert settings.tracked_ref() == "devel"
    with pytest.raises(SettingsError, match="no repository"):
        config.load({}, {}).require_repository()


@pytest.mark.parametrize("url", ["https://example.org/a.git", "git@example.org:a/b.git", "ssh://git@h/x", "file:///x"])
def test_an_address_stays_as_it_is(url: str) -> None:
    assert config.load({"ds_repository": url}, {}).repository == url


def test_a_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load({"ds_repository": "here"}, {}).repository == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("text", "value"), [("a=1", 1), ("a=1e-3", 0.001), ("a=True", True), ("a=x=y", "x=y"), ("a=", "")]
)
def test_a_parameter_reads_as_what_it_looks_like(text: str, value: object) -> None:
    name, read = config.parse_parameter(text)
    assert (name, read, type(read)) == ("a", value, type(value))


@pytest.mark.parametrize("text", ["a", "=1", "a b=1", "1a=2"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        config.parse_parameter(text)
