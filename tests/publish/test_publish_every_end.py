"""A release ended at every single operation: readers see a whole site then, and the next try makes the release good.

The place is a folder, so that hundreds of ends are quick; what a server does the folder can be told to do as well: to
have no hard links or no replacing rename, to give up in the middle of an upload, to refuse, to go on after a refusal.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish import operations as op
from deepspeech_wer.publish import release
from deepspeech_wer.publish.folder import FolderStore
from deepspeech_wer.publish.release import Manner, publish
from deepspeech_wer.publish.rollback import rollback
from deepspeech_wer.publish.target import Folder

FOREIGN = "somebody else's"


class Trouble(FolderStore):
    """A folder that breaks off, or refuses, at one operation that changes something; counts them."""

    end = -1
    refuse = False
    count = 0
    sent = 0
    links = replaces = in_order = True

    def run(self, chains: Sequence[op.Chain], progress: op.Progress | None = None) -> list[list[Any]]:
        answers = []
        for chain in chains:
            answered: list[Any] = []
            for operation in chain:
                stopped = answered and isinstance(answered[-1], op.Refusal) and not type(self).in_order
                answered.append(op.Refusal("failed", "not tried") if stopped else self._tried(operation, progress))
            answers.append(answered)
        return answers

    def _tried(self, operation: op.Operation, progress: op.Progress | None) -> Any:
        kind = type(self)
        if isinstance(operation, op.Look | op.List | op.Read | op.Digest | op.ReadLink):
            return self._answer(operation, progress)
        kind.count += 1
        if kind.count == kind.end:
            if kind.refuse:
                return op.Refusal("failed", "no")
            if isinstance(operation, op.Put):
                self._half(operation)
            raise ConnectionFailed("the connection is gone", "")
        if isinstance(operation, op.Link) and not kind.links:
            return op.Refusal("unsupported", "no hard links here")
        if isinstance(operation, op.Rename) and not kind.replaces and os.path.lexists(operation.to):
            return op.Refusal("failed", "it exists")
        if isinstance(operation, op.Put) and operation.content.source:
            kind.sent += operation.content.size - operation.offset
        return self._answer(operation, progress)

    def _half(self, put: op.Put) -> None:
        with put.content.open() as source:
            data = source.read()
        Path(put.path).write_bytes(data[: max(put.offset, len(data) // 2)])


@pytest.fixture(params=["everything", "no hard links", "no replacing rename", "out of order"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Trouble]]:
    class Kind(Trouble):
        links = request.param != "no hard links"
        replaces = request.param != "no replacing rename"
        in_order = request.param != "out of order"

    @contextlib.contextmanager
    def opened(place: Folder) -> Iterator[FolderStore]:
        yield Kind(place)

    monkeypatch.setattr(release, "opened", opened)
    yield Kind


def build(site: Path, version: int) -> None:
    """A site whose page loads assets of its own version; some stay, some go, some move, one is there twice."""
    shutil.rmtree(site, ignore_errors=True)
    files = {
        f"js/data.{version}.js": f"version {version}",
        f"css/site.{version // 2}.css": f"style {version // 2}",
        "js/const.js": "always the same",
        f"img/moved{version % 2}.png": "the same under another name",
        f"img/twice.{version}.png": f"twice {version}",
        f"img/again.{version}.png": f"twice {version}",
        "js/hyper.js": f"all the data, version {version}",
        f"runs/{version}/log.txt": f"log {version}",
    }
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(content)
    links = "".join(f'<a href="{path}">{content}</a>' for path, content in files.items() if path != "js/hyper.js")
    more = '<link rel="deepspeech-wer-data" href="js/hyper.js"><a href="other.html">more</a>'
    (site / "other.html").write_text(f"other {version}" + links)
    (site / "index.html").write_text(f"version {version} " + links + more)


def require_whole(root: Path, *versions: int) -> int:
    """What a reader sees: a page of one of the versions, and all that it loads as that version has it."""
    page = (root / "index.html").read_text()
    version = int(page.split()[1])
    assert version in versions
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', page)
    assert len(links) == 8
    for path, content in links[:-1]:
        assert (root / path).read_text() == content, path
    assert (root / "other.html").exists() and (root / "js/hyper.js").read_text().startswith("all the data")
    return version


def require_tidy(root: Path) -> None:
    for folder in ("incoming", "building"):
        path = root / ".deepspeech-wer" / folder
        assert not path.exists() or not list(path.iterdir()), list(path.iterdir())
    assert not list(root.rglob("*aside*"))


def prepared(tmp_path: Path, kind: type[Trouble], way: str) -> tuple[Path, Path]:
    if way == "atomic" and not (kind.links and kind.replaces):
        pytest.skip("such a place has no atomic releases")
    site, root = tmp_path / "site", tmp_path / "before"
    for version in (1, 2):
        build(site, version)
        publish(site, Folder(root), manner=Manner(way))
    top = foreign_folder(root, way)
    (root / "foreign.txt").write_text(FOREIGN)
    top.mkdir()
    (top / "too.txt").write_text(FOREIGN)
    build(site, 3)
    return site, root


def foreign_folder(root: Path, way: str) -> Path:
    return root / "js" / "foreign" if way == "plain" else root / "foreign"


def copied(source: Path, copy: Path) -> Path:
    """A copy of a folder with its times, its symbolic links, and its hard links among each other."""
    shutil.copytree(source, copy, symlinks=True)
    first: dict[int, Path] = {}
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            other = copy / path.relative_to(source)
            if (known := first.setdefault(path.lstat().st_ino, other)) is not other:
                other.unlink()
                os.link(known, other, follow_symlinks=False)
    return copy


@pytest.mark.parametrize("refuse", [False, True], ids=["broken off", "refused"])
@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_a_release_that_ends_at_any_operation(tmp_path: Path, kind: type[Trouble], way: str, refuse: bool) -> None:
    site, before = prepared(tmp_path, kind, way)
    kind.count = kind.sent = 0
    publish(site, Folder(copied(before, tmp_path / "whole")))
    steps, once = kind.count, kind.sent
    assert steps > 20
    total = 0
    for end in range(1, steps + 1):
        root = copied(before, tmp_path / f"root{end}")
        kind.count, kind.end, kind.refuse, kind.sent = 0, end, refuse, 0
        with contextlib.suppress(PublishError):
            publish(site, Folder(root), manner=Manner(retries=0))
            # To clear away what is needed no more may be refused: that fails nothing.
            assert refuse
        if kind.replaces or refuse:  # else between two requests there is no file at all
            require_whole(root, 2, 3)
        kind.end = -1
        publish(site, Folder(root))
        total += kind.sent
        assert require_whole(root, 3) == 3
        assert publish(site, Folder(root)).is_new is False
        require_tidy(root)
        assert (root / "foreign.txt").read_text() == (foreign_folder(root, way) / "too.txt").read_text() == FOREIGN
        rollback(Folder(root))
        assert require_whole(root, 2) == 2
        build(site, 4)
        publish(site, Folder(root))
        assert require_whole(root, 4) == 4
        assert (root / "js/data.2.js").exists() and not (root / "js/data.1.js").exists()
        build(site, 3)
        shutil.rmtree(root)
    # What arrived is not sent again, but for the half a file at which it broke off.
    assert 0.9 * once * steps < total < 1.1 * once * steps


@pytest.mark.parametrize("refuse", [False, True], ids=["broken off", "refused"])
@pytest.mark.parametrize("way", ["auto", "atomic", "plain"])
def test_a_first_release_that_ends_at_any_operation(
    tmp_path: Path, kind: type[Trouble], way: str, refuse: bool
) -> None:
    if way == "atomic" and not (kind.links and kind.replaces):
        pytest.skip("such a place has no atomic releases")
    site = tmp_path / "site"
    build(site, 1)
    publish(site, Folder(tmp_path / "whole"), manner=Manner(way))
    steps = kind.count
    for end in range(1, steps + 1):
        root = tmp_path / f"root{end}"
        kind.count, kind.end, kind.refuse = 0, end, refuse
        with contextlib.suppress(PublishError):
            publish(site, Folder(root), manner=Manner(way, retries=0))
            # To clear away what was tried may be refused; and so may what is tried, which then is done another way.
            assert refuse
        kind.end = -1
        publish(site, Folder(root))
        assert require_whole(root, 1) == 1
        require_tidy(root)
        shutil.rmtree(root)


@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_going_back_that_ends_at_any_operation(tmp_path: Path, kind: type[Trouble], way: str) -> None:
    site, before = prepared(tmp_path, kind, way)
    publish(site, Folder(before))
    kind.count = 0
    rollback(Folder(copied(before, tmp_path / "whole")))
    steps = kind.count
    for end in range(1, steps + 1):
        root = copied(before, tmp_path / f"root{end}")
        kind.count, kind.end = 0, end
        with contextlib.suppress(PublishError):
            rollback(Folder(root), manner=Manner(retries=0))
        if kind.replaces:
            require_whole(root, 2, 3)
        kind.end = -1
        publish(site, Folder(root))
        assert require_whole(root, 3) == 3
        rollback(Folder(root))
        assert require_whole(root, 2) == 2
        publish(site, Folder(root))
        assert require_whole(root, 3) == 3
        require_tidy(root)
        shutil.rmtree(root)
