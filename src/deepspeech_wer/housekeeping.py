"""What is tidied up after a tick that had something to do, so that a month of them does not fill the disk.

Of the ``ds_keep_runs`` newest runs everything is kept; of older ones what the page and later comparisons need: the
specification, the status, the figures and the transcripts. ``hyper.json`` is never removed. What a tick that was killed
in the middle of writing a file left under a temporary name goes as well.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from deepspeech_wer.checkout import wipe
from deepspeech_wer.config import Settings
from deepspeech_wer.job import checkpoints
from deepspeech_wer.journal import Journal
from deepspeech_wer.site import webroot

#: What stays of an old run.
_KEPT = frozenset({"job.json", "status.json", "hyper.json", "utterances.jsonl", "learning.jsonl"})

#: A temporary name of files.write_atomically, and the name that it stands for.
_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp")


def tidy(settings: Settings, journal: Journal) -> None:
    """Remove what the settings do not keep. Raises OSError where the disk refuses."""
    checkpoints.forget(settings.dataroot, settings.keep_checkpoints, journal.pending(settings.seeds))
    if settings.keep_runs:
        for folder in _runs(settings.dataroot)[: -settings.keep_runs]:
            _reduce(folder)
    _sweep(settings)


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


def _sweep(settings: Settings) -> None:
    """Remove the temporary files of writers that were killed. The lock is held: nobody writes there now."""
    for folder in (settings.cache, settings.dataroot, *_runs(settings.dataroot)):
        for path in folder.glob(".*.tmp"):
            if _TEMPORARY.fullmatch(path.name):
                wipe(path)
    root = settings.web_root
    try:
        ours = {webroot.LIST, *json.loads((root / webroot.LIST).read_text())["files"]}
    except (OSError, ValueError, KeyError, TypeError):  # there is no site, or building it will tell what is wrong
        return
    for parent, _, names in os.walk(root):
        for name in names:
            match = _TEMPORARY.fullmatch(name)
            if match and Path(parent, match[1]).relative_to(root).as_posix() in ours:
                Path(parent, name).unlink(missing_ok=True)
