"""``hyper.json``: the parameters and the results of one training run.

The form is that of Mozilla DeepSpeech's notebook of 2016, and files of that age load unchanged::

    {"context":    {"time_started": ISO 8601, "time_finished": ISO 8601, "git_hash": SHA, "git_branch": name},
     "parameters": {name: any scalar, "data_set": {"name": ...}},
     "results":    {"duration": s, "last_train_wer": x, "last_validation_wer": x, "test_wer": x}}

Word error rates are ratios from 0 to MOST_RATE: 0.25 is 25 %. Newer fields are optional: ``version``, ``seed``,
``learning_curve`` (a list with an object an epoch), ``machine``, ``packages``, and in ``results`` ``test_cer``,
``substitutions``, ``deletions``, ``insertions``, ``words``, ``utterances``, ``energy_kwh``.

This module imports nothing of ours.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

#: The version that today's recipe writes; a file without one is of 2016 or 2017.
VERSION = 2

#: The word error rates, in the order in which the page draws them.
RATES = ("test_wer", "last_validation_wer", "last_train_wer")

#: Insertions take a rate above 1, but a thousand words heard for each one that was said are no measurement any more:
#: such a figure is a slip, and one point of it would flatten all others on the chart.
MOST_RATE = 1000.0

#: Levels of nesting that any real file stays far below, and that JSON writers of every language can take.
_DEEPEST = 50

_SHA = re.compile(r"[0-9a-f]{40}")


class InvalidHyper(ValueError):
    """The text is not a hyper.json; the message says what is wrong with it."""


def parse(text: str | bytes) -> dict[str, Any]:
    """Read and check one ``hyper.json``.

    Raises InvalidHyper where it is no JSON object, half an object, holds NaN or an infinity, lacks one of its
    three parts or ``results.test_wer``, or gives a rate that is not a number from 0 to MOST_RATE.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InvalidHyper("it is nested too deeply") from error
    except ValueError as error:
        if isinstance(error, InvalidHyper):
            raise
        raise InvalidHyper(f"it is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidHyper(f"it holds {_kind(value)} where an object is expected")
    for part in ("context", "parameters", "results"):
        if part not in value:
            raise InvalidHyper(f"it has no {part!r}")
        if not isinstance(value[part], dict):
            raise InvalidHyper(f"its {part!r} is {_kind(value[part])} where an object is expected")
    if "test_wer" not in value["results"]:
        raise InvalidHyper("its 'results' have no 'test_wer'")
    for rate in RATES:
        if value["results"].get(rate) is not None or rate == "test_wer":
            _check_rate(rate, value["results"][rate])
    for name in ("version", "seed"):
        if name in value and (isinstance(value[name], bool) or not isinstance(value[name], int)):
            raise InvalidHyper(f"its {name!r} is {_kind(value[name])} where a whole number is expected")
    _check_values(value, "")
    curve = value.get("learning_curve", [])
    if not isinstance(curve, list) or not all(isinstance(epoch, dict) for epoch in curve):
        raise InvalidHyper("its 'learning_curve' is not a list of objects")
    return value


def git_hash(hyper: dict[str, Any]) -> str | None:
    """The commit that the run was of: 40 hexadecimal digits, or None where the file names none."""
    value = hyper["context"].get("git_hash")
    if isinstance(value, str) and _SHA.fullmatch(value.strip().lower()):
        return value.strip().lower()
    return None


def is_of_another(hyper: dict[str, Any], sha: str) -> bool:
    """Whether the run names another commit than ``sha``, in full or in 7 digits or more."""
    value = hyper["context"].get("git_hash")
    said = value.strip().lower() if isinstance(value, str) else ""
    return bool(re.fullmatch(r"[0-9a-f]{7,40}", said)) and not sha.startswith(said)


def data_set(hyper: dict[str, Any]) -> str:
    """The name of the data set that the run was tested on; of one without a name, what stands there; else empty."""
    value = hyper["parameters"].get("data_set", "")
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return str(value["name"])
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def dump(hyper: dict[str, Any]) -> str:
    """One line of JSON that is safe inside a script element and in any JavaScript string."""
    text = json.dumps(hyper, sort_keys=True, allow_nan=False, ensure_ascii=True, separators=(", ", ": "))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _refuse_constant(name: str) -> float:
    raise InvalidHyper(f"it holds {name}, which is not a number")


def _check_values(value: Any, where: str, depth: int = 0) -> None:
    """No consumer of ours can take an infinity, which 1e999 and 10**400 become, or a structure without end."""
    if depth > _DEEPEST:
        raise InvalidHyper("it is nested too deeply")
    if isinstance(value, int | float) and not _is_finite(value):
        raise InvalidHyper(f"{where or 'it'} is not a finite number")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_values(item, f"{where}.{name}" if where else repr(name), depth + 1)
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, f"{where}[{index}]", depth + 1)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def _check_rate(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidHyper(f"its {name!r} is {_kind(value)} where a number is expected")
    if not 0 <= value <= MOST_RATE:
        raise InvalidHyper(
            f"its {name!r} is {str(value)[:20]}, and a word error rate is a ratio from 0 to {MOST_RATE:g}: 0.25 is 25 %"
        )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
