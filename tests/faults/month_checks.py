"""What has to hold in a simulated month: after each tick, and when all troubles are over.

It is derived from the repository, from what the trainings themselves counted, and from the files that are there, not
from what the tracker says of itself, but for the journal, whose lines are read here anew.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.landings import Watcher
from faults.month_history import KINDS

if TYPE_CHECKING:
    from faults.month import Month

#: The exit codes that are documented, and those of signals that a month sends.
CODES = {0, 70, 76}

#: How often in a row a run may be cut off before that counts as a failure, as the README has it not: see queue.py.
_CUT_OFF = 5

#: What a failed run says whose process was ended from outside.
_ENDED = re.compile(r"was ended by SIG(KILL|TERM)|was ended by SIGTERM, from outside|was cut off 5 times")

#: Bytes that a log may have beyond ds_log_limit: what the tracker itself has to say.
_OWN_WORDS = 8192


@dataclass(frozen=True)
class Done:
    """A tick that is over: its exit code, what it told, what was done to it, and what was wrong meanwhile."""

    number: int
    code: int
    told: str
    disturbed: str
    troubles: frozenset[str]

    @property
    def killed(self) -> bool:
        """Whether something was ended outright, so that it could not clean up after itself."""
        return self.disturbed in ("kill", "kill_all", "kill_worker", "stop_worker")


@dataclass(frozen=True)
class Run:
    """A whole result folder."""

    run: str
    sha: str
    seed: int
    trained: bool
    why: str
    seconds: float


class Checks:
    """What is asked after each tick, and at the end; AssertionError tells what does not hold."""

    def __init__(self, month: Month, watcher: Watcher) -> None:
        self.month, self.watcher = month, watcher
        self.data, self.cache = month.tracker.data, month.tracker.installation.cache
        self._began: Counter[tuple[str, int]] = Counter()
        self._trained: set[tuple[str, int]] = set()
        self._runs: dict[str, Run] = {}
        self._passed: set[str] = set()

    # After each tick --------------------------------------------------------------------------------------

    def after(self, done: Done) -> None:
        """What holds after every tick."""
        month = self.month
        assert "Traceback" not in done.told, done.told
        assert done.code in CODES | {
            "kill": {-9},
            "kill_all": {-9},
            "stop": {143, 130, 129, -15, -2, -1},  # the last where all is done and Python itself comes to its end
            "start_another": {75},
        }.get(done.disturbed, set()), f"exit code {done.code}: {done.told}"
        assert not self.watcher.seen, self.watcher.seen
        lines, bad = self.journal()
        assert all(any(text in tear for tear in month.tears) or text in b"".join(month.tears) for text in bad), bad
        month.noted |= {line["sha"] for line in lines if line["state"] in ("found", "skipped")}
        runs = self.archive()
        self._never_again(runs, done)
        self._failures(runs)
        self._told()
        self._sites(runs, done)
        if not done.killed:
            self._clean(done)
        if not done.disturbed:
            self._exit_code(lines, done)
        self._passed = {line["sha"] for line in lines if line["state"] == "passed"}
        self._failed_lines = sum(line["state"] == "failed" for line in lines)

    _failed_lines = 0

    def _never_again(self, runs: list[Run], done: Done) -> None:
        """No seed of a landing is trained once more that there is a result of."""
        trained = Counter((run.sha, run.seed) for run in runs if run.trained)
        twice = {key: count for key, count in trained.items() if count > 1}
        assert not twice, f"trained twice: {twice}"
        began = Counter(name for word, name, _ in self.tally() if word == "began")
        again = {name for name in self._trained if began[name] > self._began[name]}
        assert not again, f"trained again, although there was a result: {again}"
        ended = {run for word, _, run in self.tally() if word == "ended"}
        assert not [run for run in runs if run.trained and run.run not in ended], (
            "a result of a training that never ended"
        )
        self._began, self._trained = began, set(trained)

    def _failures(self, runs: list[Run]) -> None:
        """A landing's failures are its own, or come of what was done to it."""
        month, limit = self.month, float(self.month.tracker.installation.variables["ds_run_timeout"])
        for run in runs:
            if run.trained:
                assert month.origin.commits[run.sha].trains, f"{run} cannot have trained"
                continue
            about = KINDS[month.origin.commits[run.sha].kind]
            is_own = bool(about.why) and re.search(about.why, run.why) is not None
            is_slow = "its limit" in run.why and run.seconds >= limit - 1
            assert is_own or is_slow or _ENDED.search(run.why), f"{run} is blamed for what is not its fault"
        ended = sum(not run.trained and _ENDED.search(run.why) is not None for run in runs)
        assert ended <= month.workers_ended, f"{ended} failures by {month.workers_ended} ended workers"

    def _told(self) -> list[dict[str, Any]]:
        """What was told, each failure, recovery and regression once."""
        path = self.month.folder / "tally.told"
        lines = path.read_text().splitlines() if path.exists() else []
        told = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]  # others were killed
        causes = Counter(each["cause"] for each in told)
        often = {cause for cause, times in causes.items() if times > 1}
        assert not [cause for cause in often if cause.startswith(("landing:", "recovery:", "regression:"))], often
        return told

    def _sites(self, runs: list[Run], done: Done) -> None:
        """What is shown is what is archived, in commit order."""
        trained = {run.run for run in runs if run.trained}
        shown = [self.shown(site) for site in self.month.tracker.sites()]
        for site in shown:
            assert {each["run"] for each in site} <= trained, "the page shows what there is not"
            self._in_order([each["context"]["git_hash"] for each in site])
        is_early = done.code == 70 and self.trouble()
        if done.disturbed or is_early or done.code not in CODES:
            return
        assert {each["run"] for each in shown[0]} == trained, "the page here does not show what there is"
        assert self.rows() == {run.sha for run in runs}, "the page does not show the landings that were tried"
        if done.code != 76:
            for name in ("js/hyper.js", "js/landings.js", "index.html"):
                here, there = (site / name for site in self.month.tracker.sites())
                assert here.exists() == there.exists() and (
                    not here.exists() or here.read_bytes() == there.read_bytes()
                ), name

    def _in_order(self, shas: list[str]) -> None:
        groups = [sha for number, sha in enumerate(shas) if number == 0 or shas[number - 1] != sha]
        assert len(groups) == len(set(groups)), f"runs of one landing stand apart: {shas}"
        positions = [self.month.origin.commits[sha].position for sha in groups]
        assert positions == sorted(positions), f"not in commit order: {positions}"

    def _clean(self, done: Done) -> None:
        """Nothing of an attempt is left behind."""
        end = time.monotonic() + 10
        while processes := self.month.processes():
            # A git that was just being started when its tick was told to stop comes to its end by itself.
            is_git = all("git" in command for command in processes.values())
            assert is_git and time.monotonic() < end, f"left running after {done}: {processes}"
            time.sleep(0.02)
        left = [*self.cache.glob("clone/*"), *self.data.glob("runs/.*"), *self.cache.glob("lock")]
        assert not left, f"left behind after {done}: {left}"
        if not (done.disturbed or "nothing new" in done.told or self.trouble() or done.code == 76):
            self._nothing_left_over()

    def _nothing_left_over(self) -> None:
        """No temporary file either. On the server only folders that the site still has are looked at, and swept."""
        here, there = self.month.tracker.sites()
        left = [Path(path) for path in self.month.tracker.left_over()]
        ours = [
            path for path in left if not path.is_relative_to(there) or (here / path.relative_to(there)).parent.exists()
        ]
        assert not ours, f"left behind: {ours}"

    def _exit_code(self, lines: list[dict[str, Any]], done: Done) -> None:
        failed = sum(line["state"] == "failed" for line in lines) > self._failed_lines
        away = done.troubles & {"the repository is away", "the branch is gone"}
        expected = {70} if away else {70 if failed else 0}
        if not away and self.month.mood.trouble:
            expected.add(76)
        if "the disk is full" in done.troubles:
            expected.add(70)
        assert done.code in expected, f"exit code {done.code} and not {expected} of {done}"
        if self.month.is_on_disk and "the disk is full" in done.troubles:
            return  # whether it could be noted
        assert (self.trouble() != "") == (done.code == 70 and (bool(away) or not failed)), self.trouble()

    # At the end -------------------------------------------------------------------------------------------

    def most_ticks(self) -> int:
        """After so many ticks without troubles nothing may be left to do.

        Each may fail a landing with a retry or more to go, one mends what was left, one sees that nothing is new.
        """
        return int(self.month.tracker.installation.variables["ds_retries"]) + 4

    def at_the_end(self) -> None:
        """Nothing is lost, nothing is left, and everything is shown."""
        month, origin = self.month, self.month.origin
        assert month.done[-1].code == 0
        assert month.tracker.installation.last_sha1() == origin.head
        lines, _ = self.journal()
        of: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            if line["state"] not in ("advanced", "settled", "shown"):
                of[line["sha"]].append(line)
        assert origin.head
        branch = origin.line(origin.head)
        first = next(number for number, sha in enumerate(branch) if sha in of)
        lost = [sha for sha in branch[first:] if sha not in of]
        assert not lost, f"never noted: {lost}"
        if origin.commits[branch[0]].sha not in month.roots:
            assert first == 1, "the first landing is lost"
        runs: dict[str, list[Run]] = defaultdict(list)
        for run in self.archive():
            runs[run.sha].append(run)
        for sha, own in of.items():
            assert own[-1]["state"] in ("published", "skipped"), f"{sha} is {own[-1]}"
            self._came_to(sha, own, runs[sha], sha in branch)
        assert {sha for sha in runs if runs[sha]} <= of.keys()
        told = month.verb("status", "--json").stdout
        status = json.loads(told)
        assert (status["lock"], status["current"], status["queue"], status["unpublished"], status["trouble"]) == (
            (None, None, [], [], None)
        ), told
        given_up = {sha for sha, own in of.items() if any(line["state"] == "passed" for line in own)}
        given_up -= {run.sha for run in self.archive() if run.trained}  # one seed of it has a figure
        untold = given_up - {each.get("sha") for each in self._told() if each["kind"] == "failure"}
        kills = sum(done.code not in CODES for done in month.done)
        assert month.was_deaf or len(untold) <= kills, f"nobody was told of {untold}"
        self._bounded()

    def _came_to(self, sha: str, lines: list[dict[str, Any]], runs: list[Run], is_on_branch: bool) -> None:
        """One landing was trained as often as it was to be, or it is said why not."""
        month, commit = self.month, self.month.origin.commits[sha]
        what = f"{sha[:7]} ({commit.kind}): {[line['state'] for line in lines]}, {runs}"
        skipped = [line for line in lines if line["state"] == "skipped"]
        is_asked = sha in month.reruns or sha in month.retries
        if lines[-1]["state"] == "skipped":
            why = lines[-1]["why"]
            assert (
                (sha in month.skips and "wished" in why)
                or (commit.marked and "[skip wer]" in why)
                or (month.is_newest_used and "a newer one" in why)
                or (not is_on_branch and ("no longer on it" in why or "no commit of the repository" in why))
            ), f"skipped for no good reason: {what}: {why}"
        if not skipped or (is_asked and sha not in month.skips and not month.is_newest_used):
            assert runs, f"it came to nothing: {what}"
        trained = {run.seed for run in runs if run.trained}
        failed = [run for run in runs if not run.trained]
        most = max(month.seeds_used) + month.reruns[sha]
        assert trained <= set(range(most)), f"more seeds than asked for: {what}"
        if skipped or commit.marked:
            return
        if not failed:
            assert len(trained) >= min(month.seeds_used) + month.reruns[sha], f"fewer seeds than asked for: {what}"
        retries = int(month.tracker.installation.variables["ds_retries"])
        is_passed = any(line["state"] == "passed" for line in lines)
        if is_passed and not is_asked:
            assert len(failed) == retries + 1, f"given up too soon or too late: {what}"
        if not commit.trains:
            assert is_passed and len(failed) >= retries + 1, f"it cannot have trained: {what}"
        elif not is_passed:
            assert trained, f"neither trained nor given up: {what}"

    def _bounded(self) -> None:
        """No file grows for ever."""
        variables = self.month.tracker.installation.variables
        self._nothing_left_over()
        logs = sorted(path.name for path in (self.data / "logs").iterdir())
        assert set(logs) <= {"deepspeech-wer.log", "put-off.txt", *(f"deepspeech-wer.log.{n}" for n in range(1, 5))}
        limit = float(variables["ds_log_limit"]) * 1e6 + _OWN_WORDS
        assert all(path.stat().st_size <= limit for path in (self.data / "runs").glob("*/log.txt"))
        assert len({path.name[:40] for path in (self.data / "checkpoints").iterdir()}) <= 1
        whole = sum((path / "log.txt").exists() for path in (self.data / "runs").iterdir())
        assert whole <= int(variables["ds_keep_runs"])
        mirrors = [path.name for path in (self.cache / "mirrors").iterdir() if path.is_dir()]
        assert len(mirrors) == 1, mirrors
        known = {"lock", "last_sha1", "mirrors", "clone", "environments"}
        assert {path.name for path in self.cache.iterdir()} <= known | {mirrors[0]}, list(self.cache.iterdir())

    # What there is ----------------------------------------------------------------------------------------

    def journal(self) -> tuple[list[dict[str, Any]], list[bytes]]:
        """Its lines, and those that are none."""
        lines, bad = [], []
        for text in (self.data / "journal.jsonl").read_bytes().split(b"\n"):
            try:
                line = json.loads(text)
                assert line["sha"] and line["state"] and line["time"]
                lines.append(line)
            except (ValueError, TypeError, KeyError):
                if text:
                    bad.append(text)
        return lines, bad

    def archive(self) -> list[Run]:
        """All whole result folders."""
        names = {path.name for path in (self.data / "runs").glob("[!.]*")}
        assert names >= self._runs.keys(), "a run is gone"
        for name in names - self._runs.keys():
            folder = self.data / "runs" / name
            job, status = (json.loads((folder / f"{file}.json").read_text()) for file in ("job", "status"))
            seconds = _seconds(status["finished"]) - _seconds(status["started"])
            trained = status["state"] == "trained"
            self._runs[name] = Run(name, job["landing"]["sha"], job["seed"], trained, status["why"], seconds)
        for run in self._runs.values():
            assert not run.trained or (self.data / "runs" / run.run / "hyper.json").exists()
        return list(self._runs.values())

    def tally(self) -> list[tuple[str, tuple[str, int], str]]:
        """What the trainings counted: began or ended, the SHA and the seed, the run."""
        path, found = self.month.folder / "tally", []
        for line in path.read_text().splitlines() if path.exists() else ():
            word, name, run = line.split()
            sha, _, seed = name.partition("-seed")
            found.append((word, (sha, int(seed or 0)), run))
        return found

    def shown(self, site: Path) -> list[dict[str, Any]]:
        """The runs in ``js/hyper.js``."""
        return _of_script(site / "js" / "hyper.js", "window.ALL_THE_DATA = ")

    def rows(self) -> set[str]:
        """The landings in ``js/landings.js``, which are in commit order."""
        shas = [row["sha"] for row in _of_script(self.data / "www" / "js" / "landings.js", "window.LANDINGS = ")]
        self._in_order(shas)
        assert len(shas) == len(set(shas))
        return set(shas)

    def trouble(self) -> str:
        """What keeps ticks from working, as the tracker has noted it."""
        path = self.data / "trouble.json"
        return str(json.loads(path.read_text())["message"]) if path.exists() else ""


def _of_script(path: Path, begin: str) -> list[dict[str, Any]]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    assert text.startswith(begin) and text.rstrip().endswith(";")
    return list(json.loads(text.removeprefix(begin).rstrip()[:-1]))


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
