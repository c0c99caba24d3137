"""The house rules that a machine can check, and what the built package holds."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import support


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["ruff-check", "ruff-format", "mypy"],
)
def test_the_code_is_clean(command: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=support.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_carries_the_templates(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(support.ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("deepspeech_wer-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (support.ROOT / "templates").rglob("*"):
        if path.is_file():
            assert f"deepspeech_wer/templates/{path.relative_to(support.ROOT / 'templates').as_posix()}" in names
    assert "deepspeech_wer/cli.py" in names
    assert "deepspeech_train/cli.py" in names
