"""What the verbs that take a MANIFEST share: reading it, whatever its form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.manifest import Utterances
    from ..text import Alphabet


def utterances_of(path: Path, alphabet: Alphabet) -> Utterances:
    """The utterances of a manifest of any form, or of a folder of shards; RecipeError where it has none."""
    from ..data.manifest import read_manifest
    from ..errors import RecipeError

    utterances = read_manifest(path)
    if not len(utterances):
        raise RecipeError(f"{path} holds no utterances.", "Name a manifest with at least one.")
    return utterances


def some_of(utterances: Utterances, limit: int) -> Utterances:
    """``limit`` of them, spread evenly; all, for 0 or where there are no more."""
    count = len(utterances)
    if not limit or limit >= count:
        return utterances
    return [utterances[place * count // limit] for place in range(limit)]
