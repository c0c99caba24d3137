"""Text for a terminal: what comes from a tracked repository or from a server may hold what a terminal would obey."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` as one line in which control characters, escapes and such are shown as their codes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
