"""What is wrong with a corpus: problems with a kind, a name and a detail, counted, named and kept in a file.

A *problem* costs one utterance or recording, which is left out; a *fault* (a speaker in two splits, nothing left)
makes the whole import worthless. ``problems.jsonl`` in the corpus folder holds every problem, one a line::

    {"kind": "unreadable audio", "name": "84-121123-0003", "detail": "is cut short", "split": "dev"}
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_train.errors import RecipeError
from deepspeech_train.files import written_whole

#: How many names a message shows of each kind of problem; the rest is counted.
NAMED = 5

FILE = "problems.jsonl"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one utterance or recording."""

    kind: str
    name: str
    detail: str = ""
    split: str = ""


def lines(problems: Sequence[Problem]) -> list[str]:
    """One line for each kind of problem: how many there are, and the first of them by name."""
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    told = []
    for kind, found in by_kind.items():
        names = [f"{p.name} ({p.detail})" if p.detail else p.name for p in found[:NAMED]]
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        told.append(f"{kind}: {len(found)}: {', '.join(names)}{more}")
    return told


def raise_for(faults: Sequence[Problem], corpus: str, hint: str, beside: Sequence[Problem] = ()) -> None:
    """Raises a :class:`RecipeError` that counts and names ``faults``, if there are any, and ``beside`` after them."""
    if not faults:
        return
    everything = [*faults, *beside]
    count = f"{len(everything)} problem{'s' if len(everything) > 1 else ''}"
    told = "\n".join(f"  {line}" for line in lines(everything))
    raise RecipeError(f"the corpus {corpus} was not imported, {count}:\n{told}", hint)


def write(folder: Path, problems: Sequence[Problem]) -> None:
    """Writes ``problems.jsonl`` into ``folder``; an empty file says that there was none."""
    with written_whole(folder / FILE, "The list of problems", "Check that the folder is yours and has room.") as file:
        for problem in problems:
            file.write((json.dumps(asdict(problem), ensure_ascii=False) + "\n").encode())
