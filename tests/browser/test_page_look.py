"""The parameter view, colours, widths, paper, and hostile values in a real browser."""

from __future__ import annotations

import re

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from browser.conftest import EVIL, MARKED_NAME, MARKED_VALUE, Page

KINDS = ["history", "seeded", "changes", "empty", "one", "failures", "legacy", "long", "hostile"]


def choose(page: Page, name: str) -> None:
    Select(page.one("#parameter")).select_by_visible_text(name)


@pytest.mark.parametrize("kind", KINDS)
def test_no_page_complains_or_is_wider_than_a_phone(page: Page, kind: str) -> None:
    page.base = page.base.replace("/history/", f"/{kind}/")
    page.width(360)
    page.open()
    assert page.js("return [document.documentElement.scrollWidth, window.innerWidth]") == [360, 360]
    wide = """return [...document.querySelectorAll("body *")].filter((element) =>
        element.getBoundingClientRect().right > 361 && !element.closest(".scroll, .plot, .unseen")).length"""
    assert page.js(wide) == 0
    assert page.errors() == []


def test_a_row_of_three_hundred_changes_keeps_the_table_in_shape(page: Page) -> None:
    page.base = page.base.replace("/history/", "/changes/")
    page.width(1400)
    page.open()
    sizes = """const scroll = document.querySelector(".scroll");
        return [scroll.scrollWidth - scroll.clientWidth, document.querySelector("tbody tr").offsetHeight]"""
    too_wide, height = page.js(sizes)
    assert too_wide <= 0 and height < 600
    assert "and 293 more" in page.hover(*page.point("Test", 4))
    hidden = page.all("tbody .changes details .change")
    assert len(hidden) == 34 and not any(line.is_displayed() for line in hidden)
    page.one("tbody .changes summary").send_keys(Keys.ENTER)
    assert all(line.is_displayed() for line in hidden) and page.js(sizes)[0] <= 0


@pytest.mark.parametrize("pixels", [900, 1200, 1440])
@pytest.mark.parametrize("kind", ["reasons", "seeded reasons"])
def test_all_of_a_long_reason_is_seen_without_scrolling(page: Page, kind: str, pixels: int) -> None:
    page.base = page.base.replace("/history/", f"/{kind.replace(' ', '%20')}/")
    page.width(pixels)
    page.open()
    ends = page.js("""const shown = document.querySelector(".scroll").getBoundingClientRect();
        const range = document.createRange();
        return [...document.querySelectorAll("td.why")].map((cell) => {
          range.selectNodeContents(cell); return range.getBoundingClientRect().right - shown.right; });""")
    assert len(ends) >= 3 and max(ends) <= 0
    if pixels >= 1200:
        assert page.js("const s = document.querySelector('.scroll'); return s.scrollWidth - s.clientWidth") <= 0


def test_only_failures_and_nothing_at_all(page: Page) -> None:
    page.base = page.base.replace("/history/", "/failures/")
    page.open()
    assert page.trace("Failed")["x"] == [0, 1]
    assert page.text("#parameter-text") == "There is nothing to compare before two runs have been trained."
    assert not page.one("#parameter").is_displayed()
    page.base = page.base.replace("/failures/", "/empty/")
    page.open()
    assert "Nothing trained yet" in page.text("main") and not page.all(".plot")


def test_no_parameter_varied(page: Page) -> None:
    page.base = page.base.replace("/history/", "/legacy/")
    page.open()
    assert page.text("#parameter-text") == "No parameter varied between the 3 trained runs."
    assert not page.one("#parameter-choice").is_displayed()


def test_the_parameter_view_follows_the_choice(page: Page) -> None:
    page.base = page.base.replace("/history/", "/long/")
    page.open()
    options = [option.text for option in Select(page.one("#parameter")).options]
    assert options == ["batch_norm", "learning_rate", "optimizer"]
    axis = """const { type, title, tickvals, ticktext } = parameters.layout.xaxis;
        return [type, title.text, tickvals, ticktext];"""
    choose(page, "learning_rate")
    kind, title, _, _ = page.js(axis)
    assert (kind, title) == ("log", "learning_rate")
    assert page.js("return parameters.data[0].x.length") == 479
    assert page.text("#parameter-chart .xtitle") == "learning_rate"
    choose(page, "batch_norm")
    assert page.js(axis) == ["linear", "batch_norm", [0, 1], ["false", "true"]]
    choose(page, "optimizer")
    assert page.js(axis) == ["linear", "optimizer", [0, 1], ["adam", "sgd"]]
    assert "in 479 runs" in page.text("#parameter-text")


def test_the_parameter_view_has_the_same_card(page: Page) -> None:
    page.open()
    assert Select(page.one("#parameter")).first_selected_option.text == "learning_rate"  # what changed last
    card = page.hover(*page.point("Test", 4, "parameters"), "#parameter-chart")
    assert "17.3 %" in card and "learning_rate: 0.02 → 0.001" in card
    choose(page, "n_hidden")
    assert page.js("return parameters.layout.xaxis.type") == "linear"
    assert page.js("return parameters.data[0].x") == [128, 256, 256, 256, 256]


def luminance(colour: str) -> float:
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of the Web Content Accessibility Guidelines, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


COLOURS = """
const probe = document.body.appendChild(document.createElement("i"));
const read = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
const found = Object.fromEntries(arguments[0].map((name) => [name, read(name)]));
probe.remove();
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_and_series_has_contrast(page: Page, scheme: str) -> None:
    page.media(prefers_color_scheme=scheme)
    page.open()
    inks = ["ink", "quiet", "accent", "failed", "test", "validation", "train"]
    grounds = ["ground", "panel", "failed-ground", "target"]
    colours = page.js(COLOURS, inks + grounds)
    ratios = {(ink, ground): contrast(colours[ink], colours[ground]) for ink in inks for ground in grounds}
    assert min(ratios.values()) >= 4.5, min(ratios, key=lambda pair: ratios[pair])


def test_the_chart_follows_a_switch_of_the_scheme(page: Page) -> None:
    page.open()
    look = """return [getComputedStyle(document.body).backgroundColor,
        chart.data.find((trace) => trace.name === "Test").line.color,
        getComputedStyle(document.querySelector("#chart .xtick text")).fill, parameters.data[0].marker.color]"""
    light = page.js(look)
    page.media(prefers_color_scheme="dark")
    page.wait(f"chart.data.find((t) => t.name === 'Test').line.color !== '{light[1]}'")
    dark = page.js(look)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    assert luminance(light[0]) > 0.8 and luminance(dark[0]) < 0.05
    # Paper is light whatever the screen is.
    page.js("window.dispatchEvent(new Event('beforeprint'))")
    assert page.js(look)[1:] == light[1:]
    page.js("window.dispatchEvent(new Event('afterprint'))")
    assert page.js(look) == dark


def test_the_chart_follows_the_width(page: Page) -> None:
    page.open()
    for width in (1200, 700, 360):
        page.width(width)
        page.wait("chart._fullLayout.width === document.querySelector('#chart').clientWidth")
        page.wait("parameters._fullLayout.width === document.querySelector('#parameter-chart').clientWidth")


def test_hostile_values_stay_text(page: Page) -> None:
    page.base = page.base.replace("/history/", "/hostile/")
    page.open()
    elements = "return [...document.querySelectorAll('main img, main script, main iframe, svg a, .card a')].length"
    shorter = f"{EVIL[:59]}…"
    for selected, _ in enumerate(Select(page.one("#parameter")).options):
        Select(page.one("#parameter")).select_by_index(selected)
        page.hover(*page.point("Test", 0, "parameters"), "#parameter-chart")
        assert page.js(elements) == 0
    names = [option.text for option in Select(page.one("#parameter")).options]
    assert names == [shorter, MARKED_NAME, "constructor", "n_hidden"]
    for index, title in enumerate((shorter, MARKED_NAME)):
        Select(page.one("#parameter")).select_by_index(index)
        assert page.text("#parameter-chart .xtitle") == title
    assert page.all("#parameter-chart .xtick text")[0].text == MARKED_VALUE
    choose(page, "n_hidden")
    assert page.all("#parameter-chart .xtick text")[0].text == f"{EVIL[:13]}…"
    assert page.all("#chart .xtick text")[0].text == EVIL[:7]
    card = page.hover(*page.point("Test", 0))
    assert EVIL[:40] in card and len(card) < 1500 and "for its row in the table" in card
    page.click(*page.point("Test", 0))
    page.wait("location.hash.startsWith('#run-')")
    assert page.driver.title.startswith("</script><img")
    assert page.js(elements) == 0 and page.errors() == []


def test_a_script_that_is_not_a_file_of_the_site_does_not_run(page: Page) -> None:
    page.open()
    page.js(
        """document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='window.ran = 1'>");
        const script = document.createElement("script");
        script.textContent = "window.ran = 2";
        document.body.append(script);
        window.tried = fetch("https://example.org/").catch(() => "refused");"""
    )
    assert page.driver.execute_async_script("window.tried.then(arguments[0])") == "refused"
    assert page.js("return window.ran") is None
    assert sum("Content Security Policy" in message for message in page.errors()) >= 3
