"""The verb ``doctor``: looks at everything that a run needs, and says how to mend what is not as it should be.

A line for each finding, as it is made: ``ok``, ``warn`` or ``fail``, what was looked at, what was found; below a
``warn`` or a ``fail``, what to do. With ``--json`` a list of ``{"name", "state", "found", "mend"}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from deepspeech_wer.config import Settings, config_file
from deepspeech_wer.diagnosis import Check, Examination, State, fail, machine, publishing, tracking, training
from deepspeech_wer.errors import EXIT_DONE, EXIT_RUN_FAILED, TrackerError
from deepspeech_wer.terminal import printable

#: What is looked at, in order; the name is for an examination that could not be made.
EXAMINATIONS: tuple[tuple[str, Examination], ...] = (
    ("folders", machine.folders),
    ("disk", machine.disks),
    ("clock", machine.clock),
    ("git", tracking.git),
    ("repository", tracking.repository),
    ("github", tracking.github),
    ("journal", tracking.lock_and_journal),
    ("templates", tracking.page_templates),
    ("python", training.python),
    ("gpu", training.gpu),
    ("tensorflow", training.tensorflow),
    ("website", publishing.website),
    ("schedule", tracking.ticks),
    ("notifications", tracking.notifications),
    ("programs", tracking.programs),
)


def check(settings: Settings, file: Path | None = None) -> list[Check]:
    """Everything that is found, in order. ``file`` is the settings' file, where it is not the usual one."""
    return list(_examine(settings, file))


def doctor(settings: Settings, as_json: bool = False, file: Path | None = None) -> int:
    """Print what is found; gives 70 where something fails, else 0. ``file`` as for :func:`check`."""
    found = []
    for each in _examine(settings, file):
        found.append(each)
        if not as_json:
            print(f"{each.state:<6}{each.name:<16}{printable(each.found)}", flush=True)
            if each.mend:
                print(f"{'':<6}{printable(each.mend)}", flush=True)
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    return EXIT_RUN_FAILED if any(each.state is State.FAIL for each in found) else EXIT_DONE


def _examine(settings: Settings, file: Path | None) -> Iterator[Check]:
    """The findings of all examinations; one that cannot be made is a finding of its own, and the others go on."""
    first: Examination = partial(machine.settings_file, path=file or config_file())
    for name, examination in (("settings", first), *EXAMINATIONS):
        try:
            yield from examination(settings)
        except TrackerError as error:
            yield fail(name, error.message, error.hint)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            yield fail(name, f"{where}{error.strerror or error}", "check the disk, and the owner of that place")
