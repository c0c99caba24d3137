"""What is injected into the tracker's own processes, by a folder on PYTHONPATH: points at which they die, and a clock.

Python imports a module of this name by itself as it starts. It acts in the tick and in the worker alone, and only where
the test asks for it by these variables:

``FAULTS_LOG``    file that gets a line for every point that is reached, by whichever process: its name, see `_reach`.
``FAULTS_AT``     ``<n> <point>``: where something is done, when that point is reached for the n-th time. The function,
                  with which the name of a point ends, may be left out.
``FAULTS_DO``     what is done: ``kill`` (SIGKILL to the process that is there), ``signal <number>`` (to the tick), or
                  ``fill <folder>`` (its disk, and the journal's last page but for a few bytes).
``FAULTS_CLOCK``  file with the seconds by which the clock is off. ``time.time`` and ``datetime.now`` show it; the times
                  of files do not, since they are the system's.
"""

# No pathlib: as little as can be is imported before the tracker itself is.
# ruff: noqa: PTH110, PTH116, PTH118, PTH123

import datetime
import errno
import fcntl
import importlib.abc
import importlib.machinery
import os
import re
import signal
import sys
import time

#: What a disk is filled with at once, the page of a tmpfs, and the bytes of the journal's last page that are left.
_BLOCK, _PAGE, _SLACK = bytes(1 << 16), 4096, 20

_ROLES = {"deepspeech_wer": "tick", "deepspeech_wer.job.worker": "worker"}

#: What differs from run to run in a path, and what stands for it; and files of one kind, of which one stands for all.
_VARYING = (
    (r"/mirrors/[^/]+", "/mirrors/MIRROR"),
    (r"\d{8}-\d{6}-[0-9a-f]{7}-[0-9a-f]{6}", "RUN"),
    (r"[0-9a-f]{40}", "SHA"),
    (r"www/(css|js)/(?!(hyper|landings)\.js)[\w.]+$", "www/ASSET"),
)


def _pattern(path):
    text = os.fsdecode(path).replace(os.environ["HOME"], "HOME")
    for varying, name in _VARYING:
        text = re.sub(varying, name, text)
    return text


#: What is asked of a server and changes nothing there.
_LOOKS = {"Look", "List", "Read", "Digest", "ReadLink"}

#: Modules that write files, and ask a server, for all the others.
_SERVANTS = ("deepspeech_wer.files", "deepspeech_wer.publish.steps")


def _caller():
    """The function of the tracker that came here, passing over those that do the same for everybody."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == "__main__":
            name = getattr(frame.f_globals.get("__spec__"), "name", name)
        if name.startswith("deepspeech_wer") and name not in _SERVANTS:
            return f"{name.removeprefix('deepspeech_wer.')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "elsewhere"


def _reach(when, what):
    """A point, ``<process> <before|after> <what>, <function>``, is reached: note it, and do what is asked for there."""
    point = f"{_role} {when} {what}, {_caller()}"
    log = os.open(os.environ["FAULTS_LOG"], os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(log, fcntl.LOCK_EX)
        os.write(log, f"{point}\n".encode())
        reached = os.pread(log, os.fstat(log).st_size, 0).decode().splitlines()
    finally:
        os.close(log)
    times, _, wanted = os.environ.get("FAULTS_AT", "").partition(" ")
    if wanted and _is(point, wanted) and sum(_is(each, wanted) for each in reached) == int(times):
        what, _, argument = os.environ["FAULTS_DO"].partition(" ")
        _ACTIONS[what](argument)


def _is(point, wanted):
    return point == wanted or point.startswith(f"{wanted}, ")


def _kill(_):
    os.kill(os.getpid(), signal.SIGKILL)


def _signal(number):
    with open(os.environ["FAULTS_LOG"] + ".signalled", "w") as file:
        file.write(str(time.monotonic()))
    os.kill(os.getpid() if _role == "tick" else os.getppid(), int(number))


def _fill(folder):
    with open(os.path.join(folder, "filler"), "ab", buffering=0) as file:
        try:
            while file.write(_BLOCK):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    journal = os.path.join(folder, "data", "journal.jsonl")
    if os.path.exists(journal):
        with open(journal, "ab") as file:  # empty lines, which say nothing
            file.write(b"\n" * (-os.stat(journal).st_size % _PAGE - _SLACK))


_ACTIONS = {"kill": _kill, "signal": _signal, "fill": _fill}


def _between(function, describe):
    """``function`` with a point before and one after it; ``describe`` tells what it does, or an empty text for none."""

    def wrapped(*arguments, **names):
        what = describe(*arguments, **names)
        if what:
            _reach("before", what)
        _seen.append(what)
        try:
            result = function(*arguments, **names)
        finally:
            _seen.pop()
        if what:
            _reach("after", what)
        return result

    return wrapped


def _rename(source, target, **_):
    return f"rename to {_pattern(target)}"


def _unlink(path, **_):
    return "unlink of the lock" if os.fsdecode(path).endswith("/deepspeech_wer/lock") else ""


def _wipe(folder):
    return f"wipe {_pattern(folder)}"


def _lines(descriptor, lines):
    return "journal " + ", ".join(dict.fromkeys(line["state"] for line in lines))


def _publish(session, chains, *_):
    changes = {type(operation).__name__ for chain in chains for operation in chain} - _LOOKS
    return f"{', '.join(sorted(changes))} on the server" if changes else ""


def _start(process, command, *_):
    """Which program, and which of git's: its first word that is no option, nor the value of one."""
    words = [os.fsdecode(word) for word in command] if isinstance(command, list | tuple) else [command]
    program = words[0].rpartition("/")[2]
    if program != "git":
        return f"start of {program}"
    options = [index for index, word in enumerate(words) if word in ("-c", "-C", "--git-dir")]
    rest = [word for index, word in enumerate(words) if index and index - 1 not in options]
    return "start of git " + next((word for word in rest if not word.startswith("-")), "")


#: Module -> what is wrapped in it as soon as it is imported.
_LATER = {
    "deepspeech_wer.journal": (("", "_append", _lines),),
    "deepspeech_wer.checkout": (("", "wipe", _wipe),),
    "subprocess": (("Popen", "_execute_child", _start),),
    "deepspeech_wer.publish.sftp.session": (("Session", "run", _publish),),
}


class _Wrapping(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in _LATER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            for owner, function, describe in _LATER[name]:
                holder = getattr(module, owner) if owner else module
                setattr(holder, function, _between(getattr(holder, function), describe))

        spec.loader.exec_module = exec_module
        return spec


#: Seen from the inside out: the wrapped calls that are on.
_seen = []


def _watch(event, arguments):
    """What the enumeration would miss: a rename past the wrappers, a file written under its final name."""
    if event == "os.rename" and not any(_seen):
        _reach("before", f"unwrapped rename to {_pattern(arguments[1])}")
    elif event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
        path, _, flags = arguments
        is_final = "/data/deepspeech_wer/www/" in path or path.endswith("/last_sha1") or re.search(r"/runs/[^./]", path)
        if is_final and flags & (os.O_WRONLY | os.O_RDWR) and not path.endswith(".tmp"):
            _reach("before", f"write in place of {_pattern(path)}")


def _count_points():
    for name, describe in (("rename", _rename), ("replace", _rename), ("unlink", _unlink)):
        original = getattr(os, name)
        setattr(os, name, _between(original, describe))
        if original in os.supports_dir_fd:  # else shutil.rmtree takes another way than it does without us
            os.supports_dir_fd.add(getattr(os, name))
    sys.meta_path.insert(0, _Wrapping())
    sys.addaudithook(_watch)


def _shift_clock():
    real = time.time

    def shifted():
        with open(os.environ["FAULTS_CLOCK"]) as file:
            return real() + float(file.read() or 0)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(shifted(), tz)

    time.time, datetime.datetime = shifted, Shifted


_module = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv[:-1] else ""
_role = _ROLES.get(_module)
if _role:
    if "FAULTS_LOG" in os.environ:
        _count_points()
    if "FAULTS_CLOCK" in os.environ:
        _shift_clock()
