from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepspeech_wer import housekeeping, log
from deepspeech_wer.config import Settings
from deepspeech_wer.job import checkpoints
from deepspeech_wer.journal import Journal, State

SHAS = [digit * 40 for digit in "abcd"]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl", tmp_path / "last_sha1")


def run(data: Path, number: int) -> Path:
    folder = data / "runs" / f"2026112{number}-120000-aaaaaaa-123456"
    (folder / "extra" / "deep").mkdir(parents=True)
    for name in ("job.json", "status.json", "hyper.json", "utterances.jsonl", "learning.jsonl", "log.txt", "gpu.csv"):
        (folder / name).write_text(name)
    (folder / "link").symlink_to(data)
    return folder


def test_of_old_runs_the_figures_and_the_transcripts_stay(tmp_path: Path, journal: Journal) -> None:
    data = tmp_path / "data"
    runs = [run(data, number) for number in range(4)]
    (data / "runs" / ".half.partial").mkdir()
    housekeeping.tidy(Settings(dataroot=data, keep_runs=2), journal)
    kept = {"job.json", "status.json", "hyper.json", "utterances.jsonl", "learning.jsonl"}
    assert [{path.name for path in each.iterdir()} == kept for each in runs] == [True, True, False, False]
    assert (runs[3] / "log.txt").exists()
    assert (runs[0] / "hyper.json").read_text() == "hyper.json"
    assert (data / "runs" / ".half.partial").exists()
    housekeeping.tidy(Settings(dataroot=data, keep_runs=0), journal)
    assert (runs[2] / "log.txt").exists(), "0 means all"


def test_nothing_there_is_nothing_to_tidy(tmp_path: Path, journal: Journal) -> None:
    housekeeping.tidy(Settings(dataroot=tmp_path / "absent"), journal)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_checkpoints_of_the_last_ones_and_of_those_that_are_not_done(
    tmp_path: Path, journal: Journal, keep: int
) -> None:
    for number, sha in enumerate(SHAS):
        folder = checkpoints.folder_of(tmp_path, sha, 0)
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    further = checkpoints.folder_of(tmp_path, SHAS[1], 2)
    further.mkdir()
    os.utime(further, (9, 9))
    journal.note(SHAS[0], State.FAILED, "run", "no")
    housekeeping.tidy(Settings(dataroot=tmp_path, keep_checkpoints=keep), journal)
    left = {folder.name for folder in (tmp_path / "checkpoints").iterdir()}
    newest_first = [{SHAS[1], further.name}, {SHAS[3]}, {SHAS[2]}]
    assert left == {SHAS[0]}.union(*newest_first[:keep]), "the one that waits for its retry keeps its own"


def test_the_log_is_rotated_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FILE_SIZE", 300)
    path = tmp_path / "logs" / "tracker.log"
    for number in range(100):
        log.Log(path, files=3).step(f"line {number:03}")
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["tracker.log", "tracker.log.1", "tracker.log.2"]
    assert all(file.stat().st_size < 400 for file in files)
    lines = "".join(file.read_text() for file in reversed(files)).splitlines()
    assert [line[-3:] for line in lines] == [f"{number:03}" for number in range(100 - len(lines), 100)]
    log.Log(path, files=1).step("x" * 400)
    log.Log(path, files=1).step("last")
    assert path.read_text().endswith("last\n")
    assert path.stat().st_size < 100


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    log.Log(tmp_path / "file" / "tracker.log").step("go on")
    assert "go on" in capsys.readouterr().err
