"""The way to where a site is published: SSH with strict host keys, SFTP with pysftp.

    target = Target("www.example.org", 22, "www", "site", privkey=Path("~/.ssh/id_ed25519"))
    with connect(target) as connection:
        with connection.step("list the web root"):
            connection.listdir("site")

This module is cheap to import; pysftp and paramiko are loaded by the first :func:`connect`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deepspeech_wer.publish.target import Target, check

if TYPE_CHECKING:
    from deepspeech_wer.publish.connection import Connection


@contextmanager
def connect(target: Target) -> Iterator[Connection]:
    """An open SFTP connection to ``target``, closed at the end whatever happens.

    Raises PublishError: settings, key file, network, unknown or changed host key, refused key,
    a server that falls silent for ``target.timeout`` seconds.
    """
    check(target)
    from deepspeech_wer.publish.connection import Connection

    connection = Connection(target)
    try:
        yield connection
    finally:
        connection.close()
