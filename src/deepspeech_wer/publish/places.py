"""The places that a site can be published to, by one interface: a server by SFTP, or a folder of this machine."""

from __future__ import annotations

import posixpath
from contextlib import AbstractContextManager

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.operations import Store
from deepspeech_wer.publish.target import Folder, Place


def opened(place: Place) -> AbstractContextManager[Store]:
    """The place, open; closed at the end whatever happens. Entering raises PublishError where that cannot be done."""
    if isinstance(place, Folder):
        from deepspeech_wer.publish.folder import opened as opened_folder

        return opened_folder(place)
    from deepspeech_wer.publish.sftp import connect

    return connect(place)


def root_of(place: Place) -> str:
    """The web root as the place takes it; on a server relative to the login folder, which SFTP does not call ``~``."""
    if isinstance(place, Folder):
        return str(place.root)
    root = place.root.strip()
    if root == "~" or root.startswith("~/"):
        root = root[2:] or "."
    if not root or root.startswith("~") or "\0" in root:
        raise PublishError(
            f"cannot publish to {place}: {place.root!r} is not a folder on the server",
            "set ds_website_server_root to the folder that the web server shows, such as /var/www/wer",
        )
    return posixpath.normpath(root)
