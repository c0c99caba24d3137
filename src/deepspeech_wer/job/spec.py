"""A job: everything that is needed to turn one checkout into one result folder.

A job reads its JobSpec and writes its result folder and knows nothing else, so that it is the same job on
this machine and anywhere else. On disk a JobSpec is one JSON object, ``job.json`` in the result folder.

The result folder while the job runs is ``spec.partial``; one rename to ``spec.result`` makes it whole::

    job.json         this specification
    log.txt          everything that the job printed, as it came
    notebook.ipynb   the executed notebook, saved after every cell (not for a script)
    learning.jsonl   a line an epoch, written by the training
    hyper.json       parameters and results, written by the training
    utterances.jsonl the test set, an utterance a line, written by the training
    status.json      Status: how it stands, and at the end how it ended
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepspeech_wer.landings import Landing

RUNNING = "running"
TRAINED = "trained"
FAILED = "failed"


@dataclass(frozen=True)
class JobSpec:
    """One job.

    ``script`` and ``notebook`` are relative to ``checkout``; the script is used if the checkout has it.
    ``parameters`` are injected into the notebook; ``environment`` is set for the job; the variables named in
    ``withheld`` are taken out of it. ``run_seconds``, ``cell_seconds`` and ``log_bytes`` are limits, 0 meaning none.

    ``seed`` counts the trainings of one landing that differ in their seed alone, from 0; ``attempt`` counts all runs of
    the landing, from 1. ``python`` is the job's interpreter, empty for the tracker's own; ``setup_command`` fills the
    virtual environment of the job, kept below ``environments`` by the hash of ``setup_files``. ``gpu_csv`` and
    ``gpu_charts`` are where GPU figures go beside the result folder, empty for nowhere else.
    """

    run_id: str
    landing: Landing
    branch: str
    checkout: Path
    result: Path
    checkpoint_dir: Path
    script: str
    notebook: str
    kernel: str = ""
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    run_seconds: float = 0.0
    cell_seconds: float = 0.0
    log_bytes: int = 0
    seed: int = 0
    attempt: int = 1
    nice: int = 0
    ionice: str = ""
    python: str = ""
    setup_command: str = ""
    setup_files: tuple[str, ...] = ()
    environments: str = ""
    gpu_csv: str = ""
    gpu_charts: str = ""

    @property
    def partial(self) -> Path:
        """Where the result folder grows, beside its final place."""
        return partial_folder(self.result)

    def to_json(self) -> str:
        """The specification as JSON text."""
        value = asdict(self)
        value["landing"] = self.landing.to_json()
        for name in ("checkout", "result", "checkpoint_dir"):
            value[name] = str(value[name])
        return json.dumps(value, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """The inverse of :meth:`to_json`."""
        value: dict[str, Any] = json.loads(text)
        value["landing"] = Landing.from_json(value["landing"])
        for name in ("withheld", "setup_files"):
            value[name] = tuple(value.get(name, ()))
        for name in ("checkout", "result", "checkpoint_dir"):
            value[name] = Path(value[name])
        return cls(**value)


def partial_folder(result: Path) -> Path:
    """Where the result folder ``result`` grows until one rename makes it whole."""
    return result.with_name(f".{result.name}.partial")


@dataclass(frozen=True)
class Status:
    """How a job stands, or how it ended: what ``status.json`` holds.

    ``state`` is RUNNING, TRAINED or FAILED. ``why`` says in a sentence why it failed and ``hint`` what to do;
    both are empty otherwise. ``cell`` of ``cells`` code cells are done. Times are ISO 8601 in UTC. ``disk_full`` says
    that a failed run ended with no space left on a disk that it writes to.
    """

    state: str
    started: str
    finished: str = ""
    why: str = ""
    hint: str = ""
    cell: int = 0
    cells: int = 0
    disk_full: bool = False

    def to_json(self) -> str:
        """The status as JSON text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Status:
        """The inverse of :meth:`to_json`."""
        return cls(**json.loads(text))
