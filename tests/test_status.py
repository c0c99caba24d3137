from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import config, lock, page, runlog, schedule, status
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import PublishError, SettingsError, TrackerError
from deepspeech_wer.job.spec import JobSpec, Status
from deepspeech_wer.journal import Journal, State
from deepspeech_wer.landings import Landing
from deepspeech_wer.log import Log
from history import BROKEN, SCRIPT, Repository
from installation import Installation


def sha(number: int) -> str:
    return f"{number:07x}" * 5 + "00000"


def landing(number: int, subject: str = "") -> Landing:
    return Landing(sha(number), (), "Ada Park", "2026-11-21T00:00:00+00:00", subject or f"Change {number}", number)


@dataclass
class Tracker:
    """The folders of a tracker, and what a tick would write into them."""

    settings: Settings

    @property
    def journal(self) -> Journal:
        return Journal(self.settings.dataroot / "journal.jsonl", self.settings.cache / "last_sha1")

    def begin(self, number: int, run: str, seed: int = 0, log: str = "hello\n") -> Path:
        """A run of a landing that is on; its partial folder."""
        result = self.settings.dataroot / "runs" / run
        spec = JobSpec(run, landing(number), "main", Path("/c"), result, Path("/p"), "", "", seed=seed)
        spec.partial.mkdir(parents=True)
        (spec.partial / "job.json").write_text(spec.to_json())
        (spec.partial / "log.txt").write_text(log)
        return spec.partial

    def end(self, folder: Path, wer: float | None) -> Path:
        """Make a run whole."""
        state = Status("failed", "2026", "2026", "no such corpus") if wer is None else Status("trained", "2026", "2026")
        (folder / "status.json").write_text(state.to_json())
        if wer is not None:
            (folder / "hyper.json").write_text(
                json.dumps({"context": {}, "parameters": {}, "results": {"test_wer": wer}})
            )
        return folder.rename(folder.with_name(folder.name[1 : -len(".partial")]))


@pytest.fixture
def tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    monkeypatch.setattr("xdg.BaseDirectory.xdg_cache_home", str(tmp_path / "cache"))
    monkeypatch.setattr("xdg.BaseDirectory.xdg_config_home", str(tmp_path / "config"))
    monkeypatch.setattr("xdg.BaseDirectory.xdg_data_home", str(tmp_path / "data"))
    monkeypatch.setattr(schedule, "planned", lambda now: [])  # not those of whoever tests
    repository = {"ds_repository": "https://ada:geheim@git.example.org/speech.git"}
    return Tracker(config.load(environment=repository))


def shown(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    """What status prints, for people and as JSON."""
    capsys.readouterr()
    assert status.status(tracker.settings, as_json=False) == 0
    text = capsys.readouterr().out
    assert status.status(tracker.settings, as_json=True) == 0
    return text, json.loads(capsys.readouterr().out)


NAMES = {
    *("time", "repository", "ref", "lock", "last_sha1", "head", "is_settled", "current", "queue", "failed"),
    *("unpublished", "publish_trouble", "published", "trouble", "lock_trouble", "log", "next_tick", "gone_back"),
}


def test_before_the_first_run_nothing_is_there_and_nothing_is_made(
    tracker: Tracker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, value = shown(tracker, capsys)
    assert set(value) == NAMES
    assert all(f"\n    {name}  " in str(status.__doc__) or f";  {name}  " in str(status.__doc__) for name in NAMES)
    assert "none yet: the first run trains only the head" in text
    assert "geheim" not in text + json.dumps(value)
    assert value["repository"] == "https://git.example.org/speech.git"
    assert (value["queue"], value["current"], value["lock"], value["next_tick"]) == ([], None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_on(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tracker.journal
    journal.note_found({landing(1, "Faster\x1b[2J beams"): "", landing(2): ""})
    folder = tracker.begin(1, "20261121-090000-0000001-abcdef")
    journal.note(sha(1), State.RUNNING, folder.name[1:-8], seed=0)
    (folder / "status.json").write_text(Status("running", "2026", cell=3, cells=12).to_json())
    lines = ({"epoch": 4, "epochs": 30, "eta_seconds": 9000}, {"epoch": 5, "epochs": 30, "eta_seconds": 7200})
    (folder / "learning.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 6, "ep')
    learned = folder / "learning.jsonl"
    os.utime(learned, (learned.stat().st_atime, learned.stat().st_mtime - 600))
    with lock.held(tracker.settings.cache / "lock", "a test"):
        text, value = shown(tracker, capsys)
    assert f"pid {os.getpid()} " in value["lock"]
    current = value["current"]
    assert (current["sha"], current["cell"], current["cells"]) == (sha(1), 3, 12)
    assert (current["epoch"], current["epochs"], current["attempt"]) == (5, 30, 1)
    assert 6500 < current["eta_seconds"] <= 6600
    assert current["is_cut_off"] is False
    assert current["log"] == str(folder / "log.txt")
    assert [each["sha"] for each in value["queue"]] == [sha(2)]
    assert "cell 3 of 12, epoch 5 of 30, about 1 h 50 min left" in text
    assert "\x1b" not in text
    assert r"Faster\x1b[2J beams" in text


@pytest.mark.parametrize(
    "line", ["", "[]\n", '{"epoch": "x", "eta_seconds": NaN}\n', '{"eta_seconds": "soon"}\n', "\xff\n"]
)
def test_a_training_that_tells_nonsense(tracker: Tracker, capsys: pytest.CaptureFixture[str], line: str) -> None:
    folder = tracker.begin(1, "20261121-090000-0000001-abcdef")
    tracker.journal.note(sha(1), State.RUNNING, folder.name[1:-8], landing=landing(1))
    (folder / "learning.jsonl").write_text(line, encoding="latin-1")
    _, value = shown(tracker, capsys)
    assert value["current"]["eta_seconds"] is None


def test_a_run_whose_tick_was_killed(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    tracker.journal.note(sha(1), State.RUNNING, "20261121-090000-0000001-abcdef", landing=landing(1))
    text, value = shown(tracker, capsys)
    assert value["current"]["is_cut_off"] is True
    assert value["current"]["log"] is None
    assert "it was cut off" in text


def test_what_failed_waits_and_is_published(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tracker.journal
    journal.note_found({landing(number): "" for number in range(1, 7)} | {landing(7): "its message says so"})
    for number, wer in ((1, 0.25), (2, None), (3, None), (4, 0.5)):
        run = f"20261121-09000{number}-{sha(number)[:7]}-abcdef"
        journal.note(sha(number), State.RUNNING, run, seed=0)
        folder = tracker.end(tracker.begin(number, run), wer)
        journal.note(
            sha(number), State.FAILED if wer is None else State.TRAINED, run, seed=0, why="" if wer else "no x"
        )
        if number == 2:
            journal.note(sha(2), State.PASSED, run, "no x")
        if number < 3:
            journal.note_published(1)
        assert folder.is_dir()
    journal.note(sha(5), State.PUT_OFF, why="the disk is full")
    journal.advance(sha(2))
    text, value = shown(tracker, capsys)
    assert value["last_sha1"] == sha(2)
    assert [each["sha"] for each in value["failed"]] == [sha(3), sha(2)] or [
        each["sha"] for each in value["failed"]
    ] == [sha(2), sha(3)]  # of the same second
    given_up = {each["sha"]: each["is_given_up"] for each in value["failed"]}
    assert given_up == {sha(2): True, sha(3): False}
    assert all(each["why"] == "no x" and Path(each["log"]).is_file() for each in value["failed"])
    assert [each["sha"] for each in value["queue"]] == [sha(3), sha(5), sha(6)]
    retry, put_off, found = value["queue"]
    assert retry["due"] is not None
    assert retry["failures"] == 1
    assert (put_off["state"], put_off["why"], put_off["due"]) == ("put off", "the disk is full", None)
    assert (found["state"], found["seeds"]) == ("found", [0])
    assert [each["sha"] for each in value["unpublished"]] == [sha(3), sha(4)]
    assert value["published"]["sha"] in (sha(1), sha(2))
    assert "tried again after" in text
    assert "once, and is passed: no x" in text


def test_what_was_published_last_with_its_mean(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, wer in ((0, 0.2), (1, 0.3)):
        run = f"20261121-09000{seed}-{sha(1)[:7]}-abcdef"
        tracker.end(tracker.begin(1, run, seed), wer)
        tracker.journal.note(sha(1), State.TRAINED, run, seed=seed)
    tracker.journal.note_published(2)
    text, value = shown(tracker, capsys)
    assert value["published"]["test_wer"] == pytest.approx(0.25)
    assert value["published"]["subject"] == "Change 1"  # the journal does not know it, the run does
    assert "test WER 25.00%" in text


def test_trouble_and_the_log(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    root = tracker.settings.dataroot
    (root / "logs").mkdir(parents=True)
    told = {"time": "2026-11-21T02:00:00+00:00", "message": "the disk is full", "hint": "make room"}
    (root / "trouble.json").write_text(json.dumps(told))
    log = root / "logs" / "deepspeech-wer.log"
    log.write_text("not published, since ds_website_server_fqdn is not set\nFix failed build\n")
    tracker.journal.note(sha(1), State.PUT_OFF, why="the disk is full", landing=landing(1))
    text, value = shown(tracker, capsys)
    assert value["trouble"] == told
    assert value["log"] == str(log) and str(log) in text
    assert "not published" not in text and "Fix failed build" not in text
    assert text.count("the disk is full") == 1
    assert "since 2026-11-21 02:00 UTC: the disk is full" in text
    assert "make room" in text


def test_a_publish_error_is_told_until_it_is_over(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    server = {"website_server_fqdn": "127.0.0.1", "website_username": "ada", "website_server_root": "/srv"}
    tracker.journal.note(sha(1), State.TRAINED, "20261121-090000-0000001-abcdef", seed=0, landing=landing(1))
    away = replace(tracker.settings, **server, website_server_port=1, website_timeout=5)
    page.build(tracker.settings, Log())
    with pytest.raises(PublishError) as caught:
        page.publish(away, Log())
    text, value = shown(tracker, capsys)
    assert value["publish_trouble"]["message"] == caught.value.message
    assert text.count(caught.value.message) == 1 and caught.value.hint in text
    page.publish(tracker.settings, Log())
    text, value = shown(tracker, capsys)
    assert value["publish_trouble"] is None and caught.value.message not in text


def test_a_failure_is_told_once_also_while_the_landing_is_tried_again(
    tracker: Tracker, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (f"20261121-09000{n}-{sha(1)[:7]}-abcdef" for n in (1, 2))
    tracker.journal.note(sha(1), State.RUNNING, first, seed=0, landing=landing(1))
    log = tracker.end(tracker.begin(1, first), None) / "log.txt"
    tracker.journal.note(sha(1), State.FAILED, first, "no such corpus", seed=0)
    text, value = shown(tracker, capsys)
    assert text.count("no such corpus") == 1
    tracker.journal.note(sha(1), State.RUNNING, second, seed=0)
    tracker.begin(1, second)
    text, value = shown(tracker, capsys)
    assert text.count("no such corpus") == 1
    (failed,) = value["failed"]
    assert (failed["time"], failed["why"], failed["log"]) == ("2026", "no such corpus", str(log))
    assert value["current"]["run"] == second


def test_without_a_repository(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    text, value = shown(Tracker(replace(tracker.settings, repository="")), capsys)
    assert value["repository"] is None
    assert "no repository is named: set ds_repository\n" in text


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: path.symlink_to(path)], ids=["folder", "loop"]
)
def test_a_lock_that_no_run_can_take_is_not_free(
    tracker: Tracker, capsys: pytest.CaptureFixture[str], make: Callable[[Path], None]
) -> None:
    path = tracker.settings.cache / "lock"
    path.parent.mkdir(parents=True)
    make(path)
    text, value = shown(tracker, capsys)
    assert value["lock"] is None and str(path) in value["lock_trouble"]
    assert f"lock         the lock {path} cannot be opened" in text
    with pytest.raises(TrackerError) as caught, lock.held(path, "a test"):
        pass
    assert caught.value.message == value["lock_trouble"]


def test_the_next_tick(tracker: Tracker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    monkeypatch.setattr(schedule, "planned", lambda now: [schedule.Starter("x", now + timedelta(minutes=12))])
    text, value = shown(tracker, capsys)
    assert value["next_tick"] > value["time"]
    assert ", in 12 min" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (3570, "1 h 0 min"), (200_000, "2 d 7 h"), (11_100, "3 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert status.duration(seconds) == text


# The log ----------------------------------------------------------------------------------------------------------


def test_the_log_of_the_newest_run(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    early, late = (f"20261121-0{hour}0000-{sha(1)[:7]}-abcdef" for hour in (7, 9))
    tracker.end(tracker.begin(1, late, log="of the run before the clock was set back\n"), 0.2)
    tracker.end(tracker.begin(1, early, log="Überraschung \x1b]0;title\x07\n" * 20_000), 0.2)
    tracker.journal.note(sha(1), State.TRAINED, early, landing=landing(1))
    for name in (sha(1)[:7], sha(1)[:4], sha(1).upper()):
        assert runlog.log_of(tracker.settings, name) == 0
        assert capsys.readouterr().out == "Überraschung \n" * 20_000


def test_the_log_of_a_run_that_the_journal_does_not_know(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    for hour in (7, 9):
        run = f"20261121-0{hour}0000-{sha(1)[:7]}-abcdef"
        tracker.end(tracker.begin(1, run, log=f"at {hour}\n"), 0.2)
    runlog.log_of(tracker.settings, sha(1)[:5])
    assert capsys.readouterr().out == "at 9\n"


def test_a_name_that_means_no_landing_or_several(tracker: Tracker) -> None:
    with pytest.raises(SettingsError, match="no landing 1234567") as caught:
        runlog.log_of(tracker.settings, "1234567")
    assert "nothing has been trained" in caught.value.hint
    tracker.journal.note_found({landing(number): "" for number in (0xABC0001, 0xABC0002, 0x1111111)})
    with pytest.raises(SettingsError, match=r"means several landings: abc0001\w+, abc0002"):
        runlog.log_of(tracker.settings, "abc0")
    with pytest.raises(SettingsError, match="no landing abc0009") as caught:
        runlog.log_of(tracker.settings, "abc0009")
    assert "abc0001, abc0002" in caught.value.hint
    assert "1111111" not in caught.value.hint
    with pytest.raises(SettingsError, match="has no run: it is found"):
        runlog.log_of(tracker.settings, "abc0001")
    for name in ("", "abc", "HEAD", "../../etc", "g" * 40, "a" * 41):
        with pytest.raises(SettingsError, match="not the SHA"):
            runlog.log_of(tracker.settings, name)


def test_a_link_in_the_place_of_the_log_is_not_followed(tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim")
    folder = tracker.begin(1, f"20261121-090000-{sha(1)[:7]}-abcdef")
    (folder / "log.txt").unlink()
    (folder / "log.txt").symlink_to(tmp_path / "secret")
    tracker.end(folder, 0.2)
    with pytest.raises(TrackerError, match="has no log"):
        runlog.log_of(tracker.settings, sha(1)[:7])


@dataclass
class Following:
    """``log --follow`` in a thread, and what it has printed so far."""

    folder: Path
    out: io.StringIO
    thread: threading.Thread

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + 20
        while text not in self.out.getvalue():
            assert time.monotonic() < end, self.out.getvalue()
            time.sleep(0.01)

    def write(self, text: str) -> None:
        with (self.folder / "log.txt").open("a") as file:
            file.write(text)

    def end(self) -> None:
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def following(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> Following:
    monkeypatch.setattr(runlog, "_POLL", 0.01)
    run = f"20261121-090000-{sha(1)[:7]}-abcdef"
    folder = tracker.begin(1, run, log="first\n")
    tracker.journal.note(sha(1), State.RUNNING, run, landing=landing(1))
    out = io.StringIO()

    def follow() -> None:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            runlog.log_of(tracker.settings, sha(1)[:7], follow=True)

    return Following(folder, out, threading.Thread(target=follow, daemon=True))


def test_a_log_is_followed_until_the_run_is_whole(tracker: Tracker, following: Following) -> None:
    with lock.held(tracker.settings.cache / "lock", "a test"):
        following.thread.start()
        following.wait_for("first\n")
        following.write("second\n")
        following.wait_for("second\n")
        following.write("last\n")
        tracker.end(following.folder, 0.2)
        following.end()
    assert following.out.getvalue() == "first\nsecond\nlast\n"


def test_a_log_that_is_not_there_yet_is_waited_for(tracker: Tracker, following: Following) -> None:
    (following.folder / "log.txt").unlink()
    with lock.held(tracker.settings.cache / "lock", "a test"):
        following.thread.start()
        following.write("late\n")
        following.wait_for("late\n")
        tracker.end(following.folder, 0.2)
        following.end()


def test_a_log_whose_tick_is_killed_is_not_followed_for_ever(tracker: Tracker, following: Following) -> None:
    with lock.held(tracker.settings.cache / "lock", "a test"):
        following.thread.start()
        following.wait_for("first\n")
    following.end()
    assert "was cut off" in following.out.getvalue()


# The whole command ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened_by_another(gate: Path, process: subprocess.Popen[str]) -> Iterator[None]:
    """Hold the named pipe open from the time that somebody below ``process`` reads from it."""
    end = time.monotonic() + 60
    while True:
        try:
            descriptor = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:  # nobody reads from it yet
            assert time.monotonic() < end and process.poll() is None, process.communicate()
            time.sleep(0.02)
    try:
        yield
    finally:
        os.close(descriptor)


def test_the_command_while_a_tick_is_on_and_after_it(tmp_path: Path) -> None:
    repository = Repository.begun(tmp_path / "repository")
    installation = Installation(tmp_path / "home", {"ds_repository": str(repository.path)})
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    waits = SCRIPT.format(wer=0.25).replace("echo training", f"echo training; cat {gate} >/dev/null")
    commit = repository.land("Wait", {"bin/run-wer-automation.sh": waits})
    tick = installation.start("run")
    try:
        with opened_by_another(gate, tick):
            value = json.loads(installation.run("status", "--json").stdout)
            assert f"pid {tick.pid} " in value["lock"]
            assert (value["current"]["sha"], value["current"]["is_cut_off"]) == (commit, False)
            assert value["head"] == commit
            assert "training\n" in Path(value["current"]["log"]).read_text()
        tick.communicate(timeout=60)
    finally:
        tick.kill()
    value = json.loads(installation.run("status", "--json").stdout)
    assert (value["lock"], value["current"], value["is_settled"]) == (None, None, True)
    assert (value["last_sha1"], value["published"]["test_wer"]) == (commit, 0.25)
    broken = repository.land("Break", {"bin/run-wer-automation.sh": BROKEN})
    assert installation.run("run").returncode == 70
    text = installation.run("status").stdout
    assert f"{broken[:7]} Merge: Break" in text
    assert "no such corpus" in text
    assert "nothing is left to do" not in text
