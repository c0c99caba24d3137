"""Going back on real servers: to which release, what is refused, and what the next publish makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.places import opened
from deepspeech_wer.publish.release import Manner, Release, look, publish
from deepspeech_wer.publish.rollback import rollback

WAYS = pytest.mark.parametrize("way", ["atomic", "plain"])


def releases(server: Any, site: Path, way: str, count: int) -> list[Release]:
    found = []
    for number in range(1, count + 1):
        (site / "js/hyper.js").write_text(f"version {number}")
        (site / f"img/{number}.png").write_text(f"picture {number}")
        (site / "index.html").write_text(f'{number} <script src="js/hyper.js"></script><img src="img/{number}.png">')
        found.append(publish(site, server.target(), manner=Manner(way)))
    return found


def shows(server: Any, number: int) -> bool:
    root = server.home / "www"
    return (
        (root / "index.html").read_text().startswith(f"{number} ")
        and (root / "js/hyper.js").read_text() == f"version {number}"
        and (root / f"img/{number}.png").read_text() == f"picture {number}"
    )


@WAYS
def test_back_and_back_again_as_far_as_releases_are_kept(server: Any, site: Path, way: str) -> None:
    first, second, third, fourth = releases(server, site, way, 4)
    done = rollback(server.target())
    assert (done.release, done.before, done.way) == (third.id, fourth.id, way) and done.published
    assert shows(server, 3)
    with opened(server.target()) as store:
        assert f"showing {third.id}" in look(store, server.target())
    assert rollback(server.target()).release == second.id
    assert shows(server, 2)
    with pytest.raises(PublishError, match=f"no release before {second.id}") as caught:
        rollback(server.target())
    assert "ds_website_keep" in caught.value.hint and first.id not in caught.value.message
    assert shows(server, 2)


@WAYS
def test_the_next_publish_is_a_release_of_the_site_as_it_is_here(server: Any, site: Path, way: str) -> None:
    releases(server, site, way, 3)
    rollback(server.target())
    release = publish(site, server.target())
    assert release.is_new and release.sent == () and shows(server, 3)
    (site / "js/hyper.js").write_text("version 4")
    assert publish(site, server.target()).bytes == len("version 4")
    rollback(server.target())
    assert shows(server, 3)


@WAYS
def test_a_release_whose_files_are_not_as_they_were_left_is_not_gone_back_to(server: Any, site: Path, way: str) -> None:
    first = releases(server, site, way, 2)[0]
    root = server.home / "www"
    kept = root / "releases" / first.id if way == "atomic" else root / ".deepspeech-wer/kept"
    victim = next(path for path in kept.rglob("*") if path.is_file() and path.read_bytes() == b"version 1")
    victim.unlink()
    with pytest.raises(PublishError, match=f"cannot go back to {first.id}: .* is not there as it was left") as caught:
        rollback(server.target())
    assert "publish" in caught.value.hint and shows(server, 2)


def test_where_nothing_was_published_there_is_nothing_to_go_back_to(server: Any, site: Path) -> None:
    with pytest.raises(PublishError, match="nothing was published to www"):
        rollback(server.target())
    assert not (server.home / "www").exists()
    releases(server, site, "auto", 1)
    with pytest.raises(PublishError, match="no release before"):
        rollback(server.target())
    assert shows(server, 1)


@WAYS
def test_an_earlier_main_page_of_another_name_is_shown_again(server: Any, site: Path, way: str) -> None:
    publish(site, server.target(), manner=Manner(way))
    (site / "index.htm").write_text("older form")
    publish(site, server.target(), page="index.htm")
    assert not (server.home / "www/index.html").exists()
    rollback(server.target())
    assert (server.home / "www/index.html").read_bytes() == (site / "index.html").read_bytes()
