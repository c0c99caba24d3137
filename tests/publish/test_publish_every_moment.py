"""What readers find after each single operation of a release, also those who have a page of the release before.

The place is a folder, so that each operation can be told from the next; what readers find is judged by the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.publish import folder
from deepspeech_wer.publish.release import Manner, publish
from deepspeech_wer.publish.rollback import rollback
from deepspeech_wer.publish.target import Folder
from publish.ground import Ground
from publish.versions import version, write

OLD, NEW = version(1, files=40, size=400), version(2, files=40, size=400)


@contextmanager
def operations(after: Callable[[int, object], None]) -> Iterator[None]:
    """Calls ``after`` with the number of each operation, counted from 1, once it is done."""
    count = 0
    answer = folder.FolderStore._answer

    def counted(self: folder.FolderStore, operation: Any, progress: Any) -> Any:
        nonlocal count
        answered = answer(self, operation, progress)
        count += 1
        after(count, operation)
        return answered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder.FolderStore, "_answer", counted)
        yield


@pytest.fixture(params=["atomic", "plain"])
def manner(request: pytest.FixtureRequest) -> Manner:
    return Manner(way=request.param)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("old"), OLD)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("new"), NEW)


@pytest.fixture
def before(tmp_path: Path, old: Path, manner: Manner) -> Ground:
    """A web root that shows the old version, and holds files of somebody else; to be copied."""
    ground = Ground(tmp_path / "before", [OLD, NEW])
    publish(old, Folder(ground.root), manner=manner)
    ground.settle()
    return ground


@pytest.fixture
def after(tmp_path: Path, before: Ground, new: Path, manner: Manner) -> Ground:
    """The same, showing the new version."""
    ground = before.copy(tmp_path / "after")
    publish(new, Folder(ground.root), manner=manner)
    return ground


def test_readers_find_a_whole_site_after_each_operation(before: Ground, new: Path, manner: Manner) -> None:
    def look(number: int, operation: object) -> None:
        assert (before.wrong(), before.missed_by_readers_of(OLD)) == ([], []), (number, operation)

    with operations(look):
        release = publish(new, Folder(before.root), manner=manner)
    assert release.way == manner.way and release.is_new
    assert (before.differs(NEW), before.leftovers()) == ([], [])


def test_readers_find_a_whole_site_after_each_operation_of_going_back(after: Ground, manner: Manner) -> None:
    def look(number: int, operation: object) -> None:
        assert (after.wrong(), after.missed_by_readers_of(NEW)) == ([], []), (number, operation)

    with operations(look):
        rollback(Folder(after.root), manner=manner)
    assert (after.differs(OLD), after.leftovers()) == ([], [])
