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

from faults.landings import INJECTED, Tracker, Watcher
from faults.month_checks import Checks, Done
from faults.month_history import SCRIPT, Origin
from faults.month_server import served
from faults.month_world import BEGIN, BETWEEN, LONGEST, World, to_the_end
from installation import Installation

#: Seconds from one tick to the next.
_QUARTER = 900.0

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

#: Keeps what is told, a line each.
NOTIFY = 'test ! -e "$FAULTS_TALLY.deaf" && (tr -d "\\n"; echo) >> "$FAULTS_TALLY.told"'


@dataclass
class Month(World):
    """Its ticks, and what is done to them."""

    #: The settings of seeds that ticks had.
    seeds_used: set[int] = field(default_factory=set)
    #: How often a worker was ended, or a tick so that its worker was.
    workers_ended: int = 0
    done: list[Done] = field(default_factory=list)
    #: Points that the last tick with something to do went through.
    _points: int = 60

    def step(self) -> Done:
        """Some events, and a tick, which something may be done to."""
        self.ticks += 1
        self.rng = random.Random(f"{self.seed}, tick {self.ticks}")  # so that one tick's luck is not the next one's
        self.set_clock(self.now + _QUARTER * self.rng.choice((1, 1, 1, 4, 16)))
        self.change_troubles()
        for name, likely in BETWEEN.items():
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
        _, err = to_the_end(process)
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
                _, err = to_the_end(other)
                assert "Traceback" not in err, err
                # Where the first is over before the second looks, the second is a tick like any other.
                assert other.returncode == 75 or (other.returncode in (0, 70, 76) and process.wait(LONGEST) != 75), err
                return f" -> {other.returncode}"
            case _:
                self.happen(how, "during the tick, ")
        return ""

    def _end_worker(self, process: subprocess.Popen[str], number: int) -> str:
        """End a process of a job as soon as there is one."""
        which = self.rng.random()
        while process.poll() is None:
            found = [
                pid for pid, command in self.processes().items() if "worker" in command or Path(SCRIPT).name in command
            ]
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
                command, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
                if os.fsencode(self.folder / "home") in command or home in environment.split(b"\0"):
                    found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


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
    origin = Origin.begun(folder / "origin.git")
    with served(folder / "server") as (server, mood):
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
        month = Month(seed, folder, origin, tracker, mood, bool(disk))
        month.set_clock(BEGIN)
        origin.land("push", ["good"], when=BEGIN - 100)
        try:
            yield month
        finally:
            if disk:
                subprocess.run(["umount", "--lazy", str(folder / "home")], check=True)


def live(folder: Path, seed: int, ticks: int, disk: int = 0) -> Month:
    """A month of so many ticks, and its end. Raises AssertionError, with all that happened, where it goes wrong."""
    with begun(folder, seed, disk) as month, Watcher() as watcher, watcher.on(*month.tracker.sites()):
        checks = Checks(month, watcher)
        try:
            checks.after(month.tick())
            for _ in range(ticks):
                checks.after(month.step())
            for name in list(month.troubles):
                month.end_trouble(name)
            month.tell("the end: " + month.land_on_main(1, ("good",)))
            most = checks.most_ticks()
            for _ in range(most):
                month.ticks += 1
                month.set_clock(max(month.now, BEGIN) + 86400 * 2)
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
