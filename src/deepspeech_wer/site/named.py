"""The files that pages load, each under a name that says what is in it: ``js/site.3f2a9c01d4e5.js``.

The digits are the beginning of the SHA-256 of the content. A reader who holds a page from before a release, or loads
one while a release is being put in place, gets the files that the page was made for, or none: never a page of one
release with the data of another.

Such a name is known only once the content is, so nobody can write one down: a template asks for it by the plain name,
``{{ asset("js/site.js") }}``, and under the plain name there is no file. For the same reason a style sheet or a script
names no file of the site by itself. What a script is to load later, the page names for it, which is how publishing
finds it, too::

    <link rel="deepspeech-wer-data" id="utterances" href="{{ asset('js/utterances.js') }}">
    script.src = document.getElementById("utterances").href;
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePosixPath

#: Hexadecimal digits of the SHA-256: 48 bits, of which the few files of a site never have the same by chance.
DIGITS = 12


def named(path: str, content: bytes) -> str:
    """``path`` with the hash of ``content`` before its suffix."""
    plain = PurePosixPath(path)
    return str(plain.with_name(f"{plain.stem}.{hashlib.sha256(content).hexdigest()[:DIGITS]}{plain.suffix}"))


class Assets:
    """What the pages of one site load. ``contents`` has each file by its plain path in the web root."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents
        self._names = {path: named(path, content) for path, content in contents.items()}

    def seen_from(self, page: str) -> Callable[[str], str]:
        """What a template calls ``asset``: a plain path to the address on ``page``; KeyError if it is none of ours."""
        folder = posixpath.dirname(page) or "."
        return lambda path: posixpath.relpath(self._names[path], folder)

    def files(self) -> dict[str, Callable[[], bytes]]:
        """Name in the web root to content, as :func:`deepspeech_wer.site.webroot.write` takes it."""
        return {self._names[path]: partial(bytes, content) for path, content in self._contents.items()}
