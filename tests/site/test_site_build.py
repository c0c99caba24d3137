"""The web root: what is in it, what is written and removed, and that nothing of anybody else's is touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import site_records as made
import support
from deepspeech_wer.errors import SettingsError, TrackerError
from deepspeech_wer.results import archive, hyperjs
from deepspeech_wer.results.archive import RunRecord
from deepspeech_wer.site import logs
from deepspeech_wer.site.build import build
from deepspeech_wer.site.webroot import LIST

TITLE = "Word error rate of example/speech"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def page(root: Path) -> BeautifulSoup:
    return BeautifulSoup((root / "index.html").read_text(), "html.parser")


def plain_name(name: str) -> str:
    """A file's name without the hash that it may have."""
    return re.sub(r"\.[0-9a-f]{12}(\.\w+)$", r"\1", name)


def landings(root: Path) -> list[dict[str, object]]:
    text = (root / "js/landings.js").read_text()
    value = json.loads(text.removeprefix("window.LANDINGS = ").rstrip().removesuffix(";"))
    assert isinstance(value, list)
    return value


def test_the_whole_site_is_there(tmp_path: Path) -> None:
    records = made.history(tmp_path)
    root = tmp_path / "web"
    assert build(records, root, title=TITLE, repository="https://example.org/speech") == root / "index.html"
    files = contents(root)
    assert {"index.html", "js/hyper.js", "js/landings.js"} <= set(files)
    assert files["js/hyper.js"].decode() == hyperjs.merge(records)
    loaded = {plain_name(name): content for name, content in files.items() if name != plain_name(name)}
    assert {"css/site.css", "js/site.js", "js/plotly.min.js", "js/hyper.js", "js/landings.js"} <= set(loaded)
    assert loaded["js/hyper.js"] == files["js/hyper.js"] and loaded["js/landings.js"] == files["js/landings.js"]
    assert b"plotly.js v" in loaded["js/plotly.min.js"][:200]
    assert files["runs/3-first/log.txt"] == b"log of 3-first\n"
    assert set(json.loads(files[LIST])["files"]) == set(files) - {LIST}


def test_everything_the_page_names_is_in_the_web_root(tmp_path: Path) -> None:
    root = tmp_path / "web"
    build(made.history(tmp_path), root, title=TITLE)
    soup = page(root)
    names = [tag["src"] for tag in soup.find_all(src=True)] + [tag["href"] for tag in soup.find_all("link", href=True)]
    logs_named = [a["href"] for a in soup.find_all("a", href=True) if str(a["href"]).startswith("runs/")]
    assert len(set(logs_named)) == 6
    local = [str(name) for name in names if not str(name).startswith("data:")] + [str(name) for name in logs_named]
    assert all((root / name).is_file() for name in local)
    assert not any(":" in name or name.startswith("/") for name in local)


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = made.history(tmp_path)
    for name in ("one", "two"):
        build(records, tmp_path / name, title=TITLE)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    records, root = made.history(tmp_path), tmp_path / "web"
    build(records[:-1], root, title=TITLE)
    before = {name: (root / name).stat().st_ino for name in contents(root)}
    build(records, root, title=TITLE)
    written = {name for name in contents(root) if before.get(name) != (root / name).stat().st_ino}
    loaded = {name for name in written if name != plain_name(name)}
    assert {plain_name(name) for name in loaded} == {"js/hyper.js", "js/landings.js"}
    log = f"runs/{records[-1].run_id}/log.txt"
    assert written - loaded == {"index.html", "js/hyper.js", "js/landings.js", log, LIST}
    assert len({plain_name(name) for name in contents(root)}) == len(contents(root)) - 2, "the old data are gone"


def test_what_is_no_longer_part_of_the_site_goes_and_the_rest_stays(tmp_path: Path) -> None:
    records, root = made.history(tmp_path), tmp_path / "web"
    build(records, root, title=TITLE)
    mine = root / "runs/3-first/notes.txt"
    mine.write_text("mine")
    (root / ".htaccess").write_text("Deny from all")
    build(records[:2], root, title=TITLE)
    files = contents(root)
    assert files["runs/3-first/notes.txt"] == b"mine" and files[".htaccess"] == b"Deny from all"
    assert sorted(name for name in files if name.endswith("log.txt")) == [
        f"runs/{record.run_id}/log.txt" for record in records[:2]
    ]
    assert not (root / "runs/3-second").exists()


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    root = tmp_path / "web"
    root.mkdir()
    (root / "index.html").write_text("a page of mine")
    for _ in range(2):
        with pytest.raises(SettingsError) as caught:
            build(made.history(tmp_path), root, title=TITLE)
        assert str(root / "index.html") in caught.value.message and caught.value.hint
        assert contents(root) == {"index.html": b"a page of mine"}


def test_a_list_that_points_outside_deletes_nothing_outside(tmp_path: Path) -> None:
    root, precious = tmp_path / "web", tmp_path / "precious.txt"
    precious.write_text("keep")
    build([], root, title=TITLE)
    names = json.loads((root / LIST).read_text())["files"]
    (root / LIST).write_text(json.dumps({"files": [*names, "../precious.txt", str(precious)]}))
    build([], root, title=TITLE)
    assert precious.read_text() == "keep"


def test_a_list_that_cannot_be_read_is_an_error_with_a_hint(tmp_path: Path) -> None:
    root = tmp_path / "web"
    build([], root, title=TITLE)
    (root / LIST).write_text("{")
    with pytest.raises(TrackerError) as caught:
        build([], root, title=TITLE)
    assert LIST in caught.value.message and caught.value.hint


def test_a_build_that_is_stopped_leaves_a_site_that_the_next_one_makes_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, root = made.history(tmp_path), tmp_path / "web"
    build(records[:1], root, title=TITLE)
    page_before = (root / "index.html").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deepspeech_wer.files.os.fsync", full)
    with pytest.raises(TrackerError) as caught:
        build(records, root, title=TITLE)
    assert "No space left" in caught.value.message and caught.value.hint
    assert (root / "index.html").read_bytes() == page_before
    monkeypatch.undo()
    build(records, root, title=TITLE)
    build(records, tmp_path / "fresh", title=TITLE)
    assert contents(root) == contents(tmp_path / "fresh")


def test_the_page_is_written_after_all_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    real = os.replace

    def replace(source: str, target: str) -> None:
        written.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr("deepspeech_wer.files.os.replace", replace)
    build(made.history(tmp_path), tmp_path / "web", title=TITLE)
    assert written[0] == LIST and written[-1] == "index.html" and len(written) > 10


def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    lines = b"".join(b"line %07d of the training\n" % number for number in range(60_000))
    (tmp_path / "log.txt").write_bytes(lines)
    text = logs.read(tmp_path)
    assert len(text) <= logs.WHOLE + 100
    head, left_out, tail = text.split(b"\n\n")
    assert lines.startswith(head + b"\n") and lines.endswith(tail) and tail.startswith(b"line ")
    assert len(head) > 190_000 and len(tail) > 790_000
    assert int(left_out.split()[1]) == len(lines) - len(head) - 1 - len(tail)
    (tmp_path / "log.txt").write_bytes(lines[: logs.WHOLE])
    assert logs.read(tmp_path) == lines[: logs.WHOLE]


def test_only_logs_that_changed_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, root = made.history(tmp_path), tmp_path / "web"
    long = records[0].folder / "log.txt"
    long.write_bytes(b"a line of the training\n" * 60_000)
    asked: list[str] = []
    real = logs.read

    def read(folder: Path) -> bytes:
        asked.append(folder.name)
        return real(folder)

    def built() -> list[str]:
        asked.clear()
        build(records, root, title=TITLE)
        return sorted(set(asked))

    monkeypatch.setattr(logs, "read", read)
    names = [record.folder.name for record in records]
    assert built() == sorted(names) and built() == []
    changed = records[1].folder / "log.txt"
    later = (root / f"runs/{names[1]}/log.txt").stat().st_mtime_ns + 1
    changed.write_text("x" * changed.stat().st_size)
    os.utime(changed, ns=(later, later))
    assert built() == [names[1]] and (root / f"runs/{names[1]}/log.txt").read_text().startswith("xxx")
    (root / f"runs/{names[2]}/log.txt").unlink()
    assert built() == [names[2]]
    (root / f"runs/{names[3]}/log.txt").write_text("cut off")
    assert built() == [names[3]]
    assert contents(root)[f"runs/{names[3]}/log.txt"] == f"log of {names[3]}\n".encode()
    (root / f"runs/{names[4]}/log.txt").unlink()
    (root / f"runs/{names[4]}/log.txt").symlink_to(records[4].folder / "log.txt")
    assert built() == [names[4]], "a link is no copy"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "absent"])
def test_a_log_that_is_no_plain_file_is_not_published(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("secret")
    record = made.failed(tmp_path, 1)
    log = record.folder / "log.txt"
    log.unlink()
    {
        "link": lambda: log.symlink_to(secret),
        "pipe": lambda: os.mkfifo(log),
        "folder": log.mkdir,
        "absent": lambda: None,
    }[kind]()
    build([record], tmp_path / "web", title=TITLE)
    assert not (tmp_path / "web/runs").exists()
    assert page(tmp_path / "web").find("a", string="log") is None
    assert landings(tmp_path / "web")[0]["log"] is None


def test_a_run_id_cannot_lead_out_of_the_web_root(tmp_path: Path) -> None:
    record = made.failed(tmp_path, 1)
    climbing = RunRecord(**{**vars(record), "run_id": "../../../outside"})
    build([climbing], tmp_path / "web", title=TITLE)
    assert landings(tmp_path / "web")[0]["log"] == f"runs/{record.folder.name}/log.txt"
    assert not list(tmp_path.glob("**/outside*"))


def test_the_runs_of_2016_make_a_page(tmp_path: Path) -> None:
    archive.import_legacy(tmp_path, [support.shared_data("legacy")])
    records, troubles = archive.load(tmp_path)
    assert len(records) == 3 and not troubles
    build(records, tmp_path / "web", title=TITLE)
    soup = page(tmp_path / "web")
    assert [row["id"] for row in soup.select("tbody tr")] == [f"landing-{record.sha}" for record in reversed(records)]
    verdict = soup.select_one(".verdict")
    assert verdict and verdict.get_text(" ", strip=True).replace("\xa0", " ") == (
        "21.5 % test WER at 0f8242a , 0.1 points worse than the run before; best so far 21.4 % at fa0fc14 ."
    )
    assert len(hyperjs.read((tmp_path / "web/js/hyper.js").read_text())) == 3


def test_building_does_not_import_plotly_or_tensorflow() -> None:
    code = "import sys, deepspeech_wer.site.build as b; b._plotly(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"plotly", "tensorflow", "keras", "numpy"} & set(run.stdout.split())
