"""Where the templates are: the page, the notebook, what a tracked repository needs.

In an installed copy they are package data, ``deepspeech_wer/templates/``; in a checkout, ``templates/`` at its root.
"""

from __future__ import annotations

from pathlib import Path

from deepspeech_wer.errors import TrackerError


def folder() -> Path:
    """The folder that holds ``site/``, ``notebook/`` and the rest. Raises TrackerError where there is none."""
    package = Path(__file__).resolve().parent
    places = (package / "templates", package.parents[1] / "templates")
    for place in places:
        if place.is_dir():
            return place
    raise TrackerError(
        f"the templates of deepspeech-wer are neither in {places[0]} nor in {places[1]}",
        "the installation is incomplete: install deepspeech-wer again",
    )
