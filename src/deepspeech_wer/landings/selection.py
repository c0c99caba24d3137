"""Which of the landings that were found are to be trained, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from deepspeech_wer.config import Settings
from deepspeech_wer.landings import Landing
from deepspeech_wer.landings.git import Found, Mirror


def select(found: Found, settings: Settings, mirror: Mirror) -> Found:
    """``found`` with the reason in ``skipped`` for each landing that the settings or its own message leave out.

    The landings themselves stay as they are. ``mirror`` holds their commits. Raises SettingsError where git does not
    take ``ds_landings_paths``.
    """
    skipped = dict(_left_out(found, settings)) | dict(found.skipped)
    asked = [landing for landing in found.landings if landing.sha not in skipped]
    if settings.landings_paths and asked:
        changed = mirror.changed(asked, settings.landings_paths)
        why = f"it changed nothing in {', '.join(settings.landings_paths)} (ds_landings_paths)"
        skipped |= {landing.sha: why for landing in asked if landing.sha not in changed}
    return replace(found, skipped=skipped, remark=mirror.told(found.remark))


def _left_out(found: Found, settings: Settings) -> Iterator[tuple[str, str]]:
    every, since = settings.landings_every, settings.landings_since
    for landing in found.landings:
        if landing.marked:
            yield landing.sha, "its message says [skip wer]"
        elif settings.landings == "merges" and len(landing.parents) < 2:
            yield landing.sha, "it is no merge commit (ds_landings=merges)"
        elif since and datetime.fromisoformat(landing.date) < datetime.fromisoformat(since):
            yield landing.sha, f"it was committed before {since[:10]} (ds_landings_since)"
        elif not found.is_first and not _is_nth(landing, every):
            yield landing.sha, f"it is number {landing.position} (ds_landings_every={every})"


def _is_nth(landing: Landing, every: int) -> bool:
    """Whether one of the positions that the landing stands for is a multiple of ``every``."""
    return landing.position // every > (landing.position - landing.commits) // every
