"""Servers that refuse one thing, lie about what they wrote, or answer rubbish; and what stands in the way on a server.

Each ends in bounded time with a message that names the step and the path; the site that was there stays whole, and
without the fault the next publish succeeds.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.publish.release import Manner, publish
from publish import lying
from publish.ground import Ground
from publish.standing import NEW, OLD, TIMEOUT, Standing
from publish.versions import write

Start = Callable[..., Any]


@pytest.fixture(params=["atomic", "plain"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def standing(start_server: Start, tmp_path: Path, way: str) -> tuple[Standing, Any]:
    """A site on a good server."""
    server = start_server("openssh")
    return Standing.begin(tmp_path, server.target(), server.home / "www", way), server


# What it says it wrote ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (lying.Flipping, ("could not upload www/.deepspeech-wer/incoming/", "something else than what was sent")),
        (lying.Truncating, ("could not upload www/.deepspeech-wer/incoming/", "1000 bytes of")),
        (lying.Forgetting, ("could not upload www/.deepspeech-wer/incoming/", "0 bytes of")),
        (lying.Denying, ("could not upload www/.deepspeech-wer/incoming/", "permission denied")),
        (lying.NoRename, ("could not", " www/.deepspeech-wer/", "permission denied")),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_server_that_lies_or_refuses(
    start_server: Start, tmp_path: Path, way: str, kind: type[lying.Ill], words: tuple[str, ...]
) -> None:
    kind = lying.fresh(kind)
    kind.is_well = True
    server = start_server("asyncssh", sftp=kind)
    standing = Standing.begin(tmp_path, server.target(), server.home / "www", way)
    kind.is_well = False
    error = standing.fails(server.target(timeout=TIMEOUT), *words)
    assert "of the site" in error.message or "upload" not in error.message
    kind.is_well = True
    standing.is_made_good(server.target())


@pytest.mark.parametrize("kind", [lying.Flipping, lying.Truncating, lying.Forgetting, lying.NoRename])
def test_a_first_publish_to_such_a_server_shows_nothing(
    start_server: Start, tmp_path: Path, way: str, kind: type[lying.Ill]
) -> None:
    kind = lying.fresh(kind)
    server = start_server("asyncssh", sftp=kind)
    standing = Standing(Ground(server.home / "www", [NEW]), write(tmp_path / "new", NEW), Manner(way=way, retries=0))
    with pytest.raises(Exception, match=r"could not|cannot"):
        standing.publish(server.target(timeout=TIMEOUT))
    assert not (server.home / "www/index.html").exists() and not (server.home / "www/current").exists()
    kind.is_well = True
    standing.is_made_good(server.target())


# What it cannot do ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [lying.NoPosixRename, lying.NoSymlink, lying.NoHardLink, lying.Plainest])
def test_a_server_that_can_do_less_gets_plain_releases_by_itself(
    start_server: Start, tmp_path: Path, kind: type[Any]
) -> None:
    server = start_server("asyncssh", sftp=kind)
    old, new = write(tmp_path / "old", OLD), write(tmp_path / "new", NEW)
    assert publish(old, server.target()).way == "plain"
    ground = Ground(server.home / "www", [OLD, NEW])
    ground.settle()
    assert publish(new, server.target()).way == "plain"
    assert (ground.differs(NEW), ground.wrong(), ground.leftovers()) == ([], [], [])
    assert ground.missed_by_readers_of(OLD) == []
    standing = Standing(Ground(server.home / "forced", []), new, Manner(way="atomic"))
    error = standing.fails(server.target("forced"), "cannot hold atomic releases", "ds_website_release=plain")
    assert "could not" in error.message


def test_one_session_at_a_time_is_enough(start_server: Start, tmp_path: Path, way: str) -> None:
    server = start_server("openssh", settings=["MaxSessions 1"])
    standing = Standing.begin(tmp_path, server.target(), server.home / "www", way)
    for number in range(600):  # more than one channel would be used
        (standing.new / f"more{number}.bin").write_bytes(number.to_bytes(2, "big") * 500)
    links = "".join(f'<a href="more{number}.bin"></a>' for number in range(600))
    (standing.new / "more.html").write_text(links)
    release = standing.publish(server.target(), page="more.html")
    assert release.files == 601 and (server.home / "www/more599.bin").read_bytes() == b"\x02\x57" * 500


@pytest.mark.parametrize("kind", lying.RUBBISH)
def test_a_server_that_answers_rubbish(start_server: Start, tmp_path: Path, kind: str) -> None:
    server = start_server("asyncssh", **lying.answering(kind))
    standing = Standing(Ground(server.home, []), write(tmp_path / "new", NEW), Manner(retries=0))
    standing.fails(server.target(timeout=TIMEOUT), "could not")


# What is in the way ---------------------------------------------------------------------------------------------------


def test_a_folder_where_a_file_has_to_be(standing: tuple[Standing, Any], way: str) -> None:
    site, server = standing
    page = server.home / ("www/current/runs" if way == "atomic" else "www/runs") / "3.html"
    page.unlink()
    (page / "mine").mkdir(parents=True)
    if way == "atomic":  # a release is a folder of its own, in which nothing is in the way
        site.publish(server.target())
        assert site.ground.differs(NEW) == []
        return
    with pytest.raises(Exception, match=r"www/runs/3\.html is a folder there, and has to be a file"):
        site.publish(server.target())
    shutil.rmtree(page)
    site.is_made_good(server.target())


@pytest.mark.parametrize("what", ["a file", "a symbolic link out", "a symbolic link in"])
def test_something_else_where_a_folder_has_to_be(standing: tuple[Standing, Any], way: str, what: str) -> None:
    site, server = standing
    folder, outside = server.home / "www/js", server.home / "outside"
    moved = server.home / "moved"
    outside.mkdir()
    folder.rename(moved)
    if what == "a file":
        folder.write_text("mine")
    else:
        folder.symlink_to(outside if what.endswith("out") else "pictures")
    with pytest.raises(Exception, match=r"www/js is .*there, and (has to be a folder|publishing did not make it)"):
        site.publish(server.target())
    assert list(outside.iterdir()) == [] and len(list((server.home / "www/pictures").iterdir())) == 1
    folder.unlink()
    moved.rename(folder)
    site.is_made_good(server.target())


@pytest.mark.parametrize("name", [".deepspeech-wer", ".deepspeech-wer/incoming", "releases", "current"])
def test_a_folder_of_ours_that_is_a_symbolic_link_is_not_written_through(
    standing: tuple[Standing, Any], way: str, name: str
) -> None:
    site, server = standing
    folder, outside, moved = server.home / "www" / name, server.home / "outside", server.home / "moved"
    if way == "plain" and not folder.exists():
        pytest.skip("the plain way has no such folder")
    was = folder.readlink() if folder.is_symlink() else None
    outside.mkdir()
    (outside / "precious").write_text("theirs")
    if was:
        folder.unlink()
    else:
        folder.rename(moved)
    folder.symlink_to(outside)
    with pytest.raises(Exception, match=r"www/"):
        site.publish(server.target())
    assert [path.name for path in outside.rglob("*")] == ["precious"]
    folder.unlink()
    if was:
        folder.symlink_to(was)
    else:
        moved.rename(folder)
    site.is_made_good(server.target())


def test_somebody_elses_file_where_a_new_one_has_to_be(standing: tuple[Standing, Any], way: str) -> None:
    site, server = standing
    (site.new / "new.html").write_text("new")
    with (site.new / "index.html").open("a") as page:
        page.write('<a href="new.html">new</a>')
    theirs = server.home / "www/new.html"
    theirs.write_text("theirs")
    with pytest.raises(Exception, match=r"www/new\.html .*publishing did not make it"):
        site.publish(server.target())
    assert theirs.read_text() == "theirs" and site.ground.wrong() == []
    theirs.unlink()
    site.publish(server.target())
    assert theirs.read_text() == "new"


def test_a_file_of_ours_that_somebody_changed_is_made_good(standing: tuple[Standing, Any], way: str) -> None:
    site, server = standing
    shown = server.home / ("www/current" if way == "atomic" else "www")
    changed = [path for path in OLD if path in NEW and path.startswith("js/part") and OLD[path] == NEW[path]][:2]
    (shown / changed[0]).write_bytes(b"changed")
    (shown / changed[1]).unlink()
    release = site.publish(server.target())
    assert site.ground.differs(NEW) == [] and any("changed since they were published" in note for note in release.notes)


def test_a_disk_that_changed_a_file_behind_its_back_is_found_by_verify(
    standing: tuple[Standing, Any], way: str
) -> None:
    site, server = standing
    site.publish(server.target())
    shown = server.home / ("www/current" if way == "atomic" else "www")
    path = next(path for path in NEW if path.startswith("js/part"))
    info = (shown / path).stat()
    (shown / path).write_bytes(bytes(info.st_size))
    os.utime(shown / path, (info.st_mtime, info.st_mtime))
    assert not site.publish(server.target()).is_new
    assert site.ground.differs(NEW) == [path]
    site.publish(server.target(), manner=replace(site.manner, verify=True))
    assert site.ground.differs(NEW) == []
