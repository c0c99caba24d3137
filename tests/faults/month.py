"""A month of an installation that nobody looks after, in minutes, with all that can happen to it.

Between the ticks, which are the whole command as cron runs it, and during them, things happen by chance: landings of
every shape, rewritten branches, servers that go away, processes that are killed, files that are damaged, wishes. After
each tick, and at the end, `month_checks` says what has to hold. What happens follows from the seed, but for what
depends on how fast the machine is just then.

    python tests/faults/month.py --seed 7 --ticks 400    # one long month; prints what happened where it fails
    python tests/faults/month.py --seed 7 --months 50    # the seeds from 7 on, until one fails
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncssh

from faults.landings import INJECTED, Tracker, Watcher
from faults.month_history import KINDS, SHAPES, Origin
from installation import Installation
from ssh_servers import asyncssh_server, new_key, public_line

#: When the month begins (seconds since 1970), and how long it is until the next tick, by turns.
_BEGIN, _QUARTER = 1_800_000_000, 900.0

#: Seconds within which a tick or a verb has to come to its end, on a machine with a lot else to do.
_LONGEST = 180

#: What can be wrong for a while: how likely it is that it begins before a tick (in a hundred).
_TROUBLES = {
    "the server is away": 3,
    "the web root is read-only": 2,
    "the server's disk is full": 2,
    "the server hangs up": 3,
    "the repository is away": 2,
    "the branch is gone": 2,
    "the disk is full": 4,
    "newest only": 1,
    "nobody can be told": 2,
}
_SERVERS = ("the server is away", "the web root is read-only", "the server's disk is full", "the server hangs up")

#: What happens between two ticks, and how likely each is (in a hundred).
_BETWEEN = {
    "land": 55,
    "land_several": 8,
    "reset": 6,
    "restore": 6,
    "rewrite": 5,
    "root": 1,
    "prune": 3,
    "lose_last_sha1": 4,
    "damage_last_sha1": 5,
    "damage_mirror": 8,
    "lose_cache": 3,
    "tear_journal": 4,
    "set_clock": 2,
    "wish": 12,
    "look": 4,
    "change_seeds": 2,
}

#: What happens during a tick, and how likely each is (in a hundred).
_DURING = {
    "kill": 13,
    "kill_all": 6,
    "stop": 9,
    "kill_worker": 7,
    "stop_worker": 4,
    "start_another": 6,
    "wish": 6,
    "land": 4,
    "reset": 3,
}


#: What tells a tick to end.
STOPS = (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Mood:
    """What the server is like just now: the trouble, and for how many more operations all is well."""

    trouble = ""
    well = 0


class MoodySFTP(asyncssh.SFTPServer):
    """A server that refuses to write, or hangs up."""

    mood: Mood

    def _mind(self, is_writing: bool) -> None:
        match self.mood.trouble:
            case "the web root is read-only" if is_writing:
                raise asyncssh.SFTPPermissionDenied("read-only file system")
            case "the server's disk is full" if is_writing and self.mood.well <= 0:
                raise asyncssh.SFTPFailure("no space left on device")
            case "the server hangs up" if self.mood.well <= 0:
                self.channel.get_connection().abort()
                raise asyncssh.SFTPFailure("gone")
        self.mood.well -= 1

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        self._mind(bool(pflags & asyncssh.FXF_WRITE) and self.mood.trouble == "the web root is read-only")
        return super().open(path, pflags, attrs)

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        self._mind(True)
        return super().write(file_obj, offset, data)  # type: ignore[return-value]

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        if Path(os.fsdecode(self.map_path(oldpath))).exists():  # else it is asked what the server can do
            self._mind(self.mood.trouble == "the web root is read-only")
        super().posix_rename(oldpath, newpath)

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        self._mind(True)
        super().mkdir(path, attrs)


@dataclass
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


@dataclass
class Month:
    """One month; ``events`` tells what happened."""

    seed: int
    folder: Path
    origin: Origin
    tracker: Tracker
    mood: Mood
    rng: random.Random
    #: Whether its home is a small disk of its own, which can be really full.
    is_on_disk: bool = False
    events: list[str] = field(default_factory=list)
    now: float = _BEGIN
    ticks: int = 0
    #: What is wrong, and for how many more ticks.
    troubles: dict[str, int] = field(default_factory=dict)
    #: Heads that the branch had before it was rewritten or removed.
    old_heads: list[str] = field(default_factory=list)
    #: The settings of seeds that ticks had.
    seeds_used: set[int] = field(default_factory=set)
    #: Wishes that were granted: how many more trainings, by the SHA; which landings are to be skipped, tried again.
    reruns: Counter[str] = field(default_factory=Counter)
    skips: set[str] = field(default_factory=set)
    retries: set[str] = field(default_factory=set)
    #: What was written into the journal that is no line of it.
    tears: list[bytes] = field(default_factory=list)
    #: How often a worker was ended, or a tick so that its worker was.
    workers_ended: int = 0
    is_newest_used: bool = False
    was_deaf: bool = False
    #: New roots of the branch.
    roots: list[str] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    #: Points that the last tick with something to do went through.
    _points: int = 60

    # What happens -----------------------------------------------------------------------------------------

    def happen(self, name: str, how: str = "") -> None:
        """Let one event happen, and remember it if it could: not all can while the branch or the repository is away."""
        told = getattr(self, f"_{name}")()
        if told:
            self.tell(f"{how}{name}: {told}")

    def tell(self, what: str) -> None:
        """Remember what happened."""
        self.events.append(f"tick {self.ticks}: {what}")

    @property
    def head(self) -> str | None:
        """Where the branch is; None while there is none, or no repository."""
        return None if "the repository is away" in self.troubles else self.origin.head

    def _land(self) -> str:
        return self._land_on_main(1)

    def _land_several(self) -> str:
        return self._land_on_main(self.rng.randint(2, 4))

    def _land_on_main(self, count: int, kinds: tuple[str, ...] = ()) -> str:
        shape = self.rng.choice(SHAPES)
        shares = {name: kind.share for name, kind in KINDS.items() if self.is_on_disk or not kind.fills}
        chosen = list(kinds) or self.rng.choices(list(shares), list(shares.values()), k=count)
        marked = not kinds and self.rng.random() < 0.05
        if self.head is None:
            return ""
        when = int(self.now) + self.rng.choice((-100_000, 0, 0, 0, 0))
        head = self.origin.land(shape, chosen, when=when, marked=marked)
        return f"{shape} {', '.join(chosen)} -> {head[:7]}{' marked' if marked else ''}"

    def _reset(self) -> str:
        back = self.rng.randint(1, 4)
        sha = self.head
        if sha is None:
            return ""
        for _ in range(back):
            parent = self.origin.commits[sha].parent
            if parent is None or self.origin.commits[parent].parent is None:
                return ""  # the first commits stay
            sha = parent
        self.old_heads.append(str(self.origin.head))
        self.origin.move(sha)
        return f"{back} back to {sha[:7]}"

    def _restore(self) -> str:
        number = self.rng.random()
        there = [sha for sha in self.old_heads if self._is_there(sha)]
        if not there or self.head is None:
            return ""
        sha = there[int(number * len(there))]
        self.old_heads.append(self.head)
        self.origin.move(sha)
        return sha[:7]

    def _rewrite(self) -> str:
        told = self._reset()
        return f"{told}, {self._land_on_main(self.rng.randint(1, 3))}" if told else ""

    def _root(self) -> str:
        if self.head is None:
            return ""
        self.old_heads.append(self.head)
        sha = self.origin.land("push", ["good"], when=int(self.now), root=True)
        self.roots.append(sha)
        self.origin.land("push", ["good"], when=int(self.now))
        return f"{sha[:7]} and one more"

    def _prune(self) -> str:
        if self.head is None:
            return ""
        self.origin.prune()
        return "what is on no branch"

    def _is_there(self, sha: str) -> bool:
        command = ["git", "--git-dir", str(self.origin.path), "cat-file", "-e", sha]
        return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0

    def _lose_last_sha1(self) -> str:
        self._pointer.unlink(missing_ok=True)
        return "deleted"

    def _damage_last_sha1(self) -> str:
        number = self.rng.random()
        older = self.origin.line(self.head)[1:] if self.head else []
        contents = ["", "garbage\n", "\0" * 41, "0123456789abcdef" * 2 + "01234567\n", "older"]
        content = contents[int(number * len(contents))]
        if content == "older":
            content = (older[len(older) // 2] if older else "") + "\n"
        self._pointer.parent.mkdir(parents=True, exist_ok=True)
        self._pointer.write_text(content)
        return repr(content)

    @property
    def _pointer(self) -> Path:
        return self.tracker.installation.cache / "last_sha1"

    def _damage_mirror(self) -> str:
        how = self.rng.choice(("delete", "truncate a pack", "truncate any", "lock", "no HEAD", "no ref"))
        number = self.rng.random()
        mirrors = [path for path in (self.tracker.installation.cache / "mirrors").glob("*.git") if path.is_dir()]
        if not mirrors:
            return ""
        (mirror,) = mirrors
        files = sorted(path for path in mirror.rglob("*") if path.is_file())
        packs = [path for path in files if path.suffix in (".pack", ".idx")] or files
        path = mirror
        match how:
            case "delete":
                shutil.rmtree(mirror)
            case "truncate a pack" | "truncate any":
                among = packs if how == "truncate a pack" else files
                path = among[int(number * len(among))]
                path.chmod(0o644)
                os.truncate(path, path.stat().st_size // 2)
            case "lock":
                path = mirror / "refs" / "deepspeech-wer" / "head.lock"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            case "no HEAD":
                path = mirror / "HEAD"
                path.unlink(missing_ok=True)
            case "no ref":
                path = mirror / "refs" / "deepspeech-wer" / "head"
                path.unlink(missing_ok=True)
        return f"{how}, {path.relative_to(mirror)}"

    def _lose_cache(self) -> str:
        shutil.rmtree(self.tracker.installation.cache, ignore_errors=True)
        return "deleted"

    def _tear_journal(self) -> str:
        torn = self.rng.choice(
            (b'{"time": "2027-01-15T08:00:00+00:00", "sha": "0f', b"\0" * 100, b'{"time": 5', b"\xff")
        )
        with (self.tracker.data / "journal.jsonl").open("ab") as file:
            file.write(torn)
        self.tears.append(torn)
        return repr(torn[:20])

    def _set_clock(self) -> str:
        hours = self.rng.choice((-1, -5, -50, 50, 1000))
        self.set_clock(self.now + 3600 * hours)
        return f"{hours} hours"

    def _wish(self) -> str:
        verb = self.rng.choice(("retry", "rerun", "rerun", "skip"))
        number, seeds = self.rng.random(), self.rng.randint(1, 2)
        noted = [sha for sha in self.origin.commits if sha in self.noted]
        if not noted:
            return ""
        sha = noted[max(0, len(noted) - 1 - int(number**2 * len(noted)))]
        options = {"retry": (), "rerun": ("--seeds", str(seeds)), "skip": ("--why", "it is wished so")}[verb]
        done = self.verb(verb, sha[: self.rng.choice((12, 40))], *options)
        if done.returncode == 0:
            {"retry": self.retries.add, "skip": self.skips.add, "rerun": lambda _: None}[verb](sha)
            self.reruns[sha] += seeds if verb == "rerun" else 0
        return f"{verb} {sha[:7]} {options} ({self.origin.commits[sha].kind}) -> {done.returncode}"

    #: What ticks have found, so that a person knows of it.
    noted: set[str] = field(default_factory=set)

    def _look(self) -> str:
        verb = self.rng.choice(
            (("status", "--json"), ("status",), ("landings",), ("run", "--dry-run"), ("log", "HEAD"))
        )
        return f"{' '.join(verb)} -> {self.verb(*verb).returncode}"

    def _change_seeds(self) -> str:
        variables = self.tracker.installation.variables
        variables["ds_seeds"] = "2" if variables["ds_seeds"] == "1" else "1"
        return variables["ds_seeds"]

    def verb(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A verb to its end; its exit code is one of those that are documented, and it shows no traceback."""
        process = self.tracker.installation.start(*words)
        out, err = _to_the_end(process)
        assert "Traceback" not in err, f"{words}: {err}"
        assert process.returncode in (0, 2, 70, 75, 76), f"{words} -> {process.returncode}: {err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    # Troubles ---------------------------------------------------------------------------------------------

    def change_troubles(self) -> None:
        """Let troubles begin and end."""
        for name, likely in _TROUBLES.items():
            begins, ticks, well = self.rng.random() < likely / 100, self.rng.randint(1, 5), self.rng.randint(0, 40)
            if name in self.troubles:
                self.troubles[name] -= 1
                if not self.troubles[name]:
                    self.end_trouble(name)
            elif begins and not (name in _SERVERS and self.mood.trouble):
                self._begin_trouble(name, ticks, well)

    def _begin_trouble(self, name: str, ticks: int, well: int) -> None:
        variables, origin = self.tracker.installation.variables, self.origin
        match name:
            case "the repository is away":
                origin.path.rename(origin.path.with_suffix(".away"))
            case "the branch is gone":
                if origin.head is None or "the repository is away" in self.troubles:
                    return
                self.old_heads.append(origin.head)
                origin.remove()
            case "the disk is full" if self.is_on_disk:
                room = shutil.disk_usage(self.tracker.installation.home).free
                with contextlib.suppress(OSError):
                    (self.tracker.installation.home / "filler").write_bytes(bytes(room - well * 10_000))
            case "the disk is full":
                variables["ds_disk_free"] = "1000000"
            case "newest only":
                variables["ds_landings_newest"] = "1"
                self.is_newest_used = True
            case "nobody can be told":
                (self.folder / "tally.deaf").touch()
                self.was_deaf = True
            case _:
                self.mood.trouble, self.mood.well = name, well
                if name == "the server is away":
                    variables["ds_website_server_port"] = str(_closed_port())
        self.troubles[name] = ticks
        self.tell(f"{name} for {ticks} ticks")

    def end_trouble(self, name: str) -> None:
        """Let it be over."""
        variables, origin = self.tracker.installation.variables, self.origin
        del self.troubles[name]
        match name:
            case "the repository is away":
                origin.path.with_suffix(".away").rename(origin.path)
            case "the branch is gone":
                origin.move(self.old_heads[-1])
            case "the disk is full" if self.is_on_disk:
                (self.tracker.installation.home / "filler").unlink()
            case "the disk is full":
                variables["ds_disk_free"] = "0"
            case "newest only":
                variables["ds_landings_newest"] = "0"
            case "nobody can be told":
                (self.folder / "tally.deaf").unlink()
            case _:
                self.mood.trouble = ""
                variables["ds_website_server_port"] = variables["MONTH_SERVER_PORT"]
        self.tell(f"{name} no more")

    # Ticks ------------------------------------------------------------------------------------------------

    def set_clock(self, now: float) -> None:
        """Set the tracker's clock."""
        self.now = now
        (self.folder / "clock").write_text(repr(now - time.time()))

    def step(self) -> Done:
        """Some events, and a tick, which something may be done to."""
        self.ticks += 1
        self.set_clock(self.now + _QUARTER * self.rng.choice((1, 1, 1, 4, 16)))
        self.change_troubles()
        for name, likely in _BETWEEN.items():
            if self.rng.random() < likely / 100:
                self.happen(name)
        names = ["", *_DURING]
        (disturb,) = self.rng.choices(names, [100 - sum(_DURING.values()), *_DURING.values()])
        return self.tick(disturb, 1 + int(self.rng.random() * self._points), self.rng.random() * 0.03)

    def tick(self, disturb: str = "", point: int = 0, pause: float = 0.0) -> Done:
        """One tick to its end; it is disturbed ``pause`` seconds after that point of it, see ``injected``."""
        log = self.folder / "points"
        log.unlink(missing_ok=True)
        variables = self.tracker.installation.variables
        self.seeds_used.add(int(variables["ds_seeds"]))
        variables["FAULTS_LOG"] = str(log)
        troubles = frozenset(self.troubles)
        started = time.monotonic()
        process = self.tracker.installation.start("run")
        if disturb:
            while process.poll() is None and _lines(log) < point:
                time.sleep(0.002)
            time.sleep(pause)
            if process.poll() is None:
                told = self._disturb(process, disturb)
                self.tell(f"during the tick, at point {point}: {disturb}{told}")
            else:
                disturb = ""
        _, err = _to_the_end(process)
        done = Done(self.ticks, process.returncode, err, disturb, troubles)
        if "nothing new" not in err and not disturb:
            self._points = max(30, _lines(log))
        self.tell(f"-> {process.returncode} after {time.monotonic() - started:.1f} s")
        self.done.append(done)
        return done

    def _disturb(self, process: subprocess.Popen[str], how: str) -> str:
        match how:
            case "kill":
                process.kill()
                self.workers_ended += 1
            case "stop":
                number = STOPS[int(self.rng.random() * len(STOPS))]
                process.send_signal(number)
                return f" {number.name}"
            case "kill_all":
                for pid in [process.pid, *self.processes()]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.workers_ended += 1
            case "kill_worker" | "stop_worker":
                return self._end_worker(process, signal.SIGKILL if how == "kill_worker" else signal.SIGTERM)
            case "start_another":
                other = self.tracker.installation.start("run")
                _, err = _to_the_end(other)
                assert "Traceback" not in err, err
                # Where the first is over before the second looks, the second is a tick like any other.
                assert other.returncode == 75 or (other.returncode in (0, 70, 76) and process.wait(_LONGEST) != 75), err
                return f" -> {other.returncode}"
            case _:
                self.happen(how, "during the tick, ")
        return ""

    def _end_worker(self, process: subprocess.Popen[str], number: int) -> str:
        """End a process of a job as soon as there is one."""
        which = self.rng.random()
        while process.poll() is None:
            found = [pid for pid, command in self.processes().items() if "worker" in command or SCRIPT_NAME in command]
            if found:
                pid = found[int(which * len(found))]
                command = self.processes().get(pid, "")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                self.workers_ended += 1
                return f" {command[:60]}"
            time.sleep(0.005)
        return " none"

    def processes(self) -> dict[int, str]:
        """What runs of the installation: process ids, and the command lines."""
        home, found = f"HOME={self.tracker.installation.home}".encode(), {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it is gone
                command = (process / "cmdline").read_bytes()
                if os.fsencode(self.folder / "home") in command or home in (process / "environ").read_bytes().split(
                    b"\0"
                ):
                    found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found


SCRIPT_NAME = "run-wer-automation.sh"

#: Keeps what is told, a line each.
NOTIFY = 'test ! -e "$FAULTS_TALLY.deaf" && (tr -d "\\n"; echo) >> "$FAULTS_TALLY.told"'


def _to_the_end(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=_LONGEST)
    finally:
        process.kill()


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def begun(folder: Path, seed: int, disk: int = 0) -> Iterator[Month]:
    """A new month in ``folder``, with a server, before its first tick; with a ``disk`` of so many megabytes, if any."""
    rng = random.Random(seed)
    if disk:
        (folder / "home").mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={disk}m,mode=0755", "deepspeech-wer-test", str(folder / "home")],
            check=True,
        )
    standin = folder / "standin" / "plotly"
    (standin / "package_data").mkdir(parents=True)
    (standin / "__init__.py").touch()
    (standin / "package_data" / "plotly.min.js").write_text("// stands in for plotly.js\n")
    at = folder / "server"
    (at / "home").mkdir(parents=True)
    key, host_key = new_key("ed25519"), new_key("ed25519")
    (at / "user_key").write_bytes(key.export_private_key())
    (at / "user_key").chmod(0o600)
    (at / "authorized_keys").write_text(public_line(key) + "\n")
    mood = Mood()
    moody = type("Moody", (MoodySFTP,), {"mood": mood})
    origin = Origin.begun(folder / "origin.git")
    with asyncssh_server(at, at / "home", (host_key,), at / "user_key", sftp=moody) as server:
        server.know(host_key)
        variables = {
            "ds_repository": str(origin.path),
            "ds_website_server_fqdn": "127.0.0.1",
            "ds_website_server_port": str(server.port),
            "MONTH_SERVER_PORT": str(server.port),
            "ds_website_server_root": "www",
            "ds_website_username": server.username,
            "ds_website_privkey": str(server.privkey),
            "ds_website_known_hosts": str(server.known_hosts),
            "ds_website_timeout": "10",
            "ds_disk_free": "0.008" if disk else "0",
            "ds_retries": str(rng.choice((1, 2))),
            "ds_retry_wait": rng.choice(("0", "1800")),
            "ds_seeds": rng.choice(("1", "2")),
            "ds_run_timeout": "3",
            "ds_log_limit": "0.02",
            "ds_keep_runs": rng.choice(("10", "500")),
            "ds_notify_command": NOTIFY,
            "PYTHONPATH": f"{INJECTED}:{folder / 'standin'}",
            "FAULTS_TALLY": str(folder / "tally"),
            "FAULTS_CLOCK": str(folder / "clock"),
        }
        tracker = Tracker(folder, Installation(folder / "home", variables), server.home / "www")
        month = Month(seed, folder, origin, tracker, mood, rng, bool(disk))
        month.set_clock(_BEGIN)
        origin.land("push", ["good"], when=_BEGIN - 100)
        try:
            yield month
        finally:
            if disk:
                subprocess.run(["umount", "--lazy", str(folder / "home")], check=True)


def live(folder: Path, seed: int, ticks: int, disk: int = 0) -> Month:
    """A month of so many ticks, and its end. Raises AssertionError, with all that happened, where it goes wrong."""
    from faults.month_checks import Checks

    with begun(folder, seed, disk) as month, Watcher() as watcher, watcher.on(*month.tracker.sites()):
        checks = Checks(month, watcher)
        try:
            checks.after(month.tick())
            for _ in range(ticks):
                checks.after(month.step())
            for name in list(month.troubles):
                month.end_trouble(name)
            month.tell("the end: " + month._land_on_main(1, ("good",)))
            most = checks.most_ticks()
            for _ in range(most):
                month.ticks += 1
                month.set_clock(max(month.now, _BEGIN) + 86400 * 2)
                checks.after(done := month.tick())
                if "nothing new" in done.told:
                    break
            else:
                raise AssertionError(f"there is still something to do after {most} ticks: {done.told}")
            checks.at_the_end()
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            story = "\n".join(month.events)
            raise AssertionError(
                f"seed {seed}, {ticks} ticks: {error!r} at {place.name}: {place.line}\n\nWhat happened:\n{story}"
            ) from error
        return month


def main(arguments: list[str]) -> int:
    """Live months, one after the other; 1 where one goes wrong."""
    parser = argparse.ArgumentParser(description="simulated months of an installation that nobody looks after")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ticks", type=int, default=400)
    parser.add_argument("--months", type=int, default=1, help="how many, with one seed after the other")
    parser.add_argument("--tell", action="store_true", help="print what happened also where all went well")
    parser.add_argument("--keep", action="store_true", help="leave the folder of a month that goes wrong")
    parser.add_argument("--disk", type=int, default=0, help="megabytes of a real small disk, which takes root to mount")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    for seed in range(options.seed, options.seed + options.months):
        folder, started = Path(tempfile.mkdtemp(prefix=f"month-{seed}-")), time.monotonic()
        try:
            month = live(folder, seed, options.ticks, options.disk)
        except AssertionError as error:
            print(error, f"\nits folder: {folder}" if options.keep else "", sep="")
            if not options.keep:
                shutil.rmtree(folder)
            return 1
        if options.tell:
            print("\n".join(month.events))
        codes = Counter(done.code for done in month.done)
        print(f"seed {seed}: {len(month.done)} ticks, exit codes {dict(codes)}, {time.monotonic() - started:.0f} s")
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
