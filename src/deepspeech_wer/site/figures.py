"""The figures of a training as the page shows them, and those of several trainings together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from deepspeech_wer.results.landed import Measure, measure

#: Optional figures are not checked when a run is kept. One above this is none, nor could it be written in a cell.
_MOST = 1e12

#: What each figure is called in hyper.json.
NAMES = {
    "test": "test_wer",
    "validation": "last_validation_wer",
    "train": "last_train_wer",
    "cer": "test_cer",
    "substitutions": "substitutions",
    "deletions": "deletions",
    "insertions": "insertions",
    "words": "words",
    "duration": "duration",
    "energy": "energy_kwh",
}

#: Those of which the spread is shown where there are several trainings.
RATES = ("test", "validation", "train", "cer")


@dataclass(frozen=True)
class Figures:
    """What a training came to. Rates are ratios, duration is in seconds, energy in kWh; None is what it did not say."""

    test: float
    validation: float | None
    train: float | None
    cer: float | None
    substitutions: float | None
    deletions: float | None
    insertions: float | None
    words: float | None
    duration: float | None
    energy: float | None

    def to_json(self) -> dict[str, float]:
        """The figures that there are, by the names that they have in hyper.json."""
        values = {NAMES[field.name]: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def figures(results: dict[str, Any]) -> Figures:
    """The figures in the ``results`` of a checked hyper.json, without what no training can have."""

    def number(name: str) -> float | None:
        value = results.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST else None

    optional = {field: number(name) for field, name in NAMES.items() if field != "test"}
    return Figures(test=results[NAMES["test"]], **optional)


def together(several: Sequence[Figures]) -> tuple[Figures | None, dict[str, Measure]]:
    """The means of ``several`` trainings, and the spread of each rate that at least two of them gave.

    Energy is summed up, since each training used its own. Of no trainings there are no figures, and the figures of one
    are its own.
    """
    if len(several) < 2:
        return (several[0] if several else None), {}
    measured = {
        field: measure([value for each in several if (value := getattr(each, field)) is not None]) for field in NAMES
    }
    means = {field: found.mean if found else None for field, found in measured.items()}
    used = [each.energy for each in several if each.energy is not None]
    means["energy"] = sum(used) if used else None
    spreads = {field: found for field in RATES if (found := measured[field]) and found.spread is not None}
    return Figures(**means), spreads  # type: ignore[arg-type]  # each training has a test WER
