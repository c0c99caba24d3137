"""A tracked repository's own script as a job.

It is called in the checkout as ``SCRIPT --checkpoint_dir DIR``, with the job's environment. Exit code 0 is success.
"""

from __future__ import annotations

import codecs
import errno
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from deepspeech_wer.errors import LandingFailed
from deepspeech_wer.job.output import Output, Stream, one_line
from deepspeech_wer.job.spec import JobSpec

_READ = 65536
_POLL = 0.1

#: Bytes that a pipe holds at most, unless root made it larger; see pipe(7).
_PIPE_SIZE = 1 << 20

#: Lines of output that are told with the exit code.
_TOLD = 3


def run(spec: JobSpec, script: Path, output: Output, deadline: float | None) -> None:
    """Run ``script`` to its end.

    ``script`` is its path in the checkout; ``deadline`` is on the clock of ``time.monotonic()``, None meaning none.
    The caller ends what the script leaves running. Raises LandingFailed where it cannot be started, fails, or is not
    done by the deadline.
    """
    if not os.access(script, os.X_OK):
        raise LandingFailed(
            f"{spec.script} is not executable",
            f"chmod +x {spec.script} and commit that: git update-index --chmod=+x {spec.script}",
        )
    output.step(f"{spec.script} starts")
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            [str(script), "--checkpoint_dir", str(spec.checkpoint_dir)],
            cwd=spec.checkout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    except OSError as error:
        raise _cannot_start(spec, error) from error
    follow(process, output, deadline, too_late(spec, f"{spec.script} was not done"))
    duration = time.monotonic() - started
    if process.returncode:
        how = ending(process.returncode)
        last = " / ".join(one_line(line, 160) for line in output.last(_TOLD))
        output.step(f"{spec.script} {how} after {duration:.1f} s")
        raise LandingFailed(
            f"{spec.script} {how}" + (f"; it last printed: {last}" if last else ""),
            out_of_memory_hint(process.returncode) or "its whole output is in log.txt",
        )
    output.step(f"{spec.script} done in {duration:.1f} s")


def follow(process: subprocess.Popen[bytes], output: Output, deadline: float | None, late: LandingFailed) -> None:
    """Copy what ``process`` prints into the log until it has ended.

    Raises ``late`` at the ``deadline`` on the clock of ``time.monotonic()``, and LandingFailed where it prints more
    than the log may hold; it is then still running, and its end is the caller's.
    """
    output.forget()
    with _Pipe(process, output) as pipe:
        while process.poll() is None:
            pipe.copy(_POLL)
            if deadline is not None and time.monotonic() >= deadline:
                raise late
        pipe.drain()


def too_late(spec: JobSpec, what: str) -> LandingFailed:
    """The failure of a run that has taken as long as it may; ``what`` says what was not done or still on."""
    return LandingFailed(
        f"{what} when the whole run had taken {spec.run_seconds:g} s, its limit",
        "make the training shorter, or raise ds_run_timeout (seconds; 0 means no limit)",
    )


def ending(returncode: int) -> str:
    """How a process ended, in words, from a return code as ``subprocess`` gives it (negative: a signal)."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was ended by {name}"


def out_of_memory_hint(returncode: int) -> str:
    """What to look at where a process was killed outright, which is what Linux does when memory runs out; else ""."""
    if returncode != -signal.SIGKILL:
        return ""
    return "the system kills so what needs more memory than there is: look for 'Out of memory' in dmesg, and in log.txt"


class _Pipe:
    """What a process prints, copied into the log.

    Its end is not waited for: a process that the script left behind may hold the pipe open for ever.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: Output) -> None:
        assert process.stdout is not None
        self._file = process.stdout
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._stream = Stream(output)
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        self._selector.register(self._file, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.feed(self._decoder.decode(b"", final=True))
        self._stream.close()
        self._selector.close()
        self._file.close()

    def copy(self, seconds: float) -> int:
        """Copy what is there, waiting for it at most so long. Returns the number of bytes."""
        if not self._selector.select(seconds):
            return 0
        data = os.read(self._file.fileno(), _READ)
        if not data:
            self._selector.unregister(self._file)
        self._stream.feed(self._decoder.decode(data))
        return len(data)

    def drain(self) -> None:
        """Copy what an ended process left in the pipe, and no more than a pipe holds."""
        for _ in range(_PIPE_SIZE // _READ):
            if not self.copy(0):
                break


def _cannot_start(spec: JobSpec, error: OSError) -> Exception:
    if error.errno == errno.ENOEXEC:
        return LandingFailed(
            f"{spec.script} cannot be started: it is neither a program nor a script with a first line",
            "begin it with a line such as #!/bin/sh",
        )
    if isinstance(error, FileNotFoundError):
        return LandingFailed(
            f"{spec.script} cannot be started: the interpreter that its first line names is not on this machine",
            "mend its first line (line ends of Windows there count as part of the name), or install the interpreter",
        )
    return LandingFailed(f"{spec.script} cannot be started: {error.strerror}", "run it by hand in a clone")
