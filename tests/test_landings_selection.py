"""Which landings are left out and why, and the verb that lists them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deepspeech_wer import config
from deepspeech_wer.config import Settings
from deepspeech_wer.errors import SettingsError
from deepspeech_wer.journal import Journal, State
from deepspeech_wer.landings.git import Found, Mirror, find_head
from deepspeech_wer.landings.selection import select
from history import Repository
from installation import Installation


def settings(**values: str) -> Settings:
    return config.load({f"ds_{name}": value for name, value in values.items()}, environment={}, file=Path("/dev/null"))


class History:
    """A repository whose landings have names: root, docs, merge, marked, code; and what is found in it."""

    def __init__(self, path: Path) -> None:
        self.repository = Repository.new(path / "repository")
        self.shas = {"root": self.repository.commit("Begin", {"README": "1"})}
        self.shas["docs"] = self.repository.commit("Write", {"docs/a b.md": "1", "docs/größe.md": "1"})
        self.shas["merge"] = self.repository.land("Layer", {"src/model.py": "1"})
        self.shas["marked"] = self.repository.commit("Tidy [SKIP WER]", {"src/model.py": "2"})
        self.shas["code"] = self.repository.commit("Deeper", {"src/model.py": "3", "src/--all": "x"})
        self.mirror = Mirror(path / "cache", str(self.repository.path))
        self.head = find_head(self.mirror.url, "HEAD")
        self.mirror.fetch(self.head)

    def found(self, last: str | None = "root") -> Found:
        return self.mirror.landings(self.head, last and self.shas[last])

    def taken(self, *, last: str | None = "root", **values: str) -> list[str]:
        """The names of the landings that are not left out."""
        result = select(self.found(last), settings(**values), self.mirror)
        assert result.landings == self.found(last).landings, "all of them stay"
        names = {sha: name for name, sha in self.shas.items()}
        return [names[each.sha] for each in result.landings if each.sha not in result.skipped]

    def why(self, name: str, **values: str) -> str:
        return select(self.found(), settings(**values), self.mirror).skipped[self.shas[name]]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("selection"))


def test_the_mark_leaves_out(history: History) -> None:
    assert history.taken() == ["docs", "merge", "code"]
    assert history.why("marked") == "its message says [skip wer]"


def test_merges_alone(history: History) -> None:
    assert history.taken(landings="merges") == ["merge"]
    assert "ds_landings=merges" in history.why("code", landings="merges")


def test_a_first_run_whose_head_is_left_out_says_so(history: History) -> None:
    assert history.taken(last=None, landings="merges") == []
    assert history.taken(last=None) == ["code"]


@pytest.mark.parametrize(("every", "names"), [("2", ["docs"]), ("3", ["merge"]), ("5", ["code"]), ("9", [])])
def test_every_nth_by_its_position(history: History, every: str, names: list[str]) -> None:
    assert history.taken(landings_every=every) == names  # of the positions 2 to 5, 4 is marked


def test_every_nth_takes_the_head_of_a_first_run(history: History) -> None:
    assert history.taken(last=None, landings_every="3") == ["code"]


def test_a_group_counts_for_all_its_positions(history: History) -> None:
    docs, merge, *others = history.found().landings
    for commits, is_taken in ((1, False), (2, True)):
        group = replace(merge, commits=commits, kind="rebase")
        result = select(Found((docs, group, *others)), settings(landings_every="2"), history.mirror)
        assert (group.sha not in result.skipped) is is_taken


def test_since_a_date(history: History) -> None:
    assert history.taken(landings_since="2099-01-01") == []
    assert history.taken(landings_since="2001-01-01T00:00:00+05:00") == ["docs", "merge", "code"]
    assert "before 2099-01-01 (ds_landings_since)" in history.why("docs", landings_since="2099-01-01")
    date = history.found().landings[-1].date
    assert "code" in history.taken(landings_since=date), "what was committed at that very time counts"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ("src", ["merge", "code"]),
        ("docs", ["docs"]),
        ("*.md", ["docs"]),
        ("docs/a b.md", ["docs"]),
        ("docs/größe.md", ["docs"]),
        (":!docs", ["merge", "code"]),
        (":(glob)**/*.py,docs/a*", ["docs", "merge", "code"]),
        ("src/--all", ["code"]),
        ("--all", []),
        ("--output=owned", []),
        ("$(touch owned)", []),
        ("README", []),
    ],
)
def test_paths_that_must_have_changed(history: History, paths: str, names: list[str]) -> None:
    assert history.taken(landings_paths=paths) == names
    if "docs" not in names:
        assert "ds_landings_paths" in history.why("docs", landings_paths=paths)


def test_the_root_changed_all_its_files(tmp_path: Path) -> None:
    repository = Repository.new(tmp_path / "repository")
    root = repository.commit("Begin", {"README": "1"})
    mirror = Mirror(tmp_path / "cache", str(repository.path))
    mirror.fetch(find_head(mirror.url, "HEAD"))
    landing = mirror.landing(root)
    assert mirror.changed([landing], ["README"]) == {root}
    assert mirror.changed([landing], ["src"]) == set()


def test_a_group_changed_what_all_its_commits_did(history: History) -> None:
    landings = history.found().landings
    group = replace(landings[-1], commits=4, kind="rebase")
    assert history.mirror.changed([group], ["docs"]) == {group.sha}
    assert history.mirror.changed([landings[-1]], ["docs"]) == set()


@pytest.mark.parametrize("paths", [":(bad)x", "../x", "/etc", ":("])
def test_paths_that_git_does_not_take(history: History, paths: str) -> None:
    before = history.mirror.folder.stat().st_ino
    with pytest.raises(SettingsError, match="ds_landings_paths") as caught:
        history.taken(landings_paths=paths)
    assert "fatal:" in caught.value.message
    assert history.mirror.folder.stat().st_ino == before, "the mirror is not at fault"


def test_the_reasons_that_a_source_gives_stay(history: History) -> None:
    found = history.found()
    given = replace(found, skipped={history.shas["docs"]: "for a reason", history.shas["marked"]: "for another"})
    result = select(given, settings(), history.mirror)
    assert result.skipped == given.skipped


class TestTheVerb:
    @pytest.fixture
    def installed(self, history: History, tmp_path: Path) -> Installation:
        return Installation(tmp_path / "home", {"ds_repository": str(history.repository.path)})

    def test_a_first_run_lists_the_head(self, history: History, installed: Installation) -> None:
        done = installed.run("landings", "--json")
        (row,) = json.loads(done.stdout)
        assert done.returncode == 0
        assert row["sha"] == history.shas["code"]
        assert row["parents"] == [history.shas["marked"]]
        assert (row["author"], row["subject"], row["kind"], row["position"]) == ("Ada Park", "Deeper", "commit", 5)
        assert (row["state"], row["why"], row["skipped"]) == (None, "", "")

    def test_since_a_commit_with_what_the_journal_knows(self, history: History, installed: Installation) -> None:
        journal = Journal(installed.data / "journal.jsonl", installed.cache / "last_sha1")
        journal.note(history.shas["docs"], State.FAILED, "run", "no such corpus\x1b[31m")
        done = installed.run("landings", "--since", history.shas["root"][:8], "--set", "ds_landings=merges")
        assert done.returncode == 0
        assert [line[:40] for line in done.stdout.splitlines()[::2]] == [
            history.shas[name] for name in ("docs", "merge", "marked", "code")
        ]
        assert "failed" in done.stdout
        assert "no such corpus\\x1b[31m" in done.stdout, "an escape is shown, not obeyed"
        assert "its message says [skip wer]" in done.stdout
        assert "Ada Park: Merge: Layer" in done.stdout
        rows = json.loads(installed.run("landings", "--since", history.shas["root"], "--json").stdout)
        assert [row["state"] for row in rows] == ["failed", None, None, None]
        assert [row["kind"] for row in rows] == ["commit", "merge", "commit", "commit"]
        assert [bool(row["skipped"]) for row in rows] == [False, False, True, False]

    def test_since_last_sha1(self, history: History, installed: Installation) -> None:
        journal = Journal(installed.data / "journal.jsonl", installed.cache / "last_sha1")
        journal.advance(history.shas["marked"])
        assert [row["sha"] for row in json.loads(installed.run("landings", "--json").stdout)] == [history.shas["code"]]
        journal.advance(history.shas["code"])
        assert json.loads(installed.run("landings", "--json").stdout) == []
        assert "nothing new" in installed.run("landings").stdout

    def test_since_what_is_no_commit_of_the_branch(self, history: History, installed: Installation) -> None:
        history.repository.git("checkout", "--quiet", "-B", "side", history.shas["docs"])
        side = history.repository.commit("Aside")
        history.repository.git("checkout", "--quiet", "main")
        for since, says in ((side, "not on the branch main"), ("f" * 40, "no commit"), ("main", "not the SHA")):
            done = installed.run("landings", "--since", since)
            assert done.returncode == 2
            assert says in done.stderr
            assert done.stdout == ""
