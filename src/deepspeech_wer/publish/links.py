"""The links of one file: every address in a page, an SVG image or a style sheet, as it stands there.

In markup every ``href``, ``src``, ``srcset``, ``poster`` and the like counts, wherever it stands, and what styles and
``srcdoc`` hold; in a style sheet every ``url()``, ``image-set()`` and ``@import``. Rather one too many is given than
one too few. Scripts are not read, and comments do not count.

The text is untrusted, so the time that it takes grows with its length and no faster: Python's html.parser, also under
BeautifulSoup, takes 40 seconds for 180 kB of ``<a href=x<a href=x...``, and a kilobyte of memory for each link. Tags
are found here as the HTML standard says that browsers find them, and no tree is made. Style sheets are read by
tinycss2, which is linear.
"""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Iterator
from html.entities import html5 as _ENTITIES

PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
XML_SUFFIXES = (".xhtml", ".svg")
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

# All of what follows gives nothing back that it has taken ("++", "*+"), and takes what has no end up to the end of
# the text: that is what makes it linear.
_BLANK = r"[ \t\n\f\r]"
_NAME_AND_VALUE = (
    rf"(=?[^ \t\n\f\r/>=]++|=)(?:{_BLANK}*+={_BLANK}*+"
    r"""(?:"([^"]*+)(?:"|\Z)|'([^']*+)(?:'|\Z)|([^ \t\n\f\r>]*+)))?+"""
)
_ATTRIBUTE = re.compile(_NAME_AND_VALUE)
_TOKEN = re.compile(
    "<(?:"
    r"!--(?:-?>|.*?(?:--!?>|\Z))"
    rf"|(?P<name>/?[a-zA-Z][^ \t\n\f\r/>]*+|\?xml-stylesheet)(?P<attributes>(?:[ \t\n\f\r/]++|{_NAME_AND_VALUE})*+)>?"
    r"|[!?/][^>]*+)",
    re.DOTALL,
)
#: In HTML these hold text, in which nothing is a tag but their own end.
_TEXT_ENDS = {
    name: re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}
_REFERENCE = re.compile(r"&(#[0-9]{1,99}+;?|#[xX][0-9a-fA-F]{1,99}+;?|[a-zA-Z][a-zA-Z0-9]*+(?:;|(?!=)))")
_REFRESH = re.compile(rf"{_BLANK}*+[0-9.]*+[ \t\n\f\r;,]++(?:url{_BLANK}*+={_BLANK}*+)?+[\"']?([^\"']*)", re.IGNORECASE)
#: An address up to the next blank, and unless a comma ends it, what is said of it up to the next comma.
_CANDIDATE = re.compile(r"[ \t\n\f\r,]*+([^ \t\n\f\r]*+)(?:(?<=,)|[^,]*+)")

_NO_LETTERS = "".join(map(chr, range(33)))
_NOT_WITHIN = dict.fromkeys(map(ord, "\t\n\r"))
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_URL_FUNCTIONS = frozenset(("url", "src", "image-set", "-webkit-image-set"))
#: What a style sheet without links does not hold: then it is not read, and tinycss2 not imported.
_MAY_LINK = re.compile(r"url|src|import|image-set|\\", re.IGNORECASE)


def links(text: str, suffix: str) -> Iterator[str]:
    """The links in the ``text`` of a file whose name ends in ``suffix``, which is one of LARGEST_SEARCHED."""
    return _css_links(text) if suffix == STYLE_SUFFIX else _markup_links(text, suffix in XML_SUFFIXES)


def trimmed(link: str) -> str:
    """``link`` as the URL standard reads it: without what is no letter around it, and tabs and line ends within."""
    return link.strip(_NO_LETTERS).translate(_NOT_WITHIN)


def scheme(link: str) -> str:
    """The scheme of a trimmed link in small letters, without the colon; empty if it has none."""
    match = _SCHEME.match(link)
    return match[1].lower() if match else ""


# Markup --------------------------------------------------------------------------------------------------------------


def _markup_links(text: str, is_xml: bool = False, depth: int = 0, base: str = "") -> Iterator[str]:
    found: list[str] = []
    documents: list[str] = []
    own_base: str | None = None
    for name, attributes, style in _tags(text, is_xml):
        for attribute, value in attributes:
            if name == "base":
                # The first one holds for the whole page, also for what stands before it.
                if attribute == "href" and own_base is None:
                    own_base = trimmed(value)
            elif attribute in _LINK_ATTRIBUTES or (attribute == "data" and name == "object"):
                found.append(value)
            elif attribute in _SRCSET_ATTRIBUTES:
                found.extend(address.rstrip(",") for address in _CANDIDATE.findall(value) if address)
            elif attribute in _STYLE_ATTRIBUTES:
                found.extend(_css_links(value))
            elif attribute == "srcdoc" and name == "iframe":
                documents.append(value)
            elif attribute == "http-equiv" and name == "meta" and value.lower() == "refresh":
                contents = (_REFRESH.match(said) for other, said in attributes if other == "content")
                found.extend(match[1] for match in contents if match)
        found.extend(_css_links(style))
    if own_base and scheme(own_base) not in ("data", "javascript"):
        base = _rebased(base, own_base)
    yield from (_rebased(base, link) for link in found) if base else found
    for document in documents if depth < _DEEPEST else ():
        yield from _markup_links(document, depth=depth + 1, base=base)


def _tags(text: str, is_xml: bool) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
    """Every start tag: its name, its attributes, and the style sheet in it if it is ``<style>``."""
    position = 0
    # Where the style sheet that was read last ends.
    styled = 0
    foreign = is_xml
    while token := _TOKEN.search(text, position):
        position = token.end()
        name, written = token["name"], token["attributes"]
        if not name or name[0] == "/":
            continue
        name = name.lower()
        # In XML, SVG and MathML what they hold is markup like the rest, and they may be empty: <script href="..."/>.
        # Where SVG in a page ends again takes a whole browser to say.
        foreign = foreign or name in ("svg", "math")
        style = ""
        if name in _TEXT_ENDS and (not foreign or (name == "style" and position >= styled)):
            end = _TEXT_ENDS[name].search(text, position)
            stop = end.start() if end else len(text)
            if name == "style":
                style = text[position:stop]
                styled = stop
            if not foreign:
                position = stop
        attributes = []
        for attribute, *values in _ATTRIBUTE.findall(written) if written else ():
            value = values[0] or values[1] or values[2]
            attributes.append((attribute.lower(), _REFERENCE.sub(_decoded, value) if "&" in value else value))
        if attributes or style:
            yield name, attributes, style


def _decoded(match: re.Match[str]) -> str:
    """A character reference in an attribute: one by name counts only if the whole of it is a name."""
    return html.unescape(match[0]) if match[1][0] == "#" or match[1] in _ENTITIES else match[0]


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
