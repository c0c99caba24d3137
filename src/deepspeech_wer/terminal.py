"""Text for a terminal: what comes from a tracked repository or from a server may hold what a terminal would obey."""

from __future__ import annotations

import os
import sys


def printable(text: str) -> str:
    """``text`` as one line in which control characters, escapes and such are shown as their codes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def tell(text: str) -> None:
    """Write a line to standard error; where nobody reads that any more, go on without."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
