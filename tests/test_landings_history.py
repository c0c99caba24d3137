"""Landings of long and of odd histories, and mirrors that are damaged in every way that a machine can think of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepspeech_wer.errors import RepositoryError, SettingsError
from deepspeech_wer.landings import Landing
from deepspeech_wer.landings.git import Found, Head, Mirror, find_head
from history import Repository
from long_history import fast_import

COMMITS = 10_000


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.begun(tmp_path / "repository")


def look(repository: Repository, tmp_path: Path, last: str | None = None, ref: str = "HEAD") -> tuple[Mirror, Found]:
    """What a tick finds."""
    mirror = Mirror(tmp_path / "cache", str(repository.path))
    head = find_head(mirror.url, ref)
    mirror.fetch(head)
    return mirror, mirror.landings(head, last)


def shas(found: Found) -> list[str]:
    return [landing.sha for landing in found.landings]


def calls_of_git(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []
    real = subprocess.Popen.__init__

    def noted(self: subprocess.Popen[bytes], command: list[str], *more: object, **options: object) -> None:
        calls.append(command)
        real(self, command, *more, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    return calls


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository.new(tmp_path_factory.mktemp("long") / "repository")
    fast_import(made, COMMITS)
    return made


@pytest.fixture(scope="module")
def line(long: Repository) -> list[str]:
    """The first-parent line of the long history, oldest first."""
    return long.git("rev-list", "--first-parent", "--reverse", "main").split()


class TestALongHistory:
    @pytest.fixture
    def repository(self, long: Repository) -> Repository:
        return long

    def test_all_of_it(self, repository: Repository, line: list[str], tmp_path: Path) -> None:
        _, found = look(repository, tmp_path, line[0])
        assert shas(found) == line[1:]
        assert [landing.position for landing in found.landings] == list(range(2, len(line) + 1))
        merges = repository.git("rev-list", "--first-parent", "--merges", "--reverse", "main").split()
        assert [landing.sha for landing in found.landings if landing.kind == "merge"] == merges
        assert len(merges) == COMMITS // 5

    def test_what_is_new_costs_one_process_that_reads_only_that(
        self, repository: Repository, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror, found = look(repository, tmp_path)
        assert found.is_first
        assert found.landings[0].position == len(line)
        mirror.landings(Head(line[-21], "refs/heads/main", "main"), None)
        head = find_head(mirror.url, "HEAD")
        calls = calls_of_git(monkeypatch)
        found = mirror.landings(head, line[-21])
        assert shas(found) == line[-20:]
        assert found.landings[-1].position == len(line)
        assert [call[3] for call in calls] == ["log"]
        assert f"{line[-21]}..{line[-1]}" in calls[0]

    def test_the_newest_that_is_known_is_not_looked_for_further_than_needed(
        self, repository: Repository, line: list[str], tmp_path: Path
    ) -> None:
        mirror, _ = look(repository, tmp_path)
        found = mirror.landings(find_head(mirror.url, "HEAD"), None, {line[-4], line[-9], line[5]})
        assert shas(found) == line[-3:]

    def test_positions_are_counted_from_the_one_that_is_remembered(
        self, repository: Repository, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror, _ = look(repository, tmp_path)
        inner = repository.git("rev-parse", f"{line[-1]}^2")
        count = int(repository.git("rev-list", "--first-parent", "--count", inner))
        calls = calls_of_git(monkeypatch)
        assert [mirror.position(line[index]) for index in (-1, -2, 99, 0)] == [len(line), len(line) - 1, 100, 1]
        assert mirror.position(inner) == count, "counted by way of the commit from which the branch was made"
        assert not [call for call in calls if "--count" in call]

    @pytest.mark.parametrize(
        "content",
        ["", "[", "{}", "[1, 2]", '["a", "b"]', f'["{"f" * 40}", 7]', '["--all", 5]', "\x00" * 100, "[]", "7"],
    )
    def test_what_is_remembered_counts_for_nothing_where_it_is_damaged(
        self, repository: Repository, line: list[str], tmp_path: Path, content: str
    ) -> None:
        mirror = Mirror(tmp_path / "cache", str(repository.path))
        shutil.rmtree(mirror.folder, ignore_errors=True)
        mirror.folder.parent.mkdir(parents=True)
        shutil.copytree(repository.path / ".git", mirror.folder)
        (mirror.folder / "deepspeech-wer-position").write_text(content)
        assert mirror.position(line[-3]) == len(line) - 2


def test_positions_on_two_lines_with_and_without_a_common_beginning(repository: Repository, tmp_path: Path) -> None:
    for name in ("One", "Two", "Three"):
        repository.land(name)
    mirror, _ = look(repository, tmp_path)
    assert mirror.position(repository.git("rev-parse", "HEAD")) == 4
    repository.git("checkout", "--quiet", "-b", "side", "HEAD~2")
    repository.commit("Aside")
    side = repository.commit("Aside again")
    repository.git("checkout", "--quiet", "--orphan", "other")
    other = [repository.commit("A beginning"), repository.commit("Another")]
    for branch, sha, position in (("side", side, 4), ("other", other[1], 2), ("other", other[0], 1)):
        mirror.fetch(find_head(mirror.url, branch))
        assert mirror.position(sha) == position


class TestShapes:
    def test_an_octopus_is_one_landing(self, repository: Repository, tmp_path: Path) -> None:
        first = repository.git("rev-parse", "HEAD")
        for name in ("a", "b", "c"):
            repository.git("checkout", "--quiet", "-b", name, first)
            repository.commit(f"On {name}", {name: name})
        repository.git("checkout", "--quiet", "main")
        repository.git("merge", "--quiet", "--no-ff", "-m", "Three at once", "a", "b", "c")
        (landing,) = look(repository, tmp_path, first)[1].landings
        assert (landing.subject, landing.kind, len(landing.parents), landing.position) == (
            "Three at once",
            "merge",
            4,
            2,
        )

    def test_what_was_merged_from_main_into_a_feature_lands_once(self, repository: Repository, tmp_path: Path) -> None:
        first = repository.git("rev-parse", "HEAD")
        repository.git("checkout", "--quiet", "-b", "feature")
        repository.commit("Begun on the feature", {"a": "1"})
        repository.git("checkout", "--quiet", "main")
        push = repository.commit("Meanwhile on main", {"b": "1"})
        repository.git("checkout", "--quiet", "feature")
        repository.git("merge", "--quiet", "--no-ff", "-m", "Merge main into feature", "main")
        repository.commit("Ended on the feature", {"a": "2"})
        repository.git("checkout", "--quiet", "main")
        repository.git("merge", "--quiet", "--no-ff", "-m", "Merge feature", "feature")
        found = look(repository, tmp_path, first)[1]
        assert shas(found) == [push, repository.git("rev-parse", "main")]
        assert [landing.kind for landing in found.landings] == ["commit", "merge"]

    def test_a_feature_that_was_pushed_as_main_does_not_land_again_what_it_had_merged(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        fork = repository.git("rev-parse", "HEAD")
        last = repository.land("One")
        look(repository, tmp_path)
        repository.git("checkout", "--quiet", "-B", "feature", fork)
        new = [repository.commit("On the feature", {"f": "1"})]
        repository.git("merge", "--quiet", "--no-ff", "-m", "Merge main into feature", "main")
        repository.git("branch", "-f", "main", "feature")
        new.append(repository.git("rev-parse", "main"))
        found = look(repository, tmp_path, last)[1]
        assert shas(found) == new
        assert [landing.position for landing in found.landings] == [2, 3]
        assert (found.remark, found.is_rewritten) == ("", False)

    def test_a_criss_cross_that_was_rewritten_lands_what_the_old_branch_did_not_have(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        repository.git("checkout", "--quiet", "-b", "one")
        one = repository.commit("One", {"one": "1"})
        repository.git("checkout", "--quiet", "-b", "two", "main")
        two = repository.commit("Two", {"two": "1"})
        repository.git("merge", "--quiet", "--no-ff", "-m", "One into two", one)
        old = repository.git("rev-parse", "two")
        repository.git("checkout", "--quiet", "one")
        repository.git("merge", "--quiet", "--no-ff", "-m", "Two into one", two)
        new = repository.git("rev-parse", "one")
        assert len(repository.git("merge-base", "--all", old, new).split()) == 2
        repository.git("branch", "-f", "main", old)
        look(repository, tmp_path, ref="main")
        repository.git("branch", "-f", "main", new)
        found = look(repository, tmp_path, old, "main")[1]
        assert shas(found) == [new]
        assert found.is_rewritten

    def test_reverts_and_empty_commits_count(self, repository: Repository, tmp_path: Path) -> None:
        first = repository.git("rev-parse", "HEAD")
        change = repository.commit("A change", {"a": "1"})
        repository.git("revert", "--no-edit", change)
        revert = repository.git("rev-parse", "HEAD")
        empty = repository.commit("Nothing at all")
        merge = repository.land("One", {"b": "1"})
        repository.git("revert", "--no-edit", "-m", "1", merge)
        found = look(repository, tmp_path, first)[1]
        assert shas(found) == [change, revert, empty, merge, repository.git("rev-parse", "HEAD")]
        assert {landing.kind for landing in found.landings} == {"commit", "merge"}

    def test_the_root_alone(self, repository: Repository, tmp_path: Path) -> None:
        (landing,) = look(repository, tmp_path)[1].landings
        assert (landing.parents, landing.position, landing.kind) == ((), 1, "commit")

    @pytest.mark.parametrize(
        ("encoding", "author", "message", "expected"),
        [
            ("ISO-8859-1", "Zoë Ström".encode("latin-1"), "Größe".encode("latin-1"), ("Zoë Ström", "Größe")),
            ("", "Zoë".encode("latin-1"), "Größe".encode("latin-1"), ("Zo\ufffd", "Gr\ufffd\ufffde")),
            ("no-such-encoding", b"Zo\xeb", b"Gr\xf6\xdfe", ("Zo\ufffd", "Gr\ufffd\ufffde")),
            ("EUC-JP", "山田".encode("euc-jp"), "認識".encode("euc-jp"), ("山田", "認識")),
            ("UTF-8", "山田 👩‍🔬".encode(), "\u202eevil".encode(), ("山田 👩‍🔬", "\u202eevil")),
        ],
    )
    def test_a_commit_in_any_encoding(
        self,
        repository: Repository,
        tmp_path: Path,
        encoding: str,
        author: bytes,
        message: bytes,
        expected: tuple[str, str],
    ) -> None:
        first = repository.git("rev-parse", "HEAD")
        sha = raw_commit(repository, tmp_path, author, message, encoding)
        last = repository.commit("Another")
        found = look(repository, tmp_path, first)[1]
        assert (found.landings[0].author, found.landings[0].subject) == expected
        assert shas(found) == [sha, last]
        assert Landing.from_json(found.landings[0].to_json()) == found.landings[0]

    def test_whatever_encoding_the_user_has_git_write(
        self, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"COUNT": "1", "KEY_0": "i18n.logOutputEncoding", "VALUE_0": "latin-1"}.items():
            monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
        repository.commit("Größe")
        assert look(repository, tmp_path)[1].landings[0].subject == "Größe"

    def test_an_encoding_that_makes_nul_of_letters_shifts_nothing(self, repository: Repository, tmp_path: Path) -> None:
        first = repository.git("rev-parse", "HEAD")
        sha = raw_commit(repository, tmp_path, b"E+AAA-ve", b"a +AAA- b +AAA- c +AAA- d", "UTF-7")
        last = repository.commit("Another", author="Bo")
        found = look(repository, tmp_path, first)[1]
        assert shas(found) == [sha, last]
        assert (found.landings[1].author, found.landings[1].subject) == ("Bo", "Another")

    @pytest.mark.parametrize(
        ("message", "is_marked"),
        [
            ("Docs only [skip wer]", True),
            ("Docs only\n\nNothing to hear.\n[Skip WER]", True),
            ("Docs\n\n[WER skip] please", True),
            ("Skip wer", False),
            ("[skip ci]", False),
        ],
    )
    def test_a_mark_anywhere_in_the_message(
        self, repository: Repository, tmp_path: Path, message: str, is_marked: bool
    ) -> None:
        repository.commit(message)
        assert look(repository, tmp_path)[1].landings[0].marked is is_marked


def raw_commit(repository: Repository, tmp_path: Path, author: bytes, message: bytes, encoding: str) -> str:
    """Put a commit made byte by byte on main."""
    tree, parent = (repository.git("rev-parse", name).encode() for name in ("HEAD^{tree}", "HEAD"))
    who = author + b" <z@example.org> 1700000000 +0100"
    header = [b"tree " + tree, b"parent " + parent, b"author " + who, b"committer " + who]
    header += [b"encoding " + encoding.encode()] if encoding else []
    (tmp_path / "commit").write_bytes(b"\n".join([*header, b"", message, b""]))
    sha = repository.git("hash-object", "-t", "commit", "-w", "--literally", str(tmp_path / "commit"))
    repository.git("reset", "--quiet", "--hard", sha)
    return sha


class TestTheBranch:
    def test_rewritten_between_two_looks(self, repository: Repository, tmp_path: Path) -> None:
        kept = repository.land("One")
        gone = repository.land("Two")
        look(repository, tmp_path)
        repository.git("reset", "--quiet", "--hard", kept)
        new = [repository.land("Another two"), repository.land("Three")]
        mirror, found = look(repository, tmp_path, gone)
        assert shas(found) == new
        assert found.is_rewritten
        assert [landing.position for landing in found.landings] == [3, 4]
        assert not mirror.is_on_branch(gone, new[-1])
        assert mirror.is_on_branch(kept, new[-1])
        assert mirror.is_on_branch(new[-1], new[-1])
        for unknown in ("f" * 40, "main", "--help", ""):
            assert not mirror.is_on_branch(unknown, new[-1])

    def test_set_back_to_an_older_commit(self, repository: Repository, tmp_path: Path) -> None:
        kept, gone = repository.land("One"), repository.land("Two")
        look(repository, tmp_path)
        repository.git("reset", "--quiet", "--hard", kept)
        _, found = look(repository, tmp_path, gone)
        assert (found.landings, found.is_rewritten) == ((), True)

    def test_what_was_left_is_still_known_after_git_has_tidied_up(self, repository: Repository, tmp_path: Path) -> None:
        kept, gone = repository.land("One"), repository.land("Two")
        look(repository, tmp_path)
        repository.git("reset", "--quiet", "--hard", kept)
        new = [repository.land("Another")]
        look(repository, tmp_path, gone)
        repository.git("branch", "-D", "feature")
        repository.git("reflog", "expire", "--expire=now", "--all")
        repository.git("gc", "--quiet", "--prune=now")  # from now on only the mirror has what was left
        for _ in range(2):  # publishing fails, say, so that last_sha1 stays
            mirror, found = look(repository, tmp_path, gone)
            assert shas(found) == new
            subprocess.run(["git", "--git-dir", str(mirror.folder), "gc", "--quiet", "--prune=now"], check=True)
            new.append(repository.land("One more"))
        assert f"rewritten since last_sha1 {gone[:7]}" in look(repository, tmp_path, gone)[1].remark

    def test_a_last_sha1_that_only_the_repository_still_has_is_fetched(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        kept, gone = repository.land("One"), repository.land("Two")
        repository.git("branch", "elsewhere")
        repository.git("reset", "--quiet", "--hard", kept)
        new = repository.land("Another")
        _, found = look(repository, tmp_path, gone)
        assert shas(found) == [new]
        assert "where they part" in found.remark

    @pytest.mark.parametrize("last", ["--output=owned", "HEAD", "main..", "F" * 40, "0" * 40, ""])
    def test_a_last_sha1_that_is_no_sha(
        self, repository: Repository, tmp_path: Path, last: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        head = repository.land("One")
        assert shas(look(repository, tmp_path, last)[1]) == [head]
        assert not list(tmp_path.rglob("owned*"))

    def test_deleted(self, repository: Repository, tmp_path: Path) -> None:
        repository.git("branch", "release")
        look(repository, tmp_path, ref="release")
        repository.git("branch", "-D", "release")
        with pytest.raises(RepositoryError, match="has no branch release, or has it no more") as caught:
            look(repository, tmp_path, ref="release")
        assert "main" in caught.value.hint

    def test_the_default_branch_is_deleted(self, repository: Repository, tmp_path: Path) -> None:
        repository.git("symbolic-ref", "HEAD", "refs/heads/gone")
        with pytest.raises(RepositoryError, match=r"default branch .* is gone") as caught:
            look(repository, tmp_path)
        assert "main" in caught.value.hint

    def test_a_branch_wins_over_a_tag_of_its_name(self, repository: Repository, tmp_path: Path) -> None:
        repository.git("tag", "-a", "main", "-m", "A trap")
        head = repository.land("One")
        assert shas(look(repository, tmp_path, ref="main")[1]) == [head]
        assert shas(look(repository, tmp_path, ref="refs/tags/main")[1]) != [head]

    def test_it_moves_on_while_it_is_read(self, repository: Repository, tmp_path: Path) -> None:
        first = repository.git("rev-parse", "HEAD")
        asked = repository.land("One")
        mirror = Mirror(tmp_path / "cache", str(repository.path))
        head = find_head(mirror.url, "HEAD")
        repository.land("Two")
        mirror.fetch(head)
        assert shas(mirror.landings(head, first)) == [asked]
        repository.git("reset", "--quiet", "--hard", first)
        repository.land("Another")
        other = Mirror(tmp_path / "other", str(repository.path))
        other.fetch(head)
        assert shas(other.landings(head, first)) == [asked], "fetched by its SHA, since it is on no branch any more"


def damage(name: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def add(function: Callable[[Path], None]) -> Callable[[Path], None]:
        DAMAGES[name] = function
        return function

    return add


DAMAGES: dict[str, Callable[[Path], None]] = {}


def packs(folder: Path, ending: str) -> list[Path]:
    found = list(folder.glob(f"objects/pack/*.{ending}"))
    assert found
    for path in found:
        path.chmod(0o644)
    return found


@damage("packs deleted")
def _(folder: Path) -> None:
    shutil.rmtree(folder / "objects" / "pack")


@damage("packs truncated")
def _(folder: Path) -> None:
    for path in packs(folder, "pack"):
        os.truncate(path, path.stat().st_size // 2)


@damage("packs full of zeros")
def _(folder: Path) -> None:
    for path in packs(folder, "pack"):
        path.write_bytes(bytes(path.stat().st_size))


@damage("empty index of a pack")
def _(folder: Path) -> None:
    for path in packs(folder, "idx"):
        path.write_bytes(b"")


@damage("all objects gone")
def _(folder: Path) -> None:
    shutil.rmtree(folder / "objects")


@damage("HEAD is garbage")
def _(folder: Path) -> None:
    (folder / "HEAD").write_bytes(b"\x00\xffgarbage")


@damage("HEAD is gone")
def _(folder: Path) -> None:
    (folder / "HEAD").unlink()


@damage("config is garbage")
def _(folder: Path) -> None:
    (folder / "config").write_bytes(b"[core\n\x00\xff = = [")


@damage("our ref is garbage")
def _(folder: Path) -> None:
    (folder / "refs" / "deepspeech-wer" / "head").write_bytes(bytes(41))


@damage("our ref is empty")
def _(folder: Path) -> None:
    (folder / "refs" / "deepspeech-wer" / "head").write_text("")


@damage("our ref names what is not there")
def _(folder: Path) -> None:
    (folder / "refs" / "deepspeech-wer" / "head").write_text("e" * 40 + "\n")


@damage("refs are a file")
def _(folder: Path) -> None:
    shutil.rmtree(folder / "refs")
    (folder / "refs").write_text("")


@damage("packed-refs is garbage")
def _(folder: Path) -> None:
    (folder / "packed-refs").write_bytes(b"\xff" * 100)


@damage("shallow is garbage")
def _(folder: Path) -> None:
    (folder / "shallow").write_text("garbage\n")


@damage("a file in its place")
def _(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


@damage("a link to nowhere in its place")
def _(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("/nowhere")


@damage("an empty folder in its place")
def _(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


class TestADamagedMirror:
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Repository:
        made = Repository.new(tmp_path / "repository")
        fast_import(made, 200)  # more than 100 objects come as a pack
        return made

    @pytest.mark.parametrize("is_new", [False, True], ids=["nothing new", "something new"])
    @pytest.mark.parametrize("name", DAMAGES)
    def test_it_is_made_anew_and_told(self, repository: Repository, tmp_path: Path, name: str, is_new: bool) -> None:
        mirror, _ = look(repository, tmp_path)
        DAMAGES[name](mirror.folder)
        if is_new:
            repository.git("reset", "--quiet", "--hard")
            repository.commit("One more")
        line = repository.git("rev-list", "--first-parent", "--reverse", "main").split()
        mirror, found = look(repository, tmp_path, line[-4])
        assert shas(found) == line[-3:]
        assert found.landings[-1].position == len(line)
        assert "has been made anew" in found.remark
        assert look(repository, tmp_path, line[-4])[1].remark == "", "told once"
        assert [path.name for path in mirror.folder.parent.iterdir() if path.suffix != ".lock"] == [mirror.folder.name]

    @pytest.mark.parametrize("what", ["commit", "tree"])
    def test_one_object_is_gone(self, repository: Repository, tmp_path: Path, what: str) -> None:
        repository.git("reset", "--quiet", "--hard")
        first = repository.git("rev-parse", "HEAD")
        look(repository, tmp_path)
        shas_ = [repository.commit(f"Number {number}", {"folder0/a": str(number)}) for number in range(3)]
        mirror, _ = look(repository, tmp_path, first)
        lost = repository.git("rev-parse", shas_[1] if what == "commit" else f"{shas_[1]}:folder0")
        (mirror.folder / "objects" / lost[:2] / lost[2:]).unlink()
        mirror, found = look(repository, tmp_path, first)
        assert shas(found) == shas_
        assert mirror.changed(found.landings, ["folder0"]) == set(shas_)
        assert "made anew" in found.remark + mirror.told()

    def test_empty_objects_that_a_power_cut_left(self, repository: Repository, tmp_path: Path) -> None:
        repository.git("reset", "--quiet", "--hard")
        first = repository.git("rev-parse", "HEAD")
        look(repository, tmp_path)
        new = [repository.commit("One"), repository.commit("Two")]
        mirror, _ = look(repository, tmp_path, first)
        loose = list(mirror.folder.glob("objects/??/*"))
        assert loose
        for path in loose:
            path.chmod(0o644)
            path.write_bytes(b"")
        _, found = look(repository, tmp_path, first)
        assert shas(found) == new
        assert "made anew" in found.remark

    def test_a_commit_that_was_lost_is_found_again_and_not_taken_for_unknown(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        mirror, _ = look(repository, tmp_path)
        old = repository.git("rev-parse", "main~30")
        DAMAGES["packs deleted"](mirror.folder)
        again = Mirror(tmp_path / "cache", str(repository.path))
        again._head = find_head(again.url, "HEAD")  # as if it had been damaged just after the fetch
        assert again.landing(old[:10]).sha == old
        assert "made anew" in again.told()

    def test_a_lost_last_sha1_is_no_rewritten_branch(self, repository: Repository, tmp_path: Path) -> None:
        line = repository.git("rev-list", "--first-parent", "--reverse", "main").split()
        mirror, _ = look(repository, tmp_path)
        DAMAGES["packs deleted"](mirror.folder)
        _, found = look(repository, tmp_path, line[-2])
        assert shas(found) == line[-1:]
        assert not found.is_rewritten

    def test_the_repository_is_away_meanwhile(self, repository: Repository, tmp_path: Path) -> None:
        mirror, _ = look(repository, tmp_path)
        head = find_head(mirror.url, "HEAD")
        DAMAGES["packs truncated"](mirror.folder)
        away = repository.path.rename(tmp_path / "away")
        again = Mirror(tmp_path / "cache", mirror.url)
        with pytest.raises(RepositoryError, match="cannot be read"):
            again.fetch(head)
            again.landings(head, None)
        away.rename(repository.path)
        assert shas(look(repository, tmp_path)[1]) == [head.sha]

    def test_a_repository_that_cannot_be_fetched_from_leaves_a_whole_mirror_alone(
        self, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror, _ = look(repository, tmp_path)
        before = mirror.folder.stat().st_ino
        repository.git("reset", "--quiet", "--hard")
        repository.commit("One more")
        head = find_head(mirror.url, "HEAD")
        away = repository.path.rename(tmp_path / "away")
        calls = calls_of_git(monkeypatch)
        with pytest.raises(RepositoryError, match="cannot be read"):
            Mirror(tmp_path / "cache", mirror.url).fetch(head)
        assert not [call for call in calls if "init" in call], "it is not tried to make it anew"
        away.rename(repository.path)
        assert mirror.folder.stat().st_ino == before
        assert look(repository, tmp_path)[1].remark == ""

    def test_a_repository_that_is_itself_damaged_is_told(self, repository: Repository, tmp_path: Path) -> None:
        DAMAGES["packs deleted"](repository.path / ".git")
        with pytest.raises(RepositoryError):
            look(repository, tmp_path)

    @pytest.mark.parametrize(
        "name",
        ["refs/deepspeech-wer/head.lock", "packed-refs.lock", "shallow.lock", "config.lock", "HEAD.lock"],
    )
    def test_a_lock_that_a_killed_git_left(self, repository: Repository, tmp_path: Path, name: str) -> None:
        mirror, _ = look(repository, tmp_path)
        before = mirror.folder.stat().st_ino
        (mirror.folder / name).write_text("")
        repository.git("reset", "--quiet", "--hard")
        last, new = repository.git("rev-parse", "HEAD"), repository.commit("One more")
        mirror, found = look(repository, tmp_path, last)
        assert shas(found) == [new]
        assert mirror.folder.stat().st_ino == before, "nothing is fetched again for that"
        if (mirror.folder / name).exists():
            assert found.remark == "", "it stood in nobody's way"
        else:
            assert name.rpartition("/")[2] in found.remark

    def test_a_lock_on_what_a_rewritten_branch_has_left(self, repository: Repository, tmp_path: Path) -> None:
        line = repository.git("rev-list", "--first-parent", "--reverse", "main").split()
        mirror, _ = look(repository, tmp_path)
        before = mirror.folder.stat().st_ino
        repository.git("reset", "--quiet", "--hard", line[-2])
        new = repository.commit("Another")
        (mirror.folder / "refs" / "deepspeech-wer" / "last.lock").write_text("")
        _, found = look(repository, tmp_path, line[-1])
        assert shas(found) == [new]
        assert "last.lock" in found.remark
        assert mirror.folder.stat().st_ino == before

    def test_a_rewritten_branch_and_a_lost_commit_at_once(self, repository: Repository, tmp_path: Path) -> None:
        """git takes a commit that it cannot read for a root: so the two lines would seem to have nothing in common."""
        repository.git("reset", "--quiet", "--hard")
        fork = repository.git("rev-parse", "HEAD")
        look(repository, tmp_path)
        old = [repository.commit("One"), repository.commit("Two")]
        look(repository, tmp_path)
        repository.git("reset", "--quiet", "--hard", fork)
        new = [repository.commit("Another"), repository.commit("And one more")]
        mirror, _ = look(repository, tmp_path, old[-1])
        (mirror.folder / "objects" / old[0][:2] / old[0][2:]).unlink()
        _, found = look(repository, tmp_path, old[-1])
        assert "made anew" in found.remark
        assert "where they part" in found.remark
        assert shas(found) == new

    def test_what_a_killed_fetch_left(self, repository: Repository, tmp_path: Path) -> None:
        mirror, _ = look(repository, tmp_path)
        repository.git("reset", "--quiet", "--hard")
        new = repository.commit("One more", {"folder0/a": "new"})
        last = repository.git("rev-parse", "HEAD^")
        half = repository.path / ".git" / "objects" / new[:2] / new[2:]  # the commit has come, its files have not
        (mirror.folder / "objects" / new[:2]).mkdir(exist_ok=True)
        shutil.copy(half, mirror.folder / "objects" / new[:2] / new[2:])
        (mirror.folder / "objects" / "pack" / "tmp_pack_a1b2c3").write_bytes(bytes(1000))
        mirror, found = look(repository, tmp_path, last)
        assert shas(found) == [new]
        assert not list(mirror.folder.glob("objects/pack/tmp_*"))
        show = ["git", "--git-dir", str(mirror.folder), "show", f"{new}:folder0/a"]
        assert subprocess.check_output(show, text=True) == "new"

    def test_a_shallow_mirror_gets_the_rest(self, repository: Repository, tmp_path: Path) -> None:
        line = repository.git("rev-list", "--first-parent", "--reverse", "main").split()
        mirror = Mirror(tmp_path / "cache", f"file://{repository.path}")
        subprocess.run(["git", "init", "--quiet", "--bare", str(mirror.folder)], check=True)
        fetch = ["fetch", "--quiet", "--depth=3", mirror.url, "main:refs/deepspeech-wer/head"]
        subprocess.run(["git", "--git-dir", str(mirror.folder), *fetch], check=True)
        assert (mirror.folder / "shallow").exists()
        head = find_head(mirror.url, "HEAD")
        mirror.landings(head, line[-2])
        assert (mirror.folder / "deepspeech-wer-position").exists()
        mirror.fetch(head)
        found = mirror.landings(head, line[-8])
        assert shas(found) == line[-7:]
        assert found.landings[-1].position == len(line)
        assert "shallow" in found.remark

    @pytest.mark.parametrize("is_known", [False, True])
    def test_a_shallow_repository_is_told(self, repository: Repository, tmp_path: Path, is_known: bool) -> None:
        address = f"file://{repository.path}"
        depth = "" if is_known else "--depth=2"
        repository.git("clone", "--quiet", *([depth] if depth else []), address, str(tmp_path / "clone"))
        clone = Repository(tmp_path / "clone")
        if is_known:
            look(clone, tmp_path)
            repository.git("reset", "--quiet", "--hard")
            for number in range(5):
                repository.commit(f"Number {number}")
            clone.git("fetch", "--quiet", "--depth=2")
            clone.git("reset", "--quiet", "--hard", "origin/main")
        with pytest.raises(RepositoryError) as caught:
            look(clone, tmp_path)
        assert "unshallow" in caught.value.hint
        clone.git("fetch", "--quiet", "--unshallow")
        assert shas(look(clone, tmp_path)[1]) == [repository.git("rev-parse", "main")]

    def test_many_at_once_on_one_mirror(self, repository: Repository, tmp_path: Path) -> None:
        """Six processes fetch, mend and read the same mirror, which is damaged at the start."""
        mirror, _ = look(repository, tmp_path)
        DAMAGES["packs truncated"](mirror.folder)
        line = repository.git("rev-list", "--first-parent", "--reverse", "main").split()
        code = (
            "import sys; from pathlib import Path; from deepspeech_wer.landings.git import Mirror, find_head\n"
            "mirror = Mirror(Path(sys.argv[1]), sys.argv[2]); head = find_head(mirror.url, 'HEAD')\n"
            "for _ in range(3):\n"
            "    mirror.fetch(head); print(len(mirror.landings(head, sys.argv[3]).landings))\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "cache"), mirror.url, line[-6]]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)
        ]
        for process in running:
            out, err = process.communicate(timeout=120)
            assert (out.split(), process.returncode) == (["5"] * 3, 0), err

    def test_a_mirror_whose_place_cannot_be_written_is_told(self, repository: Repository, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("")
        with pytest.raises(RepositoryError, match=r"mirror .* cannot be made"):
            look(repository, tmp_path)

    def test_no_commit_is_found_where_there_is_none(self, repository: Repository, tmp_path: Path) -> None:
        mirror, _ = look(repository, tmp_path)
        before = mirror.folder.stat().st_ino
        for name in ("f" * 40, "1234567"):
            with pytest.raises(SettingsError, match="there is no commit"):
                mirror.landing(name)
        assert mirror.folder.stat().st_ino == before
        away = repository.path.rename(tmp_path / "away")
        with pytest.raises(RepositoryError):  # not the commit's fault: it may be there
            mirror.landing("e" * 40)
        away.rename(repository.path)
