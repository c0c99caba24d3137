"""The archive: result folders and legacy runs as they are on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import site_records as made
import support
from deepspeech_wer.errors import TrackerError
from deepspeech_wer.job.spec import FAILED, TRAINED, JobSpec, Status
from deepspeech_wer.results import archive


def result(
    data: Path,
    name: str,
    number: int,
    state: str = TRAINED,
    hyper: str | None = None,
    started: str = "",
    **fields: Any,
) -> Path:
    """A result folder as a job leaves it; ``fields`` are the landing's, or ``seed`` and ``attempt`` of the run."""
    folder = data / "runs" / name
    folder.mkdir(parents=True)
    counts = {name: fields.pop(name) for name in ("seed", "attempt") if name in fields}
    landing = made.landing(number, **fields)
    spec = JobSpec(name, landing, "main", data, folder, data, "run.sh", "DeepSpeech.ipynb", **counts)
    (folder / "job.json").write_text(spec.to_json())
    started = started or f"2026-01-0{number}T00:00:00+00:00"
    (folder / "status.json").write_text(Status(state, started, why="w", hint="h").to_json())
    if state == TRAINED:
        (folder / "hyper.json").write_text(json.dumps(made.hyper(0.2)) if hyper is None else hyper)
    return folder


def test_runs_come_in_commit_order_after_those_made_before(tmp_path: Path) -> None:
    for name, number in (("c", 2), ("a", 3), ("b", 1), ("d", 2)):
        result(tmp_path, name, number)
    result(tmp_path, "e", 4, FAILED)
    archive.import_legacy(tmp_path, [support.shared_data("legacy")])
    records, troubles = archive.load(tmp_path)
    assert not troubles
    assert [record.landing and record.landing.position for record in records] == [None] * 3 + [1, 2, 2, 3, 4]
    assert [record.run_id for record in records[3:]] == ["b", "c", "d", "a", "e"]
    assert (records[-1].state, records[-1].hyper, records[-1].why) == (FAILED, None, "w")
    assert records[0].started.startswith("2016-10-21") and records[0].sha.startswith("117a623")


def test_attempts_count_and_not_clocks(tmp_path: Path) -> None:
    result(tmp_path, "second", 1, started="2026-01-01T00:00:00+00:00", attempt=2)
    result(tmp_path, "third", 1, started="2025-12-31T00:00:00+00:00", attempt=3, seed=1)
    result(tmp_path, "first", 1, FAILED, started="2026-01-02T00:00:00+00:00", attempt=1)
    records, _ = archive.load(tmp_path)
    assert [(record.run_id, record.attempt, record.seed) for record in records] == [
        ("first", 1, 0),
        ("second", 2, 0),
        ("third", 3, 1),
    ]


def test_the_runs_of_a_landing_stay_together_where_another_has_its_position(tmp_path: Path) -> None:
    for attempt in (1, 2):
        result(tmp_path, f"old-{attempt}", 2, started=f"2026-01-0{attempt}T00:00:00+00:00", attempt=attempt)
        started = f"2026-01-0{attempt}T12:00:00+00:00"
        result(tmp_path, f"new-{attempt}", 2, started=started, attempt=attempt, sha="a" * 40)
    assert [record.run_id for record in archive.load(tmp_path)[0]] == ["old-1", "old-2", "new-1", "new-2"]


def test_a_run_of_before_there_were_seeds_and_attempts(tmp_path: Path) -> None:
    folder = result(tmp_path, "a", 1)
    spec = json.loads((folder / "job.json").read_text())
    del spec["seed"], spec["attempt"]
    (folder / "job.json").write_text(json.dumps(spec))
    record = archive.keep(folder)
    assert (record.seed, record.attempt) == (0, 1)


def test_a_run_of_which_only_the_figures_are_kept_still_loads(tmp_path: Path) -> None:
    folder = result(tmp_path, "a", 1)
    assert {path.name for path in folder.iterdir()} == {"job.json", "status.json", "hyper.json"}
    record = archive.keep(folder)
    assert record.state == TRAINED and record.hyper and record.hyper["results"]["test_wer"] == 0.2


@pytest.mark.parametrize("text", ["", "{", '{"context": {}, "parameters": {}, "results": {"test_wer": NaN}}'])
def test_a_trained_run_whose_figures_cannot_be_read_counts_as_failed(tmp_path: Path, text: str) -> None:
    record = archive.keep(result(tmp_path, "a", 1, hyper=text))
    assert record.state == FAILED and record.hyper is None
    assert "hyper.json cannot be read" in record.why and record.hint


@pytest.mark.parametrize("file", ["job.json", "status.json"])
@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_what_is_no_result_folder_is_told_and_left_out(tmp_path: Path, file: str, text: str | None) -> None:
    folder = result(tmp_path, "a", 1)
    result(tmp_path, "b", 2)
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(TrackerError) as caught:
        archive.keep(folder)
    assert str(folder) in caught.value.message and caught.value.hint
    records, troubles = archive.load(tmp_path)
    assert [record.run_id for record in records] == ["b"] and len(troubles) == 1 and str(folder) in troubles[0]


@pytest.mark.parametrize(
    ("file", "path", "value"),
    [
        ("job.json", ("landing", "position"), "7"),
        ("job.json", ("landing", "sha"), None),
        ("job.json", ("seed",), True),
        ("job.json", ("seed",), 1.0),
        ("job.json", ("attempt",), "2"),
        ("status.json", ("started",), 3),
    ],
)
def test_a_value_of_the_wrong_kind_is_told(tmp_path: Path, file: str, path: tuple[str, ...], value: Any) -> None:
    folder = result(tmp_path, "a", 1)
    content = json.loads((folder / file).read_text())
    place = content
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    (folder / file).write_text(json.dumps(content))
    records, troubles = archive.load(tmp_path)
    assert not records and "wrong kind" in troubles[0]


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("attempt", 0)])
def test_a_count_below_the_first_is_told(tmp_path: Path, name: str, value: int) -> None:
    result(tmp_path, "a", 1, **{name: value})
    records, troubles = archive.load(tmp_path)
    assert not records and "below the first" in troubles[0]


def test_importing_twice_adds_nothing_and_bad_files_are_told(tmp_path: Path) -> None:
    source = support.shared_data("legacy")
    assert len(archive.import_legacy(tmp_path, [source])[0]) == 3
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/hyper.json").write_text("{")
    (tmp_path / "nothing").mkdir()
    added, troubles = archive.import_legacy(tmp_path, [source, tmp_path / "bad", tmp_path / "nothing"])
    assert not added and len(troubles) == 5
    assert sum("already" in trouble for trouble in troubles) == 3
    assert len(archive.load(tmp_path)[0]) == 3


@pytest.mark.parametrize("started", ["", "../../..", "x" * 5000, "/etc/passwd"])
def test_a_legacy_run_stays_in_its_folder_whatever_it_says(tmp_path: Path, started: str) -> None:
    content = made.hyper(0.2)
    content["context"] = {"time_started": started}
    source = tmp_path / "---" / "hyper.json"
    source.parent.mkdir()
    source.write_text(json.dumps(content))
    added, troubles = archive.import_legacy(tmp_path / "data", [source])
    assert len(added) == 1 and not troubles
    assert [path.parent.parent for path in (tmp_path / "data").rglob("hyper.json")] == [tmp_path / "data/legacy"]


def test_an_empty_archive(tmp_path: Path) -> None:
    assert archive.load(tmp_path) == ([], [])


@pytest.mark.parametrize("name", ["job.json", "status.json", "hyper.json"])
@pytest.mark.parametrize("text", [None, "[" * 300_000])
def test_what_would_be_read_for_ever_or_too_deep_holds_nothing_up(tmp_path: Path, name: str, text: str | None) -> None:
    folder = result(tmp_path, "a", 1)
    (folder / name).unlink()
    if text is None:
        os.mkfifo(folder / name)
    else:
        (folder / name).write_text(text)
    records, troubles = archive.load(tmp_path)
    if name == "hyper.json":
        assert records[0].state == FAILED and "cannot be read" in records[0].why
    else:
        assert not records and len(troubles) == 1


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path.with_name("elsewhere")),
        Path.mkdir,
    ],
    ids=["pipe", "device", "link", "folder"],
)
def test_learning_is_a_file_or_nothing(tmp_path: Path, make: Callable[[Path], object]) -> None:
    (tmp_path / "elsewhere").write_text('{"epoch": 1}\n')
    make(tmp_path / "learning.jsonl")
    assert archive.learning(tmp_path) == []


def test_learning_goes_over_lines_that_nest_without_end(tmp_path: Path) -> None:
    (tmp_path / "learning.jsonl").write_text('{"epoch": 1}\n' + "[" * 20_000 + '\n{"epoch": 2}\n')
    assert archive.learning(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


def test_only_the_end_of_a_learning_without_end_is_read(tmp_path: Path) -> None:
    with (tmp_path / "learning.jsonl").open("w") as file:
        file.truncate(1 << 40)  # more than any memory holds
        file.seek(0, os.SEEK_END)
        file.write('\n{"epoch": 7}\n')
    assert archive.learning(tmp_path) == [{"epoch": 7}]


def test_learning_leaves_out_a_line_that_is_not_whole_yet(tmp_path: Path) -> None:
    assert archive.learning(tmp_path) == []
    (tmp_path / "learning.jsonl").write_text('{"epoch": 1}\n[]\n{"epoch": 2}\n{"epo')
    assert archive.learning(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
