"""A tick with nothing new, as a whole process, against a Python that imports GitPython and requests.

    python tests/benchmarks/idle_tick.py [ROUNDS]

Both are measured in turn in one run; what counts is the ratio of the medians. Aim: at most 1.5.
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


def seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository.begun(Path(folder) / "repository")
        repository.train("Good", 0.5)
        installation = Installation(Path(folder) / "home", {"ds_repository": str(repository.path)})
        assert installation.run("run").returncode == 0
        commands = {
            "idle tick": [sys.executable, "-m", "deepspeech_wer", "run"],
            "import git, requests": [sys.executable, "-c", "import git, requests"],
            "python -c pass": [sys.executable, "-c", "pass"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(seconds(command, installation.environment()))
    base = statistics.median(times["import git, requests"])
    print(f"{'':24}{'median':>10}{'ratio':>8}")
    for name, values in times.items():
        print(f"{name:24}{statistics.median(values) * 1000:8.1f} ms{statistics.median(values) / base:8.2f}")


if __name__ == "__main__":
    main()
