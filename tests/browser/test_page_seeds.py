"""Seeds and tries in a real browser: means and their bars on the chart, single runs in the table and below it."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import site_records as made
from browser.conftest import Page


@pytest.fixture
def seeded(page: Page) -> Page:
    page.base = page.base.replace("/history/", "/seeded/")
    page.open()
    return page


def test_a_landing_is_one_point_at_its_mean_with_a_bar(seeded: Page) -> None:
    test, failed, earlier = seeded.trace("Test"), seeded.trace("Failed"), seeded.trace("Test, earlier runs")
    assert (test["x"], failed["x"]) == ([0, 1, 2, 4], [3])
    assert test["y"] == pytest.approx([0.312, 0.205, 0.21, 0.176])
    assert (earlier["x"], earlier["y"]) == ([4, 4], [0.17, 0.25])
    bars = seeded.js("return chart.data.map((trace) => [trace.name, trace.error_y && trace.error_y.array])")
    drawn = {name: array for name, array in bars if array}
    assert list(drawn) == ["Test"] and drawn["Test"] == pytest.approx([0, 0.015, 0, 0.004])
    assert len(seeded.all("#chart .errorbar path")) >= 2
    top = seeded.js("return chart._fullLayout.yaxis.range[1]")
    assert top == pytest.approx(1.1 * 0.312)
    assert seeded.errors() == []


def test_there_are_no_bars_without_seeds(page: Page) -> None:
    page.open()
    assert page.all("#chart .errorbar path") == []


def test_the_card_tells_seeds_spread_and_tries(seeded: Page) -> None:
    card = seeded.hover(*seeded.point("Test", 1))
    for told in ("Test WER\n20.5 % ± 1.5", "3 seeds\n19.0 % to 22.0 %", "Train WER\n12.3 % ± 0.9", "Energy\n0.30 kWh"):
        assert told in card
    assert "for its commit" in card
    card = seeded.hover(*seeded.point("Test", 2))
    assert "tried 3 times" in card and "±" not in card and "seeds" not in card
    assert "A run that no longer counts" in seeded.hover(*seeded.point("Test, earlier runs", 1))
    assert "tried 3 times" in seeded.hover(*seeded.point("Failed", 0))


def test_the_keyboard_stops_once_at_every_landing(seeded: Page) -> None:
    chart = seeded.one("#chart")
    chart.send_keys(Keys.HOME)
    for number in (1, 2, 3, 4, 5):
        assert made.sha(number)[:7] in seeded.text("#chart .card")
        chart.send_keys(Keys.ARROW_RIGHT)
    assert made.sha(5)[:7] in seeded.text("#chart .card")


def test_every_trained_run_is_drawn_against_a_parameter(seeded: Page) -> None:
    Select(seeded.one("#parameter")).select_by_visible_text("n_hidden")
    drawn = seeded.js("return parameters.data[0].y")
    assert sorted(drawn) == sorted([0.312, 0.19, 0.22, 0.205, 0.21, 0.17, 0.18, 0.172, 0.25, 0.176])
    assert "in 10 runs" in seeded.text("#parameter-text")
    index = seeded.js("return parameters.data[0].y.indexOf(0.22)")
    card = seeded.hover(*seeded.point("Test", index, "parameters"), "#parameter-chart")
    assert "One run of 3, with seed 1" in card and "Test WER\n22.0 %" in card and "±" not in card


@pytest.mark.parametrize("width", [360, 1160])
def test_the_runs_of_a_landing_unfold_with_the_keyboard(seeded: Page, width: int) -> None:
    seeded.width(width)
    seeded.open()
    own = f"#landing-{made.sha(5)}"
    items = seeded.all(f"{own} .tries li")
    assert len(items) == 6 and not any(item.is_displayed() for item in items)
    seeded.one(f"{own} summary").send_keys(Keys.ENTER)
    assert all(item.is_displayed() for item in items)
    wide = """return [...document.querySelectorAll(".tries li")].filter((item) => item.offsetParent
        && item.getBoundingClientRect().right > item.closest("td").getBoundingClientRect().right).length"""
    assert seeded.js(wide) == 0
    assert seeded.js("return document.documentElement.scrollWidth") == width
    items[2].find_element("css selector", "a").send_keys(Keys.ENTER)
    seeded.wait("location.href.endsWith('2026-run-00005-3/log.txt')")


def test_an_address_of_a_single_run_unfolds_it(seeded: Page) -> None:
    seeded.open("index.html#run-5-fsdd")
    seeded.wait("document.querySelector('#run-5-fsdd').closest('details').open")
    ground = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
    assert seeded.js(ground, f"#landing-{made.sha(5)}") != seeded.js(ground, f"#landing-{made.sha(3)}")


def test_without_javascript_all_of_it_is_in_the_table(seeded: Page, sites: Path) -> None:
    seeded.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        seeded.driver.get(seeded.base + "index.html")
        summary = seeded.one(f"#landing-{made.sha(3)} summary")
        summary.send_keys(Keys.ENTER)
        items = seeded.all(f"#landing-{made.sha(3)} .tries li")
        assert [item.is_displayed() for item in items] == [True] * 3
    finally:
        seeded.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
