"""A folder of this machine as the place: its disk is full, may not be written to, holds something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech_wer.publish.target import Folder
from publish.reader import Reader, served
from publish.standing import NEW, OLD, Standing, as_root, small_disk
from publish.versions import LOOSE


@pytest.fixture(params=["atomic", "plain"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_reader_looks_on(tmp_path: Path, way: str) -> None:
    place = Folder(tmp_path / "www")
    standing = Standing.begin(tmp_path, place, place.root, way)
    bases = ["/www/", *(["/www/current/"] if way == "atomic" else [])]
    with served(tmp_path) as address, Reader(address, bases, [OLD, NEW], LOOSE) as reader:
        standing.is_made_good(place)
        reader.settle()
    assert reader.failures == []


@as_root
def test_a_disk_that_is_full(tmp_path: Path, way: str) -> None:
    with small_disk(tmp_path / "disk", 640) as mount:
        place = Folder(tmp_path / "disk/www")
        standing = Standing.begin(tmp_path, place, place.root, way)
        standing.fails(place, "could not upload", str(place.root), "of the site", "No space left", "df -h")
        mount("size=4000k")
        standing.is_made_good(place)


@as_root
def test_a_disk_that_is_read_only(tmp_path: Path, way: str) -> None:
    with small_disk(tmp_path / "disk", 4000) as mount:
        place = Folder(tmp_path / "disk/www")
        standing = Standing.begin(tmp_path, place, place.root, way)
        mount("ro")
        standing.fails(place, "could not", str(place.root), "Read-only file system")
        mount("rw")
        standing.is_made_good(place)


def test_a_file_in_the_way_of_a_folder(tmp_path: Path, way: str) -> None:
    place = Folder(tmp_path / "www")
    standing = Standing.begin(tmp_path, place, place.root, way)
    (place.root / "js").rename(tmp_path / "js")
    (place.root / "js").write_text("mine")
    with pytest.raises(Exception, match=r"www/js is "):
        standing.publish(place)
    assert (place.root / "js").read_text() == "mine"
    (place.root / "js").unlink()
    (tmp_path / "js").rename(place.root / "js")
    standing.is_made_good(place)


def test_a_folder_that_is_not_ours_is_not_touched(tmp_path: Path) -> None:
    place = Folder(tmp_path / "www")
    place.root.mkdir()
    (place.root / "thesis.txt").write_text("mine")
    standing = Standing.begin(tmp_path, Folder(tmp_path / "other"), tmp_path / "other")
    with pytest.raises(Exception, match=r"holds files that are not ours: 'thesis\.txt'"):
        standing.publish(place)
    assert [path.name for path in place.root.iterdir()] == ["thesis.txt"]


def test_a_folder_whose_parent_is_not_there_is_not_made(tmp_path: Path) -> None:
    standing = Standing.begin(tmp_path, Folder(tmp_path / "other"), tmp_path / "other")
    with pytest.raises(Exception, match="a/b"):
        standing.publish(Folder(tmp_path / "a/b/www"))
    assert not (tmp_path / "a").exists()
