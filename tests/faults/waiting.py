"""Waiting for what a process does, and looking for what is left of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], object], process: subprocess.Popen[str] | None = None, seconds: float = 60) -> None:
    """Wait until ``condition`` holds; ``process`` is to go on meanwhile, where one is given."""
    limit = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "it takes too long"
        time.sleep(0.02)


def with_argument(text: str) -> list[int]:
    """The living processes that have ``text`` as one of their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:  # it is gone
            continue
    return found
