"""What a tick does where a landing, or the machine, fails: retries, waits, limits of room, wishes, seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from history import BROKEN, SCRIPT, Repository
from installation import Installation

SCRIPT_NAME = "bin/run-wer-automation.sh"

#: Fails as long as the file {flag} is there, and counts its runs in {tally}.
SHAKY = """#!/bin/sh
echo "run $ds_random_seed" >> {tally}
test -e {flag} && exit 3
cat > "$ds_result_dir/hyper.json" <<END
{{"context": {{}}, "parameters": {{"seed": "$ds_random_seed"}}, "results": {{"test_wer": 0.5}}}}
END
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.begun(tmp_path / "repository")


@pytest.fixture
def installation(tmp_path: Path, repository: Repository) -> Installation:
    return Installation(tmp_path / "home", {"ds_repository": str(repository.path), "ds_retry_wait": "0"})


@pytest.fixture
def shaky(tmp_path: Path, repository: Repository) -> Path:
    """The head's training fails; the flag that makes it fail."""
    flag, tally = tmp_path / "flag", tmp_path / "tally"
    flag.touch()
    tally.touch()
    repository.land("Shaky", {SCRIPT_NAME: SHAKY.format(tally=tally, flag=flag)})
    return flag


def tally(flag: Path) -> list[str]:
    return flag.with_name("tally").read_text().splitlines()


def states(installation: Installation, sha: str) -> list[str]:
    lines = (installation.data / "journal.jsonl").read_text().splitlines()
    return [line["state"] for line in map(json.loads, lines) if line["sha"] == sha]


def test_a_failed_landing_is_tried_again_and_then_passed(
    repository: Repository, installation: Installation, shaky: Path
) -> None:
    head = repository.git("rev-parse", "HEAD")
    for attempt in (1, 2, 3):
        done = installation.run("run")
        assert done.returncode == 70, done.stderr
        assert len(tally(shaky)) == attempt
    assert "has failed 3 times and is passed" in done.stderr
    assert installation.last_sha1() == head
    done = installation.run("run")
    assert (done.returncode, len(tally(shaky))) == (0, 3)
    assert "nothing new" in done.stderr
    assert states(installation, head).count("failed") == 3
    assert states(installation, head)[-3:] == ["published", "advanced", "settled"]
    assert head[:7] in (installation.data / "www" / "index.html").read_text()

    shaky.unlink()
    assert installation.run("retry", head[:8]).returncode == 0
    assert installation.run("run").returncode == 0
    assert installation.trained() == [head]
    assert installation.last_sha1() == head
    assert "nothing new" in installation.run("run").stderr


def test_a_landing_that_recovers_is_trained_and_last_sha1_waits_for_it(
    repository: Repository, installation: Installation, shaky: Path
) -> None:
    first = repository.git("rev-parse", "HEAD")
    assert installation.run("run").returncode == 70
    assert not (installation.cache / "last_sha1").exists()
    second = repository.train("Good", 0.4)
    installation.variables["ds_retry_wait"] = "1000"
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [second], "what came after it does not wait"
    assert f"{first[:7]} has failed and is tried again after" in done.stderr
    assert not (installation.cache / "last_sha1").exists()
    shaky.unlink()
    installation.variables["ds_retry_wait"] = "0"
    assert installation.run("run").returncode == 0
    assert installation.trained() == [first, second]
    assert installation.last_sha1() == second
    assert len(tally(shaky)) == 2


def test_too_little_room_counts_against_nobody(repository: Repository, installation: Installation) -> None:
    head = repository.train("Good", 0.5)
    installation.variables["ds_disk_free"] = "1e9"
    for _ in range(4):
        done = installation.run("run")
        assert done.returncode == 70
        assert "too little room for a run" in done.stderr
        assert "lower ds_disk_free" in done.stderr
    assert states(installation, head) == ["found"]
    assert not (installation.cache / "last_sha1").exists()
    assert (installation.data / "trouble.json").exists()
    del installation.variables["ds_disk_free"]
    assert installation.run("run").returncode == 0
    assert installation.last_sha1() == head
    assert not (installation.data / "trouble.json").exists()


def test_a_gpu_that_is_demanded_and_not_there(repository: Repository, installation: Installation) -> None:
    head = repository.train("Good", 0.5)
    installation.variables |= {"ds_require_gpu": "1", "ds_cuda_visible_devices": "-1"}
    done = installation.run("run")
    assert done.returncode == 70
    assert "no GPU is seen" in done.stderr
    assert states(installation, head) == ["found"]


def test_a_run_that_failed_while_the_machine_is_in_trouble_does_not_count(
    repository: Repository, installation: Installation
) -> None:
    head = repository.land("Fails", {SCRIPT_NAME: BROKEN})
    assert installation.run("run").returncode == 70
    journal = installation.data / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    running = next(index for index, line in enumerate(lines) if json.loads(line)["state"] == "running")
    journal.write_text("".join(lines[: running + 1]))  # as if the tick had died before it noted the failure
    installation.variables["ds_disk_free"] = "1e9"
    done = installation.run("run")
    assert done.returncode == 70
    assert "too little room" in done.stderr
    assert states(installation, head) == ["found", "running", "put off"]
    assert list((installation.data / "runs").iterdir()) == []
    assert "no such corpus" in (installation.data / "logs" / "put-off.txt").read_text()


def test_each_seed_is_trained_and_more_can_be_asked_for(
    repository: Repository, installation: Installation, shaky: Path
) -> None:
    shaky.unlink()
    head = repository.git("rev-parse", "HEAD")
    installation.variables["ds_seeds"] = "3"
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert tally(shaky) == ["run ", "run 1", "run 2"]
    assert installation.trained() == [head] * 3
    assert [run["parameters"]["seed"] for run in installation.runs()] == ["", "1", "2"]
    assert "nothing new" in installation.run("run").stderr
    assert "2 times more" in installation.run("rerun", head, "--seeds", "2").stdout
    installation.run("run")
    assert tally(shaky)[3:] == ["run 3", "run 4"]
    assert installation.last_sha1() == head
    assert "nothing new" in installation.run("run").stderr


def test_a_seed_that_fails_is_tried_again_and_the_others_are_not_trained_twice(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    script = SCRIPT.format(wer=0.5).replace(
        "echo training", f'echo "$ds_random_seed" >> {mark}; [ "$ds_random_seed" = 1 ] && [ ! -e {mark}.ok ] && exit 3'
    )
    head = repository.land("One bad seed", {SCRIPT_NAME: script})
    installation.variables["ds_seeds"] = "3"
    assert installation.run("run").returncode == 70
    assert mark.read_text().splitlines() == ["", "1"]
    mark.with_suffix(".ok").touch()
    assert installation.run("run").returncode == 0
    assert mark.read_text().splitlines() == ["", "1", "1", "2"]
    assert installation.last_sha1() == head


def test_the_first_seed_follows_the_users_own(repository: Repository, installation: Installation, shaky: Path) -> None:
    shaky.unlink()
    installation.variables |= {"ds_seeds": "2", "ds_random_seed": "40"}
    installation.run("run")
    assert tally(shaky) == ["run 40", "run 41"]


def test_what_is_skipped_is_not_trained_and_does_not_hold_up(
    repository: Repository, installation: Installation, shaky: Path
) -> None:
    head = repository.git("rev-parse", "HEAD")
    assert installation.run("run").returncode == 70
    done = installation.run("skip", head[:7], "--why", "a known bad corpus")
    assert done.returncode == 0, done.stderr
    assert installation.run("run").returncode == 0
    assert len(tally(shaky)) == 1
    assert installation.last_sha1() == head
    assert installation.run("skip", "0123456", "--why", "x").returncode == 2


def test_only_the_newest(repository: Repository, installation: Installation) -> None:
    first = repository.train("One", 0.5)
    installation.run("run")
    second, third = repository.train("Two", 0.4), repository.train("Three", 0.3)
    installation.variables["ds_landings_newest"] = "1"
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert installation.trained() == [first, third]
    assert states(installation, second) == ["found", "skipped"]
    assert installation.last_sha1() == third


def test_what_waits_on_a_branch_that_was_rewritten_is_dropped(
    repository: Repository, installation: Installation, shaky: Path
) -> None:
    base = repository.git("rev-parse", "HEAD~1")
    shaky.unlink()
    first = repository.git("rev-parse", "HEAD")
    installation.run("run")
    bad = repository.land("Bad", {SCRIPT_NAME: BROKEN})
    assert installation.run("run").returncode == 70
    repository.git("reset", "--quiet", "--hard", base)
    good = repository.train("Another", 0.3)
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert "the branch was rewritten" in done.stderr
    assert installation.trained() == [first, good] or installation.trained() == [good, first]
    assert states(installation, bad)[-1] == "skipped"
    assert installation.last_sha1() == good
    assert "nothing new" in installation.run("run").stderr


@pytest.mark.parametrize("is_last_sha1_lost", [False, True])
def test_a_branch_that_is_set_back_to_where_it_was_has_its_landings_again(
    repository: Repository, installation: Installation, shaky: Path, is_last_sha1_lost: bool
) -> None:
    base = repository.git("rev-parse", "HEAD~1")
    shaky.unlink()
    assert installation.run("run").returncode == 0
    shaky.touch()
    waiting = repository.commit("Shaky as before")
    assert installation.run("run").returncode == 70
    repository.git("reset", "--quiet", "--hard", base)
    repository.train("Pushed by mistake", 0.3)
    assert installation.run("run").returncode == 0
    assert states(installation, waiting)[-1] == "skipped"
    repository.git("reset", "--quiet", "--hard", waiting)
    if is_last_sha1_lost:
        (installation.cache / "last_sha1").write_text("ab" * 20 + "\n")
    shaky.unlink()
    done = installation.run("run")
    assert done.returncode == 0, done.stderr
    assert states(installation, waiting)[-5:] == ["running", "trained", "published", "advanced", "settled"]
    assert waiting in installation.trained()
    assert installation.last_sha1() == waiting


def test_a_branch_that_was_another_one_for_a_while_has_its_landings_again(
    repository: Repository, installation: Installation, shaky: Path
) -> None:
    waiting = repository.git("rev-parse", "HEAD")
    assert installation.run("run").returncode == 70
    installation.variables["ds_retry_wait"] = "10000"
    trained = repository.train("Good", 0.5)
    assert installation.run("run").returncode == 0
    new = repository.land("Lands just before the mishap", {SCRIPT_NAME: SCRIPT.format(wer=0.4)})
    repository.git("checkout", "--quiet", "--orphan", "other")
    other = repository.commit("Another history")
    repository.git("branch", "--move", "--force", "other", "main")
    assert installation.run("run").returncode == 0
    assert states(installation, waiting)[-1] == "skipped"
    repository.git("reset", "--quiet", "--hard", new)
    installation.variables["ds_retry_wait"] = "0"
    shaky.unlink()
    assert installation.run("run").returncode == 0
    assert sorted(installation.trained()) == sorted([waiting, trained, other, new])
    assert installation.last_sha1() == new


def test_a_failed_landing_that_is_skipped_before_the_page_knows_of_it_stays_skipped(
    repository: Repository, installation: Installation, shaky: Path
) -> None:
    head = repository.git("rev-parse", "HEAD")
    nowhere = {"server_fqdn": "127.0.0.1", "server_port": "1", "server_root": "www", "username": "nobody"}
    website = {f"ds_website_{name}": value for name, value in nowhere.items()}
    installation.variables |= website
    assert installation.run("run").returncode == 76
    assert installation.run("skip", head, "--why", "it is shaky").returncode == 0
    for name in website:
        del installation.variables[name]
    assert installation.run("run").returncode == 0
    assert states(installation, head)[-4:] == ["skipped", "shown", "advanced", "settled"]
    assert head[:7] in (installation.data / "www" / "index.html").read_text(), "what it came to before is shown"
    assert "nothing new" in installation.run("run").stderr
    assert installation.run("retry", head).returncode == 0


def test_a_training_that_is_cut_off_again_and_again_counts_as_failed(
    repository: Repository, installation: Installation
) -> None:
    script = "#!/bin/sh\nkill -9 $(cut -d' ' -f4 /proc/$PPID/stat)\nsleep 60\n"  # the tick, which is above the worker
    head = repository.land("Ends the tick", {SCRIPT_NAME: script})
    installation.variables["ds_retries"] = "0"
    for _ in range(5):
        assert installation.run("run").returncode == -9
    done = installation.run("run")
    assert "its training was cut off 5 times" in done.stderr
    assert states(installation, head).count("cut off") == 4
    assert installation.last_sha1() == head
    assert "cut off 5 times" in (installation.data / "www" / "index.html").read_text()


def test_a_place_that_cannot_be_used_is_told_and_counts_against_nobody(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    head = repository.train("Good", 0.5)
    (tmp_path / "clones").write_text("a file")
    told = tmp_path / "told"
    installation.variables |= {"ds_clone_path": str(tmp_path / "clones"), "ds_notify_command": f"cat >> {told}"}
    for _ in range(7):
        done = installation.run("run")
        assert done.returncode == 70
    assert str(tmp_path / "clones") in done.stderr
    assert "failed" not in states(installation, head)
    assert told.read_text().count('"kind": "failure"') == 1
    assert str(tmp_path / "clones") in (installation.data / "logs" / "deepspeech-wer.log").read_text()
    assert (installation.data / "trouble.json").exists()
    del installation.variables["ds_clone_path"]
    assert installation.run("run").returncode == 0
    assert installation.last_sha1() == head
    assert told.read_text().count('"kind": "recovery"') == 1


def test_a_bug_of_ours_that_one_landing_meets_blocks_the_others_not_for_ever(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    """The bug is injected: the engine breaks at every landing of that subject."""
    bug = tmp_path / "bug" / "sitecustomize.py"
    bug.parent.mkdir()
    bug.write_text(
        "import deepspeech_wer.engines.local as local\n"
        "real = local.LocalEngine.run\n"
        "def run(self, spec, watch=None):\n"
        "    return 1 / 0 if 'Odd' in spec.landing.subject else real(self, spec, watch)\n"
        "local.LocalEngine.run = run\n"
    )
    installation.variables |= {"PYTHONPATH": str(bug.parent), "ds_retries": "0"}
    odd = repository.train("Odd", 0.5)
    good = ""
    for tick in range(8):
        process = installation.start("run")
        _, err = process.communicate(timeout=60)
        if tick == 0:
            good = repository.train("Good", 0.4)
            assert "ZeroDivisionError" in err
            assert "ZeroDivisionError" in (installation.data / "logs" / "deepspeech-wer.log").read_text()
        if process.returncode == 0:
            break
    assert installation.trained() == [good]
    assert installation.last_sha1() == good
    assert states(installation, odd).count("cut off") == 4


def test_a_tick_whose_terminal_is_gone_goes_on(repository: Repository, installation: Installation) -> None:
    head = repository.train("Good", 0.5)
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "deepspeech_wer", "run"], env=installation.environment(), stderr=write, cwd="/"
    )
    os.close(write)
    assert process.wait(60) == 0
    assert installation.trained() == [head]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ds_seeds", "9" * 20, "from 1 to 100"),
        ("ds_landings_since", "0001-01-01T00:00+14:00", "a date such as"),
        ("ds_retries", "two", "a whole number"),
        ("ds_wer_automation", "/bin/true", "inside the checkout"),
        ("ds_notebook", "../x.ipynb", "inside the checkout"),
        ("ds_website_timeout", "0", "above 0"),
        ("ds_ionice", "rt", "one of idle, best-effort"),
        ("ds_notify_on", "everything", "is none of failure"),
    ],
)
def test_a_setting_that_would_fail_each_landing_is_refused_at_once(
    installation: Installation, name: str, value: str, expected: str
) -> None:
    done = installation.run("run", "--set", f"{name}={value}")
    assert done.returncode == 2
    assert expected in done.stderr
    assert name in done.stderr


@pytest.mark.parametrize(
    "text",
    ['[job]\n"A=B" = "x"\n', '[job]\nA = "x\\u0000"\n', '[parameters]\n"a-b" = 1\n', "[parameters]\nclass = 1\n"],
)
def test_tables_that_no_process_and_no_notebook_could_take(
    installation: Installation, tmp_path: Path, text: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    done = installation.run("run", "--config", str(config))
    assert done.returncode == 2, done.stderr


def test_a_key_that_is_not_there_is_told_before_the_training(
    repository: Repository, installation: Installation, tmp_path: Path
) -> None:
    installation.variables |= {
        "ds_website_server_fqdn": "127.0.0.1",
        "ds_website_username": "wer",
        "ds_website_server_root": "www",
        "ds_website_privkey": str(tmp_path / "absent"),
    }
    done = installation.run("run")
    assert done.returncode == 2
    assert "ds_website_privkey" in done.stderr
    assert not installation.data.exists()


def test_a_subject_in_a_locale_that_has_not_its_letters(repository: Repository, installation: Installation) -> None:
    repository.train("Grüße 日本", 0.5)
    installation.variables |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert installation.run("run").returncode == 0
    for verb in ("status", "landings"):
        assert installation.run(verb).returncode == 0
