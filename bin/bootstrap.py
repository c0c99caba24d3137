#!/usr/bin/env python3
"""One tick of deepspeech-wer on a machine that has nothing but Python 3.11 or newer and git.

    curl -L .../bin/bootstrap.py | ds_repository=... ds_package=... python3 -u

Makes a virtual environment under the XDG data folder, or takes the one that is there, installs the package that
``ds_package`` names into it (anything that pip takes; by default ``deepspeech-wer[train]``), runs one tick and passes
its exit code on. The package is installed once; it is installed again when ``ds_package`` changes, or the file that it
names. Standard library only, since this is what runs before anything is installed.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

#: The interpreters that the package is tested with.
OLDEST, NEWEST = (3, 11), (3, 13)
DEFAULT_PACKAGE = "deepspeech-wer[train]"


def main():
    """Run one tick in an environment of its own, and never come back."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "deepspeech_wer"
    package = os.environ.get("ds_package") or DEFAULT_PACKAGE
    python = virtual_environment(data / "venv", [package], stamp_of(package))
    run(python, ["-m", "deepspeech_wer", "run", *sys.argv[1:]])


def virtual_environment(folder, packages, stamp, *others):
    """The Python of the virtual environment in ``folder``, with ``packages`` in it.

    ``stamp`` says what the environment was made of: one that bears the same stamp, or one of ``others``, is taken as it
    is. A second process that comes at the same time waits. The stamp is written last, so an installation that was cut
    off is begun again.
    """
    python, mark = folder / "bin" / "python", folder / "deepspeech-wer.stamp"
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.parent, os.O_RDONLY)  # a folder can be locked, too, and so nothing is left beside it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists() and mark.read_text() in (stamp, *others) and python.exists():
            return python
        mark.unlink(missing_ok=True)
        if subprocess.call([python, "-c", "import pip"], stderr=subprocess.DEVNULL) if python.exists() else True:
            say(f"making a virtual environment in {folder}")
            shutil.rmtree(folder, ignore_errors=True)
            call(
                [find_python(), "-m", "venv", str(folder)],
                "the virtual environment could not be made: install the venv module (Debian: apt-get install "
                "python3-venv), or use another Python",
            )
        say(f"installing {' '.join(packages)} (TensorFlow is large: the first time takes minutes)")
        call(
            [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--upgrade", *packages],
            f"the installation of {' '.join(packages)} failed; what pip said stands above. Set ds_package to what pip "
            "can install: a name, a folder, a wheel or a git+https address",
        )
        fresh = mark.with_suffix(".new")
        fresh.write_text(stamp)
        os.replace(fresh, mark)
    finally:
        os.close(lock)
    return python


def find_python():
    """A Python that the package runs on: this one, else one by name."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return str(Path(getattr(sys, "_base_executable", sys.executable)))
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        name = shutil.which(f"python3.{minor}")
        if name and subprocess.call([name, "-c", "import venv"], stderr=subprocess.DEVNULL) == 0:
            return name
    found = ".".join(map(str, sys.version_info[:2]))
    return fail(f"this is Python {found}, and Python 3.{OLDEST[1]} to 3.{NEWEST[1]} is needed: install one")


def stamp_of(package):
    """What ``package`` is: its name, and the size and time of the file or of the folder's pyproject.toml it names."""
    path = Path(package.partition("[")[0]).expanduser()
    file = path / "pyproject.toml" if path.is_dir() else path
    facts = [package]
    if file.is_file():
        facts += [file.stat().st_size, file.stat().st_mtime_ns]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def run(python, arguments):
    """Become ``python`` with ``arguments``; standard input, which may be this very script, is not handed on."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execv(str(python), [str(python), *arguments])


def call(command, failure):
    """Run a command with its output shown on standard error, and end with ``failure`` where it fails."""
    if subprocess.call(command, stdin=subprocess.DEVNULL, stdout=sys.stderr) != 0:
        fail(failure)


def say(text):
    """A line for the user."""
    print(f"deepspeech-wer: {text}", file=sys.stderr, flush=True)


def fail(text):
    """The last line for the user: this is a matter of settings or of the machine, hence the exit code."""
    say(text)
    sys.exit(2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename}")
