"""A release that is interrupted after any single one of its operations: what readers find then, and the next release.

Here the place is a folder, so that each operation can be told from the next. What readers find is judged by the files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.publish import folder as folders
from deepspeech_wer.publish.release import Manner, publish
from deepspeech_wer.publish.rollback import rollback
from deepspeech_wer.publish.target import Folder
from publish.reader import judge, links_of
from publish.versions import LOOSE, version, write

OLD, NEW = version(1, files=40, size=400), version(2, files=40, size=400)
VERSIONS = (OLD, NEW)
#: Files of somebody else in the web root.
FOREIGN = {"notes.txt": b"mine", "pictures/cat.jpg": b"a cat"}
WAYS = ("atomic", "plain")


class Interrupted(BaseException):
    pass


@contextmanager
def operations(after: Callable[[int, object], None]) -> Iterator[None]:
    """Calls ``after`` with the number of each operation, counted from 1, once it is done."""
    count = 0
    answer = folders.FolderStore._answer

    def counted(self: folders.FolderStore, operation: Any, progress: Any) -> Any:
        nonlocal count
        answered = answer(self, operation, progress)
        count += 1
        after(count, operation)
        return answered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders.FolderStore, "_answer", counted)
        yield


def shown_in(root: Path) -> list[str]:
    """What is wrong with what readers find, whichever page they begin with and by whichever address."""
    bases = [root, *([root / "current"] if (root / "current").exists() else [])]
    return [
        f"{base}: {failure}"
        for base in bases
        for page in sorted(path for path in OLD if path.endswith(".html"))
        for failure in judge(lambda path, base=base: read(base / path), page, VERSIONS, LOOSE)[1]  # type: ignore[misc]
    ]


def read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def late(root: Path, has: Mapping[str, bytes] = OLD) -> list[str]:
    """What readers miss who have a page of the version that was there before."""
    needed = {path for page in has for path in links_of(page, has[page]) if not path.endswith(".html")}
    return sorted(path for path in needed.difference(LOOSE) if read(root / path) != has[path])


def leftovers(root: Path) -> list[str]:
    """What stands in the web root and ought to be gone."""
    ours = root / ".deepspeech-wer"
    found = [str(path) for name in ("incoming", "building") for path in (ours / name).glob("*")]
    for release in (root / "releases").glob("*"):
        listed = json.loads((release / ".deepspeech-wer.json").read_text())["files"]
        there = {str(path.relative_to(release)) for path in release.rglob("*") if path.is_file()}
        found += sorted(there ^ {*listed, ".deepspeech-wer.json"})
    if not (root / "releases").exists():
        listed = json.loads((root / ".deepspeech-wer.json").read_text())["files"]
        there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and ours not in path.parents}
        found += sorted(there ^ {*listed, ".deepspeech-wer.json", *FOREIGN})
    return found


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("sites")
    return write(base / "old", OLD), write(base / "new", NEW)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fresh(tmp_path: Path, sites: tuple[Path, Path], way: str) -> Callable[[], Path]:
    """A new web root each time that shows the old version, and holds files of somebody else."""
    before = tmp_path / "before"
    publish(sites[0], Folder(before), manner=Manner(way=way))
    write(before, FOREIGN)

    def copy() -> Path:
        root = tmp_path / "www"
        shutil.rmtree(root, ignore_errors=True)
        # With times and symbolic links; that hard links come apart does not matter here.
        shutil.copytree(before, root, symlinks=True)
        return root

    return copy


def test_readers_find_a_whole_site_after_each_operation(
    fresh: Callable[[], Path], sites: tuple[Path, Path], way: str
) -> None:
    root = fresh()
    seen: list[int] = []

    def look(number: int, operation: object) -> None:
        seen.append(number)
        assert (shown_in(root), late(root)) == ([], []), (number, operation)

    with operations(look):
        release = publish(sites[1], Folder(root), manner=Manner(way=way))
    assert release.way == way and release.is_new and len(seen) > 60
    assert all(read(root / path) == content for path, content in NEW.items())
    assert leftovers(root) == []


def test_a_release_interrupted_after_any_operation_is_made_good_by_the_next(
    fresh: Callable[[], Path], sites: tuple[Path, Path], way: str
) -> None:
    place = 0
    while True:
        place += 1
        root = fresh()

        def interrupt(number: int, operation: object, place: int = place) -> None:
            if number == place:
                raise Interrupted(operation)

        try:
            with operations(interrupt):
                publish(sites[1], Folder(root), manner=Manner(way=way))
        except Interrupted as operation:
            where = (place, str(operation))
        else:
            break
        assert (shown_in(root), late(root)) == ([], []), where
        again = publish(sites[1], Folder(root), manner=Manner(way=way))
        assert (shown_in(root), late(root), leftovers(root)) == ([], [], []), where
        assert all(read(root / path) == content for path, content in {**NEW, **FOREIGN}.items()), where
        assert again.notes == (), where
    assert place > 60


def test_readers_find_a_whole_site_after_each_operation_of_going_back(
    fresh: Callable[[], Path], sites: tuple[Path, Path], way: str
) -> None:
    root = fresh()
    publish(sites[1], Folder(root), manner=Manner(way=way))

    def look(number: int, operation: object) -> None:
        assert (shown_in(root), late(root, NEW)) == ([], []), (number, operation)

    with operations(look):
        rollback(Folder(root))
    assert all(read(root / path) == content for path, content in OLD.items())
    assert leftovers(root) == []


def test_going_back_that_is_interrupted_after_any_operation_is_made_good_by_the_next_try(
    fresh: Callable[[], Path], sites: tuple[Path, Path], way: str, tmp_path: Path
) -> None:
    root, both = fresh(), tmp_path / "both"
    publish(sites[1], Folder(root), manner=Manner(way=way))
    shutil.copytree(root, both, symlinks=True)
    place = 0
    while True:
        place += 1
        shutil.rmtree(root)
        shutil.copytree(both, root, symlinks=True)

        def interrupt(number: int, operation: object, place: int = place) -> None:
            if number == place:
                raise Interrupted(operation)

        try:
            with operations(interrupt):
                rollback(Folder(root))
        except Interrupted as operation:
            where = (place, str(operation))
        else:
            break
        assert (shown_in(root), late(root, NEW)) == ([], []), where
        if read(root / "index.html") != OLD["index.html"]:
            rollback(Folder(root))
        assert all(read(root / path) == content for path, content in {**OLD, **FOREIGN}.items()), where
        publish(sites[1], Folder(root), manner=Manner(way=way))
        assert (shown_in(root), leftovers(root)) == ([], []), where
        assert all(read(root / path) == content for path, content in {**NEW, **FOREIGN}.items()), where
    assert place > 10
