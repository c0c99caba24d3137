"""A real Chromium, one for the whole folder, and the sites that the tests look at."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

import site_records as made
import support
from deepspeech_wer.site.build import build

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"""

EVIL = (
    "</script><img src=x onerror='window.pwned=1'><a href='javascript:window.pwned=1'><b>bold</b><br>"
    "\u2028 %{x} \" ' &lt;"
)
#: Short enough to stand whole in a label, and all of it markup to plotly.
MARKED_NAME, MARKED_VALUE = '<a href="https://e.example">e</a>&lt;<br><b>b</b>', "<i>i</i>&lt;"


@dataclass
class Page:
    """One page in the browser, and what a person can do with it."""

    driver: Chrome
    base: str

    def open(self, name: str = "index.html") -> None:
        """Load it and wait until the charts, if it has any, are drawn."""
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get("about:blank")
        self.driver.get(self.base + name)
        ready = "return !document.querySelector('script') || !!document.querySelector('#chart .main-svg')"
        WebDriverWait(self.driver, 20, 0.05).until(lambda driver: driver.execute_script(ready))

    def js(self, script: str, *arguments: Any) -> Any:
        """What ``script`` returns; ``chart`` and ``parameters`` in it are plotly's elements."""
        head = """const [chart, parameters] = ["#chart", "#parameter-chart"]
            .map((place) => document.querySelector(`${place} .js-plotly-plot`));"""
        return self.driver.execute_script(head + script, *arguments)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return " ".join(self.one(selector).text.replace("\xa0", " ").split())

    def trace(self, name: str) -> dict[str, Any]:
        """One series of the landings' chart as it was given to plotly."""
        found = self.js(
            "return chart.data.map(({name, x, y, visible, customdata}) => ({name, x, y, visible, customdata}))"
        )
        return next(trace for trace in found if trace["name"] == name)

    def point(self, name: str, number: int, plot: str = "chart") -> tuple[float, float]:
        """Where on the screen a point of a series is."""
        x, y = self.js(
            f"""const plot = {plot}; plot.scrollIntoView({{block: "center", behavior: "instant"}});
            const index = plot.data.findIndex((trace) => trace.name === arguments[0]);
            const {{ xaxis, yaxis }} = plot._fullData[index].yaxis === "y2"
              ? {{ xaxis: plot._fullLayout.xaxis, yaxis: plot._fullLayout.yaxis2 }} : plot._fullLayout;
            const box = plot.getBoundingClientRect();
            const {{ x, y }} = plot.data[index];
            return [box.left + xaxis._offset + xaxis.d2p(x[arguments[1]]),
                    box.top + yaxis._offset + yaxis.d2p(y[arguments[1]])];""",
            name,
            number,
        )
        return x, y

    def pointer(self, *steps: tuple[str, float, float], kind: str = "mouse") -> None:
        """Moves, presses and releases, each at a place of the window."""
        actions = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=20)
        for what, x, y in steps:
            actions.pointer_action.move_to_location(round(x), round(y))
            if what == "down":
                actions.pointer_action.pointer_down()
            elif what == "up":
                actions.pointer_action.pointer_up()
        actions.perform()

    def hover(self, x: float, y: float, place: str = "#chart") -> str:
        """The text of the card that appears when the pointer comes to a point from elsewhere.

        On a busy machine plotly may still be drawing when the pointer comes, and take no notice: it comes again then.
        """
        card = self.one(f"{place} .card")
        for last in (False, False, False, True):
            self.pointer(("move", 1, 1))
            WebDriverWait(self.driver, 5, 0.05).until(lambda _: not card.is_displayed())
            self.pointer(("move", x - 2, y - 2), ("move", x, y))
            try:
                WebDriverWait(self.driver, 5, 0.05).until(lambda _: card.is_displayed())
                break
            except TimeoutException:
                if last:
                    raise
        return card.text.replace("\xa0", " ")

    def click(self, x: float, y: float) -> None:
        """Come to a point of the landings' chart and, once its card is there, click."""
        self.hover(x, y)
        self.pointer(("down", x, y), ("up", x, y))

    def wait(self, script: str) -> None:
        """Until ``script`` returns something true."""
        WebDriverWait(self.driver, 5, 0.05).until(lambda _: self.js(f"return {script}"))

    def media(self, **features: str) -> None:
        """Emulate media features, such as prefers-color-scheme."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    def width(self, pixels: int) -> None:
        """Emulate a window of this width."""
        metrics = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def errors(self) -> list[str]:
        """What the console has said since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address that the browser has asked for since the page was opened."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser for one module's tests: those of other modules may end every process below the one that runs them."""
    options = Options()
    options.binary_location = support.system_program("chromium", "chromium")
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(support.system_program("chromium-driver", "chromedriver"))
    chrome = Chrome(options=options, service=service)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a site of each kind in it."""
    root = tmp_path_factory.mktemp("sites")
    archive = root / "archive"
    history = made.history(archive)
    old = made.hyper(0.22)
    del old["version"]
    evil = {"author": EVIL, "subject": EVIL * 50, "url": "javascript:window.pwned=1"}
    values = [
        {"n_hidden": EVIL, EVIL: 1, "__proto__": 3, "constructor": 1, MARKED_NAME: MARKED_VALUE},
        {"n_hidden": "b", EVIL: 2, "constructor": 2, MARKED_NAME: "z"},
    ]
    many = {f"a_name_that_goes_on_and_on_for_quite_a_while_{n:03d}": f"value_{n}_" * 9 for n in range(300)}
    reasons = [made.failed(archive, 6, "the kernel said so " * 26), made.failed(archive, 7, "x" * 500)]
    kinds = {
        "history": history,
        "seeded": made.seeded_history(archive / "seeded"),
        "changes": [*history, made.trained(archive, 6, made.hyper(0.18, many))],
        "reasons": [*history, *reasons],
        "seeded reasons": [*made.seeded_history(archive / "seeded"), *reasons],
        "empty": [],
        "one": history[:1],
        "failures": [made.failed(archive, 1), made.failed(archive, 2)],
        "legacy": [
            made.legacy(archive, "2016-a", old, "a" * 40),
            made.legacy(archive, "2016-b", made.hyper(0.21)),
            *[made.trained(archive, 1, made.hyper(0.2), url=None)],
        ],
        "long": made.long_history(archive, 500),
        "hostile": [
            *[made.trained(archive, n, made.hyper(0.2, value), sha=EVIL, **evil) for n, value in enumerate(values, 6)],
            made.failed(archive, 8, why=EVIL, **evil),
        ],
    }
    for kind, records in kinds.items():
        build(
            records,
            root / kind,
            title=EVIL if kind == "hostile" else "Word error rate",
            repository="https://example.org/",
        )
    return root


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def web(sites: Path) -> Iterator[str]:
    """The same folder over HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(sites)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(driver: Chrome, sites: Path) -> Iterator[Page]:
    """The page of the usual history, from file://, in a wide and light window; ``base`` can be changed."""
    made_page = Page(driver, (sites / "history").as_uri() + "/")
    made_page.media(prefers_color_scheme="light")
    made_page.width(1200)
    yield made_page
    # Nothing that a test looked at may have run what a repository had written.
    assert driver.execute_script("return window.pwned") is None
