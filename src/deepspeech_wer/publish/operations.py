"""What a release asks of the place that it is published to, and the answers: the same for a server and for a folder.

An operation is one thing done with one path. Operations that depend on each other are handed over in a chain, in
their order; chains are independent of each other and are carried out side by side::

    answers = store.run([[Look("www/index.html")], [MakeFolder("www/js"), Put(content, "www/js/site.js")]])
    [[Attributes(...)], [None, Attributes(...)]]

Each operation has one answer: its value, or a :class:`Refusal`. To refuse is an answer, not an exception: who asked
knows whether it matters. PublishError is raised for what concerns the whole place: a connection that is lost, a
server that says nothing, the time limit, a file on this machine that cannot be read. What follows a refusal in a chain
may be carried out all the same (a server is sent a whole chain at once where it works in order), so a chain holds only
what does no harm then; that is why nothing that readers see stands in one chain with the upload of its content.

Paths are POSIX paths as the place takes them: absolute, or relative to where the store begins.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

from deepspeech_wer.errors import PublishError

#: Bytes of one file that may be on their way, unanswered, at any moment. After a break only so many at the end of what
#: arrived are in doubt.
MOST_IN_FLIGHT = 4 << 20


class Attributes(NamedTuple):
    """What a place says of a path, links not followed: POSIX mode, size in bytes, modification time in seconds."""

    mode: int
    size: int
    mtime: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True)
class Content:
    """What a file is to hold: a file of this machine (``source``), or bytes (``data``); known by its SHA-256."""

    sha256: str
    size: int
    source: Path | None = None
    data: bytes = b""

    @staticmethod
    def of_bytes(data: bytes) -> Content:
        return Content(hashlib.sha256(data).hexdigest(), len(data), data=data)

    @property
    def name(self) -> str:
        """Where it comes from, to the user."""
        return str(self.source) if self.source else "what is written for publishing"

    def open(self) -> BinaryIO:
        """The content, for reading; never through a symbolic link that has come since. Raises PublishError."""
        if self.source is None:
            import io

            return io.BytesIO(self.data)
        return open_file(self.source)


def open_file(path: Path) -> BinaryIO:
    """A file of the site, open for reading; no symbolic link, no pipe. Raises PublishError if it cannot be opened."""
    # Not to wait for ever, should it have become a named pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise PublishError(
            f"cannot read {path}, which the site needs: {error.strerror}",
            "build the site again as the user who publishes: deepspeech-wer site build",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PublishError(
            f"cannot read {path}, which the site needs: it is no longer a file",
            "build the site again: deepspeech-wer site build",
        )
    return os.fdopen(descriptor, "rb")


# Operations ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    path: str

    def __str__(self) -> str:
        """The step to the user, after "could not": "remove www/js/old.js"."""
        return f"{self.verb} {self.path}"

    verb = ""


class Look(Operation):
    """-> Attributes of the path itself, a link not followed."""

    verb = "look at"


class List(Operation):
    """-> dict[str, Attributes]: the entries of a folder, without ``.`` and ``..``; links not followed."""

    verb = "list the folder"


@dataclass(frozen=True)
class Read(Operation):
    """-> bytes: ``length`` bytes (all that there are, if None) from ``offset``; at most ``limit`` in all.

    Fewer are given where the file ends, or where the limit is reached.
    """

    offset: int = 0
    length: int | None = None
    limit: int = 64 << 20
    verb = "read"


class Digest(Operation):
    """-> str: the SHA-256 (hexadecimal) of the file's bytes, all of which are read back."""

    verb = "read back"


@dataclass(frozen=True)
class Put(Operation):
    """-> Attributes: ``content`` written to the path, from ``offset`` on (what is before it is there already).

    The file is made, or cut to ``offset`` first. Its modification time is set to ``mtime`` where the place lets it be
    set. What arrived is compared with what was sent before this is answered: its size; and its bytes by reading them
    back, all that were sent of a file up to CHECKED_WHOLE bytes, samples of a larger one. A difference is a Refusal
    of kind "differs". PublishError where the file of this machine has no longer the content that it had.
    """

    content: Content
    mtime: int
    offset: int = 0
    verb = "upload"


class MakeFolder(Operation):
    """-> None. A folder that is there already is no refusal."""

    verb = "make the folder"


class Remove(Operation):
    """-> None: a file or a symbolic link, never a folder."""

    verb = "remove"


class RemoveFolder(Operation):
    """-> None: an empty folder."""

    verb = "remove the folder"


@dataclass(frozen=True)
class Rename(Operation):
    """-> None: ``path`` gets the name ``to``, in one step, replacing what is there where the store ``replaces``."""

    to: str
    verb = "rename"

    def __str__(self) -> str:
        return f"rename {self.path} to {self.to}"


@dataclass(frozen=True)
class Link(Operation):
    """-> None: a hard link to the file ``path`` under the name ``to``, which must be free."""

    to: str
    verb = "link"

    def __str__(self) -> str:
        return f"make {self.to} a hard link to {self.path}"


@dataclass(frozen=True)
class Symlink(Operation):
    """-> None: ``path`` becomes a symbolic link with the text ``target``; the name must be free."""

    target: str
    verb = "make the symbolic link"


class ReadLink(Operation):
    """-> str: the text of a symbolic link."""

    verb = "read the symbolic link"


#: A file up to this size (bytes) is read back whole after its upload.
CHECKED_WHOLE = 1 << 20


@dataclass(frozen=True)
class Refusal:
    """The place did not do it. ``said`` is in its own words, or ours where it has none."""

    kind: Literal["missing", "denied", "full", "unsupported", "differs", "failed"]
    said: str


Chain = Sequence[Operation]
#: Bytes that arrived since the last call.
Progress = Callable[[int], None]


class Store(Protocol):
    """A place to publish to, open. Used by one thread."""

    @property
    def name(self) -> str:
        """Who it is, to the user: ``wer@www.example.org:22``, or ``this machine``."""

    @property
    def root_setting(self) -> str:
        """The setting that names the web root."""

    @property
    def replaces(self) -> bool:
        """Whether a rename replaces a file (OpenSSH's posix-rename), as far as the place says without being asked."""

    @property
    def links(self) -> bool:
        """Whether hard links can be made, as far as the place says."""

    @property
    def symlinks(self) -> bool:
        """Whether symbolic links can be asked for."""

    @property
    def in_order(self) -> bool:
        """Whether it works strictly in order, so that a chain is sent at once and costs one round trip."""

    def run(self, chains: Sequence[Chain], progress: Progress | None = None) -> list[list[Any]]:
        """Carries out all chains, side by side; the answers in the same shape."""

    def refused(self, operation: Operation, refusal: Refusal, hint: str = "") -> PublishError:
        """The error that tells of a refusal: place, step, path, what the place said; a hint fit for the kind."""


def require_unchanged(content: Content, sha256: str) -> None:
    """Raises PublishError where what was read of ``content`` is not what it was when the release was planned."""
    if sha256 != content.sha256:
        raise PublishError(
            f"{content.name} changed while it was being published",
            "publish again, when nothing else writes there",
        )
