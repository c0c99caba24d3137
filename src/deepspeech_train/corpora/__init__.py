"""Corpora to train on, imported on first use: ``corpora.load("espeak", folder)``.

One module a corpus, loaded when it is asked for. Each turns (source, seed, options) into an
:class:`_importing.ImportPlan`; what all share (the folder, the lock, the checks) is in ``_importing``. The corpus
``manifest`` is read where it is, and nothing of it is imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from deepspeech_train.corpora import _options
from deepspeech_train.errors import SettingsError

if TYPE_CHECKING:
    from deepspeech_train.data.manifest import Corpus
    from deepspeech_train.text import Alphabet

#: The corpora that :func:`load` knows, each a module of this package.
NAMES = ("librispeech", "tedlium", "commonvoice", "an4", "ldc93s1", "fsdd", "espeak", "manifest")

#: The one that is read where it lies.
IN_PLACE = "manifest"

#: The seed of DeepSpeech's notebook (``ds_random_seed``).
DEFAULT_SEED = 4567


def check(name: str, options: Mapping[str, object]) -> None:
    """Raises :class:`SettingsError` for a name or an option that :func:`load` would refuse. Reads no data."""
    if name not in NAMES:
        raise SettingsError(
            f"there is no corpus {name!r}",
            f"{_options.near_match(name, NAMES)}the corpora are {', '.join(NAMES)}",
        )
    if not isinstance(options.get("seed", 0), int):
        raise SettingsError(f"the option seed of the corpus {name} is {options['seed']!r}", "give a whole number")
    given = {option: value for option, value in options.items() if option not in ("source", "seed")}
    _options.parse(name, _module(name).Options, given)


def options_of(name: str) -> dict[str, object]:
    """The options of a corpus with their defaults."""
    return {field.name: field.default for field in dataclasses.fields(_module(name).Options)}


def load(
    name: str,
    folder: Path | str,
    source: Path | str | None = None,
    *,
    seed: int = DEFAULT_SEED,
    progress: bool = True,
    alphabet: Alphabet | None = None,
    max_duration: float = 0,
    **options: object,
) -> Corpus:
    """The corpus ``name`` with its three splits, under ``folder``; imported if it is not there yet.

    ``source`` is a local copy of the original data (each importer's module says in which form); without
    it the environment variable ``ds_<name>_source`` is asked, and without that the data is downloaded.
    ``options`` are the fields of the importer's ``Options``. The same name, source, seed and options give
    the same corpus. Left out and told by name are utterances with characters outside ``alphabet`` (None: English),
    those for training that are longer than ``max_duration`` seconds (0: any length), and those that cannot be read.

    Raises :class:`SettingsError` for a name or an option that does not exist and for a source that is not
    there, :class:`RecipeError` for data that cannot be had or of which nothing can be used; nothing is left
    behind then but what has been downloaded so far.
    """
    from deepspeech_train.text import ENGLISH

    check(name, options)
    module = _module(name)
    characters = alphabet or ENGLISH
    from deepspeech_train.corpora._progress import Progress

    shown = Progress(name, progress)
    if name == IN_PLACE:
        if source:
            raise SettingsError(
                f"the corpus {IN_PLACE} has no source, {source} was given",
                "name the manifests of its splits in the options train, dev and test",
            )
        chosen = _options.parse(IN_PLACE, module.Options, options)
        read: Corpus = module.load(chosen, characters, max_duration, shown)
        return read
    given = source or os.environ.get(f"ds_{name}_source")
    place = Path(given).expanduser() if given else None
    if place and not place.exists():
        origin = "" if source else f" (from the environment variable ds_{name}_source)"
        raise SettingsError(
            f"the source of the corpus {name} is not there: {place}{origin}",
            "give the path of a local copy, or leave it out to get the data from where it is published",
        )
    from deepspeech_train.corpora import _importing

    request = _importing.Request(name, module.plan(place, seed, options), characters, max_duration)
    return _importing.imported(request, Path(folder).expanduser(), shown)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
