"""SFTP servers that are not as they should be: that refuse one thing, lie about what they wrote, or answer rubbish.

    server = start_server("asyncssh", sftp=Truncating)

Each is one class, to be handed to :func:`ssh_servers.asyncssh_server`. Some have the flag ``is_well``: once it is set,
all goes well.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import asyncssh


class Linking(asyncssh.SFTPServer):
    """asyncssh's, shut into a folder, but able to read relative symbolic links there, which asyncssh's is not."""

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(self.map_path(path))  # noqa: PTH115


class Ill(Linking):
    """Ill until it is well."""

    is_well = False


class Flipping(Ill):
    """Writes one bit wrong in each piece that is long enough."""

    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        if not self.is_well and len(data) > 1000:
            data = bytes([data[0] ^ 1]) + data[1:]
        return super().write(file_obj, offset, data)  # type: ignore[return-value]


class Truncating(Ill):
    """Says yes to every write, and keeps the first 1,000 bytes of a file."""

    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        super().write(file_obj, offset, data if self.is_well else data[: max(0, 1000 - offset)])
        return len(data)


class Forgetting(Ill):
    """Says yes to every write, and writes nothing."""

    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        if self.is_well:
            super().write(file_obj, offset, data)
        return len(data)


class Denying(Ill):
    """Takes the first 20 pieces, then may not write any more: as where somebody changed a folder's mode."""

    taken = 0

    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        cls = type(self)
        cls.taken += 1
        if not self.is_well and cls.taken > 20:
            raise asyncssh.SFTPPermissionDenied("read-only file system")
        return super().write(file_obj, offset, data)  # type: ignore[return-value]


class NoPosixRename(Linking):
    """Plain SFTP: a rename does not replace."""

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("posix-rename")


class NoRename(Ill):
    """Renames nothing."""

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._refuse()
        super().rename(oldpath, newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._refuse()
        super().posix_rename(oldpath, newpath)

    def _refuse(self) -> None:
        if not self.is_well:
            raise asyncssh.SFTPPermissionDenied("no renames today")


class NoSymlink(Linking):
    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("symlink")


class NoHardLink(Linking):
    def link(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("hardlink")


class Plainest(NoPosixRename, NoSymlink, NoHardLink):
    """Nothing but what SFTP version 3 has had from the beginning."""


def fresh(server: type[Ill]) -> type[Ill]:
    """A class of its own, not to share ``is_well`` with other tests."""
    return type(server.__name__, (server,), {})


# Rubbish -------------------------------------------------------------------------------------------------------------

_VERSION = struct.pack(">BI", 2, 3)


def _packet(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def _status(id: bytes) -> bytes:
    return _packet(b"\x65" + id + struct.pack(">I", 0) + struct.pack(">I", 0) * 2)


#: How a server answers a request, by what is wrong with it; the request's id is handed in.
RUBBISH = {
    "text": lambda id: b"Last login: Sat Nov 21 12:00:00 2026 from 127.0.0.1\r\n",
    "noise": lambda id: bytes(range(7, 200)),
    "an id that nobody asked with": lambda id: _status(b"\xff\xff\xff\xf0"),
    "a packet of 4 GB": lambda id: b"\xff\xff\xff\xff\x65" + id,
    "an empty packet": lambda id: _packet(b""),
    "half a status": lambda id: _packet(b"\x65" + id + b"\x00"),
    "a kind that there is not": lambda id: _packet(b"\xfe" + id),
    "a list of a billion": lambda id: _packet(b"\x68" + id + struct.pack(">I", 1_000_000_000)),
    "a handle of a megabyte": lambda id: _packet(b"\x66" + id + struct.pack(">I", 1 << 20) + bytes(1 << 20)),
    "all done, whatever was asked": _status,
    "an error without an end": lambda id: _packet(b"\x65" + id + struct.pack(">II", 4, 1 << 30) + b"x"),
}


def answering(kind: str) -> dict[str, Any]:
    """Options for a server whose SFTP begins well and then answers every request with rubbish of that ``kind``."""
    answer = RUBBISH[kind]

    async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
        try:
            await process.stdin.readexactly(int.from_bytes(await process.stdin.readexactly(4), "big"))
            process.stdout.write(_packet(_VERSION))
            while True:
                body = await process.stdin.readexactly(int.from_bytes(await process.stdin.readexactly(4), "big"))
                process.stdout.write(answer(body[1:5]))
        except (asyncssh.Error, OSError, EOFError):
            process.exit(0)

    return {"sftp_factory": None, "process_factory": serve, "encoding": None}
