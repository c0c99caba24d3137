"""Landings that were trained with several seeds, or tried again: one row, one figure, and every run within reach."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag

import site_records as made
from deepspeech_wer.results.archive import RunRecord
from deepspeech_wer.site import text
from deepspeech_wer.site.build import build
from deepspeech_wer.site.figures import figures, together
from deepspeech_wer.site.rows import rows


def built(records: list[RunRecord], root: Path) -> BeautifulSoup:
    build(records, root, title="Word error rate")
    return BeautifulSoup((root / "index.html").read_text(), "html.parser")


def row(soup: BeautifulSoup, number: int) -> Tag:
    found = soup.find(id=f"landing-{made.sha(number)}")
    assert isinstance(found, Tag)
    return found


def words(tag: Tag | None) -> str:
    assert tag is not None
    return " ".join(tag.get_text(" ").replace("\xa0", " ").split()).replace(" .", ".").replace(" ,", ",")


def landings(root: Path) -> list[dict[str, Any]]:
    value = (root / "js/landings.js").read_text().removeprefix("window.LANDINGS = ").rstrip().removesuffix(";")
    return list(json.loads(value))


def test_a_landing_with_three_seeds_is_one_row_with_their_mean_and_spread(tmp_path: Path) -> None:
    soup = built([made.trained(tmp_path, 1, made.hyper(0.3)), *made.seeds(tmp_path, 2, 0.19, 0.22, 0.205)], tmp_path)
    assert len(soup.select("tbody tr")) == 2
    own = row(soup, 2)
    assert words(own.select_one("td.main")) == "20.5 % ± 1.5 −9.5"
    assert words(own.select_one("summary")) == "3 seeds"
    assert [re.sub(" · .*", "", words(item)) for item in own.select(".tries li")] == [
        "seed 0: 19.0 %",
        "seed 1: 22.0 %",
        "seed 2: 20.5 %",
    ]
    logs = [str(link["href"]) for link in own.select(".tries a")]
    assert len(set(logs)) == 3 and all((tmp_path / log).is_file() for log in logs)
    assert words(soup.select_one(".verdict")) == (
        f"20.5 % test WER at {made.sha(2)[:7]} (mean of 3 seeds, ± 1.5), 9.5 points better than the landing before; "
        "the best so far."
    )
    assert "one standard deviation" in words(soup.select_one("#chart-text"))
    assert "± is the standard deviation" in words(soup.select_one("#table-text"))


def test_with_one_seed_there_is_no_word_of_seeds(tmp_path: Path) -> None:
    page = built(made.history(tmp_path), tmp_path)
    told = words(page.select_one("main"))
    assert "seed" not in told and "±" not in told and "Energy" not in told and "tried" not in told


def test_a_landing_that_was_tried_again_tells_so_and_links_every_log(tmp_path: Path) -> None:
    soup = built(made.seeded_history(tmp_path), tmp_path)
    assert len(soup.select("tbody tr")) == 5
    tried = row(soup, 3)
    assert words(tried.select_one("td.main")) == "21.0 % +0.5" and "failed" not in (tried.get("class") or [])
    assert words(tried.select_one("summary")) == "tried 3 times"
    told = [words(item) for item in tried.select(".tries li")]
    assert [item.startswith("✕ its notebook stopped in cell 3: NameError · log") for item in told] == [
        True,
        True,
        False,
    ]
    assert told[2].startswith("21.0 % · log") and len({a["href"] for a in tried.select(".tries a")}) == 3
    assert not soup.select("tbody tr tr") and len(soup.select("tbody tr.failed")) == 1


def test_a_landing_that_failed_for_good_shows_its_last_reason_and_how_often_it_was_tried(tmp_path: Path) -> None:
    soup = built([record for record in made.seeded_history(tmp_path) if record.landing.position < 5], tmp_path)  # type: ignore[union-attr]
    failed = row(soup, 4)
    assert words(failed.select_one("td.why")) == "the training stopped in epoch 3"
    assert words(failed.select_one("summary")) == "tried 3 times"
    assert words(soup.select_one(".failure")).startswith(
        f"✕ The newest landing, {made.sha(4)[:7]}, failed 3 times, at last: the training stopped in epoch 3"
    )
    assert words(soup.select_one("#chart-text")).startswith(
        "4 landings in commit order, test WER from 20.5 % to 31.2 %"
    )
    assert "1 failed (✕)" in words(soup.select_one("#chart-text"))


def test_runs_that_do_not_count_say_why(tmp_path: Path) -> None:
    soup = built(made.seeded_history(tmp_path), tmp_path)
    own = row(soup, 5)
    assert words(own.select_one("summary")) == "3 seeds, tried 6 times"
    told = [words(item) for item in own.select(".tries li")]
    assert "17.0 % replaced by a later run" in told[0] and "seed 2: ✕ the GPU fell off the bus" in told[2]
    assert "25.0 % on fsdd, not counted" in told[4] and told[5].startswith("seed 0: 17.6 % · log")
    assert words(own.select_one("td.main")) == "17.6 % ± 0.4 −3.4"


def test_energy_is_summed_over_the_runs_that_count_and_shown_where_there_is_any(tmp_path: Path) -> None:
    soup = built(made.seeded_history(tmp_path), tmp_path)
    heads = [words(cell) for cell in soup.select("thead th")]
    place = heads.index("Energy")
    for number, written in ((1, "21.0 Wh"), (2, "0.30 kWh"), (3, "0.10 kWh"), (5, "0.30 kWh")):
        assert words(row(soup, number).find_all(["th", "td"], recursive=False)[place]) == written
    columns = {
        sum(int(str(cell.get("colspan", 1))) for cell in line.find_all(["th", "td"], recursive=False))
        for line in soup.select("tbody tr")
    }
    assert columns == {len(heads)}


def test_what_the_chart_draws_is_the_mean_and_its_spread(tmp_path: Path) -> None:
    records = made.seeds(tmp_path, 1, 0.19, 0.22, 0.205)
    built([*records, *made.seeded_history(tmp_path)[-1:]], tmp_path)
    first, second = landings(tmp_path)
    assert (first["seeds"], first["tries"], second["seeds"]) == (3, "3 seeds", 1)
    assert first["figures"]["test_wer"] == pytest.approx(0.205)
    assert first["figures"]["last_train_wer"] == pytest.approx(0.123)
    deviation, lowest, highest = first["spreads"]["test_wer"]
    assert (deviation, lowest, highest) == (pytest.approx(0.015), 0.19, 0.22)
    assert [(run["seed"], run["counts"]) for run in first["runs"]] == [(0, True), (1, True), (2, True)]
    assert first["run"] == records[-1].run_id and "figures" not in second


def test_best_and_differences_are_of_means(tmp_path: Path) -> None:
    lucky = made.seeds(tmp_path, 1, 0.10, 0.40)
    steady = made.seeds(tmp_path, 2, 0.20, 0.21)
    table = rows([*lucky, *steady], frozenset())
    assert table[1].delta == pytest.approx(-0.045)
    assert words(built([*lucky, *steady], tmp_path).select_one(".verdict")).endswith("the best so far.")


def test_the_seed_itself_is_no_changed_parameter(tmp_path: Path) -> None:
    before = made.seeds(tmp_path, 1, 0.2, 0.21)
    table = rows([*before, *made.seeds(tmp_path, 2, 0.2, 0.21, 0.22, n_hidden=256)], frozenset())
    assert [change.name for change in table[1].changes] == ["n_hidden"]
    late = made.trained(tmp_path, 3, made.hyper(0.2, {"n_hidden": 256, "random_seed": 4568}), seed=1)
    assert rows([*before, *made.seeds(tmp_path, 2, 0.2, 0.2, n_hidden=256), late], frozenset())[2].changed == 0


def test_figures_together() -> None:
    one, two = (figures(made.hyper(test, energy_kwh=test)["results"]) for test in (0.1, 0.3))
    bare = figures({"test_wer": 0.5, "energy_kwh": float("1e300"), "words": "many"})
    assert together([]) == (None, {}) and together([one]) == (one, {})
    means, spreads = together([one, two, bare])
    assert means and means.test == pytest.approx(0.3) and means.energy == pytest.approx(0.4)
    assert means.validation == pytest.approx(0.19) and means.words == 2400
    assert spreads["test"].count == 3 and spreads["cer"].count == 2
    assert bare.energy is None and bare.words is None and together([bare, bare])[1].keys() == {"test"}


def test_a_run_of_which_the_log_was_cleared_away_has_no_link(tmp_path: Path) -> None:
    records = [made.failed(tmp_path, 1), made.trained(tmp_path, 1, made.hyper(0.2), attempt=2)]
    built(records, tmp_path / "web")
    copy = tmp_path / "web/runs" / records[0].run_id / "log.txt"
    assert copy.is_file()
    (records[0].folder / "log.txt").unlink()
    soup = built(records, tmp_path / "web")
    items = row(soup, 1).select(".tries li")
    assert [bool(item.a) for item in items] == [False, True] and not copy.parent.exists()
    (records[1].folder / "log.txt").unlink()
    assert not row(built(records, tmp_path / "web"), 1).select("a[href*=log]")


@pytest.mark.parametrize(
    ("kwh", "written"),
    [(None, "–"), (0, "0.00 Wh"), (0.00045, "0.45 Wh"), (0.0123, "12.3 Wh"), (0.1, "0.10 kWh"), (123.4, "123 kWh")],
)
def test_energy(kwh: float | None, written: str) -> None:
    assert text.energy(kwh).replace("\xa0", " ") == written


@pytest.mark.parametrize(("ratio", "written"), [(0.0, "± 0.0"), (0.0004, "± 0.04"), (0.0151, "± 1.5")])
def test_spreads(ratio: float, written: str) -> None:
    assert text.spread(ratio).replace("\xa0", " ") == written
