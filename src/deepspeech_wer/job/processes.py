"""The processes that a job started, and the end of all of them.

A job's processes cannot be told by process group or session: kernels and trainers start sessions of their own, and
what outlives its parent is handed to somebody else. Three things find them all the same (Linux):

* the worker is a child subreaper (``prctl(2)``), so that whatever loses its parent becomes the worker's child;
* the environment of a job carries ``ds_run_id``, which ``/proc/<pid>/environ`` shows, so that what a ``kill -9`` of
  the worker left behind can be found as well, by another process and later;
* what took that mark out of its environment works in the folders of the run: its working directory is there, or a file
  that it has open for writing, as ``/proc/<pid>/cwd`` and ``/proc/<pid>/fd`` show.

The last is a guess, and spares whoever only looks: a process at a terminal (no job has one, since the worker is in a
session of its own), and one that reads those files.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

#: The variable that marks every process of a run with the run's id.
RUN_ID = "ds_run_id"

#: Seconds between SIGTERM and SIGKILL: enough to write a checkpoint of a model of this kind.
GRACE = 4.0

#: Seconds for which SIGKILL is repeated. A process in an uninterruptible wait (a dead network disk) may outlive it.
_KILLING = 3.0

_POLL = 0.02

#: Looks in a row that must find nothing. One is not enough: a process that ends while /proc is read, having started
#: another since its list was made, hides both; and one that is just replacing its program shows no environment.
_EMPTY_LOOKS = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, order=True)
class Process:
    """A process: its id, and when it started (clock ticks since boot), which tells it from a later one of that id."""

    pid: int
    started: int


@dataclass(frozen=True)
class _Entry:
    process: Process
    parent: int
    is_zombie: bool
    has_terminal: bool


def adopt_orphans() -> None:
    """Make this process the new parent of every descendant that loses its own. Raises OSError where it cannot."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Have the system send this process SIGTERM when the thread that started it is gone. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def descendants(pid: int) -> list[Process]:
    """All living processes below ``pid``, without itself."""
    entries = _table()
    children: dict[int, list[_Entry]] = {}
    for entry in entries:
        children.setdefault(entry.parent, []).append(entry)
    found, waiting = [], [pid]
    while waiting:
        for entry in children.get(waiting.pop(), ()):
            waiting.append(entry.process.pid)
            if not entry.is_zombie:
                found.append(entry.process)
    return sorted(found)


def marked(run_id: str) -> list[Process]:
    """All living processes whose environment says that they are of the run ``run_id``.

    This process and those above it are left out: a tick that was started from inside a job is not to end itself.
    """
    entries = _table()
    above = _ancestors(entries)
    mark = f"{RUN_ID}={run_id}".encode()
    found = []
    for entry in entries:
        if entry.is_zombie or entry.process.pid in above:
            continue
        try:
            environment = Path(f"/proc/{entry.process.pid}/environ").read_bytes()
        except OSError:  # it is gone, or it is somebody else's
            continue
        if mark in environment.split(b"\0"):
            found.append(entry.process)
    return sorted(found)


def working_in(folders: Iterable[Path]) -> list[Process]:
    """All living processes of this user without a terminal that work in ``folders``, also where those are deleted.

    To work there is to have one's working directory there, or a file open for writing. This process and those above it
    are left out.
    """
    # The folder's own name is not followed: a job that put a link to the user's home there is not to have that swept.
    roots = [str(Path(os.path.realpath(folder.parent), folder.name)) for folder in folders]
    if not roots:
        return []
    entries = _table()
    above = _ancestors(entries)
    candidates = (entry for entry in entries if not (entry.is_zombie or entry.has_terminal))
    return sorted(
        entry.process for entry in candidates if entry.process.pid not in above and _works_in(entry.process.pid, roots)
    )


def end_all(find: Callable[[], Iterable[Process]], grace: float = GRACE) -> list[Process]:
    """End every process that ``find`` names: SIGTERM, ``grace`` seconds, then SIGKILL, until it names none.

    ``find`` is asked again and again, so that what is started meanwhile is ended as well. Those among them that are
    this process's own children are reaped. Returns what is still there in the end: normally nothing.
    """
    asked: set[Process] = set()
    empty = 0
    kill_at = time.monotonic() + grace
    while True:
        left = [process for process in find() if process.pid != os.getpid()]
        now = time.monotonic()
        empty = 0 if left else empty + 1
        if empty == _EMPTY_LOOKS or now >= kill_at + _KILLING:
            _reap(asked)
            return left
        for process in left:
            if now >= kill_at:
                _send(process, signal.SIGKILL)
            elif process not in asked:
                _send(process, signal.SIGTERM)
            asked.add(process)
        time.sleep(_POLL)


def end_run(run_id: str, folders: Iterable[Path] = (), grace: float = GRACE) -> list[Process]:
    """End what an earlier, killed worker left of the run ``run_id``. Returns what is still there: normally nothing.

    ``folders`` are the run's own, its checkout and its result folder, whether they are still there or not.
    """
    folders = tuple(folders)
    return end_all(lambda: {*marked(run_id), *working_in(folders)}, grace)


def _works_in(pid: int, roots: list[str]) -> bool:
    process = Path(f"/proc/{pid}")
    try:
        if process.stat().st_uid != os.geteuid():
            return False
        if _is_below(str((process / "cwd").readlink()), roots):
            return True
        names = os.listdir(process / "fd")  # noqa: PTH208 - as in _table
    except OSError:  # it is gone, or it does not let itself be looked at
        return False
    return any(_writes_below(process, name, roots) for name in names)


def _writes_below(process: Path, name: str, roots: list[str]) -> bool:
    """Whether the open file ``name`` of a process is below one of ``roots``, and open for writing."""
    try:
        if not _is_below(str((process / "fd" / name).readlink()), roots):
            return False
        info = (process / "fdinfo" / name).read_text()
    except OSError:  # it is closed again
        return False
    flags = [int(line.split()[1], 8) for line in info.splitlines() if line.startswith("flags:")]
    return any(value & os.O_ACCMODE != os.O_RDONLY for value in flags)


def _is_below(link: str, roots: list[str]) -> bool:
    """Whether a link of /proc, which tells of a deleted file that it is one, leads to or below one of ``roots``."""
    path = link.removesuffix(" (deleted)")
    return any(path == root or path.startswith(root + "/") for root in roots)


def _send(process: Process, number: int) -> None:
    try:
        os.kill(process.pid, number)
    except (ProcessLookupError, PermissionError):  # it is gone, or it became another user's and is not ours to end
        pass


def _reap(ended: Iterable[Process]) -> None:
    """Collect those that were this process's children, and no others: somebody else here may wait for those."""
    for process in ended:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            pass


def _ancestors(entries: list[_Entry]) -> set[int]:
    parents = {entry.process.pid: entry.parent for entry in entries}
    above: set[int] = set()
    pid = os.getpid()
    while pid and pid not in above:
        above.add(pid)
        pid = parents.get(pid, 0)
    return above


def _table() -> list[_Entry]:
    entries = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - Path.iterdir would build a Path for every file of /proc
        if not name.isdigit():
            continue
        try:
            stat = Path(f"/proc/{name}/stat").read_bytes()
        except OSError:
            continue
        # pid (name) state ppid ...: the name may hold spaces and parentheses; proc(5) counts fields from 1.
        fields = stat[stat.rindex(b")") + 2 :].split()
        process = Process(int(name), int(fields[19]))
        entries.append(_Entry(process, int(fields[1]), fields[0] in (b"Z", b"X"), fields[4] != b"0"))
    return entries


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
