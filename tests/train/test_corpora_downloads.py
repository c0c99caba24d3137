"""Downloads over a line that breaks, and archives: from a web server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import shutil
import tarfile
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from deepspeech_train.corpora import _archives, _downloads
from deepspeech_train.corpora._progress import Progress
from deepspeech_train.errors import RecipeError

CONTENT = np.random.default_rng(3).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUIET = Progress("test", enabled=False)


class Server:
    """A web server that sends CONTENT, and breaks off where it is told to."""

    def __init__(self) -> None:
        self.ranges = True
        self.tag = '"one"'
        self.content = CONTENT
        #: Bytes after which each of the next answers ends.
        self.cuts: list[int] = []
        self.status = 0
        self.pause = 0.0
        #: The "Range" of each request.
        self.asked: list[str | None] = []
        self.url = ""

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.asked.append(asked)
        if self.status:
            request.send_error(self.status)
            return
        first = 0
        if asked and self.ranges and request.headers.get("If-Range") in (None, self.tag):
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first >= len(self.content):
            request.send_error(416)
            return
        body = self.content[first:]
        request.send_response(206 if first else 200)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", self.tag)
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        request.end_headers()
        request.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        request.wfile.flush()
        time.sleep(self.pause)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(_downloads, "WAITS", (0.01, 0.01))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=lambda: web.serve_forever(0.02))
        thread.start()
        made.url = f"http://127.0.0.1:{web.server_port}/data.tar.gz"
        try:
            yield made
        finally:
            web.shutdown()
            thread.join()


def get(server: Server, folder: Path, sha256: str | None = SHA256) -> Path:
    target = folder / "data.tar.gz"
    found = _downloads.download(server.url, target, QUIET, "name a local copy", sha256)
    assert found == hashlib.sha256(target.read_bytes()).hexdigest()
    assert [path.name for path in folder.iterdir()] == ["data.tar.gz"]
    return target


def failure(server: Server, folder: Path, sha256: str | None = SHA256) -> RecipeError:
    with pytest.raises(RecipeError) as raised:
        _downloads.download(server.url, folder / "data.tar.gz", QUIET, "name a local copy", sha256)
    assert "name a local copy" in raised.value.hint
    assert not (folder / "data.tar.gz").exists()
    return raised.value


def test_a_cut_line_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.cuts = [300_000, 200_000, 0, 100]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=500000-", "bytes=500000-", "bytes=500100-"]


def test_a_line_that_breaks_often_but_brings_something_is_not_given_up(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0, 100_000, 0, 100_000, 0, 0, 100_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 9


def test_a_download_is_resumed_by_another_run(server: Server, tmp_path: Path) -> None:
    server.cuts = [400_000, 0, 0, 0]
    error = failure(server, tmp_path)
    assert "ended early: 400000 of 1000000 bytes" in error.message
    assert "goes on from there" in error.hint
    assert (tmp_path / "data.tar.gz.part").stat().st_size == 400_000
    server.asked.clear()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=400000-"]


@pytest.mark.parametrize("change", ["no ranges", "another file", "shorter file", "another address", "no memory of it"])
def test_what_cannot_be_gone_on_with_starts_over(server: Server, tmp_path: Path, change: str) -> None:
    server.cuts = [400_000, 0, 0, 0]
    failure(server, tmp_path)
    server.asked.clear()
    if change == "no ranges":
        server.ranges = False
    elif change == "another file":
        server.content, server.tag = CONTENT[::-1], '"two"'
    elif change == "shorter file":
        server.content = CONTENT[:1000]
    elif change == "another address":
        server.url = server.url.replace("data", "other")
    else:
        (tmp_path / "data.tar.gz.part.json").write_text("{}")
    assert get(server, tmp_path, None).read_bytes() == server.content
    assert server.asked[-1] is None or change in ("no ranges", "another file")


def test_a_wrong_checksum_is_told_and_nothing_kept(server: Server, tmp_path: Path) -> None:
    error = failure(server, tmp_path, "0" * 64)
    assert "something else than the file it was (1000000 bytes, SHA-256 " in error.message
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_refuses_is_told(server: Server, tmp_path: Path) -> None:
    server.status = 404
    assert "Not Found" in failure(server, tmp_path).message
    assert len(server.asked) == 1
    server.status = 503
    assert "503 Service Unavailable" in failure(server, tmp_path).message
    server.url = server.url.replace("http://127.0.0.1", "http://127.0.0.1.invalid")
    assert "cannot download http://127.0.0.1.invalid" in failure(server, tmp_path).message


def test_a_server_that_falls_silent_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_downloads, "TIMEOUT", 0.4)
    server.cuts, server.pause = [5000] + [0] * 9, 0.8
    assert "ended early: 5000 of 1000000 bytes: timed out" in failure(server, tmp_path).message


DiskUsage = namedtuple("DiskUsage", "total used free")


def test_a_disk_without_room_is_told_before(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "a.tar", a_file("a", b"x" * 1000))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(9, 8, 500))
    with pytest.raises(RecipeError, match="has room for"):
        _downloads.download(server.url, tmp_path / "b", QUIET, "", None)
    with pytest.raises(RecipeError, match="has room for"):
        _archives.unpack(archive, tmp_path / "to", QUIET)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]


def a_file(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def a_link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def test_progress_in_a_log(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = Progress("test", enabled=True)
    _downloads.download(server.url, tmp_path / "data.tar.gz", told, "", SHA256)
    lines = capsys.readouterr().err.splitlines()
    assert lines[3] == "test: downloading data.tar.gz, 1.00M of 1.00M B"
    assert lines[-1] == "test: computing the checksum, 1.00M of 1.00M B"
    archive = packed(tmp_path / "a.tar", a_file("a", CONTENT), a_file("b", CONTENT))
    _archives.unpack(archive, tmp_path / "to", told)
    assert capsys.readouterr().err.splitlines()[-1] == "test: unpacking a.tar, 2.01M of 2.01M B"


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(100_000)
    archive = packed(tmp_path / "a.tar.gz", a_file("x/a", content), a_file("x/y/b"), a_file("x/a2", content))
    (tmp_path / ".to.partial").mkdir()  # of one that was killed
    (tmp_path / ".to.partial" / "left").write_text("")
    _archives.unpack(archive, tmp_path / "to", QUIET)
    assert (tmp_path / "to/x/a").read_bytes() == (tmp_path / "to/x/a2").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "to"]
    archive.unlink()
    _archives.unpack(archive, tmp_path / "to", QUIET)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-2000]), "cannot be read to its end|read to its end"),
        (lambda path: path.write_bytes(b"<html>404</html>" * 99), "read to its end"),
        (lambda path: packed(path, a_file("x"), a_file("../evil")), "'../evil' leads out of the archive"),
        (lambda path: packed(path, a_file("x"), a_file("/evil")), "'/evil' leads out of the archive"),
    ],
)
def test_of_a_bad_archive_nothing_is_kept(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    archive = packed(tmp_path / "a.tar.gz", a_file("x/a", np.random.default_rng(0).bytes(9000)))
    damage(archive)
    with pytest.raises(_archives.BadArchive, match=message):
        _archives.unpack(archive, tmp_path / "to", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_links_are_made_only_within_the_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = packed(
        tmp_path / "a.tar",
        a_link("legacy/again.sph", "talk.sph"),
        a_link("legacy/talk.sph", "../data/talk.sph"),
        a_link("legacy/hard.sph", "data/talk.sph", tarfile.LNKTYPE),
        a_link("evil/up", "../../secret"),
        a_link("evil/absolute", str(tmp_path / "secret")),
        a_link("evil/hard", "../secret", tarfile.LNKTYPE),
        a_link("evil/nowhere", "nothing"),
        a_link("evil/device", "", tarfile.CHRTYPE),
        a_link("evil/folder", "../.."),
        a_file("evil/folder/written", b"through a link"),
        a_file("data/talk.sph", b"speech"),
    )
    _archives.unpack(archive, tmp_path / "to", Progress("test", enabled=True))
    to = tmp_path / "to"
    assert sorted(path.name for path in (to / "legacy").iterdir()) == ["again.sph", "hard.sph", "talk.sph"]
    assert {path.read_bytes() for path in (to / "legacy").iterdir()} == {b"speech"}
    assert [str(path.relative_to(to)) for path in to.rglob("evil/**/*")] == ["evil/folder", "evil/folder/written"]
    assert not (tmp_path / "written").exists()
    assert "6 members of a.tar are no files" in capsys.readouterr().err


def test_a_beginning_tells_of_what_it_is(server: Server, tmp_path: Path) -> None:
    server.cuts = [10, 0, 0, 0]
    failure(server, tmp_path)
    assert json.loads((tmp_path / "data.tar.gz.part.json").read_text()) == {
        "url": server.url,
        "validator": '"one"',
        "size": 1_000_000,
    }
