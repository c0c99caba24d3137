"""The verb ``bisect``, as a whole: a real repository, whose script gives a WER for each commit, and real trainings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from random import Random

import pytest

from deepspeech_wer import lock
from deepspeech_wer.bisect import Search
from deepspeech_wer.journal import Journal, State
from history import BROKEN, SCRIPT, Repository
from installation import Installation

#: The WER of each landing; None is a landing that fails to train.
Wers = list[float | None]

JOB = "bin/run-wer-automation.sh"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.begun(tmp_path / "repository")


@pytest.fixture
def installation(tmp_path: Path, repository: Repository) -> Installation:
    return Installation(tmp_path / "home", {"ds_repository": str(repository.path)})


def landed(repository: Repository, wers: Wers) -> list[str]:
    """The SHAs of one landing for each of ``wers``, oldest first."""
    # A line of the number, so that two landings with the same WER are two commits with a change.
    scripts = [BROKEN if wer is None else SCRIPT.format(wer=wer) for wer in wers]
    return [repository.commit(f"Change {n}", {JOB: f"{text}# {n}\n"}) for n, text in enumerate(scripts)]


def journal(installation: Installation) -> Journal:
    return Journal(installation.data / "journal.jsonl", installation.cache / "last_sha1")


def trainings(installation: Installation) -> list[str]:
    """The SHA of every training that was begun, in order."""
    try:
        lines = (installation.data / "journal.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line["sha"] for line in map(json.loads, lines) if line["state"] == State.RUNNING]


def answer(done: subprocess.CompletedProcess[str]) -> str:
    """The SHA that was named as the first bad one, whatever it is called; no more than one."""
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("the first bad landing is ")]
    return line.rpartition(" ")[2]


def test_the_first_bad_landing_is_named_after_the_trainings_of_a_binary_search(
    repository: Repository, installation: Installation
) -> None:
    shas = landed(repository, [0.3] * 6 + [0.5] * 4)
    installation.variables["ds_commit_url"] = "https://example.org/{sha}"
    done = installation.run("bisect", shas[0], shas[-1][:9])
    assert done.returncode == 0, done.stderr
    assert answer(done) == shas[6]
    for word in ("Ada Park", "Change 6", f"https://example.org/{shas[6]}", "30.00%", "50.00%", shas[5][:7]):
        assert word in done.stdout
    assert "significance" in done.stdout
    assert "not enough data" in done.stdout, "no utterances.jsonl is left by these trainings"
    begun = trainings(installation)
    assert begun[:2] == [shas[0], shas[-1]], "first it is made sure that GOOD is good and BAD is bad"
    assert len(begun) - 2 <= 3, "8 landings in between"
    assert "9 landings may be the first bad one, about 4 trainings left" in done.stderr
    assert sorted(installation.trained()) == sorted(begun), "the page shows them all"
    assert {entry.state for entry in journal(installation).entries().values()} == {State.PUBLISHED}
    assert not (installation.cache / "last_sha1").exists(), "what has landed is for the ticks to find"
    assert not (installation.cache / "lock").exists()
    assert len(list((installation.data / "checkpoints").iterdir())) == 1, "as ds_keep_checkpoints says"

    again = installation.run("bisect", shas[0], shas[-1])
    assert (again.returncode, answer(again)) == (0, shas[6])
    assert trainings(installation) == begun, "nothing is trained twice"


@pytest.mark.parametrize(
    ("wers", "first_bad", "code"),
    [
        ([0.3, 0.3, 0.3, 0.3, 0.3, 0.5, None, None, 0.5, 0.5], [5], 0),
        ([0.3, 0.3, 0.3, 0.3, None, 0.3, 0.5, 0.5, 0.5, 0.5], [6], 0),
        ([0.3, 0.3, 0.3, 0.3, None, 0.5, 0.5, 0.5, 0.5, 0.5], [4, 5], 70),
        ([0.3, None, None, 0.5], [1, 2, 3], 70),
    ],
    ids=["after-it", "before-it", "just-before-it", "all-others"],
)
def test_a_landing_that_fails_to_train_is_passed_over(
    repository: Repository, installation: Installation, wers: Wers, first_bad: list[int], code: int
) -> None:
    shas = landed(repository, wers)
    for _ in range(2):
        done = installation.run("bisect", shas[0], shas[-1])
        assert done.returncode == code, done.stderr
        named = [line.rpartition(" ")[2] for line in done.stdout.splitlines() if line[-40:] in shas]
        assert named == [shas[place] for place in first_bad]
        begun = trainings(installation)
        assert len(set(begun)) == len(begun), "what failed is for the next tick to try again"
    assert "cannot be judged: its training failed" in done.stderr


def test_a_failed_landing_is_judged_once_a_person_has_it_tried_again(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"
    text = SCRIPT.format(wer=0.3).replace("echo training", f"[ -e {mended} ] || exit 1")
    (good,) = landed(repository, [0.3])
    failing = repository.commit("Needs something", {JOB: text})
    (bad,) = landed(repository, [0.5])
    assert installation.run("bisect", good, bad).returncode == 70
    mended.touch()
    assert installation.run("retry", failing).returncode == 0
    done = installation.run("bisect", good, bad)
    assert (done.returncode, answer(done)) == (0, bad), done.stderr
    assert trainings(installation) == [good, bad, failing, failing]


def test_killed_it_goes_on_where_it_was(repository: Repository, installation: Installation, tmp_path: Path) -> None:
    hold, mark = tmp_path / "hold", tmp_path / "mark"
    wait = f"[ -e {hold} ] && [ $(ls {installation.data}/runs | wc -l) = 3 ] && echo > {mark} && sleep 300\n"
    scripts = [SCRIPT.format(wer=0.3 if n < 7 else 0.5) for n in range(10)]
    shas = [
        repository.commit(f"Change {n}", {JOB: text.replace("echo training\n", f"echo training {n}\n{wait}")})
        for n, text in enumerate(scripts)
    ]
    hold.touch()
    process = installation.start("bisect", shas[0], shas[-1])
    error = threading.Thread(target=process.communicate)
    error.start()
    while not mark.exists():
        assert process.poll() is None, "it has to come to the training that waits"
        error.join(0.05)
    os.kill(process.pid, signal.SIGKILL)
    error.join()
    hold.unlink()
    before = trainings(installation)
    assert len(before) == 4, "GOOD, BAD, the middle one, and the one that was cut off"

    done = installation.run("bisect", shas[0], shas[-1])
    assert done.returncode == 0, done.stderr
    assert answer(done) == shas[7]
    assert "what was left of it is swept" in done.stderr
    assert not [path for path in (installation.data / "runs").iterdir() if path.name.startswith(".")]
    begun = trainings(installation)
    assert begun[4] == begun[3], "the one that was cut off is trained again"
    assert len(set(begun)) == len(begun) - 1, "and nothing else"
    assert len(set(begun)) - 2 <= 4


def test_what_is_trained_already_is_used(repository: Repository, installation: Installation) -> None:
    shas = landed(repository, [0.3] * 4 + [0.5] * 4)
    known = [shas[place] for place in (0, 2, 4, 7)]
    assert installation.run("run", "--sha", ",".join(known)).returncode == 0
    done = installation.run("bisect", shas[0], shas[-1])
    assert answer(done) == shas[4], done.stderr
    begun = trainings(installation)
    assert sorted(begun[:4]) == sorted(known)
    assert begun[4:] == [shas[3]], "the two beside it are known, so that no middle one is trained"
    assert installation.run("run").returncode == 0
    assert installation.last_sha1() == shas[-1]
    assert trainings(installation) == begun, "a tick takes what a bisection has trained"


@pytest.mark.parametrize(
    ("wers", "code", "said"),
    [
        ([0.3, 0.5, 0.301], 2, "is not bad: its WER is 30.10%, +0.10 percentage points from GOOD's 30.00%"),
        ([0.5, 0.5, 0.3], 2, "is better than GOOD"),
        ([None, 0.5, 0.6], 70, "GOOD {0} cannot be trained"),
        ([0.3, 0.5, None], 70, "BAD {2} cannot be trained"),
    ],
    ids=["bad-is-good", "good-is-bad", "good-fails", "bad-fails"],
)
def test_ends_that_are_not_good_and_bad_are_told(
    repository: Repository, installation: Installation, wers: Wers, code: int, said: str
) -> None:
    shas = landed(repository, wers)
    done = installation.run("bisect", shas[0], shas[2])
    assert done.returncode == code, done.stderr
    assert said.format(*(sha[:7] for sha in shas)) in done.stderr
    assert done.stdout == ""
    assert shas[1] not in trainings(installation)


def test_names_that_are_no_line_of_landings_are_told_before_anything_is_trained(
    repository: Repository, installation: Installation
) -> None:
    first = repository.train("First", 0.3)
    merged = repository.train("Second", 0.5)
    side = repository.git("rev-parse", f"{merged}^2")
    for arguments, said in [
        (("0" * 40, merged), "there is no commit 0000000"),
        ((first, "master"), "is not the SHA of a commit"),
        ((first, first[:9]), "GOOD and BAD are both"),
        ((merged, first), f"GOOD {merged[:7]} comes after BAD {first[:7]}"),
        ((side, merged), "is not on the line of landings"),
        ((first, merged, "--threshold", "-1"), "0 or more"),
        ((first, merged, "--threshold", "1", "--significance"), "not allowed with"),
    ]:
        done = installation.run("bisect", *arguments)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
    assert trainings(installation) == []


def test_a_run_that_is_on_is_not_disturbed(repository: Repository, installation: Installation) -> None:
    shas = landed(repository, [0.3, 0.5])
    with lock.held(installation.cache / "lock", "deepspeech-wer run"):
        done = installation.run("bisect", *shas)
    assert done.returncode == 75
    assert "another run holds the lock" in done.stderr
    assert trainings(installation) == []


def test_a_threshold_is_met_by_just_so_many_points(repository: Repository, installation: Installation) -> None:
    """0.41 - 0.4 is a little less than 0.01 to a computer."""
    shas = landed(repository, [0.4, 0.4, 0.41, 0.41])
    done = installation.run("bisect", shas[0], shas[-1], "--threshold", "1")
    assert (done.returncode, answer(done)) == (0, shas[2]), done.stderr
    assert installation.run("bisect", shas[0], shas[-1], "--threshold", "1.01").returncode == 2
    assert installation.run("bisect", shas[0], shas[1], "--threshold", "0").returncode == 2, "equal is not worse"


def test_the_mean_over_the_seeds_decides(repository: Repository, installation: Installation) -> None:
    """The seed moves each figure by 10 points, and only the mean of two shows what changed."""
    seeded = SCRIPT.replace("{wer}", "$wer").replace("echo training", 'wer=0.{0}; [ "$ds_random_seed" ] && wer=0.{1}')
    shas = [
        repository.commit(f"Change {n}", {JOB: seeded.format(*pair) + f"# {n}\n"})
        for n, pair in enumerate([(30, 40), (40, 30), (32, 42), (43, 33)])
    ]
    installation.variables["ds_seeds"] = "2"
    done = installation.run("bisect", shas[0], shas[-1])
    assert (done.returncode, answer(done)) == (0, shas[2]), done.stderr
    assert len(trainings(installation)) == 8
    assert "about 4 trainings left" in done.stderr
    assert "35.00% ± 7.07 over 2 seeds" in done.stdout
    assert "37.00% ± 7.07 over 2 seeds" in done.stdout


def test_what_was_tested_on_other_data_is_passed_over(repository: Repository, installation: Installation) -> None:
    other = SCRIPT.replace('"parameters": {{', '"parameters": {{"data_set": {{"name": "other"}}, ').format(wer=0.9)
    scripts = [SCRIPT.format(wer=wer) for wer in (0.3, 0.3, 0.5, 0.5)]
    scripts.insert(2, other)
    shas = [repository.commit(f"Change {n}", {JOB: f"{text}# {n}\n"}) for n, text in enumerate(scripts)]
    done = installation.run("bisect", shas[0], shas[-1])
    assert "tested on another data set" in done.stderr
    assert done.returncode == 70
    assert [sha for sha in shas if f"{sha}\n" in done.stdout] == shas[2:4]
    done = installation.run("bisect", shas[0], shas[2])
    assert done.returncode == 2
    assert "tested on another data set" in done.stderr


def transcribed(errors: int, seed: int, changed: int = 0) -> str:
    """A script that leaves ``errors`` in 1,000 words of 200 utterances, in ``changed`` of them one more each."""
    random = Random(seed)
    wrong = [random.randrange(200) for _ in range(errors)]
    counts = [wrong.count(n) + (n < changed) for n in range(200)]
    lines = [
        json.dumps({"id": f"{n}", "words": 5, "substitutions": count, "deletions": 0, "insertions": 0})
        for n, count in enumerate(counts)
    ]
    text = SCRIPT.format(wer=sum(counts) / 1000)
    return text + 'cat > "$ds_result_dir/utterances.jsonl" <<END\n' + "\n".join(lines) + "\nEND\n"


def test_by_significance_noise_is_no_change(repository: Repository, installation: Installation) -> None:
    """Landing 2 is worse by 1.5 points, which another choice of utterances would take back."""
    scripts = [transcribed(100, 0), transcribed(100, 1), transcribed(115, 2), *(transcribed(100, 0, 60),) * 2]
    shas = [repository.commit(f"Change {n}", {JOB: f"{text}# {n}\n"}) for n, text in enumerate(scripts)]
    done = installation.run("bisect", shas[0], shas[-1], "--significance")
    assert (done.returncode, answer(done)) == (0, shas[3]), done.stderr
    assert f"{shas[2][:7]} is good: against GOOD it is within noise: +1.50 percentage points" in done.stderr
    assert "200 utterances" in done.stdout
    done = installation.run("bisect", shas[0], shas[-1])
    assert answer(done) == shas[2], "by a threshold of one point it is the first bad one"
    assert "significance  within noise: +1.50 percentage points" in done.stdout
    done = installation.run("bisect", shas[1], shas[2], "--significance")
    assert done.returncode == 2
    assert "is not bad" in done.stderr


def test_by_significance_it_takes_transcripts(repository: Repository, installation: Installation) -> None:
    shas = landed(repository, [0.3, 0.5, 0.5])
    done = installation.run("bisect", shas[0], shas[-1], "--significance")
    assert done.returncode == 2
    assert "not enough data" in done.stderr
    assert "utterances.jsonl" in done.stderr


def test_an_answer_that_could_not_be_published_is_given_all_the_same(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    shas = landed(repository, [0.3, 0.5])
    known = tmp_path / "known_hosts"
    known.touch()
    installation.variables |= {
        "ds_website_server_fqdn": "127.0.0.1",
        "ds_website_server_port": "1",  # nobody listens there
        "ds_website_username": "wer",
        "ds_website_server_root": "www",
        "ds_website_known_hosts": str(known),
    }
    done = installation.run("bisect", *shas)
    assert (done.returncode, answer(done)) == (76, shas[1]), done.stderr
    assert "not published" in done.stderr
    installation.variables = {"ds_repository": str(repository.path)}
    done = installation.run("bisect", *shas)
    assert done.returncode == 0, done.stderr
    assert trainings(installation) == shas
    assert sorted(installation.trained()) == sorted(shas), "what was missing on the page is shown now"


def test_a_subject_that_a_terminal_would_obey_is_shown_as_its_code(
    repository: Repository, installation: Installation
) -> None:
    good = repository.commit("Good", {JOB: SCRIPT.format(wer=0.3)})
    bad = repository.commit("\x1b[31mred", {JOB: SCRIPT.format(wer=0.5)}, author="\x1b]0;Mallory\x07")
    done = installation.run("bisect", good, bad)
    assert answer(done) == bad
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout + done.stderr


# The search alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 9, 16, 17, 33])
def test_the_search_needs_no_more_steps_than_there_are_bits(count: int) -> None:
    for first_bad in range(1, count):
        search, steps = Search((), 0, count - 1), 0
        while todo := search.open():
            search.note(todo[0], todo[0] >= first_bad)
            steps += 1
        assert (search.is_exact, search.high) == (True, first_bad)
        assert steps <= (count - 2).bit_length()


def test_the_search_leaves_what_cannot_be_told_apart() -> None:
    random = Random(1)
    for _ in range(300):
        count = random.randint(2, 20)
        first_bad = random.randint(1, count - 1)
        failing = {place for place in range(1, count - 1) if random.random() < 0.4}
        search = Search((), 0, count - 1)
        while todo := search.open():
            search.note(todo[0], None if todo[0] in failing else todo[0] >= first_bad)
        judged = set(range(count)) - failing
        assert search.low == max(place for place in judged if place < first_bad)
        assert search.high == min(place for place in judged if place >= first_bad)
