"""The page without a browser: the table, the headline, and that no value of a repository becomes markup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

import site_records as made
from deepspeech_wer.results import hyperjs
from deepspeech_wer.results.archive import RunRecord
from deepspeech_wer.site import text
from deepspeech_wer.site.build import build
from deepspeech_wer.site.rows import headline, rows

HOSTILE = [
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "line\u2028separators\u2029here",
    "\"quotes' and `more`",
    "<b>bold</b><br><a href='javascript:window.pwned=1'>click</a>",
    "{{ 7 * 7 }} %{customdata} $x^2$",
    "half a pair \ud800, right to left \u202e, bell \x07",
    "x" * 100_000,
]


def built(records: list[RunRecord], root: Path, **settings: str) -> BeautifulSoup:
    build(records, root, **{"title": "Word error rate", **settings})
    return BeautifulSoup((root / "index.html").read_text(), "html.parser")


def words(soup: BeautifulSoup, selector: str) -> str:
    found = soup.select_one(selector)
    assert found is not None
    return " ".join(found.get_text().replace("\xa0", " ").split())


def data(root: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    landings = (root / "js/landings.js").read_text().removeprefix("window.LANDINGS = ").rstrip().removesuffix(";")
    return json.loads(landings), hyperjs.read((root / "js/hyper.js").read_text())


def test_nothing_trained_yet_says_what_to_run(tmp_path: Path) -> None:
    soup = built([], tmp_path / "web")
    assert "Nothing trained yet" in soup.get_text() and "deepspeech-wer run" in soup.get_text()
    assert not soup.find_all("script") and not soup.find("table")
    assert data(tmp_path / "web") == ([], [])


def test_one_run(tmp_path: Path) -> None:
    soup = built(made.history(tmp_path)[:1], tmp_path / "web")
    assert words(soup, ".verdict") == f"31.2 % test WER at {made.sha(1)[:7]}."
    assert words(soup, "#chart-text").startswith("1 landing in commit order")


def test_the_headline_says_how_the_newest_landing_did(tmp_path: Path) -> None:
    records = made.history(tmp_path)
    first, second, third, last = (made.sha(number)[:7] for number in (1, 2, 3, 5))
    assert words(built(records, tmp_path / "web"), ".verdict") == (
        f"17.3 % test WER at {last}, 15.8 points better than {third}, the last one with a figure; the best so far."
    )
    soup = built(records[:4], tmp_path / "web")
    assert words(soup, ".verdict") == (
        f"33.1 % test WER at {third}, 13.7 points worse than the landing before; best so far 19.4 % at {second}."
    )
    assert soup.select_one(".verdict a")["href"].endswith(made.sha(3))  # type: ignore[index]
    assert words(built([records[0], made.trained(tmp_path, 2, made.hyper(0.312))], tmp_path / "web"), ".verdict") == (
        f"31.2 % test WER at {second}, the same as the landing before; best so far 31.2 % at {first}."
    )


def test_the_headline_names_the_landing_that_it_compares_with_where_others_failed_since(tmp_path: Path) -> None:
    soup = built(made.history(tmp_path), tmp_path / "web")
    links = [str(link["href"]) for link in soup.select(".verdict a")]
    assert links == [f"https://example.org/speech/commit/{made.sha(number)}" for number in (5, 3)]
    assert "difference from the last landing before it that has a figure" in words(soup, "#table-text")


def test_runs_without_a_landing_are_counted_apart_and_the_best_says_on_what(tmp_path: Path) -> None:
    old = [made.legacy(tmp_path, f"2016-{n}", made.hyper(0.1, {"data_set": {"name": "ted"}}), "a" * 40) for n in "ab"]
    soup = built([*old, *made.history(tmp_path)[:3]], tmp_path / "web")
    assert words(soup, "#chart-text").startswith("3 landings in commit order, after 2 runs without a landing, test WER")
    assert words(soup, ".verdict").endswith(f"; best so far on espeak 19.4 % at {made.sha(2)[:7]}.")
    assert words(soup, "tbody tr:last-child .what") == "run without a landing"
    soup = built([*old, made.trained(tmp_path, 1, made.hyper(0.3, {"data_set": ""}))], tmp_path / "web")
    assert words(soup, ".verdict").endswith(
        "not comparable with the run before, which was measured on ted; the best so far on an unnamed data set."
    )
    soup = built(old, tmp_path / "web")
    assert words(soup, "#chart-text").startswith("2 runs without a landing, in the order in which they ran, test WER")


def test_a_newest_landing_that_failed_comes_first(tmp_path: Path) -> None:
    soup = built(made.history(tmp_path)[:5], tmp_path / "web")
    failure = words(soup, ".failure")
    assert f"The newest landing, {made.sha(4)[:7]}, failed: its notebook stopped in cell 3: NameError" in failure
    assert soup.select_one(".failure a[href$='log.txt']")
    assert words(soup, ".verdict").startswith("Before it: 33.1 % test WER")


def test_a_hint_for_the_person_at_the_machine_is_not_published(tmp_path: Path) -> None:
    records = made.history(tmp_path)[:5]
    assert records[-1].hint == "look at the end of its log"
    built(records, tmp_path / "web")
    files = [path for path in (tmp_path / "web").rglob("*") if path.suffix in {".html", ".js", ".txt"}]
    assert len(files) > 10 and not any(b"look at the end of its log" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("repository", "shown"),
    [
        ("/home/ada/clients/speech.git", "speech.git"),
        ("/home/ada/my speech/", "my speech"),
        ("../clients/speech", "speech"),
        ("/srv/a:b/speech", "speech"),
        ("file:///home/ada/clients/speech", "speech"),
        ("file:/home/ada/clients/speech", "speech"),
        ("git@example.org:ada/speech.git", "git@example.org:ada/speech.git"),
        ("https://example.org/ada/speech", "https://example.org/ada/speech"),
        ("ssh://ada@example.org:2222/srv/speech", "ssh://example.org:2222/srv/speech"),
        ("https://ada:s3cret@example.org/a b", "a b"),
    ],
)
def test_of_a_path_on_this_machine_only_its_name_is_shown(tmp_path: Path, repository: str, shown: str) -> None:
    soup = built(made.history(tmp_path)[:1], tmp_path / "web", repository=repository)
    assert words(soup, ".about > :first-child") == shown
    assert "clients" not in soup.get_text()


def test_what_a_click_does_is_said_as_it_is(tmp_path: Path) -> None:
    assert "click a point for its commit." in words(built(made.history(tmp_path), tmp_path / "web"), ".keys")
    soup = built([made.trained(tmp_path, 1, made.hyper(0.2), url=None)], tmp_path / "web")
    assert "click a point for its row in the table." in words(soup, ".keys")
    assert "commit" not in words(soup, ".keys")


def test_only_failures(tmp_path: Path) -> None:
    soup = built([made.failed(tmp_path, 1), made.failed(tmp_path, 2)], tmp_path / "web")
    assert words(soup, ".verdict") == "No run has given a word error rate yet."
    assert len(soup.select("tbody tr.failed a[href$='log.txt']")) == 2
    assert [landing["state"] for landing in data(tmp_path / "web")[0]] == ["failed", "failed"]


def test_another_data_set_is_not_compared(tmp_path: Path) -> None:
    other = made.hyper(0.4, {"data_set": {"name": "ldc93s1"}})
    table = rows([*made.history(tmp_path), made.trained(tmp_path, 6, other)], frozenset())
    top = headline(table)
    assert table[-1].delta is None and top.best is top.row is table[-1]
    assert top.change == "not comparable with"
    soup = built([*made.history(tmp_path), made.trained(tmp_path, 6, other)], tmp_path / "web")
    assert words(soup, ".verdict") == (
        f"40.0 % test WER at {made.sha(6)[:7]}, not comparable with the landing before, which was measured on espeak; "
        "the best so far on ldc93s1."
    )


def test_the_table_has_every_landing_newest_first(tmp_path: Path) -> None:
    records = made.history(tmp_path)
    soup = built(records, tmp_path / "web")
    table = soup.select_one("table")
    assert table and table.caption
    assert all(cell["scope"] == "col" for cell in table.select("thead th"))
    lines = table.select("tbody tr")
    assert len(lines) == 5 and all(line.th and line.th["scope"] == "row" for line in lines)
    assert [line["id"] for line in lines] == [f"landing-{made.sha(number)}" for number in (5, 4, 3, 2, 1)]
    assert [item["id"] for item in lines[2].select("details li")] == ["run-3-first", "run-3-second"]
    assert [bool(line.select(".tries")) for line in lines] == [False, False, True, False, False]
    columns = len(table.select("thead th"))
    assert {sum(int(str(c.get("colspan", 1))) for c in line.find_all(["td", "th"])) for line in lines} == {columns}
    first = " ".join(lines[0].get_text(" ").replace("\xa0", " ").split())
    assert "17.3 % −15.8" in first and "learning_rate 0.02 → 0.001" in first and "249 / 125 / 42" in first
    assert lines[0].time and lines[0].time["datetime"] == "2026-01-06T08:30:00+00:00"
    assert "its notebook stopped in cell 3: NameError" in lines[1].get_text()


def test_landings_js_has_every_landing_with_its_runs_in_commit_order(tmp_path: Path) -> None:
    records = made.history(tmp_path)
    build(records, tmp_path / "web", title="t")
    landings, hypers = data(tmp_path / "web")
    assert [landing["sha"] for landing in landings] == [made.sha(number) for number in range(1, 6)]
    assert [landing["slot"] for landing in landings] == [0, 1, 2, 3, 4]
    assert [run["run"] for run in landings[2]["runs"]] == ["3-first", "3-second"] and landings[2]["run"] == "3-second"
    assert [run["counts"] for run in landings[2]["runs"]] == [False, True]
    assert [hyper["run"] for hyper in hypers] == [record.run_id for record in records if record.hyper]
    kept = {"sha", "parents", "author", "date", "subject", "position", "url"}
    kept |= {"run", "seed", "state", "why", "started", "finished", "log"}
    assert kept <= set(landings[3]) and landings[3]["why"] and landings[3]["log"]
    assert not {"runs", "figures", "spreads"} & set(landings[0]), "one run says it all in its line of hyper.js"
    assert landings[1]["changes"] == [["n_hidden", "128", "256"]]
    assert landings[4]["changes"] == [["learning_rate", "0.02", "0.001"]]  # the failed run left no parameters


def told_by(evil: str, root: Path) -> BeautifulSoup:
    """The page of a history in which everything that a repository can choose is ``evil``."""
    fields = {"author": evil, "subject": evil, "date": evil}
    content = made.hyper(0.2, {"n_hidden": evil, evil: 1, "data_set": {"name": evil}, "__proto__": {"evil": evil}})
    content["results"]["words"] = evil
    records = [
        *made.history(root)[:4],
        made.failed(root, 4, why=evil, **fields),
        made.trained(root, 5, content, **fields),
    ]
    return built(records, root / "web", title=evil, repository=evil)


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_value_of_a_repository_becomes_markup(tmp_path: Path, evil: str) -> None:
    harmless = told_by("harmless", tmp_path / "harmless")
    soup = told_by(evil, tmp_path)
    assert [tag.name for tag in soup.find_all(True)] == [tag.name for tag in harmless.find_all(True)]
    assert len(soup.find_all("script")) == len(soup.select("script[src]"))
    assert not soup.select("[onerror]")
    subject = soup.select("tbody .subject")[0].get_text()
    assert subject == text.plain(evil) and len(subject) <= 200
    landings, hypers = data(tmp_path / "web")
    assert landings[-1]["subject"] == subject
    assert hypers[-1]["parameters"]["n_hidden"] == evil
    for name in ("js/hyper.js", "js/landings.js"):
        script = (tmp_path / "web" / name).read_text()
        assert script.isascii() and "<" not in script


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "java\nscript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "//example.org",
        "file:///etc",
    ],
)
def test_only_links_of_the_web_are_made(tmp_path: Path, address: str) -> None:
    soup = built([made.trained(tmp_path, 1, made.hyper(0.2), url=address)], tmp_path / "web", repository=address)
    links = [str(a["href"]) for a in soup.find_all("a")]
    assert links and all(link.startswith(("#", "runs/")) for link in links)
    assert data(tmp_path / "web")[0][0]["url"] is None


def test_no_password_reaches_the_page(tmp_path: Path) -> None:
    secret = "https://user:s3cret@example.org/speech"
    record = made.trained(tmp_path, 1, made.hyper(0.2), url=f"{secret}/commit/1")
    soup = built([record], tmp_path / "web", repository=secret)
    assert soup.select_one(".about a[href='https://example.org/speech']")
    for repository in (secret, "ssh://user:s3cret@example.org/speech"):
        build([record], tmp_path / "web", title="t", repository=repository)
        assert not any(b"s3cret" in path.read_bytes() for path in (tmp_path / "web").rglob("*") if path.is_file())


def test_a_commit_that_is_no_commit_cannot_break_the_ids(tmp_path: Path) -> None:
    records = [
        made.trained(tmp_path, n, made.hyper(0.2), sha=sha) for n, sha in enumerate(['" onclick=x', "a b", "é"], 1)
    ]
    soup = built(records, tmp_path / "web")
    assert [row["id"] for row in soup.select("tbody tr")] == [f"run-2026-run-0000{number}" for number in (3, 2, 1)]


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"name": "ted", "size": 1}, {"name": "ted", "size": 2}, []),
        ({"name": "ted"}, {"name": "fsdd"}, [("data_set", "ted", "fsdd")]),
        (True, 1, [("data_set", "true", "1")]),
    ],
)
def test_a_data_set_counts_by_its_name(tmp_path: Path, before: Any, after: Any, changed: list[Any]) -> None:
    records = [
        made.trained(tmp_path, number, made.hyper(0.2, {"data_set": value}))
        for number, value in enumerate((before, after), 1)
    ]
    assert [(c.name, c.before, c.after) for c in rows(records, frozenset())[1].changes] == changed


def test_parameters_that_come_and_go_are_changes(tmp_path: Path) -> None:
    gone = made.hyper(0.2)
    del gone["parameters"]["n_hidden"]
    records = [
        made.trained(tmp_path, 1, made.hyper(0.2)),
        made.trained(tmp_path, 2, gone),
        made.trained(tmp_path, 3, made.hyper(0.2)),
    ]
    table = rows(records, frozenset())
    assert [(c.name, c.before, c.after) for row in table for c in row.changes] == [
        ("n_hidden", "128", ""),
        ("n_hidden", "", "128"),
    ]


def test_many_changes_are_counted_and_most_are_folded_away(tmp_path: Path) -> None:
    many = {f"parameter_{number:03d}": number for number in range(300)}
    batches = {"total_batches_train": 12, "total_batches_test": 3}
    records = [
        made.trained(tmp_path, 1, made.hyper(0.2, {**many, "total_batches_train": 10})),
        made.trained(tmp_path, 2, made.hyper(0.2, {"n_hidden": 256, "a_new_one": 1, **batches})),
        made.trained(tmp_path, 3, made.hyper(0.2, {"n_hidden": 512, "a_new_one": 1})),
    ]
    soup = built(records, tmp_path / "web")
    last, second, first = (line.select_one(".changes") for line in soup.select("tbody tr"))
    assert first and second and last and first.get_text() == "–"
    assert not last.details and last.get_text().split() == ["n_hidden", "256", "→", "512"]
    shown = [" ".join(line.get_text().split()) for line in second.find_all("span", class_="change", recursive=False)]
    gone = [f"parameter_{number:03d} gone" for number in range(4)]
    assert shown == ["n_hidden 128 → 256", "a_new_one new: 1", *gone], "what changed comes before what is gone"
    assert second.details and second.details.summary and second.details.summary.get_text() == "and 296 more"
    assert len(second.details.select(".change")) == 34
    assert second.details.get_text().endswith("and 262 that are not listed")
    landings, hypers = data(tmp_path / "web")
    assert [landing["changed"] for landing in landings] == [0, 302, 1]
    assert hypers[1]["parameters"]["total_batches_train"] == 12, "it is left out of the changes, not of the data"


def test_a_figure_that_no_run_can_have_is_left_out(tmp_path: Path) -> None:
    content = made.hyper(0.2, test_cer=1e308, words=1e300, duration=1e308, insertions=-1)
    soup = built([made.trained(tmp_path, 1, content)], tmp_path / "web")
    cells = [" ".join(cell.get_text().split()) for cell in soup.select("tbody td.figure")]
    assert cells == ["20.0 %", "19.0 %", "12.0 %", "–", "288 / 144 / –", "–", "–"]


def test_no_id_is_there_twice_and_none_can_be_broken(tmp_path: Path) -> None:
    evil = '" onclick=x'
    old = [made.legacy(tmp_path, name, made.hyper(0.3), sha) for name, sha in (("a", made.sha(1)), ("b", "b" * 40))]
    odd = made.trained(tmp_path, 1, made.hyper(0.3), run="number-1", attempt=2)
    names = [made.trained(tmp_path, 2, made.hyper(0.2), run=f"é{n}", attempt=n, sha=evil) for n in (1, 2, 3)]
    soup = built([*old, *[old[1]], *made.seeds(tmp_path, 1, 0.2, 0.3), odd, *names], tmp_path / "web")
    ids = [str(tag["id"]) for tag in soup.find_all(id=True)]
    assert len(set(ids)) == len(ids) and all(name.isascii() and name.replace("-", "").isalnum() for name in ids)
    own = soup.find(id=f"landing-{made.sha(1)}")
    assert own and "run without a landing" not in own.get_text(), "a landing has its name before an old run has it"


def test_five_hundred_runs(tmp_path: Path) -> None:
    soup = built(made.long_history(tmp_path, 500), tmp_path / "web")
    assert len(soup.select("tbody tr")) == 500 and len(soup.select("tbody tr.failed")) == 21


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0.0 s"),
        (7.25, "7.2 s"),
        (59.6, "60 s"),
        (71.5, "1 min 12 s"),
        (3600, "1 h 0 min"),
        (224684, "2 d 14 h"),
        (None, "–"),
    ],
)
def test_durations(value: float | None, written: str) -> None:
    assert text.duration(value).replace("\xa0", " ") == written


@pytest.mark.parametrize(
    ("value", "iso", "written"),
    [
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05+00:00", "2026-01-02 01:04 UTC"),
        ("2016-10-21T12:47:13.402113", "2016-10-21T12:47:13", "2016-10-21 12:47"),
        ("yesterday", "", "yesterday"),
        ("0001-01-01T00:00:00+14:00", "", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_moments(value: str, iso: str, written: str) -> None:
    assert text.moment(value) == text.Moment(iso, written)
