"""Finding 1,000 landings in a history of 50,000 commits, against `git log --first-parent` with the same fields.

    python tests/benchmarks/discovery.py [ROUNDS]

The fetch and the start of Python are left out on both sides; positions are included. Both are measured in turn in one
run; what counts is the ratio of the medians. Aim: at most 3. The first run, which counts the whole history once, and a
second look at what is known are shown beside them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from deepspeech_wer.landings.git import Head, Mirror
from deepspeech_wer.landings.history import FIELDS
from history import Repository
from long_history import fast_import

COMMITS, NEW = 50_000, 1_000


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository.new(Path(folder) / "repository")
        line = fast_import(repository, COMMITS)[::-1]
        head, last = (Head(sha, "refs/heads/main", "main") for sha in (line[0], line[NEW]))
        cache = Path(folder) / "cache"
        mirror = Mirror(cache, str(repository.path))
        mirror.fetch(head)
        command = ["git", "--git-dir", str(mirror.folder), "log", "--first-parent", "--reverse", "-z"]
        command += [f"--format={'%x00'.join(FIELDS)}", f"{last.sha}..{head.sha}"]

        def find(since: str | None, new: int) -> None:
            assert len(Mirror(cache, str(repository.path)).landings(head, since).landings) == new

        def log() -> None:
            done = subprocess.run(command, env=os.environ, check=True, capture_output=True)
            assert done.stdout.count(b"\0") == NEW * len(FIELDS)

        times: dict[str, list[float]] = {
            name: []
            for name in ("git log", "discovery", "nothing new", "first run, counting all", "git rev-list --count")
        }
        position = mirror.folder / "deepspeech-wer-position"
        for _ in range(rounds):
            position.unlink(missing_ok=True)
            times["first run, counting all"].append(seconds(lambda: find(None, 1)))
            Mirror(cache, str(repository.path)).landings(last, None)  # what the tick before this one has remembered
            times["discovery"].append(seconds(lambda: find(last.sha, NEW)))
            times["nothing new"].append(seconds(lambda: find(head.sha, 0)))
            times["git log"].append(seconds(log))
            count = ["git", "--git-dir", str(mirror.folder), "rev-list", "--first-parent", "--count", head.sha]
            times["git rev-list --count"].append(seconds(lambda count=count: subprocess.check_output(count)))  # type: ignore[misc]
    base = statistics.median(times["git log"])
    print(f"{COMMITS} commits, {len(line)} of them on the first-parent line, {NEW} of these new")
    print(f"{'':26}{'median':>10}{'ratio':>8}")
    for name, values in times.items():
        print(f"{name:26}{statistics.median(values) * 1000:8.1f} ms{statistics.median(values) / base:8.2f}")


if __name__ == "__main__":
    main()
