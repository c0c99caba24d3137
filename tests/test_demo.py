"""``bin/demo`` as a stranger runs it: real training, real SFTP, real figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import support
from deepspeech_wer.results import hyperjs

DEMO = support.ROOT / "bin" / "demo"
FAILED = "failed"


def start(folder: Path, *arguments: str, home: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ds_", "XDG_"))}
    return subprocess.Popen(
        [sys.executable, str(DEMO), str(folder), *arguments],
        env=environment | {"HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(900)
def test_five_landings_and_a_page(tmp_path: Path) -> None:
    if Path(sys.prefix).resolve() != (support.ROOT / ".venv").resolve():
        pytest.skip("bin/demo uses the checkout's .venv, and these tests run in another environment")
    home = tmp_path / "home"
    home.mkdir()
    folder = tmp_path / "demo"
    process = start(folder, "--no-serve", home=home)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert out.splitlines()[-1] == f"the page: {(folder / 'www' / 'index.html').as_uri()}"
    assert list(home.iterdir()) == [], "nothing outside the folder is touched"

    runs = hyperjs.read((folder / "www" / "js" / "hyper.js").read_text())
    log = subprocess.run(
        ["git", "-C", str(folder / "repository"), "log", "--first-parent", "--merges", "--reverse", "--format=%H"],
        capture_output=True,
        text=True,
        check=True,
    )
    baseline, improvement, worse, broken, repair = log.stdout.split()
    rates = {run["context"]["git_hash"]: run["results"]["test_wer"] for run in runs}
    assert list(rates) == [baseline, improvement, worse, repair], "in commit order; the broken one has no figures"
    assert rates[improvement] < rates[baseline]
    assert rates[worse] >= rates[improvement] + 0.10
    assert rates[repair] <= 0.20
    text = (folder / "www" / "js" / "landings.js").read_text()
    landings = json.loads(text[text.index("[") : text.rindex("]") + 1])
    assert [landing["sha"] for landing in landings if landing["state"] == FAILED] == [broken]
    last_sha1 = folder / "cache" / "deepspeech_wer" / "last_sha1"
    assert last_sha1.read_text().strip() == repair

    again = start(folder, home=home)
    assert again.stdout is not None
    try:
        address = next(line for line in again.stdout if line.startswith("the page: ")).split()[2]
        with urllib.request.urlopen(address) as page:
            assert baseline[:7] in page.read().decode()
    finally:
        again.terminate()
        again.communicate(timeout=30)
    assert len(list((folder / "data" / "deepspeech_wer" / "runs").iterdir())) == 5, "nothing is trained twice"


def test_ended_in_the_middle_it_leaves_nothing_running(tmp_path: Path) -> None:
    if Path(sys.prefix).resolve() != (support.ROOT / ".venv").resolve():
        pytest.skip("bin/demo uses the checkout's .venv, and these tests run in another environment")
    process = start(tmp_path / "demo", "--no-serve", home=tmp_path)
    lock = tmp_path / "demo" / "cache" / "deepspeech_wer" / "lock"
    while not (lock.exists() and lock.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    tick = int(lock.read_text().split()[1])
    time.sleep(2)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert not Path(f"/proc/{tick}").exists()
    assert not lock.exists()


@pytest.mark.parametrize("arguments", [("--port", "99999"), ("--port", "-1")])
def test_a_port_that_cannot_be_is_told_before_anything_is_done(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    process = start(tmp_path / "demo", *arguments, home=tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 2
    assert not (tmp_path / "demo").exists()


def test_a_folder_with_somebody_elses_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    process = start(tmp_path, "--fresh", "--no-serve", home=tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
