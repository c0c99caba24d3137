"""The process in which a job runs: ``python -m deepspeech_wer.job.worker JOB.json``.

It reads the JobSpec, runs the checkout's script or notebook, checks what that came to, and makes the result folder
whole by one rename, with the status TRAINED or FAILED in it. Whatever the job started is gone when it ends.

Exit codes: 0 the result folder is whole, the job trained or failed; 74 (EX_IOERR) it could not be written; 143 ended by
SIGTERM, with the partial folder left as it was. Standard output and standard error are the job's log.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path

from deepspeech_wer.errors import LandingFailed
from deepspeech_wer.files import write_atomically
from deepspeech_wer.job import outcome, processes
from deepspeech_wer.job.output import Output, utc_now
from deepspeech_wer.job.spec import FAILED, RUNNING, TRAINED, JobSpec, Status

EXIT_DONE = 0
EXIT_DISK = 74
EXIT_TERMINATED = 128 + signal.SIGTERM

#: The errors of a disk that takes no more; all others are the job's, or ours.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})

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
    output = Output()
    try:
        outcome.finish(spec, run(spec, output))
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

    Raises OSError where the partial result folder cannot be written.
    """
    started = utc_now()
    deadline = time.monotonic() + spec.run_seconds if spec.run_seconds > 0 else None
    cells = (0, 0)

    def report(cell: int, total: int) -> None:
        nonlocal cells
        cells = (cell, total)
        status = Status(RUNNING, started, cell=cell, cells=total)
        write_atomically(spec.partial / "status.json", status.to_json())

    report(0, 0)
    try:
        try:
            logs = os.environ.get("ds_logs_dir") or _DEFAULT_LOGS
            before = outcome.present(spec, logs)
            _execute(spec, output, deadline, report)
        finally:
            processes.end_all(_of_this_job)
        outcome.collect(spec, logs, before)
    except LandingFailed as error:
        output.step(f"failed: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return Status(FAILED, started, utc_now(), error.message, error.hint, *cells)
    output.step("trained")
    return Status(TRAINED, started, utc_now(), "", "", *cells)


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


def _execute(spec: JobSpec, output: Output, deadline: float | None, report: Callable[[int, int], None]) -> None:
    script = find_in_checkout(spec.checkout, spec.script, "ds_wer_automation")
    if script is not None:
        from deepspeech_wer.job import script as scripts

        scripts.run(spec, script, output, deadline)
        return
    notebook = find_in_checkout(spec.checkout, spec.notebook, "ds_notebook")
    if notebook is None:
        raise LandingFailed(
            f"there is neither the script {spec.script} nor the notebook {spec.notebook} in the checkout",
            "commit one of them, or name yours with ds_wer_automation (a script) or ds_notebook (a notebook)",
        )
    # Imported only now: it takes most of a second, which a job that is a script need not wait for.
    from deepspeech_wer.job import notebook as notebooks

    notebooks.run(spec, notebook, output, deadline, report)


def _of_this_job() -> list[processes.Process]:
    return processes.descendants(os.getpid())


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the end is not to be interrupted
    raise Terminated(EXIT_TERMINATED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
