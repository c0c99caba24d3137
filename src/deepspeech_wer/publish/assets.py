"""What a site consists of: the page, and everything of the web root that it needs, directly or in turn.

What is searched for links, and how, is in :mod:`deepspeech_wer.publish.links`. Scripts are not read: a page names the
data and modules that its scripts load by themselves as

    <link rel="deepspeech-wer-data" href="js/utterances.js">

which browsers pass over (``rel="preload"`` and ``rel="modulepreload"`` do as well). ``.htaccess`` is taken
if the site has one.

Links are untrusted: a page may hold text from a tracked repository. A link is taken as a browser would
take it, and its file only if that is a regular file below the web root after all symbolic links; nothing
else is opened. What is not taken is told, and the site is published without it.
"""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import links
from deepspeech_wer.publish.operations import open_file

PAGE_SUFFIXES = links.PAGE_SUFFIXES
SERVER_SETTINGS = ".htaccess"
#: What a link to a folder shows.
FOLDER_PAGES = ("index.html", "index.htm")
#: Names that begin so are those of publishing itself.
RESERVED = ".deepspeech-wer"

#: A file is taken under so many names: symbolic links to folders may give it no end of them.
MOST_NAMES = 10
#: So many links that are not taken are told one by one.
MOST_TOLD = 100


@dataclass(frozen=True)
class Asset:
    """A file of the site: where it goes below the web root, where it is here, its size in bytes."""

    path: PurePosixPath
    source: Path
    size: int
    is_page: bool


@dataclass(frozen=True)
class Collection:
    """A site: data and assets first, then pages, the page that was asked for last of all.

    ``left_out`` says in one sentence each what was linked to and not taken, and why.
    """

    assets: tuple[Asset, ...]
    left_out: tuple[str, ...]


class _NotTaken(Exception):
    """Why a link is not followed, as the end of a sentence."""


def collect(web_root: Path, page: str = "index.html") -> Collection:
    """What ``page`` of the site in ``web_root`` needs.

    Raises PublishError if there is no such page in the web root, or one of its files cannot be read.
    """
    hint = "build the site first: deepspeech-wer site build"
    try:
        root = _WebRoot(web_root)
    except (OSError, RuntimeError) as error:
        raise PublishError(f"there is no site to publish: {web_root} is not a folder", hint) from error
    try:
        first = root.find(str(PurePosixPath(page)))
    except _NotTaken as why:
        raise PublishError(f"there is no page to publish: {page} in {web_root} {why}", hint) from why
    found = {str(first.path): first}
    told = _LeftOut()
    try:
        found[SERVER_SETTINGS] = root.find(SERVER_SETTINGS)
    except _NotThere:
        pass
    except _NotTaken as why:
        told.add(SERVER_SETTINGS, f"{SERVER_SETTINGS} {why}")
    names: Counter[Path] = Counter()
    queue = deque([first])
    while queue:
        asset = queue.popleft()
        folder = asset.path.parent.parts
        # A page of results has the same link in many places.
        for link in dict.fromkeys(_links(asset, told)):
            try:
                path = _local_path(folder, link)
                linked = None if path is None or path in found else root.find(path)
                if linked is None or str(linked.path) in found:
                    continue
                if names[linked.source] == MOST_NAMES:
                    raise _NotTaken(f"is a file that is taken under {MOST_NAMES} other names already")
            except _NotTaken as why:
                # Once for each, though a hundred pages may have the same link.
                told.add((link, str(why)), f"{link[:200]!r}, which {asset.path} links to, {why}")
                continue
            names[linked.source] += 1
            found[str(linked.path)] = linked
            queue.append(linked)
    assets = [asset for asset in found.values() if not asset.is_page]
    # The deepest pages first, so that a page is there before what links to it.
    pages = [asset for asset in reversed(found.values()) if asset.is_page and asset is not first]
    return Collection((*assets, *pages, first), told.sentences())


class _LeftOut:
    """What is not taken, each thing once."""

    def __init__(self) -> None:
        self._sentences: dict[object, str] = {}
        self._more = 0

    def add(self, what: object, sentence: str) -> None:
        if what in self._sentences:
            return
        if len(self._sentences) < MOST_TOLD:
            self._sentences[what] = sentence
        else:
            self._more += 1

    def sentences(self) -> tuple[str, ...]:
        more = (f"{self._more} more links that are not taken",) if self._more else ()
        return (*self._sentences.values(), *more)


# Links to files ------------------------------------------------------------------------------------------


def _links(asset: Asset, told: _LeftOut) -> Iterator[str]:
    """What ``asset`` links to, relative to its folder."""
    suffix = asset.path.suffix.lower()
    limit = links.LARGEST_SEARCHED.get(suffix)
    if limit is None:
        return
    if asset.size > limit:
        told.add(
            asset.path,
            f"what {asset.path} links to was not searched for: it has {asset.size} bytes, more than {limit}",
        )
        return
    with open_file(asset.source) as file:
        text = file.read(limit).decode("utf-8-sig", errors="replace")
    try:
        yield from links.links(text, suffix)
    except links.NotAllRead:
        told.add(
            asset.path,
            f"what {asset.path} links to was not searched for up to its end: too many of its elements are not closed",
        )


def _local_path(folder: tuple[str, ...], link: str) -> str | None:
    """The path below the web root that ``link``, met in ``folder``, names; None for another site or the page itself."""
    link = links.trimmed(link)
    if scheme := links.scheme(link):
        if scheme == "file":
            raise _NotTaken("names a file of this machine, and that is not part of the site")
        return None
    address = link.split("#", 1)[0].split("?", 1)[0]
    if not address:
        return None
    try:
        address = unquote(address, errors="strict")
    except UnicodeDecodeError:
        raise _NotTaken("is not a path in UTF-8") from None
    if not address.isprintable() and any(ord(character) < 32 or ord(character) == 127 for character in address):
        raise _NotTaken("has a control character in it")
    if "\\" in address:
        raise _NotTaken("has a backslash in it, which browsers and servers read differently")
    if address.startswith("//"):
        raise _NotTaken("names another server without http: or https:, and is not part of the site")
    parts: list[str] = [] if address.startswith("/") else list(folder)
    for part in address.split("/"):
        if part == "..":
            if not parts:
                raise _NotTaken("leads out of the web root")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


class _NotThere(_NotTaken):
    def __init__(self) -> None:
        super().__init__("is not there")


class _WebRoot:
    """The folder of the site. Names in it are looked at and links read, but no file is opened.

    Raises OSError and RuntimeError where it is no folder.
    """

    def __init__(self, path: Path) -> None:
        resolved = path.resolve(strict=True)
        if not resolved.is_dir():
            raise NotADirectoryError
        self._root = str(resolved).rstrip("/")
        # Where each folder really is: most files of a site are in few.
        self._folders: dict[str, str] = {}

    def find(self, path: str) -> Asset:
        """The file ``path``, POSIX and without "." or the like, or the page of that folder; raises _NotTaken."""
        try:
            return self._find(path)
        except (FileNotFoundError, NotADirectoryError):
            raise _NotThere from None
        except (OSError, RuntimeError, ValueError) as error:
            # Too long a name, a loop of symbolic links, no permission.
            raise _NotTaken(f"cannot be looked up ({getattr(error, 'strerror', None) or error})") from None

    def _find(self, path: str) -> Asset:
        if path.startswith("/") or ".." in path.split("/"):
            raise _NotTaken("leads out of the web root")
        folder, _, name = path.rpartition("/")
        source, mode, size = self._step(self._folder(folder), name) if name else (self._root, stat.S_IFDIR, 0)
        if stat.S_ISDIR(mode):
            for index in FOLDER_PAGES:
                if Path(source, index).is_file():
                    return self._find(f"{path}/{index}" if path else index)
            raise _NotTaken("is a folder without an index.html")
        if not stat.S_ISREG(mode):
            raise _NotTaken("is not a file")
        if f"/{RESERVED}" in f"/{path} {source.removeprefix(self._root)}".lower():
            raise _NotTaken("has a name that is kept for publishing itself")
        posix = PurePosixPath(path)
        return Asset(posix, Path(source), size, posix.suffix.lower() in PAGE_SUFFIXES)

    def _folder(self, path: str) -> str:
        """Where the folder ``path`` really is."""
        real, walked = self._root, ""
        for name in path.split("/") if path else ():
            walked += f"/{name}"
            if walked not in self._folders:
                place, mode, _ = self._step(real, name)
                if not stat.S_ISDIR(mode):
                    raise _NotThere
                self._folders[walked] = place
            real = self._folders[walked]
        return real

    def _step(self, folder: str, name: str) -> tuple[str, int, int]:
        """Where ``name`` in the real ``folder`` really is, its mode and size; raises _NotTaken if that is outside."""
        place = f"{folder}/{name}"
        info = os.lstat(place)
        if stat.S_ISLNK(info.st_mode):
            place = os.path.realpath(place, strict=True)
            if place != self._root and not place.startswith(f"{self._root}/"):
                raise _NotTaken("is a symbolic link out of the web root")
            info = os.lstat(place)
        return place, info.st_mode, info.st_size
