"""A folder of this machine as a place to publish to.

The same operations as on a server, carried out one after the other. Links out of the folder are as a web server here
would see them: nothing is followed but what the release itself has made.
"""

# ruff: noqa: PTH102, PTH106, PTH108, PTH112, PTH115, PTH211 (one system call an operation, on paths as texts)

from __future__ import annotations

import errno
import functools
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, BinaryIO

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import operations as op
from deepspeech_wer.publish.target import Folder

_BLOCK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)

_HINTS = {
    "denied": "let the user who publishes write there (ls -ld, chown or chmod)",
    "full": "make room on that disk (df -h, quota), then publish again: it goes on from what is there",
    "differs": "see what is wrong with that disk (dmesg), then publish again",
}


@contextmanager
def opened(folder: Folder) -> Iterator[FolderStore]:
    """The folder as a store."""
    yield FolderStore(folder)


class FolderStore:
    """See :class:`deepspeech_wer.publish.operations.Store`."""

    root_setting = "ds_website_folder"
    replaces = links = symlinks = in_order = True

    def __init__(self, folder: Folder) -> None:
        self.name = str(folder)
        self._limit = folder.time_limit
        self._end = time.monotonic() + folder.time_limit if folder.time_limit else float("inf")

    def run(self, chains: Sequence[op.Chain], progress: op.Progress | None = None) -> list[list[Any]]:
        """Carries out all chains, one after the other; the answers in the same shape."""
        return [[self._answer(operation, progress) for operation in chain] for chain in chains]

    def refused(self, operation: op.Operation, refusal: op.Refusal, hint: str = "") -> PublishError:
        """The error that tells of a refusal."""
        return PublishError(
            f"could not {operation}: {refusal.said}",
            hint or _HINTS.get(refusal.kind, "see what is at that path (ls -l) and publish again"),
        )

    def _answer(self, operation: op.Operation, progress: op.Progress | None) -> Any:
        if time.monotonic() > self._end:
            raise PublishError(
                f"publishing took longer than {round(self._limit, 1):g} s, and was ended before: {operation}",
                "publish again: it goes on from what is there; or set ds_website_time_limit higher",
            )
        try:
            if isinstance(operation, op.Put):
                return _put(operation, progress)
            return _carry_out(operation)
        except OSError as error:
            said = error.strerror or str(error)
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return op.Refusal("missing", said)
            kinds = [kind for kind, numbers in (("full", _FULL), ("denied", _DENIED)) if error.errno in numbers]
            return op.Refusal("full" if "full" in kinds else "denied" if kinds else "failed", said)


@functools.singledispatch
def _carry_out(operation: op.Operation) -> Any:
    raise TypeError(operation)


@_carry_out.register
def _(operation: op.Look) -> op.Attributes:
    return _attributes(os.lstat(operation.path))


@_carry_out.register
def _(operation: op.List) -> dict[str, op.Attributes]:
    with os.scandir(operation.path) as entries:
        return {entry.name: _attributes(entry.stat(follow_symlinks=False)) for entry in entries}


@_carry_out.register
def _(operation: op.Read) -> bytes:
    length = operation.limit if operation.length is None else min(operation.length, operation.limit)
    with _opened(operation.path) as file:
        file.seek(operation.offset)
        return file.read(length)


@_carry_out.register
def _(operation: op.Digest) -> str:
    with _opened(operation.path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@_carry_out.register
def _(operation: op.MakeFolder) -> None:
    try:
        os.mkdir(operation.path)
    except FileExistsError:
        if not os.path.isdir(operation.path):
            raise


@_carry_out.register
def _(operation: op.Remove) -> None:
    os.unlink(operation.path)


@_carry_out.register
def _(operation: op.RemoveFolder) -> None:
    os.rmdir(operation.path)


@_carry_out.register
def _(operation: op.Rename) -> None:
    os.replace(operation.path, operation.to)


@_carry_out.register
def _(operation: op.Link) -> None:
    os.link(operation.path, operation.to, follow_symlinks=False)


@_carry_out.register
def _(operation: op.Symlink) -> None:
    os.symlink(operation.target, operation.path)


@_carry_out.register
def _(operation: op.ReadLink) -> str:
    return os.readlink(operation.path)


def _attributes(info: os.stat_result) -> op.Attributes:
    return op.Attributes(info.st_mode, info.st_size, int(info.st_mtime))


def _opened(path: str) -> BufferedReader:
    # Not to wait for ever on a named pipe; not to follow a link that somebody put there.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a file")
    return file


def _put(put: op.Put, progress: op.Progress | None) -> op.Attributes | op.Refusal:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    digest = hashlib.sha256()
    with put.content.open() as source, os.fdopen(os.open(put.path, flags, 0o666), "wb") as file:
        file.truncate(put.offset)
        file.seek(put.offset)
        place = 0
        while block := _read(source, put):
            digest.update(block)
            if (new := block[max(0, put.offset - place) :]) and place + len(block) > put.offset:
                file.write(new)
                if progress:
                    progress(len(new))
            place += len(block)
        file.flush()
        os.utime(file.fileno(), (put.mtime, put.mtime))
    op.require_unchanged(put.content, digest.hexdigest())
    with _opened(put.path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != put.content.sha256:
            return op.Refusal("differs", "what is on the disk is not what was written")
        return _attributes(os.fstat(file.fileno()))


def _read(source: BinaryIO, put: op.Put) -> bytes:
    try:
        return source.read(_BLOCK)
    except OSError as error:
        raise PublishError(
            f"cannot read {put.content.name}: {error.strerror}", "see what is wrong with that disk"
        ) from error
