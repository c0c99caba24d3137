"""What is tidied up after a tick that had something to do, so that a month of them does not fill the disk.

Of the ``ds_keep_runs`` newest runs everything is kept; of older ones what the page and later comparisons need: the
specification, the status, the figures and the transcripts. ``hyper.json`` is never removed.
"""

from __future__ import annotations

import os
from pathlib import Path

from deepspeech_wer.checkout import wipe
from deepspeech_wer.config import Settings
from deepspeech_wer.job import checkpoints
from deepspeech_wer.journal import Journal

#: What stays of an old run.
_KEPT = frozenset({"job.json", "status.json", "hyper.json", "utterances.jsonl", "learning.jsonl"})


def tidy(settings: Settings, journal: Journal) -> None:
    """Remove what the settings do not keep. Raises OSError where the disk refuses."""
    checkpoints.forget(settings.dataroot, settings.keep_checkpoints, journal.pending(settings.seeds))
    if settings.keep_runs:
        for folder in _runs(settings.dataroot)[: -settings.keep_runs]:
            _reduce(folder)


def _runs(data_root: Path) -> list[Path]:
    """The folders of all whole runs, oldest first: their names begin with the time."""
    try:
        with os.scandir(data_root / "runs") as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        return []


def _reduce(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name not in _KEPT:
            wipe(path)
