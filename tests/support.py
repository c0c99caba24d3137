"""What the tests share: where real data is, and which system packages a test needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Set by conftest.py from the flag --require-system-packages.
REQUIRE_SYSTEM_PACKAGES = False


def shared_data(name: str) -> Path:
    """The file or folder ``name`` of the test data that is not part of this repository.

    It is looked for under ``$DEEPSPEECH_WER_TEST_DATA``, else in ``../shared/data`` beside the checkout.
    """
    folder = Path(os.environ.get("DEEPSPEECH_WER_TEST_DATA") or ROOT.parent / "shared" / "data")
    path = folder / name
    if not path.exists():
        pytest.skip(f"test data {name} is not in {folder} (set DEEPSPEECH_WER_TEST_DATA)")
    return path


def system_program(package: str, program: str) -> str:
    """The path of a program from a Debian package; skips (or fails, in CI) where it is not installed."""
    found = shutil.which(program)
    if found:
        return found
    message = f"{program} is missing: install the system package {package} (apt-get install {package})"
    if REQUIRE_SYSTEM_PACKAGES:
        pytest.fail(message)
    pytest.skip(message)
