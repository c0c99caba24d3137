"""Which commits came together, as one pull request that was merged by rebasing; git does not know.

Such a pull request ends at its ``merge_commit_sha``, "the SHA of the commit that the base branch was updated to", and
the commits below that one which belong to it, too, are its own. A squash is one commit, and a merge is no plain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepspeech_wer.landings.github.api import Api, Memory
from deepspeech_wer.landings.github.values import Commit, sha_of, shaped

#: Commits whose pull requests are remembered, so that the next tick need not ask for the same ones again.
REMEMBERED = 5000


class Pulls:
    """The merged pull requests of a repository's commits; ``path`` is the repository's in the API."""

    def __init__(self, api: Api, path: str, name: str, memory: Memory) -> None:
        self._api = api
        self._path = path
        self._name = name
        self._memory = memory

    def grouped(self, line: Sequence[Commit]) -> list[tuple[Commit, int]]:
        """The landings of a first-parent line, oldest first: the last commit of each, and how many commits it has.

        Only where two plain commits follow each other is anything asked, and that of the first of them.
        Raises RepositoryError, Refused.
        """
        known = self._memory.read()
        before = dict(known)
        groups: list[tuple[Commit, int]] = []
        try:
            last = len(line) - 1
            while last >= 0:
                first = self._first(line, last, known)
                groups.append((line[last], last - first + 1))
                last = first - 1
        finally:  # also where a limit ends the tick
            if known != before:
                self._memory.write(dict(list(known.items())[-REMEMBERED:]))
        return groups[::-1]

    def _first(self, line: Sequence[Commit], last: int, known: dict[str, Any]) -> int:
        """The index of the commit with which the landing begins that ends with ``line[last]``."""
        first = last
        while first and line[first].is_plain and line[first - 1].is_plain:
            if line[last].sha not in self._ends(line[first - 1].sha, known):
                break
            first -= 1
        return first

    def _ends(self, sha: str, known: dict[str, Any]) -> list[str]:
        """Where the merged pull requests of a commit end."""
        ends = known.get(sha)
        if not isinstance(ends, list):
            value = self._api.get(f"{self._path}/commits/{sha}/pulls", {"per_page": 100}).value
            with shaped(self._name):
                merged = [each for each in value if each["merged_at"] and each["merge_commit_sha"]]
                ends = [sha_of(each["merge_commit_sha"]) for each in merged]
            known.pop(sha, None)
            known[sha] = ends
        return ends
