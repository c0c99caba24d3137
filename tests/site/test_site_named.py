"""What pages load has the hash of its content in its name: no page is ever shown with what another was made for."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import site_records as made
from deepspeech_wer import templates
from deepspeech_wer.publish.assets import collect
from deepspeech_wer.site.build import build
from deepspeech_wer.site.named import DIGITS, Assets, named


def loaded(page: Path) -> list[str]:
    """What a browser asks for, in order."""
    soup = BeautifulSoup(page.read_text(), "html.parser")
    return [str(tag.get("src") or tag.get("href")) for tag in soup.select("script[src], link[rel=stylesheet]")]


def test_a_name_has_the_hash_before_its_suffix() -> None:
    digits = hashlib.sha256(b"x").hexdigest()[:12]
    assert named("js/plotly.min.js", b"x") == f"js/plotly.min.{digits}.js"
    assert named("LICENSE", b"x") == f"LICENSE.{digits}"
    assert named("a.css", b"x") != named("a.css", b"y")


def test_a_page_in_a_folder_finds_them_too() -> None:
    assets = Assets({"js/site.js": b"x"})
    (name,) = assets.files()
    assert assets.files()[name]() == b"x"
    assert assets.seen_from("index.html")("js/site.js") == name
    assert assets.seen_from("runs/1/index.html")("js/site.js") == f"../../{name}"
    assert assets.seen_from("js/own.html")("js/site.js") == name.removeprefix("js/")
    with pytest.raises(KeyError):
        assets.seen_from("index.html")("js/absent.js")


def test_every_file_that_the_page_loads_says_what_is_in_it(tmp_path: Path) -> None:
    root = tmp_path / "web"
    names = loaded(build(made.history(tmp_path), root, title="Title"))
    assert len(names) == 10
    for name in names:
        stem, digits, suffix = name.rsplit(".", 2)
        assert hashlib.sha256((root / name).read_bytes()).hexdigest()[:DIGITS] == digits
        assert (root / f"{stem}.{suffix}").exists() == (stem in ("js/hyper", "js/landings"))


def test_new_results_come_under_new_names_and_what_did_not_change_keeps_its_own(tmp_path: Path) -> None:
    records = made.history(tmp_path)
    before = loaded(build(records[:-1], tmp_path / "web", title="Title"))
    now = loaded(build(records, tmp_path / "web", title="Title"))
    assert {name.split(".")[0] for name in set(now) - set(before)} == {"js/hyper", "js/landings"}


@pytest.mark.parametrize("number", [0, 1])
def test_the_data_are_published_under_their_plain_names_as_well(tmp_path: Path, number: int) -> None:
    root = tmp_path / "web"
    build(made.history(tmp_path)[:number], root, title="Title")
    collection = collect(root)
    assert {"js/hyper.js", "js/landings.js"} <= {str(asset.path) for asset in collection.assets}
    assert collection.left_out == ()


def test_no_style_sheet_and_no_script_of_ours_names_a_file_by_itself() -> None:
    """Its name would have to be in there, and nobody knows it when that is written."""
    folder = templates.folder() / "site"
    sheets, scripts = sorted(folder.rglob("*.css")), sorted(folder.rglob("*.js"))
    assert sheets and scripts
    for path in sheets:
        assert not re.search(r"@import|url\((?!\s*[\"']?(data:|#))|image-set", path.read_text()), path
    for path in scripts:
        assert not re.search(r"\bfetch\(|\bimport\b *[({\"'*]|\.src = *[\"'`]|XMLHttpRequest", path.read_text()), path
