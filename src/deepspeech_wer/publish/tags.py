"""The tags of a page, as BeautifulSoup finds them with lxml: their names, their attributes, and style sheets.

No tree is made of the page, for a million links would take a gigabyte: BeautifulSoup asks for each tag whether it is
wanted, it is looked at then, and the answer is no.

Since lxml 6 (libxml2 2.14) it reads torn pages as browsers do, but for one thing: it takes SVG and MathML in a page for
HTML. So the rest of the page is text to it after an ``<svg><title>`` without an end, and not to browsers.

The time that it takes grows with the length of the page and no faster, but for one thing: an end without a beginning
is looked for among all elements that are open. So a page in which too many are open is read no further.

To import this takes some 60 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bs4 import BeautifulSoup
from bs4.builder._lxml import LXMLTreeBuilder
from bs4.filter import SoupStrainer

#: Elements within elements: browsers show 512, and more as if they were side by side.
MOST_OPEN = 4096
#: So many characters are read before the elements that are open are counted again.
_PIECE = 1 << 16
_XML_STYLE = "?xml-stylesheet"

#: Takes a tag: its name, its attributes, and the style sheet in it if it is ``<style>``.
Take = Callable[[str, Mapping[str, str], str], None]


class TooDeep(Exception):
    """More than MOST_OPEN elements are within each other."""


def tags(text: str, take: Take) -> None:
    """Gives each tag with attributes in ``text``, and each style sheet, to ``take``.

    SVG and XHTML are read as HTML, which forgives more and knows no entities of theirs. Raises TooDeep.
    """
    # A text without any would be warned of as the name of a file.
    if "<" in text:
        BeautifulSoup(text, builder=_Builder(huge_tree=True), parse_only=_Taker(take))


class _Taker(SoupStrainer):
    """Is asked by BeautifulSoup for each tag and each text, and lets it keep none."""

    def __init__(self, take: Take) -> None:
        super().__init__(True)
        self._take = take
        self._is_style = False

    def allow_tag_creation(self, nsprefix: str | None, name: str, attrs: Any) -> bool:
        self._is_style = name == "style"
        if attrs:
            self._take(name, attrs, "")
        return False

    def allow_string_creation(self, string: str) -> bool:
        if self._is_style:
            self._is_style = False
            self._take("style", {}, string)
        elif string.startswith(_XML_STYLE) and ">" not in string:
            # In HTML, <?xml-stylesheet href="..."?> is a comment up to the first ">".
            tags(f"<link {string.removeprefix(_XML_STYLE)}>", self._take)
        return False


class _Builder(LXMLTreeBuilder):
    """lxml's, for a text that is known to be one: it is read once, in pieces, and not looked at whether it is XML."""

    _open = 0

    def prepare_markup(self, markup: Any, *_: Any, **__: Any) -> Iterator[tuple[Any, None, None, bool]]:
        yield markup, None, None, False

    def feed(self, markup: Any) -> None:
        parser = self.parser_for(None)
        for start in range(0, len(markup), _PIECE):
            if self._open > MOST_OPEN:
                raise TooDeep
            parser.feed(markup[start : start + _PIECE])
        parser.close()

    def start(self, *of_tag: Any, **more: Any) -> None:
        self._open += 1
        super().start(*of_tag, **more)

    def end(self, *of_tag: Any) -> None:
        self._open -= 1
        super().end(*of_tag)
