"""The Python that a job runs under: the tracker's own, another one, or a virtual environment made for the landing.

``ds_job_python`` names another interpreter. A notebook's kernel runs under it, and a script finds it first in ``PATH``.

``ds_setup_command`` fills a virtual environment: it is run by ``/bin/sh`` in the checkout, as if the environment were
activated. That takes long, so what it made is used again as long as nothing that it depends on changes: the command,
the interpreter, and the files of the checkout that say what the dependencies are. Environments are kept beside each
other, and several installations may share them::

    <environments>/<hash>/           a virtual environment; the file ``complete`` in it was written last
    <environments>/<hash>.lock       held (flock) alone by who makes or removes it, and together by all who use it

An environment without its ``complete`` was cut off and is made anew. The time of that file is when it was last used.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deepspeech_wer.checkout import wipe
from deepspeech_wer.errors import EnvironmentFailure, LandingFailed
from deepspeech_wer.job import outcome, processes
from deepspeech_wer.job.output import Output, one_line
from deepspeech_wer.job.script import ending, follow, out_of_memory_hint, too_late
from deepspeech_wer.job.spec import JobSpec

#: What says what the dependencies are, where ``ds_setup_files`` does not: patterns, relative to the checkout.
DEPENDENCY_FILES = (
    "requirements*.txt",
    "requirements/*.txt",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "*.lock",
    "Pipfile",
    "environment*.yml",
)

#: Environments that are kept beside the one in use: somebody may go back to an older branch.
KEPT = 3

#: How a virtual environment is made, by any Python since 3.4.
_VENV = ("-m", "venv")

_COMPLETE = "complete"
_NAME = re.compile(r"[0-9a-f]{32}")

#: Seconds for an interpreter to say what it is.
_ANSWER_SECONDS = 60

#: Seconds between two tries to get a lock.
_POLL = 0.2

#: Lines of output that are told with the exit code.
_TOLD = 3

_ASK = "import json, sys; print(json.dumps([sys.executable, sys.prefix, sys.version, sys.prefix != sys.base_prefix]))"
_ASK_FOR_KERNEL = "import sys, importlib.util; sys.exit(importlib.util.find_spec('ipykernel') is None)"


@dataclass(frozen=True)
class Interpreter:
    """A Python: the absolute path of its program, its ``sys.prefix`` and ``sys.version``.

    ``is_virtual`` tells a virtual environment, ``is_set_up`` the one that ``ds_setup_command`` made for the landing.
    """

    executable: str
    prefix: str
    version: str
    is_virtual: bool
    is_set_up: bool = False


@contextmanager
def prepared(spec: JobSpec, output: Output, deadline: float | None) -> Iterator[Interpreter | None]:
    """The job's own interpreter, ready, and this process's environment such that the job finds it first.

    None where the job has none of its own and runs under the tracker's. ``deadline`` is on the clock of
    ``time.monotonic()``, None meaning none. No one removes a virtual environment within the block.

    Raises LandingFailed where the command fails or is not done by the deadline, and EnvironmentFailure where there is
    no such interpreter, or it makes no virtual environments, or the folder of environments cannot be used.
    """
    if not spec.python and not spec.setup_command:
        yield None
        return
    base = ask(spec.python) if spec.python else _running()
    if not spec.setup_command:
        _put_first(base, _wrappers(base, spec.partial / outcome.SCRATCH / "bin"))
        yield base
        return
    try:
        folder = Path(spec.environments, fingerprint(spec, base))
        python = Interpreter(str(folder / "bin" / "python"), str(folder), base.version, True, True)
        _put_first(python, folder / "bin")
        lock = _ready(spec, base, folder, output, deadline)
        os.utime(folder / _COMPLETE)
    except OSError as error:
        raise EnvironmentFailure(
            f"the virtual environment of the job cannot be made or used: {error.strerror}: {error.filename}",
            f"see that you may write to {spec.environments}, and that there is room",
        ) from error
    with lock:
        _remove_old(folder, output)
        yield python


def ask(name: str) -> Interpreter:
    """The interpreter ``name``, a path or a name in PATH, as it describes itself. Raises EnvironmentFailure."""
    hint = "let ds_job_python name a Python that this user can start"
    path = shutil.which(os.path.expanduser(name))  # noqa: PTH111 - a Path would lose the ./ of a name that is no name in PATH
    if path is None:
        raise EnvironmentFailure(f"there is no Python {name} on this machine, or it is not executable", hint)
    done = _answer(str(Path(path).absolute()), _ASK)
    try:
        executable, prefix, version, is_virtual = json.loads(done.stdout)
    except (ValueError, TypeError) as error:
        said = one_line(done.stderr or done.stdout) or "nothing"
        raise EnvironmentFailure(
            f"{path} is no Python that can be used: asked what it is, it {ending(done.returncode)} and said: {said}",
            hint,
        ) from error
    return Interpreter(executable, prefix, version, is_virtual)


def require_ipykernel(python: Interpreter) -> None:
    """See that notebooks can be run under ``python``.

    Raises LandingFailed where the landing's own environment lacks ipykernel, and EnvironmentFailure where another does.
    """
    done = _answer(python.executable, _ASK_FOR_KERNEL)
    if done.returncode == 0:
        return
    if python.is_set_up:
        raise LandingFailed(
            "the virtual environment of the job has no ipykernel, without which no notebook can be run in it",
            "let ds_setup_command install it too (pip install ipykernel), or add it to the requirements",
        )
    raise EnvironmentFailure(
        f"{python.executable} (ds_job_python) has no ipykernel, without which no notebook can be run under it",
        f"install it: {shlex.quote(python.executable)} -m pip install ipykernel",
    )


def fingerprint(spec: JobSpec, base: Interpreter) -> str:
    """A name for what ``ds_setup_command`` makes under ``base`` of this checkout: 32 hexadecimal digits.

    Raises EnvironmentFailure where a pattern of ``ds_setup_files`` is none, and OSError where a file cannot be read.
    """
    root = spec.checkout.resolve()
    files = {}
    for pattern in spec.setup_files or DEPENDENCY_FILES:
        try:
            found = [path for path in spec.checkout.glob(pattern) if path.is_file()]
        except (NotImplementedError, ValueError) as error:
            raise EnvironmentFailure(
                f"{pattern!r} in ds_setup_files cannot be used: {error}", "give patterns relative to the checkout"
            ) from error
        for path in found:
            if not path.resolve().is_relative_to(root):
                continue  # a link that leads out, to whatever this user can read
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.relative_to(spec.checkout).as_posix()] = digest
    parts = [base.executable, base.version, spec.setup_command, sorted(files.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _answer(executable: str, question: str) -> subprocess.CompletedProcess[str]:
    """What a Python prints when it runs ``question``. Raises EnvironmentFailure where it cannot be started or hangs."""
    try:
        # Not in the checkout: what is asked may be a pyenv shim, which looks there for what to be.
        return subprocess.run(
            [executable, "-c", question],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailure(
            f"the Python {executable} cannot be started: {one_line(str(error))}", "see whether it can be by hand"
        ) from error


def _running() -> Interpreter:
    return Interpreter(sys.executable, sys.prefix, sys.version, sys.prefix != sys.base_prefix)


def _wrappers(python: Interpreter, folder: Path) -> Path:
    """``folder`` with programs ``python`` and ``python3`` that are ``python``.

    Not links: an interpreter of a virtual environment that is called by a link from elsewhere is not in it any more.
    """
    folder.mkdir(parents=True)
    for name in ("python", "python3"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(python.executable)} "$@"\n')
        program.chmod(0o755)
    return folder


def _put_first(python: Interpreter, folder: Path) -> None:
    """Let what is started from now on find ``python`` in ``folder``, and what is installed with it, before all else."""
    bin_folder = Path(python.executable).parent
    inherited = os.environ.get("PATH") or os.defpath
    os.environ["PATH"] = os.pathsep.join(dict.fromkeys([str(folder), str(bin_folder), *inherited.split(os.pathsep)]))
    os.environ.pop("PYTHONHOME", None)  # of the tracker's Python, and no other's
    os.environ.pop("VIRTUAL_ENV", None)
    if python.is_virtual:
        os.environ["VIRTUAL_ENV"] = python.prefix


def _ready(spec: JobSpec, base: Interpreter, folder: Path, output: Output, deadline: float | None) -> IO[str]:
    """The lock of the complete environment ``folder``, held together with others; it is made where it is not there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    is_new = False
    while True:
        lock = _locked(spec, folder, fcntl.LOCK_SH, output, deadline)
        if (folder / _COMPLETE).is_file():
            if not is_new:
                output.step(f"the virtual environment {folder.name} is used again: its dependencies are the same")
            return lock
        lock.close()
        with _locked(spec, folder, fcntl.LOCK_EX, output, deadline):
            if not (folder / _COMPLETE).is_file():  # somebody else may have made it while we waited
                _make(spec, base, folder, output, deadline)
                is_new = True


def _make(spec: JobSpec, base: Interpreter, folder: Path, output: Output, deadline: float | None) -> None:
    wipe(folder)
    output.step(f"the virtual environment {folder.name} is made with {base.executable}")
    how = _run(spec, [base.executable, *_VENV, str(folder)], output, deadline)
    if how:
        raise EnvironmentFailure(
            f"no virtual environment can be made with {base.executable}: its module venv {how}",
            "some systems have that module in a package of its own (Debian: python3-venv)",
        )
    output.step("ds_setup_command starts")
    started = time.monotonic()
    how = _run(spec, ["/bin/sh", "-c", spec.setup_command], output, deadline)
    if how:
        raise LandingFailed(
            f"ds_setup_command {how}", "its whole output is in log.txt; try it by hand in a clone of the repository"
        )
    output.step(f"ds_setup_command done in {time.monotonic() - started:.1f} s")
    os.sync()  # after a power cut the mark is not to be there without what it stands for
    (folder / _COMPLETE).touch()


def _run(spec: JobSpec, command: list[str], output: Output, deadline: float | None) -> str:
    """Run ``command`` in the checkout and end all that it leaves. Returns how it failed, in words; "" if it did not."""
    process = subprocess.Popen(
        command,
        cwd=spec.checkout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    follow(process, output, deadline, too_late(spec, "the job's virtual environment was not ready"))
    processes.end_all(lambda: processes.descendants(os.getpid()))
    if not process.returncode:
        return ""
    last = " / ".join(one_line(line, 160) for line in output.last(_TOLD))
    memory = out_of_memory_hint(process.returncode)
    return (
        ending(process.returncode) + (f" ({memory})" if memory else "") + (f"; it last printed: {last}" if last else "")
    )


def _locked(spec: JobSpec, folder: Path, kind: int, output: Output, deadline: float | None) -> IO[str]:
    """The lock of the environment ``folder``, held until it is closed. Raises LandingFailed at the deadline."""
    is_told = False
    while True:
        lock = _try_lock(folder, kind)
        if lock is not None:
            return lock
        if deadline is not None and time.monotonic() >= deadline:
            raise too_late(spec, f"another run was still making the virtual environment {folder.name}")
        if not is_told:
            output.step(f"another run makes the virtual environment {folder.name}, which is waited for")
            is_told = True
        time.sleep(_POLL)


def _try_lock(folder: Path, kind: int) -> IO[str] | None:
    """The lock of the environment ``folder``; None where somebody holds it, or has just removed it."""
    path = folder.with_name(f"{folder.name}.lock")
    lock = path.open("a")
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        lock.close()
        raise
    lock.close()
    return None


def _remove_old(used: Path, output: Output) -> None:
    """Keep the newest environments beside ``used``, by their last use, and remove the others that nobody uses now."""

    def last_use(folder: Path) -> float:
        try:
            return (folder / _COMPLETE).stat().st_mtime
        except OSError:
            return 0.0

    others = [path for path in used.parent.iterdir() if _NAME.fullmatch(path.name) and path.is_dir() and path != used]
    for folder in sorted(others, key=last_use, reverse=True)[KEPT:]:
        try:
            lock = _try_lock(folder, fcntl.LOCK_EX)
            if lock is not None:
                with lock:
                    wipe(folder)
                    folder.with_name(f"{folder.name}.lock").unlink()
        except OSError as error:
            output.step(f"the old virtual environment {folder} cannot be removed: {error.strerror}")
