from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

import site_records
from deepspeech_wer.journal import Entry, Journal, State

A, B = "a" * 40, "b" * 40


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "data" / "journal.jsonl", tmp_path / "cache" / "last_sha1")


def again(journal: Journal) -> Journal:
    """The journal as another process reads it."""
    return Journal(journal.path, journal.pointer)


def test_the_last_word_counts(journal: Journal) -> None:
    assert journal.entries() == {}
    journal.note(A, State.FOUND)
    journal.note(B, State.FOUND)
    assert journal.pending(1) == [A, B]
    journal.note(A, State.RUNNING, "run-1", seed=0)
    journal.note(A, State.TRAINED, "run-1", seed=0)
    journal.note(B, State.RUNNING, "run-2", seed=0)
    journal.note(B, State.FAILED, "run-2", "the kernel died", seed=0)
    for each in (journal, again(journal)):
        entries = each.entries()
        assert (entries[A].state, entries[A].run, entries[A].trained) == (State.TRAINED, "run-1", {0: "run-1"})
        assert (entries[B].state, entries[B].why, entries[B].failures) == (State.FAILED, "the kernel died", 1)
        assert each.pending(1) == [B]
        assert each.unpublished(1) == [A, B]
    journal.note_published(1)
    assert journal.unpublished(1) == []
    assert journal.entries()[A].state is State.PUBLISHED
    assert journal.entries()[B].state is State.FAILED, "it is shown, and still to be tried again"
    assert journal.pending(1) == [B]
    assert "the kernel died" in journal.path.read_text()


def test_a_landing_is_over_when_all_its_seeds_are_trained(journal: Journal) -> None:
    journal.note(A, State.FOUND)
    for seed in range(3):
        assert journal.entries()[A].missing(3) == list(range(seed, 3))
        journal.note(A, State.RUNNING, f"run-{seed}", seed=seed)
        journal.note(A, State.TRAINED, f"run-{seed}", seed=seed)
        journal.note_published(3)
    assert journal.entries()[A].state is State.PUBLISHED
    assert journal.entries()[A].trained == {0: "run-0", 1: "run-1", 2: "run-2"}
    assert journal.pending(5) == [], "what is published is not trained again because a setting changed"


def test_what_is_asked_for_is_done_whatever_it_was_before(journal: Journal) -> None:
    journal.note(A, State.FOUND)
    journal.note(A, State.TRAINED, "run-1", seed=0)
    journal.note_published(1)
    journal.note(A, State.ASKED, seeds=(0, 1))
    assert journal.entries()[A].missing(1) == [0, 1]
    journal.note(A, State.TRAINED, "run-2", seed=0)
    assert journal.entries()[A].missing(1) == [1]
    journal.note_published(1)
    assert journal.pending(1) == [A]
    journal.note(A, State.TRAINED, "run-3", seed=1)
    journal.note_published(1)
    assert journal.entries()[A].state is State.PUBLISHED
    assert journal.entries()[A].trained == {0: "run-2", 1: "run-3"}

    journal.note(B, State.FAILED, "run-4", "no")
    journal.note(B, State.PASSED, "run-4", "no")
    assert journal.pending(1) == []
    journal.note_published(1)
    assert journal.entries()[B].state is State.PUBLISHED
    journal.note(B, State.ASKED)
    assert (journal.entries()[B].missing(1), journal.entries()[B].failures) == ([0], 0)


def test_cut_off_and_put_off_are_counted_apart_from_failures(journal: Journal) -> None:
    for _ in range(2):
        journal.note(A, State.RUNNING, "run", seed=0)
        journal.note(A, State.CUT_OFF, "run")
    journal.note(A, State.RUNNING, "run", seed=0)
    journal.note(A, State.PUT_OFF, why="the disk is full")
    entry = journal.entries()[A]
    assert (entry.cut_off, entry.failures, entry.attempts, entry.why) == (2, 0, 3, "the disk is full")
    assert entry.missing(1) == [0]
    assert journal.unpublished(1) == []


def test_landings_are_found_all_at_once_and_known_without_the_repository(journal: Journal) -> None:
    first, second = site_records.landing(1), site_records.landing(2)
    journal.note_found({first: "", second: "its message says so"})
    entries = again(journal).entries()
    assert entries[first.sha].landing == first
    assert (entries[second.sha].state, entries[second.sha].why) == (State.SKIPPED, "its message says so")
    assert journal.pending(1) == [first.sha]


def test_a_journal_of_the_first_version_is_read(journal: Journal) -> None:
    journal.path.parent.mkdir(parents=True)
    states = ["found", "running", "trained", "published"]
    lines = [{"time": "2026-11-21T02:30:09+00:00", "sha": A, "state": state, "run": "run-1"} for state in states]
    lines += [{"time": "2026-11-21T02:30:09+00:00", "sha": B, "state": state} for state in ("failed", "published")]
    journal.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert journal.entries()[A].trained == {0: "run-1"}
    assert journal.pending(1) == []
    assert journal.unpublished(1) == []


def test_a_line_that_was_cut_off_hides_neither_the_ones_before_nor_the_ones_after(journal: Journal) -> None:
    journal.note(A, State.TRAINED, "run-1")
    with journal.path.open("a") as file:
        file.write('{"time": "2026-11-2')
    assert list(journal.entries()) == [A]
    journal.note(B, State.TRAINED, "run-2")
    assert list(journal.entries()) == [A, B]
    assert list(again(journal).entries()) == [A, B]


@pytest.mark.parametrize(
    "line", ["[]", "null", '{"sha": 3, "state": "found"}', '{"sha": "x", "state": "found", "time": ""}', "\xff\xfe", ""]
)
def test_foreign_lines_are_passed_over(journal: Journal, line: str) -> None:
    journal.note(A, State.TRAINED, "run-1")
    with journal.path.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    journal.note(B, State.TRAINED, "run-2")
    assert list(journal.entries()) == [A, B]


def test_a_journal_that_was_replaced_by_a_shorter_one_is_read_anew(journal: Journal) -> None:
    journal.note(A, State.TRAINED, "run-1")
    journal.note(A, State.PUBLISHED)
    assert list(journal.entries()) == [A]
    journal.path.write_text(json.dumps({"time": "", "sha": B, "state": "found"}) + "\n")
    assert list(journal.entries()) == [B]


def test_last_sha1_is_one_sha_in_a_file_and_is_known_without_it(journal: Journal) -> None:
    assert journal.last_sha1() is None
    journal.advance(A)
    assert journal.pointer.read_text() == A + "\n"
    assert journal.last_sha1() == A
    journal.pointer.unlink()
    assert again(journal).last_sha1() == A
    journal.advance(A)
    assert journal.pointer.read_text() == A + "\n"
    assert journal.path.read_text().count("advanced") == 1


@pytest.mark.parametrize("garbage", ["", "HEAD", A[:39], A + B, "\0\xff", "<html>"])
def test_garbage_in_last_sha1_counts_as_none(journal: Journal, garbage: str) -> None:
    journal.pointer.parent.mkdir(parents=True)
    journal.pointer.write_text(garbage)
    assert journal.last_sha1() is None
    journal.note(B, State.ADVANCED)
    assert journal.last_sha1() == B


def test_settled_is_known_from_the_last_line_alone(journal: Journal) -> None:
    assert journal.settled_at() is None
    journal.note(A, State.FOUND)
    journal.advance(A)
    journal.settle(A, 1)
    assert journal.settled_at() is None, "a landing is to be trained"
    journal.note(A, State.TRAINED, "run-1", seed=0)
    journal.settle(A, 1)
    assert journal.settled_at() is None, "a result is to be shown"
    journal.note_published(1)
    journal.settle(A, 1)
    assert journal.settled_at() == again(journal).settled_at() == A
    journal.pointer.write_text(B + "\n")
    assert journal.settled_at() is None, "somebody set last_sha1"
    journal.pointer.write_text(A + "\n")
    journal.note(A, State.ASKED, seeds=(1,))
    assert journal.settled_at() is None
    journal.settle(A, 1)
    assert journal.settled_at() is None


def test_what_was_asked_for_meanwhile_by_another_process_keeps_it_from_being_settled(journal: Journal) -> None:
    journal.note(A, State.TRAINED, "run-1", seed=0)
    journal.note_published(1)
    journal.advance(A)
    again(journal).note(B, State.ASKED)
    journal.settle(A, 1)
    assert journal.settled_at() is None
    assert journal.pending(1) == [B]


def test_settled_is_read_without_reading_the_rest(journal: Journal) -> None:
    journal.note(A, State.TRAINED, "run-1", seed=0)
    journal.note_published(1)
    journal.advance(A)
    journal.settle(A, 1)
    line = journal.path.read_bytes().splitlines()[-1]
    with journal.path.open("r+b") as file:
        file.truncate(200_000_000)  # a hole: reading all of it would take memory and time
        file.seek(0, 2)
        file.write(b"\n" + line + b"\n")
    limited = f"""
import resource; resource.setrlimit(resource.RLIMIT_AS, (150_000_000, 150_000_000))
from pathlib import Path
from deepspeech_wer.journal import Journal
print(Journal(Path({str(journal.path)!r}), Path({str(journal.pointer)!r})).settled_at())
"""
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True)
    assert done.stdout.strip() == A, done.stderr


def _note_many(path: Path, pointer: Path, digit: str) -> None:
    journal = Journal(path, pointer)
    for number in range(50):
        journal.note(f"{number:039x}{digit}", State.FOUND, why="x" * 3000)


def test_many_writers_at_once_lose_no_line(journal: Journal) -> None:
    writers = [
        multiprocessing.get_context("spawn").Process(target=_note_many, args=(journal.path, journal.pointer, digit))
        for digit in "abcd"
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(journal.entries()) == 200
    assert len(journal.path.read_text().splitlines()) == 200


def test_an_entry_that_nothing_was_noted_of_is_to_be_trained() -> None:
    assert Entry(State.FOUND).missing(2) == [0, 1]
