"""Publishing against lftp, rsync, OpenSSH's sftp and pysftp: to a real sshd, on loopback and over a line of 40 ms.

    python tests/benchmarks/publishing.py [--only small|large|incremental] [--line loopback|"40 ms"] [--rounds 5]

All are measured in turn in one run, each logs in anew and begins from the same state of the server; what counts is the
ratio of the medians. Ours is measured as a call in a running process, and as a whole command with the start of Python.

    small         first publish of 500 files of 2 KB     aim at 40 ms: no slower than lftp
    incremental   3 changed files of 1,000               aim at 40 ms: no slower than rsync
    large         first publish of 100 MB                aim: at most 1.3 times sftp

sftp and pysftp look for no changes: in the incremental publish they are told which files to send. What waits for every
answer is measured once where that takes long. Needs openssh-server, openssh-client, lftp and rsync.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from publishing_tools import OURS, PEERS, SLOW, Errand, Tool, call

from ssh_servers import Server, new_key, openssh_server, public_line

DELAY = 0.02  # each way
LINES = {"loopback": 0.0, "40 ms": DELAY}


@dataclass(frozen=True)
class Case:
    """``aims``: by line, against which tool, and the largest ratio."""

    title: str
    files: int
    size: int
    changed: int
    aims: dict[str, tuple[str, float]]


CASES = {
    "small": Case("first publish of 500 files of 2 KB", 500, 2000, 0, {"40 ms": ("lftp mirror -R -P8", 1.0)}),
    "incremental": Case("3 changed files of 1,000", 1000, 2000, 3, {"40 ms": ("rsync -a", 1.0)}),
    "large": Case("first publish of 100 MB", 2, 100_000_000, 0, dict.fromkeys(LINES, ("sftp -b", 1.3))),
}


def write_site(folder: Path, case: Case) -> list[str]:
    """A page and files that it links to, in ten folders; the paths of the files but the page."""
    paths = [f"data{n % 10}/file{n}.bin" for n in range(case.files - 1)]
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(os.urandom(case.size))
    links = "".join(f'<a href="{path}">{path}</a>\n' for path in paths)
    (folder / "index.html").write_text(f"<!doctype html>\n{links}")
    return paths


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    key, host_key = new_key("ed25519"), new_key("ed25519")
    (folder / "home").mkdir(parents=True)
    (folder / "user_key").write_bytes(key.export_private_key())
    (folder / "user_key").chmod(0o600)
    (folder / "authorized_keys").write_text(public_line(key) + "\n")
    with openssh_server(folder, folder / "home", [host_key], folder / "user_key") as running:
        running.know(host_key)
        yield running


@contextlib.contextmanager
def line(running: Server, delay: float) -> Iterator[Server]:
    """The server, by way of a line of that length; in a process of its own, not to compete with what is measured."""
    if not delay:
        yield running
        return
    proxy = Path(__file__).resolve().parents[1] / "publish" / "proxy.py"
    command = [sys.executable, str(proxy), str(running.port), "--delay", str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin
        through = replace(running, port=int(process.stdout.readline()))
        through.know(*running.host_keys)
        try:
            yield through
        finally:
            process.stdin.close()
            process.wait(10)
            running.know(*running.host_keys)


class Track:
    """One case on one line: a state of the server to begin from for each tool, and what came of it."""

    def __init__(self, folder: Path, case: Case, running: Server) -> None:
        self.case, self.running = case, running
        self.here = folder / "here" / "www"
        self.home = running.home
        paths = write_site(self.here, case)
        self.changed = paths[:: len(paths) // case.changed][: case.changed] if case.changed else []
        self.before: dict[bool, Path] = {}
        if case.changed:
            self._prepare()
        self.number = 0

    def _prepare(self) -> None:
        """What is there before: for ours, a release of ours; for the others, a copy with the same times."""
        target = self.running.target()
        self.before = {True: self.home / "before-ours", False: self.home / "before-others"}
        call(Errand(self.here, self.before[True], target))
        subprocess.run(["cp", "-a", self.here, self.before[False]], check=True)
        time.sleep(1.1)  # so that the changed files have another time, in whole seconds
        for path in self.changed:
            (self.here / path).write_bytes(os.urandom(self.case.size))

    def seconds(self, tool: Tool, is_ours: bool) -> float:
        self.number += 1
        there = self.home / f"run{self.number}"
        if self.before:
            subprocess.run(["cp", "-a", self.before[is_ours], there], check=True)
        errand = Errand(self.here, there, self.running.target(), self.changed)
        began = time.perf_counter()
        tool(errand)
        took = time.perf_counter() - began
        arrived = there / "current" if is_ours else there
        for path in [*self.changed, "index.html", *([] if self.before else ["data0/file0.bin"])]:
            assert (arrived / path).read_bytes() == (self.here / path).read_bytes(), (tool, path)
        shutil.rmtree(there)
        return took


def measure(track: Track, rounds: int, is_far: bool) -> dict[str, list[float]]:
    tools: dict[str, Tool] = {**OURS, **PEERS}
    call(Errand(track.here, track.home / "warm", track.running.target()))  # imports, and the disk's cache
    shutil.rmtree(track.home / "warm")
    times: dict[str, list[float]] = {name: [] for name in tools}
    for number in range(rounds):
        for name, tool in tools.items():
            if number and is_far and name in SLOW and track.case.files > 10 and not track.case.changed:
                continue
            times[name].append(track.seconds(tool, name in OURS))
    return times


def table(case: Case, line_name: str, times: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(values) for name, values in times.items()}
    peer, most = case.aims.get(line_name, ("", 0.0))
    base = peer or "rsync -a"
    print(f"\n{case.title}, {line_name}")
    print(f"{'':26}{'median':>10}{'range':>18}{f'against {base}':>32}")
    for name, values in times.items():
        ratio = medians[name] / medians[base]
        judged = f"  aim {most:g}: {'reached' if ratio <= most else 'MISSED'}" if name in OURS and peer else ""
        span = f"{min(values):.2f} - {max(values):.2f}" if len(values) > 1 else "once"
        print(f"{name:26}{medians[name]:8.2f} s{span:>18}{ratio:32.2f}{judged}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--line", choices=LINES, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    missing = [name for name in ("lftp", "rsync", "sftp") if not shutil.which(name)]
    if missing:
        sys.exit(f"{', '.join(missing)} missing: apt-get install lftp rsync openssh-client")
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "server") as running:
        for name in options.only or CASES:
            for line_name in options.line or LINES:
                with line(running, LINES[line_name]) as through:
                    track = Track(Path(folder) / f"{name}-{line_name.replace(' ', '')}", CASES[name], through)
                    table(CASES[name], line_name, measure(track, options.rounds, bool(LINES[line_name])))
                for left in running.home.glob("before-*"):
                    shutil.rmtree(left)


if __name__ == "__main__":
    main()
