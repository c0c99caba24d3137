"""What the text of a setting may be: each function here makes a value of it.

They raise ValueError, whose message says what is expected.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

#: What a person can be notified of.
NOTIFICATIONS = ("failure", "recovery", "regression", "publish")


def text(value: str) -> str:
    """Any text, as it is."""
    return value


def path(value: str) -> Path:
    """A path, made absolute from the folder that this is called in; ``~`` is the home."""
    return Path(value).expanduser().absolute()


def seconds(value: str) -> float:
    """A number of seconds, 0 or more."""
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError("a number of seconds, 0 or more, is expected")
    return number


def port(value: str) -> int:
    """A TCP port."""
    number = int(value)
    if not 0 < number < 65536:
        raise ValueError("a port from 1 to 65535 is expected")
    return number


def count(value: str) -> int:
    """A whole number, 0 or more."""
    number = int(value)
    if number < 0:
        raise ValueError("a whole number, 0 or more, is expected")
    return number


def positive(value: str) -> int:
    """A whole number, 1 or more."""
    number = int(value)
    if number < 1:
        raise ValueError("a whole number, 1 or more, is expected")
    return number


def amount(value: str) -> float:
    """A number, 0 or more."""
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError("a number, 0 or more, is expected")
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

    when = datetime.fromisoformat(value)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def niceness(value: str) -> int:
    """What nice(1) takes from a user who is not root."""
    number = int(value)
    if not 0 <= number <= 19:
        raise ValueError("a niceness from 0 to 19 is expected")
    return number


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
