"""A tick with nothing new, as a whole process, against its floor: a bare Python and one question to the repository.

    python tests/benchmarks/idle_tick.py [ROUNDS]

All are measured in turn in one run; what counts is the ratio of the medians. Aim: at most 4 times ``python -c pass``
followed by one ``git ls-remote``, so that nothing is imported that an idle tick does not need.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from history import Repository
from installation import Installation

#: Landings whose lines are in the journal: an idle tick must not read them all.
_JOURNAL = 2000


def seconds(commands: list[list[str]], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    for command in commands:
        subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository.begun(Path(folder) / "repository")
        repository.train("Good", 0.5)
        bare = str(Path(folder) / "bare.git")
        repository.git("clone", "--quiet", "--bare", ".", bare)
        installation = Installation(Path(folder) / "home", {"ds_repository": bare})
        assert installation.run("run").returncode == 0
        journal = installation.data / "journal.jsonl"
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(lines[:-1]) * _JOURNAL + lines[-1])
        tick = [str(Path(sys.executable).with_name("deepspeech-wer")), "run"]  # as cron calls it
        floor = [[sys.executable, "-c", "pass"], ["git", "ls-remote", bare, "HEAD"]]
        commands = {
            "floor": floor,
            "idle tick": [tick],
            "import git, requests": [[*floor[0][:2], "import git, requests"]],
        }
        environment = installation.environment()
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed copy has its modules compiled
        subprocess.run(tick, env=environment, check=True, capture_output=True)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, each in commands.items():
                times[name].append(seconds(each, environment))
    base = statistics.median(times["floor"])
    print(f"{'':24}{'median':>10}{'ratio':>8}")
    for name, values in times.items():
        print(f"{name:24}{statistics.median(values) * 1000:8.1f} ms{statistics.median(values) / base:8.2f}")


if __name__ == "__main__":
    main()
