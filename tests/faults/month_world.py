"""What can happen to an installation that nobody looks after: events, and troubles that last for a while.

Each is made for real: commits in the repository, files that are damaged, a server that refuses. What is remembered of
them is what it takes to judge the tracker afterwards.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from faults.landings import Tracker
from faults.month_history import KINDS, SHAPES, Origin
from faults.month_server import Mood

#: When the month begins (seconds since 1970).
BEGIN = 1_800_000_000

#: Seconds within which a tick or a verb has to come to its end, on a machine with a lot else to do.
LONGEST = 180

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
BETWEEN = {
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


@dataclass
class World:
    """An installation, the repository that it tracks, its server, and all that happened to them so far."""

    seed: int
    folder: Path
    origin: Origin
    tracker: Tracker
    mood: Mood
    #: Whether its home is a small disk of its own, which can be really full.
    is_on_disk: bool = False
    rng: random.Random = field(default_factory=random.Random)
    #: What happened, for people.
    events: list[str] = field(default_factory=list)
    now: float = BEGIN
    ticks: int = 0
    #: What is wrong, and for how many more ticks.
    troubles: dict[str, int] = field(default_factory=dict)
    #: Heads that the branch had before it was rewritten or removed, and new roots of it.
    old_heads: list[str] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    #: What ticks have found, so that a person knows of it.
    noted: set[str] = field(default_factory=set)
    #: Wishes that were granted: how many more trainings, by the SHA; which landings are to be skipped, tried again.
    reruns: Counter[str] = field(default_factory=Counter)
    skips: set[str] = field(default_factory=set)
    retries: set[str] = field(default_factory=set)
    #: What was written into the journal that is no line of it.
    tears: list[bytes] = field(default_factory=list)
    is_newest_used: bool = False
    was_deaf: bool = False

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
        return self.land_on_main(1)

    def _land_several(self) -> str:
        return self.land_on_main(self.rng.randint(2, 4))

    def land_on_main(self, count: int, kinds: tuple[str, ...] = ()) -> str:
        """Let so many commits land, of these ``kinds`` or of any; tells how."""
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
        return f"{told}, {self.land_on_main(self.rng.randint(1, 3))}" if told else ""

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
        out, err = to_the_end(process)
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

    def set_clock(self, now: float) -> None:
        """Set the tracker's clock."""
        self.now = now
        (self.folder / "clock").write_text(repr(now - time.time()))


def to_the_end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process prints until it ends: its output, and its errors."""
    try:
        return process.communicate(timeout=LONGEST)
    finally:
        process.kill()


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
