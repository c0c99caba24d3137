"""The engine that runs a job on this machine, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepspeech_wer.checkout import wipe
from deepspeech_wer.engines import Progress
from deepspeech_wer.errors import EnvironmentFailure, TrackerError
from deepspeech_wer.files import read_regular, write_atomically
from deepspeech_wer.job import outcome, processes, worker
from deepspeech_wer.job.output import utc_now
from deepspeech_wer.job.script import ending, out_of_memory_hint
from deepspeech_wer.job.spec import FAILED, TRAINED, JobSpec, Status
from deepspeech_wer.results import archive

#: Seconds between two looks at a running job.
_POLL = 0.2

#: Bytes of a status, which is looked at as often: of a worker's own, a hundred times too many.
_MOST_STATUS = 1_000_000

#: Seconds in which an interrupted worker has to end its job, which has processes.GRACE of them, and itself.
_WORKER_SECONDS = processes.GRACE + 2


class LocalEngine:
    """Runs jobs here, one at a time."""

    def run(self, spec: JobSpec, watch: Callable[[Progress], None] | None = None) -> Path:
        """Run one job to its end and return its whole result folder, ``spec.result``.

        ``watch`` is called whenever there is something new, and once at the end. A job that fails is a result like any
        other: a folder whose status says FAILED, why, and what to do. Raises EnvironmentFailure where this machine is
        at fault and no landing: the disk is full, the job's Python cannot be started. The partial folder then stays.

        On any exception that comes from outside, an interrupt above all, everything that the job started is ended
        within 8 seconds, the partial folder stays for inspection, and the exception goes on. What an earlier try left
        in the partial folder is removed first; its checkpoints are elsewhere and stay.
        """
        if spec.result.exists():
            raise TrackerError(f"the run {spec.run_id} has a result already: {spec.result}", "give the run a new id")
        started = utc_now()
        process = None
        try:
            with _telling_disk_errors(spec):
                _make_partial(spec)
                process = _start(spec)
            returncode = _follow(spec, process, watch)
            processes.end_run(spec.run_id, _folders(spec))
            if not spec.result.is_dir():
                with _telling_disk_errors(spec):
                    _close(spec, returncode, started)
        except BaseException:
            _interrupt(spec, process)
            raise
        return spec.result


def _folders(spec: JobSpec) -> tuple[Path, ...]:
    """Where the processes of the run work, and nobody else's; the last is the partial folder once it is whole."""
    return (spec.checkout, spec.partial, spec.result)


def _make_partial(spec: JobSpec) -> None:
    wipe(spec.partial)
    spec.partial.mkdir(parents=True)
    spec.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(spec.partial / "job.json", spec.to_json())


def _start(spec: JobSpec) -> subprocess.Popen[bytes]:
    """Start the worker: a session of its own, so that no key pressed on the tracker's terminal reaches the job.

    What is withheld from the job is withheld from the worker already, whose environment the job can read in /proc.
    """
    environment = {name: value for name, value in os.environ.items() if name not in spec.withheld}
    environment[processes.RUN_ID] = spec.run_id
    with (spec.partial / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", worker.__name__, str(spec.partial / "job.json")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _follow(spec: JobSpec, process: subprocess.Popen[bytes], watch: Callable[[Progress], None] | None) -> int:
    """Tell ``watch`` of the job until its worker has ended; returns the worker's return code."""
    with (spec.partial / "log.txt").open("rb") as log:
        before, rest = None, b""
        while True:
            try:
                returncode = process.wait(_POLL)
            except subprocess.TimeoutExpired:
                returncode = None
            if watch is not None:
                data = rest + log.read()
                complete, rest = (data, b"") if returncode is not None else _complete(data)
                folder = spec.result if spec.result.is_dir() else spec.partial
                lines = tuple(complete.decode(errors="replace").splitlines())
                progress = replace(progress_of(folder), lines=lines)
                if progress != before or returncode is not None:
                    watch(progress)
                before = replace(progress, lines=())
            if returncode is not None:
                return returncode


def _complete(data: bytes) -> tuple[bytes, bytes]:
    """The lines that are complete, and the beginning of the next."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def progress_of(folder: Path) -> Progress:
    """How far the job has come whose result folder, partial or whole, is ``folder``, without any line of its log."""
    status = _status(folder)
    epochs = archive.learning(folder)
    last = epochs[-1] if epochs else {}
    return Progress(
        cell=_count(status.cell) if status else 0,
        cells=_count(status.cells) if status else 0,
        epoch=_count(last.get("epoch", len(epochs))),
        epochs=_count(last.get("epochs")),
        eta=_seconds(last.get("eta_seconds")),
        lines=(),
    )


def _count(value: Any) -> int:
    """A number from a file that the job wrote, which may hold anything."""
    return value if type(value) is int and 0 < value < 1 << 63 else 0


def _seconds(value: Any) -> float | None:
    """The same for a time that something will take."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 1 << 63 else None


def _status(folder: Path) -> Status | None:
    """The status in ``folder``, or None where there is none that the worker can have written."""
    try:
        status = Status.from_json(read_regular(folder / "status.json", _MOST_STATUS).decode())
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return status if all(isinstance(text, str) for text in (status.state, status.why, status.hint)) else None


def _close(spec: JobSpec, returncode: int, started: str) -> None:
    """Make the result folder whole where the worker could not. Raises EnvironmentFailure where the machine is at fault.

    A worker that was killed cannot tell how full the disk was: that is looked at here, as soon as it can be.
    """
    status = _status(spec.partial)
    if returncode == worker.EXIT_ENVIRONMENT and status is not None:
        raise EnvironmentFailure(status.why, status.hint)
    if returncode == worker.EXIT_DISK and spec.partial.is_dir():
        raise EnvironmentFailure(
            f"the result of the run {spec.run_id} could not be written to {spec.partial}",
            "make room on that disk; the landing is tried again with the next run",
        )
    if status is None or status.state not in (TRAINED, FAILED):
        cell, cells = (status.cell, status.cells) if status else (0, 0)
        why, hint = _why(spec, returncode)
        full = outcome.is_disk_full(spec)
        status = Status(FAILED, started, utc_now(), why, hint, cell, cells, disk_full=full)
    outcome.finish(spec, status)


def _why(spec: JobSpec, returncode: int) -> tuple[str, str]:
    """Why a worker ended without a result, and what to do."""
    if not spec.partial.is_dir():
        return "the job removed its own result folder", "let it remove only what it made itself"
    if returncode == worker.EXIT_TERMINATED:
        return "the job was ended by SIGTERM, from outside", "train the landing again"
    return (
        f"the process that ran the job {ending(returncode)}",
        out_of_memory_hint(returncode) or "log.txt tells more",
    )


def _interrupt(spec: JobSpec, process: subprocess.Popen[bytes] | None) -> None:
    """End the worker and everything that it started, at first politely."""

    def of_this_run() -> list[processes.Process]:
        below = processes.descendants(process.pid) if process is not None else []
        return sorted({*below, *processes.marked(spec.run_id), *processes.working_in(_folders(spec))})

    try:
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_WORKER_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        processes.end_all(of_this_run, grace=0.0)
    except BaseException:  # a second interrupt: no more patience, and still nothing may be left
        processes.end_all(of_this_run, grace=0.0)
        raise


@contextmanager
def _telling_disk_errors(spec: JobSpec) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentFailure(
            f"the run {spec.run_id} cannot be kept or started: {error.strerror}: {error.filename or spec.partial}",
            "make room on that disk and see that you may write there; the landing is tried again with the next run",
        ) from error
