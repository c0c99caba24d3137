"""Whether there may be anything to do, known from one line: all that a tick reads where nothing is new.

It stands apart from the journal because an idle tick, of which there are 96 a day, is to take no longer than it must.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

#: The state in the journal's line which says that nothing was left to do.
SETTLED = "settled"

#: Bytes at the end of the journal that are looked at for its last line; the one that is looked for is a short one.
_TAIL = 1024


def settled_at(journal: Path, pointer: Path) -> str | None:
    """The commit at which nothing was left to do, where nothing was noted since; None where there may be something.

    ``journal`` and ``pointer`` are the files of a :class:`~deepspeech_wer.journal.Journal`.
    """
    try:
        with journal.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            line = json.loads(file.read().splitlines()[-1])
        sha = line["sha"] if line["state"] == SETTLED else None
        return str(sha) if pointer.read_text() == f"{sha}\n" else None
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
