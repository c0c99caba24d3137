"""What publishing finds in a page is what Chromium finds there, however torn the page is."""

from __future__ import annotations

import random

from selenium.webdriver import Chrome

from deepspeech_wer.publish.links import links

#: What torn pages are made of: what is usual, and what changes how all after it is read.
USUAL = [
    "<p>", "</p>", "<a ", "<img ", "<td ", "<", ">", "</", "/>", " ", "\n", "\f", "/", "=", "'", '"', "x", "é",
    "\u00a0", "href=", "src=", "src='", 'src="', "HREF = ", "poster=", "background=", "href", "data-x=", "<a/href=",
    "<object data=", "&#46;", "&amp", "&amp;", "&not", "&notin;", "<div/", "<table>", "<select>", "<option ",
    "<noscript>", "</noscript>",
]  # fmt: skip
UNUSUAL = [
    "<!--", "-->", "--!>", "<!-->", "<!--->", "<!", "<?x ", "<![CDATA[", "]]>", "<!doctype html>", "<template>",
    "</template>", "<style>", "</style>", "</style ", "<script>", "</script>", "<SCRIPT ", "</Script\n>", "<title>",
    "</title>", "<textarea>", "</textarea>", "<xmp>", "</xmp>", "<svg>", "</svg>", "<math>", "<mi>", "<foreignObject>",
    "<plaintext>",
]  # fmt: skip

#: The links of each text's document as the browser has it, those in templates as well.
BROWSER = """
const NAMES = ["href", "src", "poster", "background", "xlink:href"];
function* found(root) {
  for (const element of root.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      if (NAMES.includes(name) || (name === "data" && element.localName === "object")) yield value;
    }
    if (element.localName === "template" && element.content) yield* found(element.content);
  }
}
return arguments[0].map((text) => [...found(new DOMParser().parseFromString(text, "text/html"))]);
"""


def torn(chance: random.Random) -> str:
    parts: list[str] = []
    for number in range(chance.randint(3, 40)):
        piece = chance.choice(USUAL + USUAL + UNUSUAL)
        parts.append(piece)
        if piece.endswith(("=", "='", '="')):
            parts.append(f"file{number}")
        if piece.endswith(("'", '"')) and chance.random() < 0.4:
            parts.append(piece[-1])
    return "".join(parts)


def test_no_link_that_the_browser_sees_is_missed(driver: Chrome) -> None:
    chance = random.Random(20261121)
    texts = [torn(chance) for _ in range(4000)]
    driver.get("data:text/html,<p>")
    seen = driver.execute_script(BROWSER, texts)
    assert sum(map(len, seen)) > 500
    for text, wanted in zip(texts, seen, strict=True):
        assert set(wanted) <= set(links(text, ".html")), text
