"""Corpora to train on, imported on first use: ``corpora.load("espeak", folder)``.

One module a corpus. Each turns (source, seed, options) into an :class:`_importing.ImportPlan`; what all
share (the folder, the lock, the checks) is in ``_importing``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from deepspeech_train.corpora import _importing, _options, espeak, fsdd, ldc93s1
from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data.manifest import Corpus
from deepspeech_train.errors import SettingsError
from deepspeech_train.text import ENGLISH, Alphabet

_PLANS = {"ldc93s1": ldc93s1.plan, "fsdd": fsdd.plan, "espeak": espeak.plan}
_OPTIONS: dict[str, type] = {"ldc93s1": ldc93s1.Options, "fsdd": fsdd.Options, "espeak": espeak.Options}

#: The corpora that :func:`load` knows.
NAMES = tuple(_PLANS)

#: The seed of DeepSpeech's notebook (``ds_random_seed``).
DEFAULT_SEED = 4567


def check(name: str, options: Mapping[str, object]) -> None:
    """Raises :class:`SettingsError` for a name or an option that :func:`load` would refuse. Reads no data."""
    if name not in _PLANS:
        raise SettingsError(
            f"there is no corpus {name!r}",
            f"{_options.near_match(name, NAMES)}the corpora are {', '.join(NAMES)}",
        )
    _options.parse(name, _OPTIONS[name], options)


def load(
    name: str,
    folder: Path | str,
    source: Path | str | None = None,
    *,
    seed: int = DEFAULT_SEED,
    progress: bool = True,
    alphabet: Alphabet = ENGLISH,
    max_duration: float = 0,
    **options: object,
) -> Corpus:
    """The corpus ``name`` with its three splits, under ``folder``; imported if it is not there yet.

    ``source`` is a local copy of the original data (each importer's module says in which form); without
    it the environment variable ``ds_<name>_source`` is asked, and without that the data is downloaded.
    ``options`` are the fields of the importer's ``Options``. The same name, source, seed and options give
    the same corpus.

    Raises :class:`SettingsError` for a name or an option that does not exist and for a source that is not
    there, :class:`RecipeError` for data that cannot be had or does not pass the checks; nothing is left
    behind then.
    """
    check(name, options)
    given = source or os.environ.get(f"ds_{name}_source")
    place = Path(given).expanduser() if given else None
    if place and not place.exists():
        origin = "" if source else f" (from the environment variable ds_{name}_source)"
        raise SettingsError(
            f"the source of the corpus {name} is not there: {place}{origin}",
            "give the path of a local copy, or leave it out to get the data from where it is published",
        )
    plan = _PLANS[name](place, seed, options)
    return _importing.imported(plan, name, Path(folder).expanduser(), Progress(name, progress))
