from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import support
from deepspeech_wer import config
from installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "home")


def legacy(folder: Path, wer: str = "0.2") -> Path:
    folder.mkdir(parents=True)
    text = f"""{{"context": {{"git_hash": "{"a" * 40}", "time_started": "2016-10-21T12:47:13"}},
                "parameters": {{"data_set": {{"name": "ted"}}}}, "results": {{"test_wer": {wer}}}}}"""
    (folder / "hyper.json").write_text(text)
    return folder


def test_the_command_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import deepspeech_wer.cli"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "deepspeech_wer" in imported
    heavy = {"tensorflow", "keras", "plotly", "numpy", "git", "requests", "paramiko", "pysftp", "nbconvert", "bs4"}
    assert imported & heavy == set()


def test_the_tracker_never_imports_the_recipe() -> None:
    words = ("tensorflow", "keras", "deepspeech_train")
    for path in (support.ROOT / "src" / "deepspeech_wer").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not (line.lstrip().startswith(("import ", "from ")) and any(word in line for word in words)), path
    for path in (support.ROOT / "src" / "deepspeech_train").rglob("*.py"):
        assert "import deepspeech_wer" not in path.read_text(), path
        assert "from deepspeech_wer" not in path.read_text(), path


def test_help_lists_the_exit_codes(installation: Installation) -> None:
    done = installation.run("--help")
    assert done.returncode == 0
    for code in ("  0 ", "  2 ", "  70 ", "  75 ", "  76 "):
        assert code in done.stdout


@pytest.mark.parametrize("arguments", [(), ("walk",), ("run", "--sideways"), ("site",), ("import-legacy",)])
def test_wrong_usage_ends_with_2(installation: Installation, arguments: tuple[str, ...]) -> None:
    assert installation.run(*arguments).returncode == 2


def test_every_setting_is_listed_and_in_the_readme(installation: Installation) -> None:
    listed = installation.run("settings").stdout
    readme = (support.ROOT / "README.md").read_text()
    for name in config.names():
        assert f"{name}\n" in listed
        assert f"`{name}`" in readme, name


def test_every_setting_of_the_recipe_is_in_the_readme_with_its_default() -> None:
    from deepspeech_train.settings import Settings

    readme = (support.ROOT / "README.md").read_text()
    for field in dataclasses.fields(Settings):
        default = field.default
        if isinstance(default, bool):
            shown = f"`{int(default)}`"
        elif default is dataclasses.MISSING or default in (None, ""):
            shown = ""  # a path, told in words or not set
        else:
            shown = f"`{default}`"
        assert f"| `ds_{field.name}` | {field.metadata['about']} | {shown}" in readme, field.name


def test_runs_made_before_the_tracker(installation: Installation, tmp_path: Path) -> None:
    legacy(tmp_path / "logs" / "20161021-124713")
    legacy(tmp_path / "logs" / "20161118-090501", wer="NaN")
    done = installation.run("import-legacy", str(tmp_path / "logs"))
    assert done.returncode == 0
    assert "1 runs added" in done.stdout
    assert "20161118-090501/hyper.json is left out: it holds NaN" in done.stderr
    again = installation.run("import-legacy", str(tmp_path / "logs"))
    assert "in the archive already" in again.stderr
    assert installation.run("site", "build").returncode == 0
    (run,) = installation.runs()
    assert run["results"] == {"test_wer": 0.2}
    assert run["parameters"]["data_set"]["name"] == "ted"


def test_runs_of_the_old_notebook_are_drawn_unchanged(installation: Installation) -> None:
    folder = support.shared_data("legacy")
    assert "3 runs added" in installation.run("import-legacy", str(folder)).stdout
    installation.run("site", "build")
    assert [run["results"]["test_wer"] for run in installation.runs()] == [0.2211, 0.214, 0.2152]


def test_a_folder_without_runs(installation: Installation, tmp_path: Path) -> None:
    done = installation.run("import-legacy", str(tmp_path), str(tmp_path / "absent"))
    assert done.returncode == 70
    assert done.stderr.count("\n") == 2


def test_the_site_with_no_data_and_publishing_without_a_server(installation: Installation) -> None:
    assert installation.run("site", "build").returncode == 0
    assert installation.runs() == []
    done = installation.run("publish")
    assert done.returncode == 2
    assert "ds_website_server_fqdn" in done.stderr


def test_an_archive_that_cannot_be_written(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    installation.variables["ds_dataroot"] = str(tmp_path / "file" / "below")
    done = installation.run("site", "build")
    assert done.returncode == 70
    assert str(tmp_path / "file") in done.stderr


def test_output_into_a_closed_pipe_is_no_failure(installation: Installation) -> None:
    process = subprocess.run(
        f"{sys.executable} -m deepspeech_wer settings | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert process.stderr == ""
    assert process.stdout.splitlines()[-1] == "0"
