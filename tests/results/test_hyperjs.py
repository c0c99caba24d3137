"""js/hyper.js: written from records, and read in today's and in the old form."""

from __future__ import annotations

from pathlib import Path

import pytest

import site_records as made
from deepspeech_wer.results import hyperjs


def test_a_line_a_run_in_commit_order_without_the_failed(tmp_path: Path) -> None:
    records = [made.legacy(tmp_path, "old", made.hyper(0.5), "b" * 40), *made.history(tmp_path)]
    text = hyperjs.merge(records)
    lines = text.splitlines()
    assert lines[0] == "window.ALL_THE_DATA = [" and lines[-1] == "];" and len(lines) == 2 + 6
    runs = hyperjs.read(text)
    assert [run["run"] for run in runs] == [record.run_id for record in records if record.hyper]
    assert [run["context"]["git_hash"] for run in runs] == [record.sha for record in records if record.hyper]
    assert runs[0]["results"] == records[0].hyper["results"]  # type: ignore[index]
    assert "git_hash" not in made.history(tmp_path)[0].hyper["context"]  # type: ignore[index]  # merging changes no record


def test_every_seed_has_a_line_and_says_which_it_is_of(tmp_path: Path) -> None:
    records = made.seeds(tmp_path, 1, 0.2, 0.21, 0.19)
    assert records[1].hyper is not None
    records[1].hyper["seed"] = 4568
    runs = hyperjs.read(hyperjs.merge(records))
    assert [run["results"]["test_wer"] for run in runs] == [0.2, 0.21, 0.19]
    assert [run.get("seed_index") for run in runs] == [None, 1, 2]
    assert [run.get("seed") for run in runs] == [None, 4568, None], "what the run itself wrote stays as it is"


def test_no_runs() -> None:
    assert hyperjs.merge([]) == "window.ALL_THE_DATA = [];\n"
    assert hyperjs.read(hyperjs.merge([])) == []


@pytest.mark.parametrize("name", ["window.ALL_THE_DATA", "var ALL_THE_DATA", "ALL_THE_DATA"])
def test_old_forms_are_read(name: str) -> None:
    assert hyperjs.read(f'{name} = [{{"a": "=;"}}]') == [{"a": "=;"}]


@pytest.mark.parametrize("text", ["", "window.OTHER = [];", "window.ALL_THE_DATA = {};", "window.ALL_THE_DATA = [1"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        hyperjs.read(text)
