"""The web root: a folder that holds the site, and perhaps files of somebody else.

``.deepspeech-wer-site.json`` in it lists, sorted, the files that were written here. A file that is not in the list
is never deleted, and never overwritten with something else. The list is extended before a file is written and cut
down after others are removed, so that a kill at any moment leaves no file of ours behind unlisted.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from deepspeech_wer.errors import EnvironmentFailure, SettingsError, TrackerError
from deepspeech_wer.files import write_atomically

LIST = ".deepspeech-wer-site.json"


def write(root: Path, files: Mapping[str, Callable[[], bytes]], current: Set[str] = frozenset()) -> None:
    """Make ``files`` the whole of the site in ``root``.

    A file is named by its POSIX path relative to ``root``, and its content is made when it is needed, since a site
    may have hundreds of logs. They are written in the order of ``files``, each atomically and only if it differs;
    then what an earlier site had and this one has not is removed, with the folders that became empty by it. Of the
    files named in ``current`` the caller knows that they are as they should be: where they are ours already, their
    content is not asked for.

    Raises SettingsError, before anything is written, where a file of somebody else is in the way; TrackerError
    where a file cannot be read, written or removed.
    """
    with _told("making the folder", root):
        root.mkdir(parents=True, exist_ok=True)
    before = _read_list(root)
    for name in sorted(files.keys() - before):
        with _told(f"reading {root / name}", root):
            if (root / name).exists() and not _holds(root / name, files[name]()):
                raise SettingsError(
                    f"{root / name} was not written by deepspeech-wer and would be overwritten by the site",
                    "move it away, or name another folder as the web root",
                )
    _write_list(root, before | files.keys())
    for name, content in files.items():
        if name in current and name in before:
            continue
        with _told(f"writing {root / name}", root):
            _put(root / name, content())
    for name in sorted(before - files.keys()):
        with _told(f"removing {root / name}", root):
            _remove(root / name, root)
    _write_list(root, set(files))


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _put(path: Path, content: bytes) -> None:
    if not _holds(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)


def _remove(path: Path, root: Path) -> None:
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == root or not folder.is_dir() or any(folder.iterdir()):
            break
        folder.rmdir()


def _read_list(root: Path) -> set[str]:
    path = root / LIST
    try:
        return {name for name in json.loads(path.read_text())["files"] if _is_inside(name)}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackerError(
            f"the list of the site's files, {path}, cannot be read: {error}",
            "delete the list and the site's files, then build the site again; all of it is made from the archive",
        ) from error


def _write_list(root: Path, names: set[str]) -> None:
    with _told(f"writing {root / LIST}", root):
        _put(root / LIST, (json.dumps({"files": sorted(names)}, indent=1) + "\n").encode())


@contextmanager
def _told(what: str, root: Path) -> Iterator[None]:
    """A failure of the disk in the user's words."""
    try:
        yield
    except OSError as error:
        kind = EnvironmentFailure if error.errno in (errno.ENOSPC, errno.EDQUOT) else TrackerError
        raise kind(
            f"building the site in {root} stopped at {what}: {error.strerror or error}",
            "make room or give permission there, then run: deepspeech-wer site build",
        ) from error


def _is_inside(name: object) -> bool:
    if not isinstance(name, str) or not name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
