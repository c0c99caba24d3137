"""A socket that notices when its peer falls silent while somebody connects and logs in.

Afterwards it is the SFTP session (``session.py``) that watches, by the answers that come.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class WatchedSocket:
    """A socket whose peer must say something within ``timeout`` seconds of being asked.

    Hearing nothing while an answer is due means that the server or the network is gone. paramiko polls ``recv`` ten
    times a second, so that is the place to notice it; a blocked ``send`` is another.
    """

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._due: float | None = None
        self.silent = False

    @contextmanager
    def answer_due(self) -> Iterator[None]:
        self._due = time.monotonic() + self._timeout
        try:
            yield
        finally:
            self._due = None

    def recv(self, size: int) -> bytes:
        try:
            data = self._sock.recv(size)
        except TimeoutError:
            self._check()
            raise
        if self._due is not None:
            self._due = time.monotonic() + self._timeout
        return data

    def send(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except TimeoutError:
            self._check()
            raise

    def _check(self) -> None:
        due = self._due
        if due is not None and time.monotonic() > due:
            self.silent = True
            # Not a TimeoutError: that one paramiko takes for "try again".
            raise ConnectionAbortedError(errno.ECONNABORTED, "the server says nothing")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
