from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import support
from history import Repository

SCRIPT = support.ROOT / "bin" / "bootstrap.py"
#: A package of one module that stands for the tracker: what is tested here is the bootstrap, not pip's speed.
STAND_IN = """
import os, sys
print("ran", *sys.argv[1:], os.environ.get("ds_repository", ""), sys.prefix)
sys.exit(int(os.environ.get("code", 0)))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "src" / "deepspeech_wer").mkdir(parents=True)
    (folder / "src" / "deepspeech_wer" / "__init__.py").write_text("")
    (folder / "src" / "deepspeech_wer" / "__main__.py").write_text(STAND_IN)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "deepspeech-wer"\nversion = "0"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["src/deepspeech_wer"]\n'
    )
    return folder


def pipe(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """``cat bootstrap.py | ds_...=... python3 -u``, with a bare Python and a home of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ds_", "XDG_"))}
    environment |= {"HOME": str(tmp_path / "home")} | variables
    base = str(Path(getattr(sys, "_base_executable", sys.executable)))
    return subprocess.run(
        [base, "-u"], input=SCRIPT.read_text(), env=environment, cwd=tmp_path, capture_output=True, text=True
    )


def test_the_first_time_installs_and_the_next_time_only_runs(tmp_path: Path, package: Path) -> None:
    first = pipe(tmp_path, ds_package=str(package), ds_repository="x")
    venv = tmp_path / "home" / ".local" / "share" / "deepspeech_wer" / "venv"
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"ran run x {venv}\n"
    assert "installing" in first.stderr
    again = pipe(tmp_path, ds_package=str(package), code="76")
    assert (again.stdout, again.stderr) == (f"ran run  {venv}\n", "")
    assert again.returncode == 76, "the exit code is passed on"


def test_what_cannot_be_installed_is_told_and_tried_again(tmp_path: Path, package: Path) -> None:
    failed = pipe(tmp_path, ds_package=str(tmp_path / "nowhere"))
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr
    assert "Set ds_package" in failed.stderr
    assert pipe(tmp_path, ds_package=str(package)).returncode == 0


def test_an_environment_with_another_stamp_that_is_as_good_is_taken(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "venv" / "deepspeech-wer.stamp").write_text("tests")
    code = f"""import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); sys.dont_write_bytecode = True
import bootstrap, pathlib
bootstrap.call = lambda *more: sys.exit("installs")
folder = pathlib.Path({str(tmp_path / "venv")!r})
print(bootstrap.virtual_environment(folder, [], "demo", "tests"))
bootstrap.virtual_environment(folder, [], "demo")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{tmp_path / 'venv' / 'bin' / 'python'}\n"
    assert done.stderr.endswith("installs\n")


def test_it_parses_on_an_old_python_so_that_it_can_say_so() -> None:
    import ast

    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))


def test_the_crontab_uses_only_settings_that_are_there() -> None:
    from deepspeech_wer import config

    text = (support.ROOT / "crontab.example").read_text()
    used = set(re.findall(r"\b(ds_[a-z0-9_]+)=", text)) - {"ds_package"}
    assert used
    assert used <= set(config.names())


def test_the_line_for_cron_runs(tmp_path: Path) -> None:
    """The active line of crontab.example, with the installation's folder put in, run by the shell that it names."""
    lines = (support.ROOT / "crontab.example").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("*/15")]
    command = line.split(None, 5)[5].replace("$HOME/deepspeech-wer/.venv/bin", str(Path(sys.executable).parent))
    repository = Repository.begun(tmp_path / "repository")
    head = repository.train("Good", 0.5)
    config = tmp_path / ".config" / "deepspeech_wer" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'ds_repository = "{repository.path}"\n')
    environment = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(["/bin/bash", "-c", command], env=environment, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / ".cache" / "deepspeech_wer" / "last_sha1").read_text().strip() == head
    assert "test WER of 50.00%" in (tmp_path / ".deepspeech_wer.cron.log").read_text()
