"""What the fault tests share: a repository, a small disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from history import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.begun(tmp_path / "repository")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 48 MB. Skips where none can be mounted, which takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0755", "deepspeech-wer-test", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("a small disk takes the program mount")
    if mounted.returncode:
        pytest.skip(f"a small disk takes root, who may mount one (this is user {os.geteuid()}): {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
