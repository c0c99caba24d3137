"""The server of a simulated month, which has moods: it refuses to write, is full, hangs up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import asyncssh

from ssh_servers import Server, asyncssh_server, new_key, public_line


class Mood:
    """What the server is like just now: the trouble, and for how many more operations all is well."""

    trouble = ""
    well = 0


class MoodySFTP(asyncssh.SFTPServer):
    """A server that refuses to write, or hangs up."""

    mood: Mood

    def _mind(self, is_writing: bool) -> None:
        match self.mood.trouble:
            case "the web root is read-only" if is_writing:
                raise asyncssh.SFTPPermissionDenied("read-only file system")
            case "the server's disk is full" if is_writing and self.mood.well <= 0:
                raise asyncssh.SFTPFailure("no space left on device")
            case "the server hangs up" if self.mood.well <= 0:
                self.channel.get_connection().abort()
                raise asyncssh.SFTPFailure("gone")
        self.mood.well -= 1

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        self._mind(bool(pflags & asyncssh.FXF_WRITE) and self.mood.trouble == "the web root is read-only")
        return super().open(path, pflags, attrs)

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        self._mind(True)
        return super().write(file_obj, offset, data)  # type: ignore[return-value]

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        if Path(os.fsdecode(self.map_path(oldpath))).exists():  # else it is asked what the server can do
            self._mind(self.mood.trouble == "the web root is read-only")
        super().posix_rename(oldpath, newpath)

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        self._mind(True)
        super().mkdir(path, attrs)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[Server, Mood]]:
    """A server whose files are in ``folder``, and its mood."""
    (folder / "home").mkdir(parents=True)
    key, host_key = new_key("ed25519"), new_key("ed25519")
    (folder / "user_key").write_bytes(key.export_private_key())
    (folder / "user_key").chmod(0o600)
    (folder / "authorized_keys").write_text(public_line(key) + "\n")
    mood = Mood()
    moody = type("Moody", (MoodySFTP,), {"mood": mood})
    with asyncssh_server(folder, folder / "home", (host_key,), folder / "user_key", sftp=moody) as server:
        server.know(host_key)
        yield server, mood
