"""One release of the site: everything the page needs, put into the web root on the server.

The web root is used only if it is empty, or ours: that is what its manifest says,

    .deepspeech-wer.json    {"format": "deepspeech-wer web root", "version": 1, "published": "2026-...Z",
                             "files": {"js/hyper.js": {"sha256": "...", "size": 1234}, ...}}

or that it has the ``.htaccess`` and ``index.htm`` of older installations. A new web root gets a manifest
without files first, so that a release that breaks off there can be made good by the next one, and the
full one last. Each file is sent under a temporary name in its folder, its size is compared, and one rename
puts it in place; data come before the pages that show them. So at every moment each file is whole, and
what a page links to is there. Temporary files of a release that was killed are swept by the next one.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.assets import SERVER_SETTINGS, Collection, collect, open_source
from deepspeech_wer.publish.sftp import connect
from deepspeech_wer.publish.target import Target

if TYPE_CHECKING:
    from deepspeech_wer.publish.connection import Connection

MANIFEST = ".deepspeech-wer.json"
MANIFEST_FORMAT = "deepspeech-wer web root"
MANIFEST_VERSION = 1
#: What a web root of an installation from before the manifest has.
LEGACY_MARKS = frozenset({SERVER_SETTINGS, "index.htm"})

#: A longer file (bytes) is no manifest of ours: that is some hundred thousand files.
LARGEST_MANIFEST = 32 << 20

_TEMPORARY_START, _TEMPORARY_END = ".deepspeech-wer-", ".tmp"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Release:
    """What was published: how much, how long it took, and what the site links to that was not taken."""

    files: int
    bytes: int
    seconds: float
    left_out: tuple[str, ...]


def publish(web_root: Path, target: Target, *, page: str = "index.html", progress: Progress | None = None) -> Release:
    """Publish ``page`` of the site in ``web_root``, and what it needs, to ``target``.

    ``progress(path, done, total)`` is called as bytes go out: the file being sent, and the bytes of the
    whole release so far and in all. Raises PublishError; whatever was published before is still whole.
    """
    started = time.monotonic()
    collection = collect(web_root, page)
    with connect(target) as connection:
        root = _WebRoot(connection, _root_path(target))
        root.claim()
        root.make_folders(collection)
        sent, files = _send(root, collection, progress or (lambda path, done, total: None))
        root.write_manifest(files)
    return Release(len(files), sent, time.monotonic() - started, collection.left_out)


def look(connection: Connection, target: Target) -> str:
    """What a release would find in the web root, in words; it changes nothing. Raises PublishError if not ours."""
    path = _root_path(target)
    root = _WebRoot(connection, path)
    entries = root._list("")
    if entries is None:
        root._require_parent()
        return f"{path} is not there yet, and will be made"
    root._require_ours(entries)
    return f"{path} is ours" if entries else f"{path} is empty"


def _root_path(target: Target) -> str:
    """``target.root`` as SFTP takes it: relative to the login folder, which it does not call ``~``."""
    root = target.root.strip()
    if root == "~" or root.startswith("~/"):
        root = root[2:] or "."
    if not root or root.startswith("~") or "\0" in root:
        raise PublishError(
            f"cannot publish to {target}: {target.root!r} is not a folder on the server",
            "set ds_website_server_root to the folder that the web server shows, such as /var/www/wer",
        )
    return posixpath.normpath(root)


def _send(root: _WebRoot, collection: Collection, progress: Progress) -> tuple[int, dict[str, Any]]:
    """Sends every asset in order; the bytes sent, and the manifest's entry for each file."""
    total = sum(asset.size for asset in collection.assets)
    done = 0
    files: dict[str, Any] = {}
    for asset in collection.assets:
        path = str(asset.path)
        progress(path, done, total)
        with open_source(asset) as file:
            source = _Hashed(file, asset.source)
            root.put(source, path, partial(_progress_from, progress, path, done, total))
        done += source.size
        files[path] = {"sha256": source.digest.hexdigest(), "size": source.size}
        progress(path, done, total)
    return done, files


def _progress_from(progress: Progress, path: str, before: int, total: int, size: int) -> None:
    progress(path, before + size, total)


class _Hashed:
    """A file, ``name`` to the user, that is hashed as it is read."""

    def __init__(self, file: BinaryIO, name: Path | str) -> None:
        self._file = file
        self._name = name
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise PublishError(
                f"cannot read {self._name}: {error.strerror}", "see what is wrong with that disk"
            ) from error
        self.digest.update(data)
        self.size += len(data)
        return data


class _WebRoot:
    """The web root on the server; all paths are relative to it."""

    def __init__(self, connection: Connection, root: str) -> None:
        self._connection = connection
        self._root = root
        self._replaces_by_rename = False

    def _at(self, path: str) -> str:
        return posixpath.join(self._root, path) if path else self._root

    # Whose it is -----------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Makes sure that the web root is there and ours; raises PublishError, and touches nothing, if not."""
        entries = self._list("")
        if entries is None:
            self._require_parent()
            self._make("")
            entries = {}
        self._require_ours(entries)
        self._replaces_by_rename = self._probe_rename()
        if MANIFEST not in entries:
            self.write_manifest({})

    def _require_parent(self) -> None:
        parent = posixpath.dirname(self._root) or "."
        with self._connection.step(
            f"look at {parent}, where the web root {self._root} is to be made",
            "make that folder on the server, or set ds_website_server_root to one that is there",
        ):
            info = self._connection.stat(parent)
        if not stat.S_ISDIR(info.st_mode or 0):
            raise PublishError(
                f"cannot make the web root {self._root} on {self._connection.target}: {parent} is not a folder",
                "set ds_website_server_root to a folder that is there, or to a new one in such a folder",
            )

    def _require_ours(self, entries: dict[str, int]) -> None:
        names = {name for name in entries if not _is_temporary(name)}
        if not names:
            return
        if MANIFEST in names:
            self._require_manifest(entries[MANIFEST])
        elif not all(stat.S_ISREG(entries.get(name, 0)) for name in LEGACY_MARKS):
            some = ", ".join(repr(name[:80]) for name in sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            raise PublishError(
                f"the web root {self._root} on {self._connection.target} holds files that are not ours: {some}. "
                "Nothing was touched",
                f"set ds_website_server_root to an empty folder, or to a new one such as {self._at('wer')}",
            )

    def _require_manifest(self, mode: int) -> None:
        path = self._at(MANIFEST)
        why = "is not a file"
        if stat.S_ISREG(mode):
            with self._connection.step(f"read the manifest {path}"), self._connection.open(path, "rb") as file:
                text = file.read(LARGEST_MANIFEST)
            try:
                manifest = json.loads(text)
            except (ValueError, RecursionError):
                manifest = None
            if not isinstance(manifest, dict) or manifest.get("format") != MANIFEST_FORMAT:
                why = "is not a manifest of ours"
            elif not isinstance(manifest.get("version"), int) or manifest["version"] < 1:
                why = "has no version"
            elif manifest["version"] > MANIFEST_VERSION:
                why = f"has version {manifest['version']}, and this deepspeech-wer knows {MANIFEST_VERSION}: upgrade it"
            else:
                return
        raise PublishError(
            f"the web root {self._root} on {self._connection.target} may not be ours: {MANIFEST} there {why}. "
            "Nothing was touched",
            f"if the site there is yours to replace, remove {path} and empty the folder; "
            "else set ds_website_server_root to another one",
        )

    # Folders ---------------------------------------------------------------------------------------------

    def make_folders(self, collection: Collection) -> None:
        """Makes the folders that are not there, sweeps the others, and sees that no folder is in a file's way."""
        folders = {parent for asset in collection.assets for parent in asset.path.parents}
        files: dict[PurePosixPath, set[str]] = {}
        for asset in collection.assets:
            files.setdefault(asset.path.parent, set()).add(asset.path.name)
        for folder in sorted(folders):
            path = "" if folder == PurePosixPath() else str(folder)
            entries = self._list(path)
            if entries is None:
                self._make(path)
                continue
            self._sweep(path, entries)
            for name in sorted(files.get(folder, set()) & entries.keys()):
                if stat.S_ISDIR(entries[name]):
                    raise PublishError(
                        f"cannot publish {folder / name} to {self._connection.target}: "
                        f"{self._at(str(folder / name))} is a folder there. No file was sent",
                        "move that folder away on the server, then publish again",
                    )

    def _list(self, path: str) -> dict[str, int] | None:
        """Mode of every entry of a folder by name; None if there is no such folder."""
        at = self._at(path)
        with self._connection.step(f"list the folder {at}"):
            try:
                info = self._connection.stat(at)
            except FileNotFoundError:
                return None
            if stat.S_ISDIR(info.st_mode or 0):
                return {entry.filename: entry.st_mode or 0 for entry in self._connection.listdir_attr(at)}
        raise PublishError(
            f"cannot publish to {self._connection.target}: {at} is a file there, and has to be a folder",
            "move that file away on the server, or set ds_website_server_root to another folder",
        )

    def _make(self, path: str) -> None:
        at = self._at(path)
        with self._connection.step(f"make the folder {at}"):
            self._connection.mkdir(at)

    def _sweep(self, path: str, entries: dict[str, int]) -> None:
        """Removes what a release that was killed left in a folder."""
        for name, mode in entries.items():
            if _is_temporary(name) and stat.S_ISREG(mode):
                at = self._at(posixpath.join(path, name))
                with self._connection.step(f"remove {at}, left by a release that broke off"):
                    self._connection.remove(at)

    # Files -----------------------------------------------------------------------------------------------

    def put(self, source: _Hashed, path: str, progress: Callable[[int], None]) -> None:
        """Writes all of ``source`` to ``path``: under a temporary name, compared by size, then renamed."""
        at = self._at(path)
        with self._temporary(path) as temporary:
            with self._connection.step(f"upload {at}"):
                self._connection.putfo(source, temporary, callback=lambda size, _: progress(size), confirm=False)
                arrived = self._connection.lstat(temporary).st_size
            if arrived != source.size:
                raise PublishError(
                    f"{self._connection.target}: could not upload {at}: {arrived} bytes of {source.size} arrived",
                    "see whether the server's disk or the user's quota is full (df -h, quota); then publish again",
                )
            self._replace(temporary, path)

    def write_manifest(self, files: dict[str, Any]) -> None:
        """Says what is published; ``files``: {path: {"sha256": hexadecimal, "size": bytes}}."""
        manifest = {
            "format": MANIFEST_FORMAT,
            "version": MANIFEST_VERSION,
            "published": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "files": files,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        self.put(_Hashed(io.BytesIO(text.encode()), MANIFEST), MANIFEST, lambda size: None)

    @contextmanager
    def _temporary(self, path: str) -> Iterator[str]:
        """A new name in the folder of ``path``; what is there afterwards, is removed if anything fails."""
        temporary = self._at(posixpath.join(posixpath.dirname(path), _temporary_name()))
        try:
            yield temporary
        except BaseException:
            # The failure itself is what to tell; what cannot be removed now is swept by the next release.
            with suppress(PublishError), self._connection.step(f"remove {temporary}"):
                self._connection.remove(temporary)
            raise

    def _probe_rename(self) -> bool:
        """Whether the server has OpenSSH's rename, which replaces a file.

        paramiko tells neither the server's extensions nor the code of a refusal, so this asks for a
        rename of a file that is not there: a server that knows the request says just that.
        """
        missing = self._at(_temporary_name())
        with self._connection.step(f"rename in {self._root}"):
            try:
                self._connection.sftp_client.posix_rename(missing, missing + "x")
            except OSError as error:
                return error.errno is not None
        return True

    def _replace(self, temporary: str, path: str) -> None:
        connection, at = self._connection, self._at(path)
        if self._replaces_by_rename:
            with connection.step(f"rename {temporary} to {at}"):
                connection.sftp_client.posix_rename(temporary, at)
            return
        # Plain SFTP refuses to rename over a file. The old one is moved aside, not removed, so that it can
        # go back; between two requests there is no file at all, which cannot be helped.
        aside = self._at(posixpath.join(posixpath.dirname(path), _temporary_name()))
        with connection.step(f"move the old {at} aside"):
            there = connection.lexists(at)
            if there:
                connection.rename(at, aside)
        try:
            with connection.step(f"rename {temporary} to {at}"):
                connection.rename(temporary, at)
        except PublishError:
            if there:
                with connection.step(f"put the old {at} back"):
                    connection.rename(aside, at)
            raise
        if there:
            with connection.step(f"remove {aside}, the old {at}"):
                connection.remove(aside)


def _temporary_name() -> str:
    return f"{_TEMPORARY_START}{secrets.token_hex(8)}{_TEMPORARY_END}"


def _is_temporary(name: str) -> bool:
    return name.startswith(_TEMPORARY_START) and name.endswith(_TEMPORARY_END)
