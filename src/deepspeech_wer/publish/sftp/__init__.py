"""The way to where a site is published: SSH with strict host keys by pysftp, SFTP as our own ``wire.py`` speaks it.

    target = Target("www.example.org", 22, "www", "site", privkey=Path("~/.ssh/id_ed25519"))
    with connect(target) as store:
        [[entries]] = store.run([[List("site")]])

This module is cheap to import; pysftp and paramiko are loaded by the first :func:`connect`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deepspeech_wer.publish.target import Target

if TYPE_CHECKING:
    from deepspeech_wer.publish.sftp.session import Session


@contextmanager
def connect(target: Target) -> Iterator[Session]:
    """The server as a store, logged in to; closed at the end whatever happens.

    Raises PublishError: settings, key file, unknown or changed host key, refused key; ConnectionFailed where another
    try may help: network, a server that falls silent for ``target.timeout`` seconds.
    """
    from deepspeech_wer.publish.sftp.session import Session
    from deepspeech_wer.publish.ssh.connection import Connection

    began = time.monotonic()
    connection = Connection(target)
    try:
        session = Session(connection, began)
        try:
            yield session
        finally:
            session.close()
    finally:
        connection.close()
