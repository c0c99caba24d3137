"""The repository that a simulated month tracks: landings of every shape, whose trainings go well or wrong in many ways.

It is bare and written by ``git fast-import``, one process for each step, so that hundreds of landings take no time.
What was ever on the branch is remembered here, so that what the tracker makes of it can be judged without asking it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = "bin/run-wer-automation.sh"

_BEGIN = """#!/bin/sh
name="${ds_checkpoint_dir##*/}"
echo "began $name $ds_run_id" >> "$FAULTS_TALLY"
"""

_END = """echo '{"context": {%s}, "parameters": {}, "results": {"test_wer": %s}}' > "$ds_result_dir/hyper.json"
echo "ended $name $ds_run_id" >> "$FAULTS_TALLY"
"""


@dataclass(frozen=True)
class Kind:
    """How a training goes: so many of all landings in a hundred, what its script does before it ends as it should.

    ``why`` is what a failed run of it has to say (a regular expression); where it is empty, no run of it may fail but
    by what is done to it from outside. ``once`` says that it fails the first time only, ``fills`` that it fills
    the disk.
    """

    share: int
    does: str = ""
    why: str = ""
    once: bool = False
    fills: bool = False
    context: str = ""
    wer: str = ""


KINDS = {
    "good": Kind(56),
    "slow": Kind(8, "sleep 0.3\n"),
    "fails": Kind(6, "echo 'no such corpus'\nexit 3\n", "ended with exit code 3"),
    "fails at first": Kind(
        8, 'if mkdir "$FAULTS_TALLY.$name"; then exit 4; fi 2> /dev/null\n', "ended with exit code 4", once=True
    ),
    "hangs": Kind(2, "exec sleep 1000\n", "its limit"),
    "loud": Kind(3, "exec yes 'loss 0.1'\n", "printed more than"),
    "no number": Kind(3, why="not valid", wer="NaN"),
    "another commit": Kind(2, why="hyper.json of commit", context=f'"git_hash": "{"ab" * 20}"'),
    "no figures": Kind(2, "exit 0\n", "left no hyper.json"),
    "gone": Kind(2, 'rm -rf "$ds_result_dir"\nexit 0\n', "removed its own result folder"),
    "absent": Kind(2, why="there is neither the script"),
    "heap": Kind(
        3,
        "mkdir -p heap/a/b\nfor n in 0 1 2 3 4 5 6 7 8 9; do for m in 0 1 2 3 4 5 6 7 8 9; do : > heap/a/b/$n$m; done; "
        "done\nhead -c 3000000 /dev/zero > heap/large\nchmod -R a-w heap\n",
    ),
    "stubborn": Kind(
        3, 'setsid sh -c \'trap "" TERM; while :; do sleep 1; done\' "$ds_result_dir" > /dev/null 2>&1 &\n'
    ),
}

#: Those that need a small disk of their own.
KINDS |= {
    f"fills its {what}": Kind(3, f'cat /dev/zero > "{where}/heap" || exit 5\n', "code 5|filled the disk", fills=True)
    for what, where in (("checkout", "."), ("result", "$ds_result_dir"), ("checkpoints", "$ds_checkpoint_dir"))
}

SHAPES = ("push", "squash", "merge", "octopus", "rebase", "empty")


@dataclass(frozen=True)
class Commit:
    """One that was on the branch. ``position`` counts its first-parent line from the root, the root being 1."""

    sha: str
    parent: str | None
    position: int
    kind: str
    marked: bool

    @property
    def trains(self) -> bool:
        """Whether its training goes well in the end, if nothing is done to it."""
        return not KINDS[self.kind].why or KINDS[self.kind].once


@dataclass
class Origin:
    """A bare repository with one branch, ``main``, which may be gone."""

    path: Path
    head: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    _made: int = 0

    @classmethod
    def begun(cls, path: Path) -> Origin:
        """One with a first commit, which cannot be trained."""
        origin = cls(path)
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)],
            check=True,
            env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull},
        )
        origin.land("push", ["absent"], when=0)
        return origin

    def land(self, shape: str, kinds: Sequence[str], *, when: int, marked: bool = False, root: bool = False) -> str:
        """Land in one push as many commits as there are ``kinds``, at the time ``when``; gives the new head.

        ``marked`` ones ask for no training. With ``root`` they have no history in common with what was there.
        """
        stream: list[bytes] = []
        new: list[tuple[int, str]] = []
        parent = None if root else self.head
        before = None if parent is None else self.commits[parent]
        mark = 0

        def commit(subject: str, first: str | None, changes: str, merged: Sequence[int] = ()) -> int:
            nonlocal mark
            mark += 1
            text = subject.encode()
            who = f"Zoë Łuk <zoe@example.org> {when + mark} +0000"
            lines = ["commit refs/heads/main", f"mark :{mark}", f"author {who}", f"committer {who}"]
            lines += [f"data {len(text)}", subject]
            lines += ([f"from {first}"] if first else []) + [f"merge :{each}" for each in merged]
            stream.append("\n".join([*lines, changes, ""]).encode())
            return mark

        for number, kind in enumerate(kinds):
            self._made += 1
            name = f"Number {self._made} ({kind}, {shape})" + (" [skip wer]" if marked else "")
            first = f":{new[-1][0]}" if new else parent
            sides = [
                commit(f"Work on number {self._made}", first, _file(f"work/{self._made}-{side}", "work\n"))
                for side in range({"merge": 1, "octopus": 2}.get(shape, 0) if first else 0)
            ]
            if shape == "empty" and first:
                kind = self.commits[parent].kind if parent and number == 0 else new[-1][1]
                mark_of = commit(name, first, "")
            else:
                mark_of = commit(name, first, _script(kind, self._made), sides)
            new.append((mark_of, kind))
        stream.append(b"done\n")
        marks = self.path / "marks"
        subprocess.run(
            [
                "git",
                "--git-dir",
                str(self.path),
                "fast-import",
                "--quiet",
                "--force",
                "--done",
                f"--export-marks={marks}",
            ],
            input=b"".join(stream),
            check=True,
        )
        shas = dict(line.split() for line in marks.read_text().splitlines())
        for mark_of, kind in new:
            sha = shas[f":{mark_of}"]
            position = before.position + 1 if before else 1
            before = Commit(sha, before.sha if before else None, position, kind, marked)
            self.commits[sha] = before
        assert before is not None
        self.head = before.sha
        return before.sha

    def move(self, sha: str) -> None:
        """Set the branch to a commit that was on it once, or make it again there."""
        self._git("update-ref", "refs/heads/main", sha)
        self.head = sha

    def remove(self) -> None:
        """Delete the branch."""
        self._git("update-ref", "-d", "refs/heads/main")
        self.head = None

    def prune(self) -> None:
        """Forget all commits that no branch has any more."""
        self._git("reflog", "expire", "--expire=now", "--all")
        self._git("gc", "--quiet", "--prune=now")

    def line(self, sha: str) -> list[str]:
        """The first-parent line that leads to ``sha``, oldest first, as git gives it."""
        return self._git("rev-list", "--first-parent", "--reverse", sha).split()

    def _git(self, *arguments: str) -> str:
        command = ["git", "--git-dir", str(self.path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _script(kind: str, number: int) -> str:
    about = KINDS[kind]
    if kind == "absent":
        return f"D {SCRIPT}\n" + _file("number", f"{number}\n")
    wer = about.wer or f"0.{37 * number % 1000:03}"
    return _file(SCRIPT, f"{_BEGIN}{about.does}{_END % (about.context, wer)}# {number}\n", "100755")


def _file(path: str, content: str, mode: str = "100644") -> str:
    return f"M {mode} inline {path}\ndata {len(content.encode())}\n{content}"
