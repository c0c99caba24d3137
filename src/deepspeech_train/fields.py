"""A setting as a field of a dataclass: its default, its range, what it is about, and the checking of its value."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import SettingsError

PREFIX = "ds_"
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


def setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    only: str = "",
) -> Any:
    """A field with its range: ``low``/``high`` are allowed themselves, ``above``/``below`` are not.

    ``only`` says where it is used: ``"model=deepspeech1"``, ``"features=mfcc|logmel"``, or ``"augment_noise"``, which
    is where that one is set at all.
    """
    limits = {"low": low, "high": high, "above": above, "below": below}
    metadata = {"about": about, "choices": choices, "only": only, **limits}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """``value`` as the field's type, in the field's range; SettingsError otherwise."""
    kind = str(field.type)
    try:
        value = _converted(kind, value)
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(
            f"{field.name} = {value!r} is not {_KINDS[kind]}.",
            f"{field.name}: {field.metadata['about']}. Set it in the parameters cell or as {PREFIX}{field.name}.",
        ) from None
    wrong = [told for name, told in _limits(field).items() if not _HOLDS[name](value, field.metadata[name])]
    if wrong:
        raise SettingsError(
            f"{field.name} = {value!r} is not allowed: it must be {' and '.join(wrong)}.",
            f"{field.name}: {field.metadata['about']}. Set it in the parameters cell or as {PREFIX}{field.name}.",
        )
    return value


def allowed(field: dataclasses.Field[Any]) -> str:
    """What a setting may be, in words; "" where anything of its type may be."""
    return " and ".join(_limits(field).values())


def _limits(field: dataclasses.Field[Any]) -> dict[str, str]:
    """The limits that a field has, each in words."""
    meta = field.metadata
    told = {name: f"{words} {meta[name]}" for name, words in _WORDS.items() if meta[name] is not None}
    return told | ({"choices": "one of " + ", ".join(filter(None, meta["choices"]))} if meta["choices"] else {})


_WORDS = {"low": "at least", "high": "at most", "above": "more than", "below": "less than"}
_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "low": operator.ge,
    "high": operator.le,
    "above": operator.gt,
    "below": operator.lt,
    "choices": lambda value, choices: value in choices,
}


def unused(field: dataclasses.Field[Any], values: Any) -> str:
    """Why the field is not used as the others of its dataclass' instance ``values`` are; "" if it is."""
    other, equals, wanted = field.metadata["only"].partition("=")
    if not other:
        return ""
    value = getattr(values, other)
    if str(value) in wanted.split("|") if equals else value:
        return ""
    return f"{other} = {value}" if value not in (None, "") else f"{other} is not set"


def number_or_text(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a finite number",
    "bool": "a yes or no (1 or 0)",
    "Path": "a path",
    "Path | None": "a path",
}


def _converted(kind: str, value: Any) -> Any:
    if kind == "str":
        if not isinstance(value, str):
            raise TypeError
        return value
    if kind in ("Path", "Path | None"):
        if value is None or value == "":
            if kind == "Path":
                raise ValueError
            return None
        return Path(value).expanduser()
    if kind == "bool":
        if isinstance(value, str):
            if value.strip().lower() not in _TRUE + _FALSE:
                raise ValueError
            return value.strip().lower() in _TRUE
        if value not in (0, 1):
            raise ValueError
        return bool(value)
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if number != number or abs(number) == float("inf"):
        raise ValueError
    if kind == "float":
        return number
    # A whole number may be written 1e3, but 2**60 must not lose digits on the way through a float.
    whole = int(value) if not isinstance(value, float) and str(value).strip().lstrip("+-").isdigit() else int(number)
    if whole != number:
        raise ValueError
    return whole
