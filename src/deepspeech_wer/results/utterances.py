"""``utterances.jsonl``: what a run recognised in its test set, an utterance a line.

The recipe writes it, and any other training may::

    {"id": "7-2", "speaker": "7", "reference": "two", "hypothesis": "to",
     "words": 1, "substitutions": 1, "deletions": 0, "insertions": 0}

``speaker`` is optional. Other fields, such as ``duration``, are for whoever looks at it. It comes out of a job, so that
it may hold anything: a file that is not as described above is treated as if it were not there, as a whole, because a
part of a test set would be compared as if it were all of it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepspeech_wer.results.landed import Landed
from deepspeech_wer.stats.significance import Comparison, Counts, compare

#: A hundred times LibriSpeech's test-clean; more is no list of test utterances.
MOST_BYTES = 100_000_000

#: Words in one utterance: more than are spoken in a day.
_MOST_WORDS = 1_000_000


def read_counts(folder: Path) -> dict[str, Counts]:
    """What was counted in each test utterance of the run in ``folder``, by the utterance's id.

    Empty where there is no such file or it is not what it should be.
    """
    try:
        # Not to wait for ever on a named pipe, nor to be led to another run's file.
        descriptor = os.open(folder / "utterances.jsonl", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return {}
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_size > MOST_BYTES:
        os.close(descriptor)
        return {}
    with os.fdopen(descriptor, "rb") as file:
        counts: dict[str, Counts] = {}
        try:
            for line in filter(bytes.strip, file):
                name, utterance = _parse(line)
                if name in counts:
                    return {}
                counts[name] = utterance
        except (OSError, ValueError, RecursionError):
            return {}
    return counts


def compare_landed(before: Landed, after: Landed) -> Comparison:
    """Two landings compared on the seeds that both were trained with, else on the newest run of each."""
    old, new = ({run.seed: run.folder for run in landed.runs} for landed in (before, after))
    seeds = sorted(old.keys() & new.keys())
    return compare(
        pooled_counts([old[seed] for seed in seeds] or [before.newest.folder]),
        pooled_counts([new[seed] for seed in seeds] or [after.newest.folder]),
    )


def pooled_counts(folders: Sequence[Path]) -> dict[str, Counts]:
    """The sums over several runs of one landing, for the utterances that all of them have with as many words.

    Compared are then the means over the seeds: two landings have to be pooled over the same number of runs.
    """
    runs = [read_counts(folder) for folder in folders]
    pooled: dict[str, Counts] = {}
    for name, first in runs[0].items() if runs else ():
        each = [run[name] for run in runs if name in run and run[name].words == first.words]
        if len(each) == len(runs):
            errors, words = sum(counts.errors for counts in each), sum(counts.words for counts in each)
            pooled[name] = Counts(errors, words, first.speaker)
    return pooled


def _parse(line: bytes) -> tuple[str, Counts]:
    """The id and the counts in one line. Raises ValueError, or RecursionError, for what is no such line."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    name, speaker = value.get("id"), value.get("speaker") or ""
    if not isinstance(name, str) or not isinstance(speaker, str):
        raise ValueError("the id or the speaker is no text")
    edits = sum(_count(value, kind) for kind in ("substitutions", "deletions", "insertions"))
    return name, Counts(edits, _count(value, "words"), speaker)


def _count(value: dict[str, Any], name: str) -> int:
    number = value.get(name)
    if type(number) is not int or not 0 <= number <= _MOST_WORDS:
        raise ValueError(f"{name} is no count")
    return number
