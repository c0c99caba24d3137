"""The web root: a folder that holds the site, and perhaps files of somebody else.

``.deepspeech-wer-site.json`` in it lists, sorted, the files that were written here. A file that is not in the list
is never deleted, and never overwritten with something else. The list is extended before a file is written and cut
down after others are removed, so that a kill at any moment leaves no file of ours behind unlisted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from deepspeech_wer.errors import SettingsError, TrackerError
from deepspeech_wer.files import write_atomically

LIST = ".deepspeech-wer-site.json"


class WebRoot:
    """``with WebRoot(path, names) as root: root.put(name, content)`` for every file of the site, the page last.

    ``names`` are all the files that the site will have, as POSIX paths relative to the root. On leaving without
    an error, what an earlier site had and this one has not is removed, and folders that became empty with it.
    Raises SettingsError where a file of somebody else is in the way, TrackerError where a file cannot be written.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self._path = path
        self._names = set(names)
        self._before: set[str] = set()

    def __enter__(self) -> WebRoot:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._trouble("making the folder", error) from error
        self._before = self._read()
        self._write_list(self._before | self._names)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        for name in sorted(self._before - self._names):
            self._remove(self._path / name)
        self._write_list(self._names)

    def put(self, name: str, content: bytes) -> None:
        """Write one file, if what is there differs."""
        path = self._path / name
        try:
            there = path.read_bytes() if path.is_file() else None
            if there == content:
                return
            if there is not None and name not in self._before:
                raise SettingsError(
                    f"{path} was not written by deepspeech-wer and would be overwritten by the site",
                    "move it away, or name another folder as the web root",
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            raise self._trouble(f"writing {path}", error) from error

    def _read(self) -> set[str]:
        path = self._path / LIST
        try:
            names = json.loads(path.read_text())["files"]
            return {name for name in names if _is_inside(name)}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrackerError(
                f"the list of the site's files, {path}, cannot be read: {error}",
                "delete the list and the site's files, then build the site again; all of it is made from the archive",
            ) from error

    def _write_list(self, names: set[str]) -> None:
        text = json.dumps({"files": sorted(names)}, indent=1) + "\n"
        path = self._path / LIST
        try:
            if not path.is_file() or path.read_text() != text:
                write_atomically(path, text)
        except OSError as error:
            raise self._trouble(f"writing {path}", error) from error

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._path or any(folder.iterdir()):
                    break
                folder.rmdir()
        except OSError as error:
            raise self._trouble(f"removing {path}", error) from error

    def _trouble(self, what: str, error: OSError) -> TrackerError:
        return TrackerError(
            f"building the site in {self._path} stopped at {what}: {error.strerror or error}",
            "make room or give write permission there, then run: deepspeech-wer site build",
        )


def _is_inside(name: object) -> bool:
    if not isinstance(name, str) or not name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
