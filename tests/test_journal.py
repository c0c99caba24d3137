from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech_wer.journal import Journal, State

A, B = "a" * 40, "b" * 40


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "data" / "journal.jsonl", tmp_path / "cache" / "last_sha1")


def test_the_last_word_counts(journal: Journal) -> None:
    assert journal.entries() == {}
    journal.note(A, State.FOUND)
    journal.note(B, State.FOUND)
    journal.note(A, State.RUNNING, "run-1")
    journal.note(A, State.TRAINED, "run-1")
    journal.note(B, State.FAILED, "run-2", "the kernel died")
    assert {sha: str(entry.state) for sha, entry in journal.entries().items()} == {A: "trained", B: "failed"}
    assert journal.unpublished() == [A, B]
    journal.note(A, State.PUBLISHED)
    assert journal.unpublished() == [B]
    assert "the kernel died" in journal.path.read_text()


def test_a_line_that_was_cut_off_hides_neither_the_ones_before_nor_the_ones_after(journal: Journal) -> None:
    journal.note(A, State.TRAINED, "run-1")
    with journal.path.open("a") as file:
        file.write('{"time": "2026-11-2')
    journal.note(B, State.TRAINED, "run-2")
    assert list(journal.entries()) == [A, B]


def test_last_sha1_is_one_sha_in_a_file(journal: Journal) -> None:
    assert journal.last_sha1() is None
    journal.advance(A)
    assert journal.pointer.read_text() == A + "\n"
    assert journal.last_sha1() == A


@pytest.mark.parametrize("garbage", ["", "HEAD", A[:39], A + B, "\0\xff", "<html>"])
def test_garbage_in_last_sha1_counts_as_a_first_run(journal: Journal, garbage: str) -> None:
    journal.pointer.parent.mkdir(parents=True)
    journal.pointer.write_text(garbage)
    assert journal.last_sha1() is None
