"""A site that stands at some place in its old version, while a publish of its new one fails.

standing = Standing.begin(tmp_path, server.target(), server.home / "www")
standing.fails(server.target(timeout=1), "said nothing for 1 s", "www")
standing.is_made_good(server.target())
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.release import Manner, Release, publish
from deepspeech_wer.publish.target import Place
from publish.ground import Ground
from publish.versions import version, write

#: Larger than that of other tests: of 300 KB, half of which changes.
OLD, NEW = version(1, size=5000), version(2, size=5000)
#: Bytes of the new version that are not in the old one.
CHANGED = sum(len(content) for content in set(NEW.values()) - set(OLD.values()))
#: Seconds that a server may say nothing in these tests, and in which a publish has to have given up then.
TIMEOUT = 1.5
BOUND = 10.0

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to mount a file system, or let another user log in")


class Standing:
    def __init__(self, ground: Ground, new: Path, manner: Manner) -> None:
        self.ground, self.new, self.manner = ground, new, manner

    @staticmethod
    def begin(tmp_path: Path, place: Place, root: Path, way: str = "auto", times: int = 1) -> Standing:
        """Publishes the old version to ``place``, whose web root is the folder ``root`` on this machine.

        With ``times`` the site is so many times as large.
        """
        old, new = (OLD, NEW) if times == 1 else (version(number, size=5000 * times) for number in (1, 2))
        standing = Standing(Ground(root, [old, new]), write(tmp_path / "new", new), Manner(way=way, retries=0))
        publish(write(tmp_path / "old", old), place, manner=standing.manner)
        standing.ground.settle()
        return standing

    def fails(self, place: Place, *words: str, within: float = BOUND, **options: Any) -> PublishError:
        """A publish of the new version fails in time, with these words in message or hint; readers see a whole site."""
        began = time.monotonic()
        with pytest.raises(PublishError) as caught:
            self.publish(place, **options)
        assert time.monotonic() - began < within
        told = f"{caught.value.message} ({caught.value.hint})"
        print(told)
        assert caught.value.hint and [word for word in words if word not in told] == [], told
        assert self.ground.wrong() == []
        return caught.value

    def publish(self, place: Place, **options: Any) -> Release:
        return publish(self.new, place, **{"manner": self.manner} | options)

    def is_made_good(self, place: Place) -> Release:
        """The next publish brings the new version, and leaves nothing of the one that failed."""
        release = self.publish(place)
        assert (self.ground.differs(self.ground.versions[-1]), self.ground.wrong(), self.ground.leftovers()) == (
            [],
            [],
            [],
        )
        return release


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[str], object]]:
    """A file system of that size; what is given mounts it anew with other options. Skips where that cannot be done."""

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")

    folder.mkdir(parents=True, exist_ok=True)
    mount(f"size={kilobytes}k")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
