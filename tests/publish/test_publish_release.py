"""Releases to real servers: what is there afterwards, what is refused, and what a failure leaves."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from deepspeech_wer.errors import EXIT_PUBLISH_FAILED, PublishError
from deepspeech_wer.publish.release import MANIFEST, publish


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def temporaries(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".deepspeech-wer-*")]


def test_a_release_is_all_of_the_site_and_a_manifest(server: Any, site: Path, site_files: set[str]) -> None:
    release = publish(site, server.target())
    published = tree(server.home / "www")
    manifest = json.loads(published.pop(MANIFEST))
    assert published == {name: (site / name).read_bytes() for name in site_files}
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in published.items()
    }
    assert manifest["version"] == 1
    assert datetime.fromisoformat(manifest["published"]).tzinfo is not None
    assert (release.files, release.bytes) == (5, sum(map(len, published.values())))
    assert release.left_out == () and release.seconds > 0
    assert temporaries(server.home) == []


def test_publishing_again_replaces_what_changed_and_keeps_the_rest(server: Any, site: Path) -> None:
    publish(site, server.target())
    (server.home / "www" / "older.html").write_text("from an older release")
    (site / "js/hyper.js").write_text("window.ALL_THE_DATA = [1];")
    publish(site, server.target())
    assert (server.home / "www/js/hyper.js").read_text() == "window.ALL_THE_DATA = [1];"
    assert (server.home / "www/older.html").exists()


@pytest.mark.parametrize("root", ["www", "~/www", "./www/", "absolute"])
def test_the_root_is_relative_to_the_login_folder_or_absolute(
    start_server: Callable[..., Any], site: Path, root: str
) -> None:
    server = start_server("openssh")
    publish(site, server.target(str(server.home / "www") if root == "absolute" else root))
    assert (server.home / "www/index.html").exists()


def test_an_empty_root_is_used_and_the_login_folder_may_be_it(server: Any, site: Path) -> None:
    publish(site, server.target("."))
    assert (server.home / "index.html").exists()


def test_an_old_installations_root_is_used(server: Any, site: Path) -> None:
    root = server.home / "www"
    root.mkdir()
    (root / ".htaccess").write_text("")
    (root / "index.htm").write_text("old")
    (root / "img").mkdir()
    publish(site, server.target())
    assert (root / "index.html").exists() and (root / "index.htm").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("wp-config.php", "<?php", "'wp-config.php'"),
        ("index.htm", "without .htaccess", "'index.htm'"),
        (MANIFEST, "{}", "not a manifest of ours"),
        (MANIFEST, "not json", "not a manifest of ours"),
        (MANIFEST, "[" * 100_000, "not a manifest of ours"),
        (MANIFEST, '{"format": "deepspeech-wer web root"}', "has no version"),
        (MANIFEST, '{"format": "deepspeech-wer web root", "version": 2}', "upgrade"),
        (MANIFEST + "/x", "a folder of that name", "is not a file"),
    ],
)
def test_somebody_elses_root_is_not_touched(server: Any, site: Path, name: str, content: str, told: str) -> None:
    path = server.home / "www" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(PublishError) as caught:
        publish(site, server.target())
    assert told in caught.value.message and "www" in caught.value.message
    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert caught.value.hint and caught.value.exit_code == EXIT_PUBLISH_FAILED
    assert tree(server.home) == {f"www/{name}": content.encode()}


def test_a_manifest_that_is_a_symbolic_link_is_not_ours(server: Any, site: Path) -> None:
    publish(site, server.target())
    manifest = server.home / "www" / MANIFEST
    manifest.rename(server.home / "moved")
    manifest.symlink_to("../moved")
    with pytest.raises(PublishError, match="is not a file"):
        publish(site, server.target())


def test_a_root_whose_parent_is_not_there_is_not_made(server: Any, site: Path) -> None:
    with pytest.raises(PublishError, match=r"a/b.*where the web root a/b/www is to be made"):
        publish(site, server.target("a/b/www"))
    assert tree(server.home) == {}


def test_a_root_that_is_a_file_is_told(server: Any, site: Path) -> None:
    (server.home / "www").write_text("a file")
    with pytest.raises(PublishError, match="www is a file there"):
        publish(site, server.target())


@pytest.mark.parametrize("root", ["", "  ", "~other/www"])
def test_a_root_that_names_no_folder_is_a_setting_to_mend(
    start_server: Callable[..., Any], site: Path, root: str
) -> None:
    with pytest.raises(PublishError) as caught:
        publish(site, start_server("asyncssh").target(root))
    assert "ds_website_server_root" in caught.value.hint


def test_a_folder_in_the_way_of_a_file_is_told_before_anything_is_sent(server: Any, site: Path) -> None:
    publish(site, server.target())
    page = server.home / "www/index.html"
    page.unlink()
    page.mkdir()
    (site / "js/hyper.js").write_text("newer")
    with pytest.raises(PublishError, match=r"index\.html is a folder there"):
        publish(site, server.target())
    assert (server.home / "www/js/hyper.js").read_text() != "newer"


def test_a_file_in_the_way_of_a_folder_is_told(server: Any, site: Path) -> None:
    (server.home / "www").mkdir()
    publish(site, server.target())
    (server.home / "www/runs/1.html").unlink()
    (server.home / "www/runs").rmdir()
    (server.home / "www/runs").write_text("a file")
    with pytest.raises(PublishError, match="www/runs is a file there"):
        publish(site, server.target())


def test_what_a_killed_release_left_is_swept(server: Any, site: Path) -> None:
    root = server.home / "www"
    root.mkdir()
    # Killed at the very first file: there is nothing but a temporary one, and the root is still ours to take.
    (root / ".deepspeech-wer-0123456789abcdef.tmp").write_text("half")
    publish(site, server.target())
    (root / "js/.deepspeech-wer-0123456789abcdef.tmp").write_text("half")
    (root / "js/.deepspeech-wer-notes.txt").write_text("not a temporary file")
    publish(site, server.target())
    assert temporaries(root) == [".deepspeech-wer-notes.txt"]


def test_progress_counts_the_bytes_of_the_whole_release(server: Any, site: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    release = publish(site, server.target(), progress=lambda *step: seen.append(step))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert {total for _, _, total in seen} == {release.bytes} == {seen[-1][1]}
    assert seen[-1][0] == "index.html" and len(seen) > 10


def test_data_come_before_pages_and_the_page_is_last(server: Any, site: Path) -> None:
    order: list[str] = []
    publish(site, server.target(), progress=lambda path, done, total: order.append(path))
    paths = list(dict.fromkeys(order))
    assert paths[-2:] == ["runs/1.html", "index.html"] and "js/hyper.js" in paths[:3]


def test_a_failing_progress_ends_the_release_and_leaves_no_temporary_file(server: Any, site: Path) -> None:
    publish(site, server.target())
    before = tree(server.home)

    def interrupt(path: str, done: int, total: int) -> None:
        if done > 50_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(site, server.target(), progress=interrupt)
    assert temporaries(server.home) == [] and tree(server.home).keys() == before.keys()


def test_a_first_release_that_breaks_off_can_be_made_good(server: Any, site: Path) -> None:
    def interrupt(path: str, done: int, total: int) -> None:
        if path == "index.html":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(site, server.target(), progress=interrupt)
    assert not (server.home / "www/index.html").exists()
    publish(site, server.target())
    assert (server.home / "www/index.html").exists()


def test_a_disk_that_takes_no_more_is_told_and_the_old_file_stays(start_server: Callable[..., Any], site: Path) -> None:
    server = start_server("openssh", largest_file=200_000)
    publish(site, server.target())
    old = (server.home / "www/js/hyper.js").read_bytes()
    (site / "js/hyper.js").write_text("x" * 300_000)
    with pytest.raises(PublishError, match=r"could not upload www/js/hyper\.js") as caught:
        publish(site, server.target())
    assert "df -h" in caught.value.hint
    assert (server.home / "www/js/hyper.js").read_bytes() == old
    assert temporaries(server.home) == []


class _Truncating(asyncssh.SFTPServer):
    """A server that says yes to every write and keeps none of it after the first 1000 bytes."""

    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        super().write(file_obj, offset, data[: max(0, 1000 - offset)])
        return len(data)


def test_a_file_that_did_not_arrive_whole_is_not_put_in_place(start_server: Callable[..., Any], site: Path) -> None:
    server = start_server("asyncssh", sftp=_Truncating)
    with pytest.raises(PublishError, match=r"js/hyper.js: 1000 bytes of \d+ arrived"):
        publish(site, server.target())
    assert not (server.home / "www/js/hyper.js").exists() and temporaries(server.home) == []


class _PlainRename(asyncssh.SFTPServer):
    """A server without OpenSSH's extension: its rename does not replace."""

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("posix-rename")


class _NoPages(_PlainRename):
    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        if newpath.endswith(b"index.html") and b"new" in Path(os.fsdecode(self.map_path(oldpath))).read_bytes():
            raise asyncssh.SFTPFailure("no")
        super().rename(oldpath, newpath)


def test_a_server_without_posix_rename_is_served_too(start_server: Callable[..., Any], site: Path) -> None:
    server = start_server("asyncssh", sftp=_PlainRename)
    publish(site, server.target())
    (site / "index.html").write_text("new")
    publish(site, server.target())
    assert (server.home / "www/index.html").read_text() == "new"
    assert temporaries(server.home) == []


def test_without_posix_rename_the_old_file_goes_back_if_the_new_one_is_refused(
    start_server: Callable[..., Any], site: Path
) -> None:
    server = start_server("asyncssh", sftp=_NoPages)
    publish(site, server.target())
    old = (server.home / "www/index.html").read_bytes()
    (site / "index.html").write_text("new")
    with pytest.raises(PublishError, match="could not rename"):
        publish(site, server.target())
    assert (server.home / "www/index.html").read_bytes() == old
    assert temporaries(server.home) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to let another user log in")
def test_no_permission_is_told_with_the_folder(start_server: Callable[..., Any], site: Path, tmp_path: Path) -> None:
    # That user cannot look into this test's folder, so the key comes from a command.
    keys = f"AuthorizedKeysCommand /bin/cat {tmp_path}/server1/authorized_keys"
    settings = ("AuthorizedKeysFile none", keys, "AuthorizedKeysCommandUser root")
    server = start_server("openssh", username="nobody", settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with pytest.raises(PublishError, match=f"could not make the folder {folder}/www: permission denied") as caught:
            publish(site, server.target(f"{folder}/www"))
    assert "nobody" in caught.value.hint


def test_links_out_of_the_site_are_told_and_the_rest_is_published(server: Any, site: Path) -> None:
    with (site / "index.html").open("a") as page:
        page.write('<a href="../../.ssh/id_rsa">key</a><img src="absent.png">')
    release = publish(site, server.target())
    assert len(release.left_out) == 2 and release.files == 5
    assert "'../../.ssh/id_rsa'" in release.left_out[0] and "leads out of the web root" in release.left_out[0]
    assert "'absent.png'" in release.left_out[1] and "is not there" in release.left_out[1]


def test_a_site_without_a_page_does_not_even_connect(tmp_path: Path, start_server: Callable[..., Any]) -> None:
    server = start_server("asyncssh")
    with pytest.raises(PublishError, match="no page to publish") as caught:
        publish(tmp_path, server.target(privkey=tmp_path / "absent"))
    assert "site build" in caught.value.hint


def test_a_disk_that_cannot_be_read_is_told(
    start_server: Callable[..., Any], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr("deepspeech_wer.publish.release.open_source", lambda asset: Broken())
    with pytest.raises(PublishError, match=r"cannot read .*: Input/output error"):
        publish(site, start_server("asyncssh").target())
