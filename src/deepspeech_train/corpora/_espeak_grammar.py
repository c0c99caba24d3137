"""What the synthesised voices say: commands and digit strings of one to five words, 35 words in all.

No two words sound alike ("to" and "two" would), so that the spelling is never a matter of taste.
"""

from __future__ import annotations

import random

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

#: Each pattern is a row of choices; one is drawn of each. The weight is how often the pattern comes.
PATTERNS: tuple[tuple[int, tuple[tuple[str, ...], ...]], ...] = (
    (1, (("yes", "no", "stop", "back"),)),
    (3, (("turn",), ("the",), ("light", "radio", "fan", "music"), ("on", "off"))),
    (3, (("go",), ("left", "right", "up", "down", "back"), DIGITS)),
    (1, (("go",), ("left", "right", "up", "down", "back"))),
    (2, (("set",), ("timer", "alarm"), DIGITS)),
    (2, (("set",), ("the",), ("timer", "alarm"), DIGITS, DIGITS)),
    (2, (("open", "close"), ("the",), ("door", "window"))),
    (2, (("play", "stop"), ("the",), ("music", "radio", "alarm"))),
    (1, (("open", "close"), ("window", "door"), DIGITS)),
    (1, (DIGITS,)),
    (2, (DIGITS, DIGITS)),
    (3, (DIGITS, DIGITS, DIGITS)),
    (2, (DIGITS, DIGITS, DIGITS, DIGITS)),
)

WORDS = frozenset(word for _, pattern in PATTERNS for choices in pattern for word in choices)


def sentence(draw: random.Random) -> str:
    """One sentence of the grammar."""
    (pattern,) = draw.choices([row for _, row in PATTERNS], weights=[weight for weight, _ in PATTERNS])
    return " ".join(draw.choice(choices) for choices in pattern)
