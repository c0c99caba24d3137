"""Options of importers: a frozen dataclass for each importer, filled and checked from keywords."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import TypeVar

from deepspeech_train.errors import SettingsError

T = TypeVar("T")

_TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str}


def parse(corpus: str, kind: type[T], given: Mapping[str, object]) -> T:
    """An object of the dataclass ``kind`` with ``given`` over its defaults.

    Raises :class:`SettingsError` for a name that ``kind`` does not have and for a value of another type;
    ranges are the business of the dataclass's own ``__post_init__``.
    """
    assert dataclasses.is_dataclass(kind)
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    for name, value in given.items():
        if name not in types:
            raise SettingsError(
                f"the corpus {corpus} has no option {name!r}",
                f"{near_match(name, types)}its options are {', '.join(types)}" if types else "it has no options",
            )
        if not isinstance(value, _TYPES[types[name]]) or isinstance(value, bool):
            raise SettingsError(f"the option {name} of the corpus {corpus} is {value!r}", f"give {types[name]}")
    return kind(**given)


def at_least(corpus: str, options: object, least: int | float, *names: str) -> None:
    """Raises :class:`SettingsError` if a field of ``options`` named is less than ``least``."""
    for name in names:
        if getattr(options, name) < least:
            raise SettingsError(
                f"the option {name} of the corpus {corpus} is {getattr(options, name)}",
                f"give at least {least}",
            )


def one_of(corpus: str, options: object, name: str, *allowed: object) -> None:
    """Raises :class:`SettingsError` if the field ``name`` of ``options`` is none of ``allowed``."""
    if getattr(options, name) not in allowed:
        raise SettingsError(
            f"the option {name} of the corpus {corpus} is {getattr(options, name)!r}",
            f"give {' or '.join(repr(value) for value in allowed)}",
        )


def near_match(word: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """ "did you mean X? ", or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""
