"""The links of one file: every address in a page, an SVG image or a style sheet, as it stands there.

In markup every ``href``, ``src``, ``srcset``, ``poster`` and the like counts, wherever it stands, and what styles and
``srcdoc`` hold; in a style sheet every ``url()``, ``image-set()`` and ``@import``. Rather one too many is given than
one too few. Scripts are not read, and comments do not count.

Pages are read by BeautifulSoup (:mod:`deepspeech_wer.publish.tags`), style sheets by tinycss2; each is imported when
there is one to be read. The text is untrusted: the time that it takes grows with its length and no faster.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping

PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
STYLE_SUFFIX = ".css"
#: What is searched for links, and up to which size (bytes): a style sheet takes its 25-fold of memory.
LARGEST_SEARCHED = {**dict.fromkeys((*PAGE_SUFFIXES, ".svg"), 32 << 20), STYLE_SUFFIX: 8 << 20}

_LINK_ATTRIBUTES = frozenset(("href", "src", "poster", "background", "xlink:href"))
_SRCSET_ATTRIBUTES = frozenset(("srcset", "imagesrcset"))
_STYLE_ATTRIBUTES = frozenset(
    ("style", "fill", "stroke", "filter", "mask", "clip-path", "cursor", "marker-start", "marker-mid", "marker-end")
)
#: Documents within documents: browsers show more, people write none.
_DEEPEST = 4

# What follows gives nothing back that it has taken ("*+"): that is what makes it linear.
_BLANK = r"[ \t\n\f\r]"
_REFRESH = re.compile(rf"{_BLANK}*+[0-9.]*+[ \t\n\f\r;,]++(?:url{_BLANK}*+={_BLANK}*+)?+[\"']?([^\"']*)", re.IGNORECASE)
#: An address up to the next blank, and unless a comma ends it, what is said of it up to the next comma.
_CANDIDATE = re.compile(r"[ \t\n\f\r,]*+([^ \t\n\f\r]*+)(?:(?<=,)|[^,]*+)")

_NO_LETTERS = "".join(map(chr, range(33)))
_NOT_WITHIN = dict.fromkeys(map(ord, "\t\n\r"))
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_URL_FUNCTIONS = frozenset(("url", "src", "image-set", "-webkit-image-set"))
#: What a style sheet without links does not hold: then it is not read, and tinycss2 not imported.
_MAY_LINK = re.compile(r"url|src|import|image-set|\\", re.IGNORECASE)


class NotAllRead(Exception):
    """What came so far are the links of the beginning of a page: the rest has too many elements within elements."""


def links(text: str, suffix: str) -> Iterator[str]:
    """The links in the ``text`` of a file whose name ends in ``suffix``, which is one of LARGEST_SEARCHED.

    Raises NotAllRead after the last of them if there may be more.
    """
    return _css_links(text) if suffix == STYLE_SUFFIX else _markup_links(text)


def trimmed(link: str) -> str:
    """``link`` as the URL standard reads it: without what is no letter around it, and tabs and line ends within."""
    return link.strip(_NO_LETTERS).translate(_NOT_WITHIN)


def scheme(link: str) -> str:
    """The scheme of a trimmed link in small letters, without the colon; empty if it has none."""
    match = _SCHEME.match(link)
    return match[1].lower() if match else ""


# Markup --------------------------------------------------------------------------------------------------------------


def _markup_links(text: str, depth: int = 0, base: str = "") -> Iterator[str]:
    from deepspeech_wer.publish.tags import TooDeep, tags

    page = _Page()
    try:
        tags(text, page.take)
        complete = True
    except TooDeep:
        complete = False
    if page.base and scheme(page.base) not in ("data", "javascript"):
        base = _rebased(base, page.base)
    yield from (_rebased(base, link) for link in page.links) if base else page.links
    for document in page.documents if depth < _DEEPEST else ():
        yield from _markup_links(document, depth=depth + 1, base=base)
    if not complete:
        raise NotAllRead


class _Page:
    """What the tags of a page say: its links, the documents within it, and what all of them are relative to."""

    def __init__(self) -> None:
        self.links: list[str] = []
        self.documents: list[str] = []
        self.base: str | None = None

    def take(self, name: str, attributes: Mapping[str, str], style: str) -> None:
        for attribute, value in attributes.items():
            if name == "base":
                # The first one holds for the whole page, also for what stands before it.
                if attribute == "href" and self.base is None:
                    self.base = trimmed(value)
            elif attribute in _LINK_ATTRIBUTES or (attribute == "data" and name == "object"):
                self.links.append(value)
            elif attribute in _SRCSET_ATTRIBUTES:
                self.links.extend(address.rstrip(",") for address in _CANDIDATE.findall(value) if address)
            elif attribute in _STYLE_ATTRIBUTES:
                self.links.extend(_css_links(value))
            elif attribute == "srcdoc" and name == "iframe":
                self.documents.append(value)
            elif attribute == "http-equiv" and name == "meta" and value.lower() == "refresh":
                address = _REFRESH.match(attributes.get("content", ""))
                if address:
                    self.links.append(address[1])
        self.links.extend(_css_links(style))


def _rebased(base: str, link: str) -> str:
    """``link`` as it reads under ``<base href=base>``."""
    link = trimmed(link)
    if link.startswith(("/", "\\", "#")) or scheme(link):
        return link
    path = re.split("[?#]", base, maxsplit=1)[0]
    return path[: path.rfind("/") + 1] + link


# Style sheets --------------------------------------------------------------------------------------------------------


def _css_links(text: str) -> Iterator[str]:
    """``url(...)``, ``image-set("...")`` and ``@import "..."``, however deep in blocks and functions."""
    if not _MAY_LINK.search(text):
        return
    import tinycss2

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
