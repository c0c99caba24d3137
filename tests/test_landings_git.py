from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from deepspeech_wer.errors import RepositoryError, SettingsError
from deepspeech_wer.landings.git import Mirror, describe, find_head, public
from history import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.begun(tmp_path / "repository")


def mirror_of(repository: Repository, tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "cache", str(repository.path))


def found(repository: Repository, tmp_path: Path, last: str | None, ref: str = "HEAD"):  # type: ignore[no-untyped-def]
    mirror = mirror_of(repository, tmp_path)
    head = find_head(mirror.url, ref)
    mirror.fetch(head)
    return mirror.landings(head, last)


def test_merges_squashes_and_pushes_land_and_the_inside_of_a_branch_does_not(
    repository: Repository, tmp_path: Path
) -> None:
    first = repository.git("rev-parse", "HEAD")
    merge = repository.land("Add a layer", {"a": "1"})
    push = repository.commit("Pushed straight", author="Zoë Ångström 山田")
    result = found(repository, tmp_path, first)
    assert [landing.sha for landing in result.landings] == [merge, push]
    assert [landing.position for landing in result.landings] == [2, 3]
    assert len(result.landings[0].parents) == 2
    assert result.landings[1].author == "Zoë Ångström 山田"
    assert result.landings[1].subject == "Pushed straight"
    assert result.landings[1].date.endswith("+00:00")
    assert result.remark == ""


def test_the_first_run_takes_only_the_head(repository: Repository, tmp_path: Path) -> None:
    repository.land("One")
    head = repository.land("Two")
    assert [landing.sha for landing in found(repository, tmp_path, None).landings] == [head]


def test_nothing_new_is_nothing(repository: Repository, tmp_path: Path) -> None:
    head = repository.land("One")
    assert found(repository, tmp_path, head).landings == ()


def test_a_rewritten_branch_goes_on_from_where_the_histories_part(repository: Repository, tmp_path: Path) -> None:
    repository.land("One")
    gone = repository.land("Two")
    assert found(repository, tmp_path, None).landings
    repository.git("reset", "--quiet", "--hard", "HEAD^1")
    new = repository.land("Another two")
    result = found(repository, tmp_path, gone)
    assert [landing.sha for landing in result.landings] == [new]
    assert "rewritten" in result.remark


def test_an_unknown_last_sha1_goes_on_from_the_head_and_says_so(repository: Repository, tmp_path: Path) -> None:
    head = repository.land("One")
    result = found(repository, tmp_path, "f" * 40)
    assert [landing.sha for landing in result.landings] == [head]
    assert "fffffff" in result.remark


def test_an_unrelated_history_goes_on_from_the_head(repository: Repository, tmp_path: Path) -> None:
    old = repository.land("One")
    found(repository, tmp_path, None)
    repository.git("checkout", "--quiet", "--orphan", "fresh")
    repository.commit("A new beginning")
    repository.git("branch", "-M", "fresh", "main")
    head = repository.git("rev-parse", "HEAD")
    result = found(repository, tmp_path, old)
    assert [landing.sha for landing in result.landings] == [head]
    assert "no history in common" in result.remark
    mirror = mirror_of(repository, tmp_path)
    newest = repository.land("On top")
    on = find_head(mirror.url, "HEAD")
    mirror.fetch(on)
    result = mirror.landings(on, old, {old, head})
    assert [landing.sha for landing in result.landings] == [newest], "the journal knows the one before it"


def test_without_last_sha1_the_newest_in_the_journal_counts(repository: Repository, tmp_path: Path) -> None:
    known = repository.land("One")
    new = [repository.land("Two"), repository.land("Three")]
    mirror = mirror_of(repository, tmp_path)
    head = find_head(mirror.url, "HEAD")
    mirror.fetch(head)
    for last in (None, "f" * 40):
        result = mirror.landings(head, last, {known, "e" * 40})
        assert [landing.sha for landing in result.landings] == new
        assert known[:7] in result.remark
    result = mirror.landings(head, None, {"e" * 40})
    assert [landing.sha for landing in result.landings] == new[-1:]
    assert result.remark == "no last_sha1: only the head"


@pytest.mark.parametrize(
    ("author", "message"),
    [("Eve\x1fX", "a\x1eb"), ("Eve", "a\x1f\x1e\x1f"), ("E\x1b[31mve", "\x1b]0;owned\x07"), ("Eve", "")],
)
def test_any_text_that_a_commit_can_hold(repository: Repository, tmp_path: Path, author: str, message: str) -> None:
    first = repository.git("rev-parse", "HEAD")
    (tmp_path / "message").write_text(message)
    repository.git(
        "commit", "--quiet", "--allow-empty", "--allow-empty-message", "-F", str(tmp_path / "message"), author=author
    )
    last = repository.land("Another")
    result = found(repository, tmp_path, first)
    assert [landing.author for landing in result.landings] == [author, "Ada Park"]
    assert [landing.subject for landing in result.landings] == [message, "Merge: Another"]
    assert result.landings[1].sha == last


@pytest.mark.parametrize(
    "date", ["9999999999999999 +0000", "-5 +0000", "1700000000 +9999", "garbage", "99999999999999999999999 +0000"]
)
def test_any_date_that_a_commit_can_hold(repository: Repository, tmp_path: Path, date: str) -> None:
    tree, parent = repository.git("rev-parse", "HEAD^{tree}"), repository.git("rev-parse", "HEAD")
    who = f"Eve <e@example.org> {date}"
    (tmp_path / "commit").write_text(f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\nOdd\n")
    sha = repository.git("hash-object", "-t", "commit", "-w", "--literally", str(tmp_path / "commit"))
    repository.git("update-ref", "refs/heads/main", sha)
    (landing,) = found(repository, tmp_path, parent).landings
    assert landing.sha == sha
    assert landing.subject == "Odd"
    assert datetime.fromisoformat(landing.date).tzinfo is not None


def test_a_shallow_repository_is_told_and_can_be_mended(repository: Repository, tmp_path: Path) -> None:
    repository.land("One")
    repository.land("Two")
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth", "2", f"file://{repository.path}", str(shallow))
    try:
        result = found(Repository(shallow), tmp_path, None)
    except RepositoryError as error:
        assert "unshallow" in error.hint
        Repository(shallow).git("fetch", "--quiet", "--unshallow")
        result = found(Repository(shallow), tmp_path, None)
    assert [landing.subject for landing in result.landings] == ["Merge: Two"]


def test_a_branch_and_a_tag_by_name(repository: Repository, tmp_path: Path) -> None:
    repository.git("checkout", "--quiet", "-b", "release/1")
    sha = repository.commit("On the release")
    repository.git("tag", "-a", "v1", "-m", "one")
    repository.git("checkout", "--quiet", "main")
    assert find_head(str(repository.path), "release/1").branch == "release/1"
    repository.git("tag", "light")
    repository.git("tag", "light", "-f", "release/1")
    for ref in ("release/1", "refs/heads/release/1", "v1", "refs/tags/v1", "light"):
        assert find_head(str(repository.path), ref).sha == sha
        assert found(repository, tmp_path, None, ref).landings[0].sha == sha
    assert find_head(str(repository.path), "HEAD").branch == "main"


def test_a_commit_by_short_and_whole_sha_also_off_the_branch(repository: Repository, tmp_path: Path) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    side = repository.commit("On the side")
    repository.git("checkout", "--quiet", "main")
    head = repository.land("One")
    found(repository, tmp_path, None)
    mirror = mirror_of(repository, tmp_path)
    assert mirror.landing(head[:8]).sha == head
    assert mirror.landing(side).sha == side
    for name in ("0" * 40, "1234567", "main", "--help", ""):
        with pytest.raises(SettingsError):
            mirror.landing(name)


@pytest.mark.parametrize("address", ["/nowhere/at/all", "file:///nowhere", "ext::sh -c true"])
def test_a_repository_that_cannot_be_reached_is_told(address: str) -> None:
    with pytest.raises(RepositoryError, match="cannot be read") as caught:
        find_head(address, "HEAD")
    assert "git ls-remote" in caught.value.hint


def test_no_such_branch_and_no_commit_yet(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no branch gone"):
        find_head(str(repository.path), "gone")
    empty = Repository.new(tmp_path / "empty")
    with pytest.raises(RepositoryError, match="no commit"):
        find_head(str(empty.path), "HEAD")


def test_a_password_in_an_address_is_used_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://ada:s3cret@127.0.0.1:1/x.git"
    assert public(url) == "https://127.0.0.1:1/x.git"
    seen = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **more: seen.append(command) or real(command, **more))
    with pytest.raises(RepositoryError) as caught:
        find_head(url, "HEAD")
    assert "s3cret" not in str(seen), "a list of processes shows the command"
    assert "s3cret" not in caught.value.message + caught.value.hint


def test_a_broken_mirror_is_made_again(repository: Repository, tmp_path: Path) -> None:
    first = repository.git("rev-parse", "HEAD")
    head = repository.land("One")
    found(repository, tmp_path, None)
    mirror = mirror_of(repository, tmp_path)
    (mirror.folder / "HEAD").unlink()
    assert [landing.sha for landing in found(repository, tmp_path, first).landings] == [head]


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://github.com/acme/speech.git", "https://github.com/acme/speech/commit/SHA"),
        ("https://token@github.com/acme/speech", "https://github.com/acme/speech/commit/SHA"),
        ("git@github.com:acme/speech.git", "https://github.com/acme/speech/commit/SHA"),
        ("ssh://git@gitlab.example.org/a/b/c.git", "https://gitlab.example.org/a/b/c/-/commit/SHA"),
        ("/srv/git/speech.git", None),
        ("https://example.org/speech.git", None),
    ],
)
def test_the_page_of_a_commit(repository: Repository, tmp_path: Path, url: str, page: str | None) -> None:
    sha = repository.git("rev-parse", "HEAD")
    repository.git("remote", "add", "origin", url)
    landing = describe(repository.path, sha)
    assert landing is not None
    assert landing.url == (page and page.replace("SHA", sha))


def test_outside_a_work_tree_there_is_no_commit(tmp_path: Path) -> None:
    assert describe(tmp_path, "a" * 40) is None


def test_finding_the_head_costs_one_question(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **more: calls.append(command) or real(command, **more))
    find_head(str(repository.path), "HEAD")
    assert len(calls) == 1
