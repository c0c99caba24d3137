"""SFTP version 3 as bytes: the requests that we send, and what the server's answers hold.

A message is its length (4 bytes), its kind (1), and for all but INIT and VERSION the number of the request (4)::

    ask(LSTAT, 7, text("www"))  ->  b"\\0\\0\\0\\x0c" b"\\x07" b"\\0\\0\\0\\x07" b"\\0\\0\\0\\3www"
    for number, kind, body in inbox.feed(received): ...

Servers are many and none is trusted: whatever does not fit raises :class:`Garbled`, and no length that a server names
makes us wait for, or keep, more than ``LARGEST`` bytes.

Described in draft-ietf-secsh-filexfer-02, the extensions in OpenSSH's PROTOCOL. Of the two orders in which servers
expect a symbolic link's names, this is OpenSSH's, which all that are in use follow.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator

from deepspeech_wer.publish.operations import Attributes, Refusal

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE = 3, 4, 5, 6
LSTAT, FSTAT, FSETSTAT = 7, 8, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = 11, 12, 13, 14, 15
STAT, RENAME, READLINK, SYMLINK = 17, 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

OK, END = 0, 1

# How a file is opened.
FOR_READING, FOR_WRITING, MAKE, EMPTY = 1, 2, 8, 16

#: Of an answer, in bytes. OpenSSH sends 256 KiB at most, and no server more than it was asked for.
LARGEST = 1 << 20
#: Of a handle, in bytes: by the protocol.
LARGEST_HANDLE = 256

_KINDS = {2: "missing", 3: "denied", 8: "unsupported"}
_FULL = ("no space left", "quota", "disk full", "disk is full")


class Garbled(Exception):
    """What came is not SFTP; the message says what is wrong with it."""


# What is sent ------------------------------------------------------------------------------------------------------


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(data)) + data


def ask(kind: int, number: int, body: bytes) -> bytes:
    return struct.pack(">IBI", len(body) + 5, kind, number) + body


def init() -> bytes:
    return struct.pack(">IBI", 5, INIT, 3)


def times(mtime: int) -> bytes:
    """Attributes that set the times of a file; the protocol has 32 bits for them."""
    mtime = min(max(mtime, 0), 0xFFFFFFFF)
    return struct.pack(">III", 8, mtime, mtime)


def size(length: int) -> bytes:
    """Attributes that set the size of a file."""
    return struct.pack(">IQ", 1, length)


# What comes --------------------------------------------------------------------------------------------------------


class Body:
    """What an answer holds, taken from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, form: str, length: int) -> int:
        if self._at + length > len(self._data):
            raise Garbled("an answer ends too early")
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += length
        return int(value)

    def short(self) -> int:
        return self._take(">I", 4)

    def long(self) -> int:
        return self._take(">Q", 8)

    def string(self) -> bytes:
        length = self.short()
        if self._at + length > len(self._data):
            raise Garbled("an answer ends too early")
        self._at += length
        return self._data[self._at - length : self._at]

    def name(self) -> str:
        return self.string().decode("utf-8", "surrogateescape")

    def attributes(self) -> Attributes:
        flags = self.short()
        length = self.long() if flags & 1 else 0
        if flags & 2:
            self.long()
        mode = self.short() if flags & 4 else 0
        mtime = self.long() & 0xFFFFFFFF if flags & 8 else 0
        if flags & 0x80000000:
            for _ in range(self.short()):
                self.string()
                self.string()
        return Attributes(mode, length, mtime)

    def rest(self) -> bool:
        return self._at < len(self._data)


def status(body: bytes) -> tuple[int, str]:
    """The code, and what the server says to it, fit to be shown."""
    fields = Body(body)
    code = fields.short()
    said = fields.name() if fields.rest() else ""
    return code, shown(said)


def shown(said: str) -> str:
    return "".join(c if c.isprintable() else " " for c in said[:200]).strip()


def refusal(body: bytes) -> Refusal:
    code, said = status(body)
    kind = _KINDS.get(code, "full" if any(words in said.lower() for words in _FULL) else "failed")
    return Refusal(kind, said or f"error {code}")  # type: ignore[arg-type]


def names(body: bytes) -> list[tuple[str, Attributes]]:
    fields = Body(body)
    found = []
    for _ in range(fields.short()):
        name = fields.name()
        # The line that ls -l would print tells the kind where the attributes do not.
        line = fields.string()
        attributes = fields.attributes()
        if not stat.S_IFMT(attributes.mode):
            kind = {b"d": stat.S_IFDIR, b"-": stat.S_IFREG, b"l": stat.S_IFLNK}.get(line[:1], 0)
            attributes = attributes._replace(mode=attributes.mode | kind)
        found.append((name, attributes))
    return found


def extensions(body: bytes) -> dict[str, str]:
    """What a VERSION message says that the server can do besides. Raises Garbled for a version other than 3."""
    fields = Body(body)
    version = fields.short()
    if version != 3:
        raise Garbled(f"the server speaks version {version} of SFTP, and not 3")
    found: dict[str, str] = {}
    while fields.rest():
        name = fields.name()
        found[name] = fields.name()
    return found


class Inbox:
    """Bytes as they are received, cut into messages."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """(number of the request, kind, body); the number of a VERSION message is -1."""
        self._data += data
        at = 0
        try:
            while at + 5 <= len(self._data):
                length, kind = struct.unpack_from(">IB", self._data, at)
                head = 5 if kind == VERSION and not self._begun else 9
                if not self._begun and (kind != VERSION or length > LARGEST):
                    raise Garbled(f"the server begins with {shown(self._data[:60].decode('ascii', 'replace'))!r}")
                if not head - 4 <= length <= LARGEST:
                    raise Garbled(f"an answer of {length} bytes is announced")
                if at + 4 + length > len(self._data):
                    return
                self._begun = True
                number = -1 if head == 5 else struct.unpack_from(">I", self._data, at + 5)[0]
                body = bytes(memoryview(self._data)[at + head : at + 4 + length])
                at += 4 + length
                yield number, kind, body
        finally:
            del self._data[:at]
