from __future__ import annotations

from pathlib import Path

import pytest

import site_records
from deepspeech_wer import wishes
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import SettingsError
from deepspeech_wer.journal import Journal, State

SETTINGS = Settings(seeds=1)
LANDING = site_records.landing(1)
SHA = LANDING.sha


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal.jsonl", tmp_path / "last_sha1")
    made.note_found({LANDING: ""})
    return made


def passed(journal: Journal) -> None:
    for state in (State.RUNNING, State.FAILED, State.PASSED):
        journal.note(SHA, state, "run-1", "no", seed=0)
    journal.note_published(1)


def trained(journal: Journal, seed: int = 0) -> None:
    journal.note(SHA, State.RUNNING, f"run-{seed}", seed=seed)
    journal.note(SHA, State.TRAINED, f"run-{seed}", seed=seed)


def test_what_was_passed_or_skipped_is_tried_again(journal: Journal) -> None:
    passed(journal)
    assert journal.pending(1) == []
    assert "next tick" in wishes.retry(SETTINGS, journal, SHA[:7])
    assert journal.pending(1) == [SHA]
    wishes.skip(SETTINGS, journal, SHA, "the corpus is away")
    assert journal.pending(1) == []
    assert journal.entries()[SHA].why == "the corpus is away"
    wishes.retry(SETTINGS, journal, SHA.upper())
    assert journal.pending(1) == [SHA]


def test_what_is_trained_is_neither_tried_again_nor_skipped(journal: Journal) -> None:
    trained(journal)
    with pytest.raises(SettingsError, match="is trained"):
        wishes.retry(SETTINGS, journal, SHA)
    with pytest.raises(SettingsError, match="is trained already"):
        wishes.skip(SETTINGS, journal, SHA, "why not")


def test_further_seeds_follow_those_that_there_are(journal: Journal) -> None:
    trained(journal)
    journal.note_published(1)
    wishes.rerun(SETTINGS, journal, SHA, 2)
    assert journal.entries()[SHA].missing(1) == [1, 2]
    wishes.rerun(SETTINGS, journal, SHA, 1)
    assert journal.entries()[SHA].missing(1) == [1, 2, 3], "a wish does not take back the one before it"
    for seed in (1, 2, 3):
        trained(journal, seed)
    journal.note_published(1)
    assert journal.entries()[SHA].state is State.PUBLISHED
    assert sorted(journal.entries()[SHA].trained) == [0, 1, 2, 3]


def test_further_seeds_come_on_top_of_those_that_still_wait(journal: Journal) -> None:
    wishes.rerun(SETTINGS, journal, SHA, 1)
    assert journal.entries()[SHA].missing(1) == [0, 1], "one by the settings, one more for the wish"
    journal.note(SHA, State.RUNNING, "run-1", seed=0)
    journal.note(SHA, State.FAILED, "run-1", "no", seed=0)
    wishes.retry(SETTINGS, journal, SHA)
    assert journal.entries()[SHA].missing(1) == [0, 1], "a wish does not take back the one before it"
    trained(journal)
    assert journal.entries()[SHA].missing(1) == [1]


def test_what_runs_just_now_is_left_alone(journal: Journal) -> None:
    journal.note(SHA, State.RUNNING, "run-1", seed=0)
    for wish in (
        lambda: wishes.retry(SETTINGS, journal, SHA),
        lambda: wishes.rerun(SETTINGS, journal, SHA, 1),
        lambda: wishes.skip(SETTINGS, journal, SHA, "no"),
    ):
        with pytest.raises(SettingsError, match="is being trained"):
            wish()
    assert journal.entries()[SHA].state is State.RUNNING


def test_a_name_that_means_several(journal: Journal) -> None:
    twin = SHA[:8] + ("0" if SHA[8] != "0" else "1") * 32
    journal.note_found({site_records.landing(2, sha=twin): ""})
    with pytest.raises(SettingsError, match="several landings"):
        wishes.retry(SETTINGS, journal, SHA[:8])
