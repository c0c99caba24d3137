"""A first-parent history as git tells it: its commits as landings, and where on the line each of them stands.

Whoever writes a commit chooses what is in it, so nothing in one may matter: a message can hold any character but NUL,
in any encoding or in none, and a date can be any number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from deepspeech_wer.files import write_atomically
from deepspeech_wer.landings import Landing, is_marked
from deepspeech_wer.landings.remote import Git, GitFailed

#: The fields of a landing. NUL parts them, and with ``-z`` the commits as well.
FIELDS = ("%H", "%P", "%an", "%ct", "%s", "%B")

SHA = re.compile(r"[0-9a-f]{40}")


def read_log(git: Git, what: tuple[str, ...], commit_url: str, position_of: Callable[[str], int]) -> list[Landing]:
    """The first-parent history that ``what`` (a range, or ``-1`` and a SHA) names, oldest first.

    ``position_of`` is asked once, for the parent of the oldest. Raises GitFailed.
    """
    text = git(
        "log",
        "--first-parent",
        "--reverse",
        "-z",
        "--no-show-signature",
        f"--format={'%x00'.join(FIELDS)}",
        "--encoding=UTF-8",
        *what,
        "--",
    )
    values = text.split("\0")
    records = list(zip(*(values[field :: len(FIELDS)] for field in range(len(FIELDS))), strict=False))
    if not records:
        return []
    before = records[0][1].split()
    first = position_of(before[0]) + 1 if before else 1
    return [
        Landing(
            sha=sha,
            parents=tuple(parents.split()),
            author=author,
            date=_date(date),
            subject=subject,
            position=position,
            url=commit_url.replace("{sha}", sha) if commit_url else None,
            kind="merge" if " " in parents else "commit",
            marked=is_marked(message),
        )
        for position, (sha, parents, author, date, subject, message) in enumerate(records, first)
    ]


class Positions:
    """Where commits stand on the first-parent line that leads to them, the root being 1.

    Counting a long history takes a while, so one commit's position is remembered in ``file``, and others are counted
    from there. What the file holds counts for nothing where it is damaged, or speaks of a commit that is not there.
    """

    def __init__(self, git: Git, file: Path | None = None) -> None:
        self._git = git
        self._file = file

    def of(self, sha: str) -> int:
        """The position of ``sha``. Raises GitFailed."""
        known = self._remembered()
        position = None if known is None else self._from(sha, *known)
        return position or int(self._git("rev-list", "--first-parent", "--count", sha))

    def _from(self, sha: str, mark: str, position: int) -> int | None:
        """The position of ``sha``, counted from ``mark``, whose is known: both lines are followed down until they meet.

        None where they do not, or where one of the commits is not there.
        """
        try:
            up = down = 0
            below, mark_below = sha, mark
            while below != mark_below:
                before = (below, mark_below)
                steps, below = self._down(below, mark_below)
                up += steps
                if not below:
                    return up  # its own root
                steps, mark_below = self._down(mark_below, below)
                down += steps
                if not mark_below or before == (below, mark_below):
                    return None
            return position - down + up
        except GitFailed:
            return None

    def remember(self, sha: str, position: int) -> None:
        """Count from ``sha`` the next time. Raises OSError where the disk refuses."""
        if self._file is not None and self._remembered() != (sha, position):
            write_atomically(self._file, json.dumps([sha, position]) + "\n")

    def _down(self, sha: str, mark: str) -> tuple[int, str]:
        """The steps from ``sha`` down its line until one that ``mark`` can reach, and that one; none below a root."""
        if sha == mark:
            return 0, mark
        lines = self._git("rev-list", "--first-parent", "--parents", f"{mark}..{sha}", "--").splitlines()
        return (len(lines), (*lines[-1].split(), "")[1]) if lines else (0, sha)

    def _remembered(self) -> tuple[str, int] | None:
        if self._file is None:
            return None
        try:
            sha, position = json.loads(self._file.read_bytes())
        except (OSError, ValueError, TypeError):
            return None
        return (sha, position) if isinstance(sha, str) and SHA.fullmatch(sha) and isinstance(position, int) else None


def _date(seconds: str) -> str:
    """A commit's time; the epoch where the commit gives none that there can be."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat()
