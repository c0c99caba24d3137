"""The chart of the landings in a real browser: points, legend, card, clicks, keys, range."""

from __future__ import annotations

import itertools

import pytest
from selenium.webdriver.common.keys import Keys

import site_records as made
from browser.conftest import Page

CATCH = "window.opened = []; window.open = (...all) => window.opened.push(all);"


@pytest.mark.parametrize("way", ["file", "http"])
def test_every_run_is_drawn_and_nothing_else_is_asked_for(page: Page, web: str, way: str) -> None:
    if way == "http":
        page.base = f"{web}/history/"
    page.open()
    test, failed, earlier = page.trace("Test"), page.trace("Failed"), page.trace("Test, earlier runs")
    assert (test["x"], test["y"]) == ([0, 1, 2, 4], [0.312, 0.194, 0.331, 0.173])
    assert (earlier["x"], earlier["y"], failed["x"]) == ([2], [0.352], [3])
    assert page.js("return chart.data.length") == 7
    assert len(page.all("#chart .scatterlayer .point")) == 3 * 5 + 1
    labels = [label.text for label in page.all("#chart .xtick text")]
    assert labels == [made.sha(number)[:7] for number in range(1, 6)]
    assert page.all("#chart .ytick text")[0].text == "0%"
    assert len(page.all("#runs tbody tr")) == 5
    assert page.errors() == []
    asked = page.requests()
    assert len(asked) >= 9
    assert all(url.startswith((page.base, "data:", "about:")) for url in asked), asked


def test_the_legend_switches_series(page: Page) -> None:
    page.open()
    names = [label.text for label in page.all("#legend label")]
    assert names == ["Test", "Validation", "Train", "Failed"]
    before = len(page.all("#chart .scatterlayer .trace"))
    page.all("#legend label")[1].click()
    assert page.trace("Validation")["visible"] is False and page.trace("Validation, earlier runs")["visible"] is False
    assert page.trace("Test")["visible"] is True
    assert len(page.all("#chart .scatterlayer .trace")) == before - 2
    page.one("#legend input[value=last_validation_wer]").send_keys(Keys.SPACE)
    assert len(page.all("#chart .scatterlayer .trace")) == before


def test_the_card_says_what_a_point_is(page: Page) -> None:
    page.open()
    card = page.hover(*page.point("Test", 3))
    for told in (
        f"{made.sha(5)[:7]} · Radia Perlman · 2026-01-06 08:30 UTC",
        "Read features with the new loader",
        "Test WER\n17.3 %",
        "Validation WER\n16.4 %",
        "Test CER\n6.9 %",
        "S / D / I\n249 / 125 / 42",
        "Words\n2\u202f400",
        "Duration\n1 min 12 s",
        "learning_rate: 0.02 → 0.001",
        "data_set",
        "for its commit",
    ):
        assert told in card
    assert card.count("learning_rate") == 1, "a parameter that changed is not told twice"
    assert "35.2 %" in page.hover(*page.point("Test, earlier runs", 0))
    assert "Failed: its notebook stopped in cell 3: NameError" in page.hover(*page.point("Failed", 0))


def test_a_click_goes_to_the_commit(page: Page) -> None:
    page.open()
    page.js(CATCH)
    page.click(*page.point("Test", 1))
    assert page.js("return opened") == [
        [f"https://example.org/speech/commit/{made.sha(2)}", "_blank", "noopener,noreferrer"]
    ]


def test_a_click_on_a_cross_goes_to_the_log(page: Page) -> None:
    page.open()
    page.click(*page.point("Failed", 0))
    page.wait("location.href.endsWith('log.txt')")
    assert page.driver.current_url == f"{page.base}runs/2026-run-00004/log.txt"
    assert "log of 2026-run-00004" in page.one("body").text


def test_a_click_on_a_landing_without_a_page_goes_to_its_row(page: Page) -> None:
    page.base = page.base.replace("/history/", "/legacy/")
    page.open()
    assert page.trace("Test")["x"] == [0, 1, 2]
    assert "Run without a landing" in page.hover(*page.point("Test", 0))
    assert "Run without a landing" not in page.hover(*page.point("Test", 2))
    assert [label.text for label in page.all("#chart .xtick text")] == ["a" * 7, "2026-01-01", made.sha(1)[:7]]
    page.click(*page.point("Test", 0))
    page.wait(f"location.hash === '#landing-{'a' * 40}'")
    assert page.one("tr:target").get_attribute("id") == f"landing-{'a' * 40}"


def test_a_finger_sees_the_card_first(page: Page) -> None:
    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        page.open()
        page.js(CATCH)
        point = page.point("Test", 1)
        page.pointer(("down", *point), ("up", *point), kind="touch")
        page.wait("!document.querySelector('#chart .card').hidden")
        assert page.js("return opened") == []
        page.pointer(("down", *point), ("up", *point), kind="touch")
        page.wait("opened.length === 1")
    finally:
        page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_keyboard_reaches_every_landing(page: Page) -> None:
    page.open()
    page.js(CATCH)
    chart = page.one("#chart")
    chart.send_keys(Keys.ARROW_LEFT)
    assert made.sha(5)[:7] in page.text("#chart .card")
    chart.send_keys(Keys.ARROW_LEFT)
    assert "Failed: its notebook" in page.text("#chart .card")
    chart.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.js("return opened.map(([url]) => url)") == [f"https://example.org/speech/commit/{made.sha(2)}"]
    chart.send_keys(Keys.ESCAPE)
    assert not page.one("#chart .card").is_displayed()


def shown(page: Page) -> tuple[float, float]:
    low, high = page.js("return chart._fullLayout.xaxis.range")
    return low, high


def test_the_range_of_five_hundred_landings(page: Page) -> None:
    page.base = page.base.replace("/history/", "/long/")
    page.open()
    buttons = {button.text: button for button in page.all("#range button") if button.text}
    assert shown(page) == (399.5, 499.5) and buttons["Last 100"].get_attribute("aria-pressed") == "true"
    page.one("[data-last='20']").click()
    assert shown(page) == (479.5, 499.5)
    assert buttons["Last 20"].get_attribute("aria-pressed") == "true"
    assert buttons["Last 100"].get_attribute("aria-pressed") == "false"
    page.one("[data-move='-1']").click()
    assert shown(page) == (463.5, 483.5)
    page.one("[data-last='all']").click()
    assert shown(page) == (-0.5, 499.5)
    assert page.js("return chart._fullLayout.yaxis.range[0]") == 0
    # Labels do not pile up, and the newest landing has one.
    boxes = page.js(
        "return [...document.querySelectorAll('#chart .xtick text')].map((t) => t.getBoundingClientRect().toJSON())"
    )
    assert 8 < len(boxes) < 40
    assert all(one["right"] + 4 < other["left"] for one, other in itertools.pairwise(boxes))
    assert page.all("#chart .xtick text")[-1].text == made.sha(500)[:7]
    page.one("#chart").send_keys(Keys.HOME)
    assert made.sha(1)[:7] in page.text("#chart .card")
    assert page.errors() == []


def test_the_keyboard_moves_the_range_along(page: Page) -> None:
    page.base = page.base.replace("/history/", "/long/")
    page.open()
    page.one("#chart").send_keys(Keys.HOME)
    assert shown(page) == (-0.5, 99.5)
    assert made.sha(1)[:7] in page.text("#chart .card")


def test_a_drag_zooms_and_a_double_click_shows_all(page: Page) -> None:
    page.base = page.base.replace("/history/", "/long/")
    page.open()
    page.one("[data-last='all']").click()
    box = page.js("return chart.querySelector('.nsewdrag').getBoundingClientRect().toJSON()")
    left, top, width = box["left"], box["top"], box["width"]
    steps = [("move", left + 0.5 * width, top + 60), ("down", left + 0.5 * width, top + 60)]
    steps += [("move", left + (0.5 + 0.025 * n) * width, top + 60 + 10 * n) for n in range(1, 11)]
    page.pointer(*steps, ("up", left + 0.75 * width, top + 160))
    page.wait("chart._fullLayout.xaxis.range[0] > 240")
    low, high = shown(page)
    assert 244 < low < 254 and 369 < high < 379
    assert page.js("return chart._fullLayout.yaxis.range[0]") > 0
    ticks = page.js("return chart._fullLayout.xaxis.tickvals")
    assert all(low <= tick <= high for tick in ticks) and len(ticks) > 8
    x, y = left + 0.3 * width, top + 10
    page.pointer(("down", x, y), ("up", x, y), ("down", x, y), ("up", x, y))
    page.wait("chart._fullLayout.xaxis.range[0] === -0.5")
    assert page.js("return chart._fullLayout.yaxis.range[0]") == 0


def test_the_chart_offers_no_server_of_anybody(page: Page) -> None:
    page.open()
    titles = page.js("return [...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title)")
    assert len(titles) == 10 and not any("hare" in title or "loud" in title for title in titles), titles
