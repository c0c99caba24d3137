from __future__ import annotations

import errno
from pathlib import Path

import pytest

from deepspeech_wer import trouble
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import EnvironmentFailure, RepositoryError
from deepspeech_wer.log import Log


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    script = tmp_path / "notified"
    return Settings(dataroot=tmp_path / "data", notify_command=f"cat >> {script}; echo >> {script}")


def notified(settings: Settings) -> str:
    path = settings.dataroot.parent / "notified"
    return path.read_text() if path.exists() else ""


def meet(settings: Settings, error: BaseException | None = None) -> None:
    with trouble.watched(settings, Log()):
        if error:
            raise error


def test_it_is_there_as_long_as_it_lasts_and_is_told_once(settings: Settings) -> None:
    meet(settings)
    assert trouble.current(settings) is None
    for _ in range(3):
        with pytest.raises(EnvironmentFailure):
            meet(settings, EnvironmentFailure("no GPU is seen", "plug one in"))
    current = trouble.current(settings)
    assert current is not None
    assert (current["message"], current["hint"]) == ("no GPU is seen", "plug one in")
    assert notified(settings).count('"kind": "failure"') == 1
    meet(settings)
    assert trouble.current(settings) is None
    assert notified(settings).count('"kind": "recovery"') == 1
    with pytest.raises(EnvironmentFailure):
        meet(settings, EnvironmentFailure("no GPU is seen", "plug one in"))
    assert notified(settings).count('"kind": "failure"') == 2, "after a recovery it is news again"


def test_a_repository_that_is_away_for_a_moment_is_no_news(settings: Settings) -> None:
    for _ in range(2):
        with pytest.raises(RepositoryError):
            meet(settings, RepositoryError("it cannot be read"))
    meet(settings)
    assert notified(settings) == ""
    for _ in range(5):
        with pytest.raises(RepositoryError):
            meet(settings, RepositoryError("it cannot be read"))
    assert notified(settings).count('"kind": "failure"') == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_the_machines_fault(settings: Settings, number: int) -> None:
    with pytest.raises(EnvironmentFailure, match="the disk is full: /some/file"):
        meet(settings, OSError(number, "full", "/some/file"))


def test_rights_that_are_missing_are_the_machines_fault_too(settings: Settings) -> None:
    with pytest.raises(EnvironmentFailure, match="Permission denied: /some/file"):
        meet(settings, PermissionError(errno.EACCES, "Permission denied", "/some/file"))


def test_a_bug_is_told_and_goes_on_as_it_is(settings: Settings) -> None:
    for _ in range(4):
        with pytest.raises(ZeroDivisionError):
            meet(settings, ZeroDivisionError("oh"))
    current = trouble.current(settings)
    assert current is not None
    assert "ZeroDivisionError" in current["message"]
    assert notified(settings).count('"kind": "failure"') == 1
    with pytest.raises(SystemExit):
        meet(settings, SystemExit(143))
    assert trouble.current(settings) == current, "to be told to stop is neither trouble nor its end"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"time": 3}', "\0"])
def test_a_file_that_tells_nothing_counts_as_none(settings: Settings, text: str) -> None:
    settings.dataroot.mkdir()
    (settings.dataroot / "trouble.json").write_text(text)
    assert trouble.current(settings) is None
    meet(settings)
    assert not (settings.dataroot / "trouble.json").exists()
