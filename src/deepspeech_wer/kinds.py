"""What the text of a setting may be: each function here makes a value of it.

They raise ValueError, whose message says what is expected.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

#: What a person can be notified of.
NOTIFICATIONS = ("failure", "recovery", "regression", "publish")

#: More trainings of one landing than this are a slip of the hand, and would be a list without end in the journal.
MOST_SEEDS = 100

#: No number of a setting is meant to be higher; what is would overflow somewhere.
_MOST = 1e12


def text(value: str) -> str:
    """Any text, as it is."""
    return value


def path(value: str) -> Path:
    """A path, made absolute from the folder that this is called in; ``~`` is the home."""
    return Path(value).expanduser().absolute()


def seconds(value: str) -> float:
    """A number of seconds, 0 or more."""
    return _number(value, float, 0, _MOST, "a number of seconds, 0 or more, is expected")


def some_seconds(value: str) -> float:
    """A number of seconds, more than 0."""
    if not (number := seconds(value)):
        raise ValueError("a number of seconds above 0 is expected")
    return number


def port(value: str) -> int:
    """A TCP port."""
    return int(_number(value, int, 1, 65535, "a port from 1 to 65535 is expected"))


def count(value: str) -> int:
    """A whole number, 0 or more."""
    return int(_number(value, int, 0, _MOST, "a whole number, 0 or more, is expected"))


def positive(value: str) -> int:
    """A whole number, 1 or more."""
    return int(_number(value, int, 1, _MOST, "a whole number, 1 or more, is expected"))


def seeds(value: str) -> int:
    """How often a landing is trained."""
    return int(_number(value, int, 1, MOST_SEEDS, f"a whole number from 1 to {MOST_SEEDS} is expected"))


def amount(value: str) -> float:
    """A number, 0 or more."""
    return _number(value, float, 0, _MOST, "a number, 0 or more, is expected")


def _number(value: str, kind: type[int] | type[float], least: float, most: float, expected: str) -> float:
    try:
        number = kind(value)
    except ValueError as error:
        raise ValueError(expected) from error
    if not least <= number <= most:
        raise ValueError(expected)
    return number


def flag(value: str) -> bool:
    """A truth value."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if value.strip().lower() not in words:
        raise ValueError("1 or 0 is expected")
    return words[value.strip().lower()]


def one_of(*choices: str) -> Callable[[str], str]:
    """One of these texts."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)} is expected")
        return value

    return parse


def date(value: str) -> str:
    """A date or a time of ISO 8601; without a zone it is UTC."""
    from datetime import UTC, datetime

    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise ValueError("a date such as 2026-11-21, or a time of ISO 8601, is expected") from error


def niceness(value: str) -> int:
    """What nice(1) takes from a user who is not root."""
    return int(_number(value, int, 0, 19, "a niceness from 0 to 19 is expected"))


def web_address(value: str) -> str:
    """An http or https address, as it is."""
    if not value.startswith(("http://", "https://")):
        raise ValueError("an http or https address is expected")
    return value


def api(value: str) -> str:
    """An http or https address to which paths are added."""
    return web_address(value).rstrip("/")


def items(value: str) -> tuple[str, ...]:
    """Texts that commas part."""
    return tuple(item.strip() for item in value.split(",") if item.strip())


def notifications(value: str) -> tuple[str, ...]:
    """Some of NOTIFICATIONS."""
    names = items(value)
    if unknown := [name for name in names if name not in NOTIFICATIONS]:
        raise ValueError(f"{unknown[0]} is none of {', '.join(NOTIFICATIONS)}")
    return names


def file_of_the_checkout(value: str) -> str:
    """A path inside the checkout of a landing."""
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError("a path inside the checkout is expected")
    return value


def commit_url(value: str) -> str:
    """An address with a place for a SHA."""
    if "{sha}" not in value or not value.startswith(("http://", "https://")):
        raise ValueError("an http or https address with {sha} in it is expected")
    return value


def repository(value: str) -> str:
    """A path becomes absolute, so that a cron job and a shell mean the same one."""
    if value.startswith("-"):
        raise ValueError("a git URL or a path is expected")
    if "://" in value or (":" in value.split("/")[0] and not Path(value).exists()):
        return value
    return str(path(value))
