"""The process in which a job runs: ``python -m deepspeech_wer.job.worker JOB.json``.

It reads the JobSpec, makes the job's environment, runs the checkout's script or notebook, checks what that came to, and
makes the result folder whole by one rename, with the status TRAINED or FAILED in it. Whatever the job started is gone
when it ends.

Exit codes: 0 the result folder is whole, the job trained or failed; 69 (EX_UNAVAILABLE) the machine is at fault, and
why is in the partial folder's status; 74 (EX_IOERR) the folder could not be written; 143 ended by SIGTERM, with the
partial folder left as it was. Standard output and standard error are the job's log.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path

from deepspeech_wer.errors import EnvironmentFailure, LandingFailed
from deepspeech_wer.files import write_atomically
from deepspeech_wer.job import environment, gpu, outcome, processes, script
from deepspeech_wer.job.output import Output, utc_now
from deepspeech_wer.job.spec import FAILED, RUNNING, TRAINED, JobSpec, Status

EXIT_DONE = 0
EXIT_ENVIRONMENT = 69
EXIT_DISK = 74
EXIT_TERMINATED = 128 + signal.SIGTERM

#: The errors of a disk that takes no more; all others are the job's, or ours.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})

#: ``ds_ionice`` -> what the program of that name calls it. The second is every process's class: its lowest level.
_IO_CLASSES = {"idle": ("-c", "3"), "best-effort": ("-c", "2", "-n", "7")}

#: Where the notebook of 2016 wrote its hyper.json, if ds_logs_dir does not say otherwise.
_DEFAULT_LOGS = "logs"


class Terminated(SystemExit):
    """SIGTERM has come. A SystemExit, because asyncio lets no other exception through."""


def main(arguments: list[str]) -> int:
    """Run the job whose specification is the one argument; returns the exit code."""
    spec = JobSpec.from_json(Path(arguments[0]).read_text())
    signal.signal(signal.SIGTERM, _terminate)
    processes.adopt_orphans()
    processes.end_with_parent()
    prepare(spec, os.environ)
    output = Output(limit=spec.log_bytes)
    try:
        try:
            outcome.finish(spec, run(spec, output))
        except EnvironmentFailure as error:
            output.step(f"the machine is at fault: {error.message}" + (f" ({error.hint})" if error.hint else ""))
            status = Status(FAILED, utc_now(), utc_now(), error.message, error.hint)
            write_atomically(spec.partial / "status.json", status.to_json())
            return EXIT_ENVIRONMENT
    except Terminated:
        processes.end_all(_of_this_job)
        with contextlib.suppress(OSError):  # a log that takes no more is no reason to end otherwise
            output.step("ended by SIGTERM")
        return EXIT_TERMINATED
    except OSError as error:
        if error.errno not in _DISK_ERRORS and spec.partial.is_dir():
            raise
        processes.end_all(_of_this_job)
        with contextlib.suppress(OSError):  # the log is on the same disk
            print(f"{spec.partial} cannot be written: {error.strerror}", file=sys.stderr)
        os._exit(EXIT_DISK)  # an ordinary exit fails to flush the log once more, and changes the exit code for that
    return EXIT_DONE


def prepare(spec: JobSpec, environment: MutableMapping[str, str]) -> None:
    """Make ``environment`` that of the job.

    The specification's variables come over the inherited ones and over our defaults; what is withheld is taken out of
    all of them; which run it is and where its results go cannot be set otherwise.
    """
    environment["ds_checkpoint_dir"] = str(spec.checkpoint_dir)
    environment["ds_restore_checkpoint"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    environment.update(spec.environment)
    for name in spec.withheld:
        environment.pop(name, None)
    environment[processes.RUN_ID] = spec.run_id
    environment["ds_result_dir"] = str(spec.partial)


def run(spec: JobSpec, output: Output) -> Status:
    """Run the job in this process's environment and tell how it ended; nothing that it started is left running.

    Raises EnvironmentFailure where the machine is at fault and no landing, and OSError where the partial result folder
    cannot be written.
    """
    started = utc_now()
    deadline = time.monotonic() + spec.run_seconds if spec.run_seconds > 0 else None
    cells = (0, 0)
    is_disk_full = False

    def report(cell: int, total: int) -> None:
        nonlocal cells
        cells = (cell, total)
        status = Status(RUNNING, started, cell=cell, cells=total)
        write_atomically(spec.partial / "status.json", status.to_json())

    report(0, 0)
    try:
        try:
            path, is_script = what_to_run(spec)
            be_nice(spec, output)
            with environment.prepared(spec, output, deadline) as python:
                logs = os.environ.get("ds_logs_dir") or _DEFAULT_LOGS
                before = outcome.present(spec, logs)
                with gpu.sampling(spec, output) as usage:
                    if is_script:
                        script.run(spec, path, output, deadline)
                    else:
                        # Imported only now: it takes most of a second, which a script need not wait for.
                        from deepspeech_wer.job import notebook

                        notebook.run(spec, path, output, deadline, report, python)
        finally:
            is_disk_full = outcome.is_disk_full(spec)  # before the end of the job makes room again
            processes.end_all(_of_this_job)
        outcome.collect(spec, logs, before)
        gpu.record(spec.partial / outcome.HYPER, usage)
    except LandingFailed as error:
        output.step(f"failed: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return Status(FAILED, started, utc_now(), error.message, error.hint, *cells, disk_full=is_disk_full)
    output.step("trained")
    return Status(TRAINED, started, utc_now(), "", "", *cells)


def be_nice(spec: JobSpec, output: Output) -> None:
    """Give this process, and so all that it starts, the specification's niceness and I/O class; tell where it cannot.

    ``spec.nice`` is the niceness itself, not what is added to this process's.
    """
    try:
        os.nice(max(0, spec.nice - os.getpriority(os.PRIO_PROCESS, 0)))
    except OSError as error:
        output.step(f"the niceness of the job cannot be set to {spec.nice} (ds_nice): {error.strerror}")
    if not spec.ionice:
        return
    try:
        command = ["ionice", *_IO_CLASSES[spec.ionice], "-p", str(os.getpid())]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = error.strerror if isinstance(error, OSError) else error.stderr.strip()
        output.step(f"the I/O class of the job cannot be set to {spec.ionice} (ds_ionice): {why}")


def what_to_run(spec: JobSpec) -> tuple[Path, bool]:
    """The checkout's script if it has it, else its notebook, and whether it is the script. Raises LandingFailed."""
    script_path = find_in_checkout(spec.checkout, spec.script, "ds_wer_automation")
    if script_path is not None:
        return script_path, True
    notebook_path = find_in_checkout(spec.checkout, spec.notebook, "ds_notebook")
    if notebook_path is None:
        raise LandingFailed(
            f"there is neither the script {spec.script} nor the notebook {spec.notebook} in the checkout",
            "commit one of them, or name yours with ds_wer_automation (a script) or ds_notebook (a notebook)",
        )
    return notebook_path, False


def find_in_checkout(checkout: Path, name: str, setting: str) -> Path | None:
    """The file ``name`` of the checkout, or None where there is none.

    Raises LandingFailed where the name leads out of the checkout, by ``..``, by being absolute, or by a symbolic link.
    """
    path = checkout / name
    is_inside = False
    try:
        is_inside = not Path(name).is_absolute() and path.resolve().is_relative_to(checkout.resolve())
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError):  # a circle of symbolic links: resolve() tells up to Python 3.12, stat() always
        is_inside = False
    if not is_inside:
        raise LandingFailed(
            f"{name} leads out of the checkout, and only what is committed there is run",
            f"let {setting} name a file of the repository",
        )
    return path if name and path.is_file() else None


def _of_this_job() -> list[processes.Process]:
    return processes.descendants(os.getpid())


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the end is not to be interrupted
    raise Terminated(EXIT_TERMINATED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
