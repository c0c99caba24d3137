"""Long real histories for the tests and the benchmarks, made at once by ``git fast-import``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

from history import Repository


def fast_import(repository: Repository, commits: int, merge_every: int = 5) -> list[str]:
    """Fill the branch main with ``commits`` commits, a minute apart, and give its first-parent line, oldest first.

    Each changes a file of its folder; of every ``merge_every`` one is the merge of the two before it, which were made
    on a branch of their own.
    """
    stream = "".join(_stream(commits, merge_every)).encode()
    subprocess.run(
        ["git", "-C", str(repository.path), "fast-import", "--quiet"], input=stream, env=os.environ, check=True
    )
    return repository.git("rev-list", "--first-parent", "--reverse", "main").split()


def _stream(commits: int, merge_every: int) -> Iterator[str]:
    main = 0
    side: list[int] = []
    for mark in range(1, commits + 1):
        place = mark % merge_every
        is_side, is_merge = place in (merge_every - 2, merge_every - 1) and mark > 1, place == 0 and len(side) == 2
        text = f"Commit {mark} changes what the decoder does\n\nAnd a body that says why, in a line or two.\n"
        yield f"commit refs/heads/{'side' if is_side else 'main'}\nmark :{mark}\n"
        for role in ("author", "committer"):
            yield f"{role} Ada Park <ada@example.org> {1_600_000_000 + 60 * mark} +0000\n"
        yield f"data {len(text)}\n{text}"
        parent = side[-1] if is_side and side else main
        if parent:
            yield f"from :{parent}\n"
        if is_merge:
            yield f"merge :{side[-1]}\n"
        yield f"M 100644 inline folder{mark % 7}/file{mark % 31}\ndata {len(str(mark))}\n{mark}\n\n"
        if is_side:
            side.append(mark)
        else:
            main, side = mark, []
