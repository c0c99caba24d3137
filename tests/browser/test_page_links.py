"""What publishing finds in a page is what Chromium finds there, however torn the page is.

But for one thing: lxml takes SVG and MathML in a page for HTML, and a browser does not. In torn ones it misses a few.
"""

from __future__ import annotations

import random
import re

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
    "</title>", "<textarea>", "</textarea>", "<xmp>", "</xmp>", "<plaintext>",
]  # fmt: skip
FOREIGN = ["<svg>", "</svg>", "<math>", "<mi>", "<foreignObject>"]

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


def torn(chance: random.Random, pieces: list[str]) -> str:
    parts: list[str] = []
    for number in range(chance.randint(3, 40)):
        piece = chance.choice(pieces)
        parts.append(piece)
        if piece.endswith(("=", "='", '="')):
            parts.append(f"file{number}")
        if piece.endswith(("'", '"')) and chance.random() < 0.4:
            parts.append(piece[-1])
    return "".join(parts)


def missed(driver: Chrome, texts: list[str]) -> tuple[list[tuple[set[str], str]], int]:
    """The links that only the browser sees, with the page, and how many it sees in all."""
    driver.get("data:text/html,<p>")
    seen = [set(one) for one in driver.execute_script(BROWSER, texts)]
    pairs = ((wanted - set(links(text, ".html")), text) for text, wanted in zip(texts, seen, strict=True))
    return [pair for pair in pairs if pair[0]], sum(map(len, seen))


def test_no_link_that_the_browser_sees_is_missed(driver: Chrome) -> None:
    chance = random.Random(20261121)
    lost, seen = missed(driver, [torn(chance, USUAL + USUAL + UNUSUAL) for _ in range(4000)])
    assert lost == [] and seen > 500


def test_of_torn_svg_and_mathml_few_are(driver: Chrome) -> None:
    """It is one in 50, and all of them stand after such as ``<svg><title>`` without an end."""
    chance = random.Random(20261121)
    lost, seen = missed(driver, [torn(chance, USUAL + USUAL + UNUSUAL + FOREIGN) for _ in range(4000)])
    assert sum(len(some) for some, _ in lost) < seen / 25 and seen > 500
    assert all(re.search("<(svg|math)", text) for _, text in lost)


#: All of it is whole: nothing is missed, and nothing is found that is no link.
WHOLE = """<!doctype html><html lang=en><head><meta charset=utf-8><base target=_top><title>a <!-- b</title>
<link rel=icon href=icon.svg><style>p > a { color: red }</style><script src="a.js"></script><script>if (a<b)
c("<img src=no>")
</script></head><body background='b.png'><noscript><img src=c.png></noscript><!-- <img src=no> --><table><tr><td><a
href="d?e=1&amp;f=2">d</a><td><img src=&#101;.png alt="<img src=no>"></table><video poster=f.png><source src=g.mp4>
</video><svg viewBox="0 0 1 1"><title>h</title><style>a > b { fill: red }</style><style/><title/><script href="h.js"/>
<use xlink:href="i.svg#j"/><image href="j.png"/><foreignObject><p><img src=k.png></p></foreignObject></svg><math><mi
href="l">x</mi></math><template><a href=m><p></template><textarea><img src=no></textarea><object data=n></object><p>
<a href=o>one<p><a href=p>two<select><option>1<option>2</select><ul><li><a href=q>q</a><li><a href=r>r</a></ul></body>
"""


def test_of_a_whole_page_every_link_is_found_and_nothing_else(driver: Chrome) -> None:
    driver.get("data:text/html,<p>")
    (seen,) = driver.execute_script(BROWSER, [WHOLE])
    assert sorted(links(WHOLE, ".html")) == sorted(seen) and len(seen) > 15
