"""Releases to real servers: what is there afterwards, what is refused, and what a failure leaves."""

from __future__ import annotations

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
from deepspeech_wer.publish import manifest
from deepspeech_wer.publish.places import opened
from deepspeech_wer.publish.release import Manner, look, preview, publish
from deepspeech_wer.publish.target import Folder

MARK = manifest.NAME


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, as it lies there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def seen(root: Path) -> dict[str, bytes]:
    """What readers can get below the web root, without what is ours alone."""
    top = root / "current" if (root / "current").exists() else root
    return {path: data for path, data in tree(top.resolve()).items() if not path.startswith(".deepspeech-wer")}


def wanted(site: Path, names: set[str]) -> dict[str, bytes]:
    return {name: (site / name).read_bytes() for name in names}


def require_tidy(root: Path) -> None:
    left = [path for name in ("incoming", "building") for path in (root / ".deepspeech-wer" / name).glob("*")]
    assert left == []


@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_a_release_is_all_of_the_site_and_a_manifest(server: Any, site: Path, site_files: set[str], way: str) -> None:
    release = publish(site, server.target(), manner=Manner(way))
    root = server.home / "www"
    assert seen(root) == wanted(site, site_files)
    assert (root / "index.html").read_bytes() == (site / "index.html").read_bytes()
    said = json.loads((root / ("current" if way == "atomic" else "") / MARK).read_text())
    assert {path: (entry["sha256"], entry["size"]) for path, entry in said["files"].items()} == {
        path: (hashlib.sha256(data).hexdigest(), len(data)) for path, data in seen(root).items()
    }
    assert (said["version"], said["way"], said["release"], said["page"]) == (2, way, release.id, "index.html")
    assert datetime.fromisoformat(said["published"]).tzinfo is not None
    assert (release.files, release.bytes, release.carried) == (5, sum(map(len, seen(root).values())), 0)
    assert {path for path, _ in release.sent} == site_files and release.is_new and release.way == way
    assert release.left_out == release.notes == release.removed == () and release.seconds > 0
    require_tidy(root)


def test_an_empty_root_gets_atomic_releases_where_they_work(server: Any, site: Path) -> None:
    assert publish(site, server.target()).way == "atomic"
    assert (server.home / "www/index.html").readlink() == Path("current/index.html")
    assert (server.home / "www/js").readlink() == Path("current/js")


@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_only_what_changed_travels(server: Any, site: Path, site_files: set[str], way: str) -> None:
    publish(site, server.target(), manner=Manner(way))
    (site / "js/hyper.js").write_text("window.ALL_THE_DATA = [1];")
    (site / "img/dot.png").rename(site / "img/moved.png")
    (site / "css/style.css").write_text("body { background: url(../img/moved.png) }")
    foretold = preview(site, server.target())
    release = publish(site, server.target())
    assert {path for path, _ in release.sent} == {"js/hyper.js", "css/style.css"}
    assert (release.carried, release.removed, release.way) == (3, (), way)
    assert (foretold.sent, foretold.bytes, foretold.is_new) == (release.sent, release.bytes, True)
    # The picture under its old name stays for those who have the old page.
    assert seen(server.home / "www") == wanted(site, site_files - {"img/dot.png"} | {"img/moved.png"}) | {
        "img/dot.png": b"not really an image"
    }
    again = publish(site, server.target())
    assert (again.is_new, again.id, again.sent, again.carried) == (False, release.id, (), 5)
    require_tidy(server.home / "www")
    (site / "js/hyper.js").write_text("newer")
    assert publish(site, server.target()).removed == ("img/dot.png",)
    assert not (server.home / "www/img/dot.png").exists()


@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_a_page_that_is_no_more_goes_at_once(server: Any, site: Path, way: str) -> None:
    publish(site, server.target(), manner=Manner(way))
    (site / "index.html").write_text("alone")
    assert publish(site, server.target()).removed == ("runs/1.html",)
    assert not (server.home / "www/runs/1.html").exists()


@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_what_was_changed_there_is_made_good(server: Any, site: Path, site_files: set[str], way: str) -> None:
    root = server.home / "www"
    publish(site, server.target(), manner=Manner(way))
    (root / "css/style.css").write_text("defaced")
    (root / "js/hyper.js").unlink()
    release = publish(site, server.target())
    assert {path for path, _ in release.sent} == {"css/style.css", "js/hyper.js"}
    assert "changed since they were published" in release.notes[0] and "css/style.css" in release.notes[0]
    assert seen(root) == wanted(site, site_files)


@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_other_bytes_of_the_same_size_and_time_are_found_by_reading_them(server: Any, site: Path, way: str) -> None:
    root = server.home / "www"
    publish(site, server.target(), manner=Manner(way))
    file = root / "css/style.css"
    before = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert publish(site, server.target()).is_new is False
    release = publish(site, server.target(), manner=Manner(verify=True))
    assert [path for path, _ in release.sent] == ["css/style.css"]
    assert file.read_bytes() == (site / "css/style.css").read_bytes()


@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_releases_beyond_those_to_keep_are_removed(server: Any, site: Path, way: str) -> None:
    root = server.home / "www"
    for number in range(5):
        (site / "js/hyper.js").write_text(f"version {number}")
        publish(site, server.target(), manner=Manner(way, keep=2))
    folder = root / "releases" if way == "atomic" else root / ".deepspeech-wer" / "releases"
    assert len(list(folder.iterdir())) == (2 if way == "atomic" else 1)
    kept = {path.read_text() for path in (root / ".deepspeech-wer" / "kept").glob("*")}
    assert kept == (set() if way == "atomic" else {"version 3"})


def test_a_file_of_somebody_else_in_a_release_stays(server: Any, site: Path) -> None:
    root = server.home / "www"
    publish(site, server.target(), manner=Manner("atomic", keep=1))
    old = (root / "current").resolve()
    (old / "js/notes.txt").write_text("mine")
    for number in range(2):
        (site / "js/hyper.js").write_text(f"version {number}")
        release = publish(site, server.target(), manner=Manner(keep=1))
    assert {path.name for path in old.rglob("*") if path.is_file()} == {"notes.txt"}
    assert any(str(old.name) in note for note in release.notes) or not release.notes


def test_a_file_of_somebody_else_is_never_replaced(server: Any, site: Path) -> None:
    root = server.home / "www"
    publish(site, server.target(), manner=Manner("plain"))
    (root / "js/notes.js").write_text("mine")
    (site / "js/notes.js").write_text("ours")
    with (site / "index.html").open("a") as page:
        page.write('<script src="js/notes.js"></script>')
    before = tree(server.home)
    with pytest.raises(PublishError, match=r"www/js/notes\.js is a file there, and publishing did not make it"):
        publish(site, server.target())
    assert tree(server.home) == before


def test_a_name_that_is_taken_at_the_top_is_told(server: Any, site: Path) -> None:
    root = server.home / "www"
    publish(site, server.target())
    (root / "more.html").write_text("mine")
    (site / "more.html").write_text("ours")
    (site / "index.html").write_text('<a href="more.html">')
    with pytest.raises(PublishError, match=r"www/more\.html is there, and publishing did not make it"):
        publish(site, server.target())
    assert (root / "more.html").read_text() == "mine" and "runs/1.html" in (root / "index.html").read_text()


@pytest.mark.parametrize("name", ["current", "releases"])
def test_a_site_with_a_name_of_the_layout_is_published_plainly(server: Any, site: Path, name: str) -> None:
    (site / name).mkdir()
    (site / name / "x.txt").write_text("x")
    (site / "index.html").write_text(f'<a href="{name}/x.txt">')
    with pytest.raises(PublishError, match=f"named {name} at its top"):
        publish(site, server.target(), manner=Manner("atomic"))
    assert tree(server.home) == {}
    assert publish(site, server.target("other")).way == "plain"


@pytest.mark.parametrize("root", ["www", "~/www", "./www/", "absolute"])
def test_the_root_is_relative_to_the_login_folder_or_absolute(
    start_server: Callable[..., Any], site: Path, root: str
) -> None:
    server = start_server("openssh")
    for text in ("1", "2"):
        (site / "css/style.css").write_text(text)
        publish(site, server.target(str(server.home / "www") if root == "absolute" else root))
    assert (server.home / "www/css/style.css").read_text() == "2"


@pytest.mark.parametrize("way", ["atomic", "plain"])
def test_an_empty_root_is_used_and_the_login_folder_may_be_it(server: Any, site: Path, way: str) -> None:
    for text in ("1", "2"):
        (site / "css/style.css").write_text(text)
        publish(site, server.target("."), manner=Manner(way))
    assert (server.home / "css/style.css").read_text() == "2"


def test_an_old_installations_root_is_used_as_it_is(server: Any, site: Path) -> None:
    root = server.home / "www"
    (root / "js").mkdir(parents=True)
    (root / ".htaccess").write_text("")
    (root / "index.htm").write_text("old")
    (root / "js/hyper.js").write_text("old data")
    (root / "js/own.js").write_text("somebody's")
    assert publish(site, server.target()).way == "plain"
    assert (root / "index.html").is_file() and not (root / "index.html").is_symlink()
    assert (root / "js/hyper.js").read_bytes() == (site / "js/hyper.js").read_bytes()
    assert (root / "index.htm").read_text() == "old" and (root / "js/own.js").read_text() == "somebody's"
    with pytest.raises(PublishError, match=r"asks for atomic releases.* has plain ones") as caught:
        publish(site, server.target(), manner=Manner("atomic"))
    assert "empty folder" in caught.value.hint


def test_a_manifest_of_version_1_is_gone_on_with(server: Any, site: Path, site_files: set[str]) -> None:
    root = server.home / "www"
    files = {}
    for name in (*site_files, "js/gone.js"):
        data = (site / name).read_bytes() if name in site_files else b"gone"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (root / MARK).write_text(
        json.dumps({"format": manifest.FORMAT, "version": 1, "published": "2026-11-01T00:00:00Z", "files": files})
    )
    release = publish(site, server.target())
    assert (release.way, release.sent, release.is_new, release.carried) == ("plain", (), True, 5)
    (site / "js/hyper.js").write_text("new")
    assert publish(site, server.target()).removed == ("js/gone.js",)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("wp-config.php", "<?php", "'wp-config.php'"),
        ("index.htm", "without .htaccess", "'index.htm'"),
        (MARK, "{}", "not a manifest of ours"),
        (MARK, "not json", "not a manifest of ours"),
        (MARK, "[" * 100_000, "not a manifest of ours"),
        (MARK, '{"format": "deepspeech-wer web root"}', "has no version"),
        (MARK, '{"format": "deepspeech-wer web root", "version": 3}', "upgrade"),
        (MARK, '{"format": "deepspeech-wer web root", "version": 2, "files": {"../x": {}}}', "is damaged"),
        (MARK + "/x", "a folder of that name", "is not a file"),
    ],
)
def test_somebody_elses_root_is_not_touched(server: Any, site: Path, name: str, content: str, told: str) -> None:
    path = server.home / "www" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    for what in (publish, preview):
        with pytest.raises(PublishError) as caught:
            what(site, server.target())
        assert told in caught.value.message and "www" in caught.value.message
        assert f"127.0.0.1:{server.port}" in caught.value.message
        assert caught.value.hint and caught.value.exit_code == EXIT_PUBLISH_FAILED
    assert tree(server.home) == {f"www/{name}": content.encode()}


def test_a_manifest_that_is_a_symbolic_link_is_not_ours(server: Any, site: Path) -> None:
    publish(site, server.target())
    mark = server.home / "www" / MARK
    mark.rename(server.home / "moved")
    mark.symlink_to("../moved")
    with pytest.raises(PublishError, match="is not a file"):
        publish(site, server.target())


@pytest.mark.parametrize("there", ["folder", "link elsewhere"])
def test_a_current_that_is_not_our_link_is_not_touched(server: Any, site: Path, there: str) -> None:
    publish(site, server.target())
    current = server.home / "www/current"
    current.unlink()
    current.mkdir() if there == "folder" else current.symlink_to("/etc")
    with pytest.raises(PublishError, match="is not the link to a release"):
        publish(site, server.target())
    assert current.is_dir()


def test_a_mark_that_is_gone_is_made_again_where_the_release_says_whose_it_is(server: Any, site: Path) -> None:
    publish(site, server.target())
    (server.home / "www" / MARK).unlink()
    assert publish(site, server.target()).is_new is False
    assert json.loads((server.home / "www" / MARK).read_text())["way"] == "atomic"


def test_what_would_be_sent_is_looked_at_as_closely_as_in_publishing(server: Any, site: Path) -> None:
    root = server.home / "www"
    publish(site, server.target())
    file = root / "css/style.css"
    before = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert preview(site, server.target()).is_new is False
    foretold = preview(site, server.target(), manner=Manner(verify=True))
    assert ([path for path, _ in foretold.sent], len(foretold.notes)) == (["css/style.css"], 1)
    (root / "js/hyper.js").unlink()
    assert [path for path, _ in preview(site, server.target()).sent] == ["js/hyper.js"]


def test_somebody_else_who_publishes_there_at_the_moment_is_waited_for(
    server: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepspeech_wer.publish import atomic, release

    publish(site, server.target())
    (site / "js/hyper.js").write_text("newer")
    told: list[str] = []
    whole = atomic.tops

    def meanwhile(*arguments: Any) -> Any:
        if not told:
            for path in (server.home / "www/.deepspeech-wer/incoming").iterdir():
                path.unlink()
        return whole(*arguments)

    monkeypatch.setattr(atomic, "tops", meanwhile)
    monkeypatch.setattr(release, "FIRST_WAIT", 0.01)
    publish(site, server.target(), tell=told.append)
    assert len(told) == 1 and "somebody else seems to be publishing there" in told[0]
    assert (server.home / "www/js/hyper.js").read_text() == "newer"


def test_a_current_that_is_gone_is_made_again(server: Any, site: Path, site_files: set[str]) -> None:
    publish(site, server.target())
    (server.home / "www/current").unlink()
    release = publish(site, server.target())
    assert release.is_new and release.sent == ()
    assert seen(server.home / "www") == wanted(site, site_files)


def test_a_link_at_the_top_that_is_gone_is_made_again(server: Any, site: Path) -> None:
    publish(site, server.target())
    (server.home / "www/index.html").unlink()
    assert publish(site, server.target()).is_new is False
    assert (server.home / "www/index.html").read_bytes() == (site / "index.html").read_bytes()


def test_a_root_whose_parent_is_not_there_is_not_made(server: Any, site: Path) -> None:
    with pytest.raises(PublishError, match=r"could not look at a/b") as caught:
        publish(site, server.target("a/b/www"))
    assert "the web root a/b/www is to be made in it" in caught.value.hint
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


@pytest.mark.parametrize("there", ["folder", "link"])
def test_what_is_in_the_way_of_a_file_is_told_before_anything_changes(server: Any, site: Path, there: str) -> None:
    publish(site, server.target(), manner=Manner("plain"))
    page = server.home / "www/index.html"
    page.unlink()
    page.mkdir() if there == "folder" else page.symlink_to("/etc/passwd")
    (site / "js/hyper.js").write_text("newer")
    with pytest.raises(PublishError, match=r"index\.html is a (folder|symbolic link) there"):
        publish(site, server.target())
    assert (server.home / "www/js/hyper.js").read_text() != "newer"


@pytest.mark.parametrize("there", ["file", "link"])
def test_what_is_in_the_way_of_a_folder_is_told(server: Any, site: Path, there: str) -> None:
    publish(site, server.target(), manner=Manner("plain"))
    runs = server.home / "www/runs"
    (runs / "1.html").unlink()
    runs.rmdir()
    outside = server.home / "outside"
    outside.mkdir()
    runs.write_text("a file") if there == "file" else runs.symlink_to("../outside")
    with pytest.raises(PublishError, match=r"www/runs is a (file|symbolic link) there, and has to be a folder"):
        publish(site, server.target())
    assert list(outside.iterdir()) == []


def test_progress_counts_the_bytes_that_travel(server: Any, site: Path) -> None:
    told: list[tuple[str, int, int]] = []
    release = publish(site, server.target(), progress=lambda *step: told.append(step))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert {total for _, _, total in told} == {release.bytes} == {told[-1][1]}
    assert told[-1][0] == "5 of 5 files" and len(told) > 1


class _Refusing(asyncssh.SFTPServer):
    """A server that has not what it takes: some are honest about it, and some only refuse."""

    refused: tuple[str, ...] = ()

    def _check(self, name: str) -> None:
        if name in self.refused:
            raise asyncssh.SFTPOpUnsupported(name)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._check("posix_rename")
        super().posix_rename(oldpath, newpath)

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        self._check("link")
        super().link(oldpath, newpath)

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        self._check("symlink")
        super().symlink(oldpath, newpath)


@pytest.mark.parametrize("refused", [("link",), ("symlink",), ("posix_rename",), ("link", "symlink", "posix_rename")])
def test_a_server_that_cannot_hold_atomic_releases_gets_plain_ones(
    start_server: Callable[..., Any], site: Path, site_files: set[str], refused: tuple[str, ...]
) -> None:
    server = start_server("asyncssh", sftp=type("Refusing", (_Refusing,), {"refused": refused}))
    with pytest.raises(PublishError, match="cannot hold atomic releases") as caught:
        publish(site, server.target("forced"), manner=Manner("atomic"))
    assert "plain" in caught.value.hint
    for text in ("1", "2", "3"):
        (site / "css/style.css").write_text(text)
        assert publish(site, server.target()).way == "plain"
    assert seen(server.home / "www")["css/style.css"] == b"3"
    require_tidy(server.home / "www")


class _NoPages(_Refusing):
    refused = ("posix_rename",)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        if newpath.endswith(b"index.html") and b"new" in Path(os.fsdecode(self.map_path(oldpath))).read_bytes():
            raise asyncssh.SFTPFailure("no")
        super().rename(oldpath, newpath)


def test_without_posix_rename_the_old_file_goes_back_if_the_new_one_is_refused(
    start_server: Callable[..., Any], site: Path
) -> None:
    server = start_server("asyncssh", sftp=_NoPages)
    publish(site, server.target())
    old = (server.home / "www/index.html").read_bytes()
    (site / "index.html").write_text("new")
    with pytest.raises(PublishError, match=r"could not rename .*index\.html"):
        publish(site, server.target())
    assert (server.home / "www/index.html").read_bytes() == old


def test_a_disk_that_takes_no_more_is_told_and_the_old_site_stays(start_server: Callable[..., Any], site: Path) -> None:
    server = start_server("openssh", largest_file=200_000)
    publish(site, server.target())
    before = seen(server.home / "www")
    (site / "js/hyper.js").write_text("x" * 300_000)
    with pytest.raises(PublishError, match=r"could not upload .*\(it is js/hyper\.js of the site\)") as caught:
        publish(site, server.target())
    assert "df -h" in caught.value.hint
    assert seen(server.home / "www") == before


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


def test_looking_tells_whose_the_root_is_and_changes_nothing(server: Any, site: Path) -> None:
    def said() -> str:
        with opened(server.target()) as store:
            return look(store, server.target())

    assert "is not there yet" in said() and tree(server.home) == {}
    (server.home / "www").mkdir()
    assert "is empty: atomic releases" in said()
    release = publish(site, server.target())
    before = tree(server.home)
    assert f"is ours: atomic releases, showing {release.id}" in said() and "1 kept" in said()
    assert tree(server.home) == before


@pytest.mark.parametrize("way", ["auto", "plain"])
def test_a_folder_of_this_machine_is_a_place_too(site: Path, site_files: set[str], tmp_path: Path, way: str) -> None:
    place = Folder(tmp_path / "www")
    assert publish(site, place, manner=Manner(way)).way == ("atomic" if way == "auto" else way)
    (site / "css/style.css").write_text("new")
    assert [path for path, _ in publish(site, place).sent] == ["css/style.css"]
    assert seen(tmp_path / "www") == wanted(site, site_files)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes").write_text("mine")
    with pytest.raises(PublishError, match="holds files that are not ours"):
        publish(site, Folder(tmp_path / "taken"))
