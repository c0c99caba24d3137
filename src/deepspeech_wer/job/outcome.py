"""What a job came to: its hyper.json found and checked, its result folder made whole.

Success is not an exit code alone: it is exit code 0 and a valid hyper.json of this very run. It is looked for in the
result folder, then at the root of the checkout, then in the newest folder below the checkout's folder of logs, as the
notebook of 2016 wrote it; a file that was there before the job started does not count.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from deepspeech_wer.errors import LandingFailed
from deepspeech_wer.files import read_regular, write_atomically
from deepspeech_wer.job.output import one_line
from deepspeech_wer.job.spec import JobSpec, Status
from deepspeech_wer.results import hyper

HYPER = "hyper.json"

#: Kept under this name, so that nothing is lost, where it cannot be used.
INVALID = "hyper.json.invalid"

#: Taken from beside hyper.json.
COMPANIONS = ("utterances.jsonl", "learning.jsonl")

#: Scratch files of the job in the result folder, gone before it is whole.
SCRATCH = ".scratch"

#: Bytes of free space below which a disk counts as full: what did not fit was larger than what is left.
_FULL = 16 << 20

#: What tells a file from an older one of its name: device, inode, size, time of last change in nanoseconds.
Mark = tuple[int, int, int, int]


def present(spec: JobSpec, logs: str) -> dict[Path, Mark]:
    """The files in the checkout that could be taken for results, as they are before the job starts.

    ``logs`` is the folder of logs that the job is told to use, relative to the checkout unless absolute.
    """
    return {path: mark for path in _candidates(spec, logs) for path, mark in _marks(path.parent).items()}


def collect(spec: JobSpec, logs: str, before: Mapping[Path, Mark]) -> None:
    """Bring hyper.json and what belongs to it into the result folder ``spec.partial``.

    Raises LandingFailed where the job left none, or one that is invalid or of another commit, and OSError where the
    result folder cannot be written.
    """
    if not _is_whole(spec.partial):
        did = "replaced" if os.path.lexists(spec.partial) else "removed"
        raise LandingFailed(
            f"the job {did} its own result folder", "let it write into that folder, and leave it in place"
        )
    source = _find(spec, logs, before)
    target = spec.partial / HYPER
    try:
        text = read_regular(source.resolve())  # a link to the newest of its results is fine
    except OSError as error:
        raise LandingFailed(f"{source} cannot be read: {error.strerror}", "look at what writes it") from error
    if source != target:
        for name in COMPANIONS:
            beside, copy = source.with_name(name), spec.partial / name
            if not copy.exists() and name in {path.name for path in _fresh(beside.parent, before)}:
                shutil.copyfile(beside, copy)
    try:
        content = hyper.parse(text)
    except hyper.InvalidHyper as error:
        _set_aside(spec, text)
        raise LandingFailed(
            f"the job left a hyper.json that is not valid: {one_line(str(error))}",
            f"mend what writes it; it is kept as {INVALID}",
        ) from error
    if hyper.is_of_another(content, spec.landing.sha):
        _set_aside(spec, text)
        said = one_line(content["context"]["git_hash"], 40)
        raise LandingFailed(
            f"the job left a hyper.json of commit {said}, and the landing is {spec.landing.sha}",
            f"write the commit of the checkout into context.git_hash; the file is kept as {INVALID}",
        )
    if source != target or target.is_symlink():
        write_atomically(target, text)


def finish(spec: JobSpec, status: Status) -> None:
    """Write the final status and make the result folder whole: everything on the disk, then one rename.

    What is ours in it is written again, whatever the job made of it, and the folder too where the job removed it.
    Raises OSError where the disk does not take it.
    """
    partial = spec.partial
    if not _is_whole(partial):
        partial.unlink(missing_ok=True)
        partial.mkdir(parents=True)
    shutil.rmtree(partial / SCRATCH, ignore_errors=True)
    for name, text in (("job.json", spec.to_json()), ("status.json", status.to_json())):
        _clear(partial / name)
        write_atomically(partial / name, text)
    for folder, _, names in os.walk(partial):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                _flush(path)
        _flush(Path(folder))
    partial.rename(spec.result)
    _flush(spec.result.parent)


def is_disk_full(spec: JobSpec) -> bool:
    """Whether a disk that the job writes to has (nearly) no space left for this user, or takes no more files."""
    folders = [spec.partial.parent, spec.checkout, spec.checkpoint_dir]
    if spec.environments:
        folders.append(Path(spec.environments))
    for folder in folders:
        try:
            state = os.statvfs(folder)
        except OSError:  # the job removed it, or it was never made
            continue
        if state.f_bavail * state.f_frsize < _FULL or (state.f_files > 0 and state.f_favail == 0):
            return True
    return False


def _candidates(spec: JobSpec, logs: str) -> list[Path]:
    """Where a hyper.json may be in the checkout, the best place first."""
    found = []
    for folder, _, names in os.walk(spec.checkout / logs):
        path = Path(folder, HYPER)
        if HYPER in names and path.is_file():
            found.append(path)
    found.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [spec.checkout / HYPER, *found]


def _find(spec: JobSpec, logs: str, before: Mapping[Path, Mark]) -> Path:
    own = spec.partial / HYPER
    if own.is_file():
        return own
    if own.is_dir():
        raise LandingFailed(f"the job left a folder {HYPER} where a file is expected", "look at what writes it")
    stale = []
    for path in _candidates(spec, logs):
        if path in _fresh(path.parent, before):
            return path
        if path.is_file():
            stale.append(path.relative_to(spec.checkout) if path.is_relative_to(spec.checkout) else path)
    if stale:
        raise LandingFailed(
            f"the job left no hyper.json of its own: {stale[0]} was there before it started, and is not of this run",
            "write hyper.json into the folder that ds_result_dir names, and take the old one out of the repository",
        )
    raise LandingFailed(
        "the job ended well and left no hyper.json",
        "write hyper.json into the folder that ds_result_dir names, or at the root of the checkout",
    )


def _fresh(folder: Path, before: Mapping[Path, Mark]) -> set[Path]:
    """The results in ``folder`` that were not there, or not so, before the job."""
    return {path for path, mark in _marks(folder).items() if before.get(path) != mark}


def _marks(folder: Path) -> dict[Path, Mark]:
    marks = {}
    for name in (HYPER, *COMPANIONS):
        path = folder / name
        try:
            state = path.stat()
        except OSError:
            continue
        if path.is_file():
            marks[path] = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    return marks


def _set_aside(spec: JobSpec, text: bytes) -> None:
    _clear(spec.partial / INVALID)
    write_atomically(spec.partial / INVALID, text)
    (spec.partial / HYPER).unlink(missing_ok=True)


def _is_whole(folder: Path) -> bool:
    """Whether ``folder`` is still a folder, and not a link to another."""
    return folder.is_dir() and not folder.is_symlink()


def _clear(path: Path) -> None:
    """Take a folder out of the way of the file ``path``."""
    if _is_whole(path):
        shutil.rmtree(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
