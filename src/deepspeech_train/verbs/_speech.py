"""What the verbs that take a MANIFEST share: reading it, whatever its form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.manifest import Utterances


def utterances_of(path: Path) -> Utterances:
    """The utterances of a manifest of any form, or of a folder of shards; RecipeError where it has none."""
    from ..corpora._progress import Progress
    from ..data import formats
    from ..errors import RecipeError

    utterances = formats.load(path, progress=Progress("manifest", enabled=True))
    if not len(utterances):
        raise RecipeError(f"{path} holds no utterances.", "Name a manifest with at least one.")
    return utterances
