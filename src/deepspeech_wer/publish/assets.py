"""What a site consists of: the page, and everything of the web root that it needs, directly or in turn.

Pages (HTML) and SVG images are read with BeautifulSoup, style sheets and style attributes with tinycss2.
Every ``href``, ``src``, ``srcset``, ``poster`` and the like counts, and every ``url()`` and ``@import``.
Scripts are not read: a page names the data and modules that its scripts load by themselves as

    <link rel="deepspeech-wer-data" href="data/utterances.json">

which browsers pass over (``rel="preload"`` and ``rel="modulepreload"`` do as well). ``.htaccess`` is taken
if the site has one.

Links are untrusted: a page may hold text from a tracked repository. A link is taken as a browser would
take it, and its file only if that is a regular file below the web root after all symbolic links; nothing
else is opened. What is not taken is told, and the site is published without it.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote

import tinycss2
from bs4 import BeautifulSoup, Tag
from bs4.filter import SoupStrainer

from deepspeech_wer.errors import PublishError

PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
SERVER_SETTINGS = ".htaccess"
#: What a link to a folder shows.
FOLDER_PAGES = ("index.html", "index.htm")

#: A larger page, image or style sheet (bytes) is sent, but not searched for links.
LARGEST_SEARCHED = 32 << 20

_LINK_ATTRIBUTES = ("href", "src", "poster", "data", "background", "xlink:href")
_SRCSET_ATTRIBUTES = ("srcset", "imagesrcset")
_URL_FUNCTIONS = ("url", "src", "image-set", "-webkit-image-set")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_REFRESH = re.compile(r"^[^;,]*[;,]\s*(?:url\s*=\s*)?[\"']?([^\"']*)", re.IGNORECASE)
#: An image candidate: an address without spaces and without a comma at its end, then up to the next comma.
_CANDIDATE = re.compile(r"[\s,]*([^\s,]\S*?)(?:,+(?=\s|$)|\s+[^,]*(?:,|$)|$)")


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
        root = web_root.resolve(strict=True)
        if not root.is_dir():
            raise NotADirectoryError
    except (OSError, RuntimeError) as error:
        raise PublishError(f"there is no site to publish: {web_root} is not a folder", hint) from error
    try:
        first = _find(root, PurePosixPath(page))
    except _NotTaken as why:
        raise PublishError(f"there is no page to publish: {page} in {web_root} {why}", hint) from why
    found = {first.path: first}
    left_out: dict[tuple[str, str], str] = {}
    queue = deque([first])
    try:
        settings = _find(root, PurePosixPath(SERVER_SETTINGS))
        found[settings.path] = settings
    except _NotTaken:
        pass
    while queue:
        asset = queue.popleft()
        for link in _links(asset, left_out):
            try:
                linked = _follow(root, asset.path, link)
            except _NotTaken as why:
                # Once for each, though a hundred pages may have the same link.
                left_out.setdefault((link, str(why)), f"{link[:200]!r}, which {asset.path} links to, {why}")
                continue
            if linked is not None and linked.path not in found:
                found[linked.path] = linked
                queue.append(linked)
    assets = [asset for asset in found.values() if not asset.is_page]
    # The deepest pages first, so that a page is there before what links to it.
    pages = [asset for asset in reversed(found.values()) if asset.is_page and asset is not first]
    return Collection((*assets, *pages, first), tuple(left_out.values()))


def open_source(asset: Asset) -> BinaryIO:
    """The asset's file, open for reading; never through a symbolic link that has come since.

    Raises PublishError if it cannot be opened.
    """
    # Not to wait for ever, should it have become a named pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(asset.source, flags)
    except OSError as error:
        raise PublishError(
            f"cannot read {asset.source}, which the site needs: {error.strerror}",
            "build the site again as the user who publishes: deepspeech-wer site build",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PublishError(
            f"cannot read {asset.source}, which the site needs: it is no longer a file",
            "build the site again: deepspeech-wer site build",
        )
    return os.fdopen(descriptor, "rb")


# Links to files ------------------------------------------------------------------------------------------


def _follow(root: Path, page: PurePosixPath, link: str) -> Asset | None:
    """The file that ``link`` on ``page`` leads to; None for another site or for the page itself."""
    path = _local_path(page.parent, link)
    return None if path is None else _find(root, path)


def _local_path(folder: PurePosixPath, link: str) -> PurePosixPath | None:
    """The path below the web root that ``link``, met in ``folder``, names; None if it names no file of ours."""
    # As the URL standard has it: blanks around it and line ends within do not count.
    link = re.sub(r"[\t\n\r]", "", link.strip("\0\t\n\f\r "))
    scheme = _SCHEME.match(link)
    if scheme:
        if scheme[0].lower() == "file:":
            raise _NotTaken("names a file of this machine, and that is not part of the site")
        return None
    address = link.split("#", 1)[0].split("?", 1)[0]
    if not address:
        return None
    try:
        address = unquote(address, errors="strict")
    except UnicodeDecodeError:
        raise _NotTaken("is not a path in UTF-8") from None
    if any(ord(character) < 32 or ord(character) == 127 for character in address):
        raise _NotTaken("has a control character in it")
    if "\\" in address:
        raise _NotTaken("has a backslash in it, which browsers and servers read differently")
    if address.startswith("//"):
        raise _NotTaken("names another server without http: or https:, and is not part of the site")
    parts: list[str] = []
    start = () if address.startswith("/") else folder.parts
    for part in (*start, *address.split("/")):
        if part == "..":
            if not parts:
                raise _NotTaken("leads out of the web root")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return PurePosixPath(*parts)


def _find(root: Path, path: PurePosixPath) -> Asset:
    """The file ``path`` below ``root`` (resolved), or the page of that folder; raises _NotTaken.

    Names are looked at and links read, but no file is opened.
    """
    if path.is_absolute() or ".." in path.parts:
        raise _NotTaken("leads out of the web root")
    try:
        source = (root / path).resolve(strict=True)
        if not source.is_relative_to(root):
            raise _NotTaken("is a symbolic link out of the web root")
        info = source.stat()
        if stat.S_ISDIR(info.st_mode):
            for name in FOLDER_PAGES:
                if (source / name).is_file():
                    return _find(root, path / name)
            raise _NotTaken("is a folder without an index.html")
    except (FileNotFoundError, NotADirectoryError):
        raise _NotTaken("is not there") from None
    except (OSError, RuntimeError, ValueError) as error:
        # Too long a name, a loop of symbolic links, no permission.
        raise _NotTaken(f"cannot be looked up ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(info.st_mode):
        raise _NotTaken("is not a file")
    if any(part.startswith(".deepspeech-wer") for part in path.parts):
        raise _NotTaken("has a name that is kept for publishing itself")
    return Asset(path, source, info.st_size, path.suffix.lower() in PAGE_SUFFIXES)


# Files to links ------------------------------------------------------------------------------------------


def _links(asset: Asset, left_out: dict[tuple[str, str], str]) -> Iterator[str]:
    """What ``asset`` links to, relative to its folder."""
    suffix = asset.path.suffix.lower()
    if not asset.is_page and suffix not in (".svg", ".css"):
        return
    if asset.size > LARGEST_SEARCHED:
        left_out[(str(asset.path), "size")] = (
            f"what {asset.path} links to was not searched for: it has {asset.size} bytes, more than {LARGEST_SEARCHED}"
        )
        return
    with open_source(asset) as file:
        text = file.read(LARGEST_SEARCHED).decode("utf-8-sig", errors="replace")
    if suffix == ".css":
        yield from _css_links(text)
    else:
        yield from _markup_links(text)


class _Relevant(SoupStrainer):
    """Lets BeautifulSoup pass over what cannot link to anything: a table of results is mostly that."""

    _attributes = frozenset((*_LINK_ATTRIBUTES, *_SRCSET_ATTRIBUTES, "style", "srcdoc", "http-equiv"))

    def allow_tag_creation(self, nsprefix: str | None, name: str, attrs: Mapping[str, str] | None) -> bool:
        return name == "style" or not self._attributes.isdisjoint(attrs or ())

    def allow_string_creation(self, string: str) -> bool:
        return False


def _markup_links(text: str) -> Iterator[str]:
    with warnings.catch_warnings():
        # SVG is XML read as HTML, on purpose: it is the reader that takes anything.
        warnings.simplefilter("ignore")
        soup = BeautifulSoup(text, "html.parser", parse_only=_Relevant())
    # <base> changes what every other link is relative to.
    base_tag = soup.find("base", href=True)
    base = str(base_tag["href"]) if isinstance(base_tag, Tag) else ""
    for tag in soup.find_all(True):
        if tag.name != "base":
            for link in _tag_links(tag):
                yield _rebase(base, link)


def _tag_links(tag: Tag) -> Iterator[str]:
    for name in _LINK_ATTRIBUTES:
        if name in tag.attrs and (name != "data" or tag.name == "object"):
            yield str(tag.attrs[name])
    for name in _SRCSET_ATTRIBUTES:
        if name in tag.attrs:
            yield from _CANDIDATE.findall(str(tag.attrs[name]))
    if "style" in tag.attrs:
        yield from _css_links(str(tag.attrs["style"]))
    if tag.name == "style":
        yield from _css_links(tag.get_text())
    if tag.name == "iframe" and "srcdoc" in tag.attrs:
        yield from _markup_links(str(tag.attrs["srcdoc"]))
    if tag.name == "meta" and str(tag.attrs.get("http-equiv", "")).lower() == "refresh":
        match = _REFRESH.match(str(tag.attrs.get("content", "")))
        if match:
            yield match[1]


def _rebase(base: str, link: str) -> str:
    """``link`` as it reads under ``<base href=base>``."""
    if not base or link.lstrip().startswith(("/", "\\", "#")) or _SCHEME.match(link.lstrip()):
        return link
    return base[: base.rfind("/") + 1] + link.lstrip()


def _css_links(text: str) -> Iterator[str]:
    """``url(...)``, ``image-set("...")`` and ``@import "..."``, however deep in blocks and functions."""
    todo = deque([(tinycss2.parse_component_value_list(text, skip_comments=True), False)])
    while todo:
        nodes, strings_count = todo.popleft()
        importing = False
        for node in nodes:
            if node.type == "url" or (node.type == "string" and (strings_count or importing)):
                yield node.value
            if node.type == "function":
                todo.append((node.arguments, node.lower_name in _URL_FUNCTIONS))
            elif node.type in ("{} block", "() block", "[] block"):
                todo.append((node.content, False))
            if node.type == "at-keyword":
                importing = node.lower_value == "import"
            elif node.type != "whitespace":
                importing = False
