from __future__ import annotations

import email.utils
import json
import os
import random
import select
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deepspeech_wer.config import Settings, load
from deepspeech_wer.errors import RepositoryError, SettingsError
from deepspeech_wer.landings.git import Found, Mirror
from deepspeech_wer.landings.github import CONTEXT, GitHub
from deepspeech_wer.landings.github.access import find_token, printed_by, repository_of
from deepspeech_wer.landings.github.api import Patience
from deepspeech_wer.landings.remote import Head
from deepspeech_wer.landings.remote import find_head as find_head_with_git
from github_server import TOKEN, FakeGitHub, Fault, limit
from history import Repository

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC).timestamp()
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
PRIMARY = "API rate limit exceeded for user ID 1."


@dataclass
class Site:
    """The fake, the repository behind it, and a clock that only waiting moves."""

    fake: FakeGitHub
    cache: Path
    waited: list[float] = field(default_factory=list)
    now: float = NOW
    timeout: float = 30.0

    @property
    def repository(self) -> Repository:
        return self.fake.repository

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds

    def github(self, token: str = TOKEN, project: str = "speech") -> GitHub:
        patience = Patience(timeout=self.timeout, sleep=self.sleep, random=lambda: 0.5, now=lambda: self.now)
        return GitHub(self.fake.address, "acme", project, token, self.cache, patience=patience)

    def position(self, sha: str) -> int:
        return int(self.repository.git("rev-list", "--first-parent", "--count", sha))

    def find(self, last: str | None, known: tuple[str, ...] = (), ref: str = "HEAD") -> Found:
        github = self.github()
        return github.landings(github.find_head(ref), last, known, first=self.position)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with FakeGitHub(Repository.begun(tmp_path / "repository")).serving() as fake:
        yield Site(fake, tmp_path / "cache")


def with_git(site: Site, last: str | None, known: tuple[str, ...] = ()) -> Found:
    """What the mirror finds in the same repository."""
    mirror = Mirror(site.cache, str(site.repository.path), f"{site.fake.address}/acme/speech/commit/{{sha}}")
    head = find_head_with_git(mirror.url, "HEAD")
    mirror.fetch(head)
    found = mirror.landings(head, last, known)
    return replace(found, remark=found.remark.replace(mirror.url, "acme/speech on 127.0.0.1"))


def shas(found: Found) -> list[str]:
    return [landing.sha for landing in found.landings]


def grow(repository: Repository, shape: list[list[int]], seed: int = 0) -> list[str]:
    """Commits with parents by their number in ``shape``, made at once; the last one is main. Gives the SHAs."""
    chance = random.Random(seed)
    stream = ["reset refs/heads/main\n"]
    for number, parents in enumerate(shape, 1):
        when = 1_700_000_000 + number * 60 + chance.randint(-300, 300)  # clocks are never quite right
        message = f"Change {number}\n\nIt does so.\n"
        stream.append(f"commit refs/heads/grown-{number}\nmark :{number}\n")
        stream.append(f"author Zoë Ångström <z@example.org> {when} +0100\n")
        stream.append(f"committer Ada Park <a@example.org> {when + 5} -0500\n")
        stream.append(f"data {len(message)}\n{message}")
        stream += [f"{'merge' if index else 'from'} :{parent}\n" for index, parent in enumerate(parents)]
        stream.append("\n")
    subprocess.run(
        ["git", "-C", str(repository.path), "fast-import", "--quiet", "--export-marks=.git/marks"],
        input="".join(stream).encode(),
        check=True,
    )
    marks = dict(line.split() for line in (repository.path / ".git" / "marks").read_text().splitlines())
    made = [marks[f":{number}"] for number in range(1, len(shape) + 1)]
    point_to(repository, made[-1])
    return made


def point_to(repository: Repository, sha: str) -> None:
    repository.git("update-ref", "refs/heads/main", sha)


def line(length: int) -> list[list[int]]:
    return [[]] + [[number] for number in range(1, length)]


# -- The tip of a branch, and what it costs


def test_the_head_is_what_git_says_it_is(site: Site) -> None:
    site.repository.git("checkout", "--quiet", "-b", "feature/a#1%")
    site.repository.commit("On a branch")
    site.repository.git("tag", "light")
    site.repository.git("tag", "-a", "-m", "Annotated", "v1")
    site.repository.git("tag", "-a", "-m", "A tag of a tag", "v1-again", "v1")
    site.repository.git("tag", "main")  # a branch goes first
    site.repository.git("checkout", "--quiet", "main")
    for ref in ("HEAD", "main", "feature/a#1%", "light", "v1", "v1-again", "refs/heads/main", "refs/tags/main"):
        assert site.github().find_head(ref) == find_head_with_git(str(site.repository.path), ref), ref


def test_an_unchanged_branch_costs_nothing_of_the_limit(site: Site) -> None:
    first = site.github().find_head("HEAD")
    site.fake.requests.clear()
    assert site.github().find_head("HEAD") == first
    assert [request.status for request in site.fake.requests] == [304, 304]
    sha = site.repository.commit("New")
    assert site.github().find_head("HEAD").sha == sha
    assert site.fake.counted() == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"probes": 1}', '{"probes": {"/repos/acme/speech": {"etag": 1}}}'])
def test_a_damaged_memory_is_begun_anew(site: Site, content: str) -> None:
    head = site.github().find_head("HEAD")
    (path,) = (site.cache / "github").glob("*.json")
    path.write_text(content)
    assert site.github().find_head("HEAD") == head


def test_a_cache_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    site.cache.write_text("a file where a folder should be")
    with pytest.raises(RepositoryError, match="cannot be written"):
        site.github().find_head("HEAD")


@pytest.mark.parametrize(("ref", "message"), [("gone", "has no branch gone"), ("refs/heads/gone", "has no branch")])
def test_a_branch_that_is_not_there_is_told(site: Site, ref: str, message: str) -> None:
    with pytest.raises(RepositoryError, match=message):
        site.github().find_head(ref)


def test_a_tag_of_a_tree_is_no_commit(site: Site) -> None:
    site.repository.git("tag", "tree", "HEAD^{tree}")
    with pytest.raises(RepositoryError, match=r"refs/tags/tree of acme/speech on 127.0.0.1 is no commit"):
        site.github().find_head("tree")


def test_an_empty_repository_is_told(tmp_path: Path) -> None:
    with (
        FakeGitHub(Repository.new(tmp_path / "empty")).serving() as fake,
        pytest.raises(RepositoryError, match="has no commit on its default branch yet"),
    ):
        Site(fake, tmp_path / "cache").github().find_head("HEAD")


@pytest.mark.parametrize("ref", ["HEAD", "main"])
def test_a_repository_that_is_not_there_is_told(site: Site, ref: str) -> None:
    with pytest.raises(RepositoryError, match=r"there is no acme/other on 127.0.0.1, or none that"):
        site.github(project="other").find_head(ref)


def test_what_github_asks_of_a_client_is_sent(site: Site) -> None:
    site.github().find_head("main")
    headers = site.fake.requests[0].headers
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["user-agent"] == "deepspeech-wer"
    assert headers["authorization"] == f"Bearer {TOKEN}"


def test_no_netrc_takes_the_tokens_place(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    site.github().find_head("main")
    site.github(token="").find_head("main")
    assert [request.headers.get("authorization") for request in site.fake.requests] == [f"Bearer {TOKEN}", None]


# -- What has landed, held against what git finds in the same repository


def test_merges_squashes_and_pushes_land_and_the_inside_of_a_branch_does_not(site: Site) -> None:
    first = site.repository.git("rev-parse", "HEAD")
    merge = site.repository.land("Add a layer", {"a": "1"})
    push = site.repository.commit("Pushed straight\nin two lines\n\n[Skip WER]", author="Zoë Ångström 山田")
    found = site.find(first)
    assert shas(found) == [merge, push]
    assert [landing.kind for landing in found.landings] == ["merge", "commit"]
    assert [landing.marked for landing in found.landings] == [False, True]
    assert [landing.position for landing in found.landings] == [2, 3]
    assert found.landings[1].subject == "Pushed straight in two lines"
    assert found.landings[1].author == "Zoë Ångström 山田"
    assert found.landings[1].url == f"{site.fake.address}/acme/speech/commit/{push}"
    assert found == with_git(site, first)


SHAPES = {
    "a line": line(4),
    "merges": [[], [1], [1, 2], [3], [3, 4]],
    "main merged into the feature first": [[], [1], [1], [2, 3], [3, 4]],
    "the feature fast-forwarded onto main after it took main in": [[], [1], [1], [2, 3]],
    "octopus": [[], [1], [1], [1], [1, 2, 3, 4]],
    "criss-cross": [[], [1], [1], [2, 3], [3, 2], [4, 5]],
    "a second root": [[], [], [1, 2], [3]],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_of_history_is_seen_as_git_sees_it(site: Site, shape: list[list[int]]) -> None:
    made = grow(site.repository, shape)
    for last in (None, *made):
        assert site.find(last) == with_git(site, last), last and made.index(last)


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_are_seen_as_git_sees_them(site: Site, seed: int) -> None:
    chance = random.Random(seed)
    shape: list[list[int]] = [[]]
    for number in range(1, 60):
        near = range(max(1, number - 6), number + 1)
        shape.append(chance.sample(near, min(len(near), chance.choice([1, 1, 2, 2, 3]))))
    made = grow(site.repository, shape, seed)
    for last in chance.sample(made, 5):
        assert site.find(last) == with_git(site, last)


def test_the_first_run_takes_only_the_head(site: Site) -> None:
    site.repository.land("One")
    head = site.repository.land("Two")
    found = site.find(None)
    assert (shas(found), found.remark, found.is_first) == ([head], "", True)
    assert found == with_git(site, None)


def test_nothing_new_is_nothing_and_asks_nothing(site: Site) -> None:
    head = site.repository.land("One")
    found = site.find(head)
    assert found == Found(())
    assert not [path for path in site.fake.paths() if "compare" in path]


def test_three_hundred_commits_come_in_pages(site: Site) -> None:
    made = grow(site.repository, line(301))
    found = site.find(made[0])
    assert shas(found) == made[1:]
    assert [landing.position for landing in found.landings] == list(range(2, 302))
    compared = [request.query for request in site.fake.requests if "compare" in request.path]
    assert compared == [{"per_page": "100", "page": str(page)} for page in (1, 2, 3)]


def test_what_a_comparison_leaves_out_is_compared_again(site: Site) -> None:
    shape = line(40)
    shape += [[30], [41], [40, 42]]  # a branch that is older than its merge
    made = grow(site.repository, shape)
    site.fake.most_compared = 7
    assert shas(site.find(made[4])) == [*made[5:40], made[42]]


def test_a_comparison_that_goes_nowhere_ends(site: Site) -> None:
    made = grow(site.repository, line(40))
    site.fake.most_compared = 0
    with pytest.raises(RepositoryError, match=r"leaves .* out"):
        site.find(made[4])


def test_a_rewritten_branch_goes_on_from_where_the_histories_part(site: Site) -> None:
    made = grow(site.repository, [[], [1], [2], [2], [4], [5]])
    found = site.find(made[2])
    assert shas(found) == made[3:]
    assert "rewritten" in found.remark
    assert found.is_rewritten
    assert found == with_git(site, made[2])


def test_a_branch_that_was_set_back_has_nothing_new(site: Site) -> None:
    made = grow(site.repository, line(4))
    point_to(site.repository, made[1])
    found = site.find(made[3])
    assert (found.landings, found.is_rewritten) == ((), True)
    assert found == with_git(site, made[3])


def test_a_rewritten_branch_with_two_merge_bases_is_seen_as_git_sees_it(site: Site) -> None:
    made = grow(site.repository, [[], [1], [1], [2, 3], [3, 2], [4], [5]])
    assert site.find(made[5]) == with_git(site, made[5])


def test_without_a_common_ancestor_the_journal_helps_else_only_the_head_is_taken(site: Site) -> None:
    made = grow(site.repository, [[], [1], [], [3], [4]])
    found = site.find(made[1], (made[1], made[3]))
    assert shas(found) == [made[4]]
    assert found.remark.endswith(f"going on from {made[3][:7]}, the newest in the journal")
    assert found == with_git(site, made[1], (made[1], made[3]))
    found = site.find(made[1])
    assert shas(found) == [made[4]]
    assert "no history in common" in found.remark
    assert found == with_git(site, made[1])


@pytest.mark.parametrize("last", ["0" * 40, "garbage", "../../user", "HEAD"])
def test_an_unknown_last_sha1_is_told_and_the_journal_helps(site: Site, last: str) -> None:
    made = grow(site.repository, [[], [1], [1, 2], [3], [4]])
    found = site.find(last)
    assert shas(found) == [made[4]]
    assert "is no commit of acme/speech on 127.0.0.1: only the head" in found.remark
    assert found == with_git(site, last)
    found = site.find(last, (made[0], made[2]))
    assert shas(found) == made[3:]
    assert "the newest in the journal" in found.remark
    assert found == with_git(site, last, (made[0], made[2]))


def test_a_lost_last_sha1_is_looked_up_in_the_journal_over_pages(site: Site) -> None:
    made = grow(site.repository, line(230))
    assert shas(site.find(None, (made[3], "1" * 40))) == made[4:]
    assert shas(site.find(None, ("1" * 40,))) == [made[-1]]


# -- Pull requests that were merged by rebasing


def test_the_commits_of_a_rebased_pull_request_are_one_landing(site: Site) -> None:
    made = grow(site.repository, line(8))
    site.fake.merge_pull(7, made[2:5])
    site.fake.merge_pull(8, made[5:7])
    found = site.find(made[0])
    assert shas(found) == [made[1], made[4], made[6], made[7]]
    assert [landing.kind for landing in found.landings] == ["commit", "rebase", "rebase", "commit"]
    assert [landing.commits for landing in found.landings] == [1, 3, 2, 1]
    assert [landing.position for landing in found.landings] == [2, 5, 7, 8]


def test_squashes_merges_and_pull_requests_that_are_open_are_no_group(site: Site) -> None:
    made = grow(site.repository, [[], [1], [2], [3], [3, 4], [5], [6]])
    site.fake.merge_pull(1, [made[1]])
    site.fake.merge_pull(2, [made[2]])
    site.fake.merge_pull(3, made[2:5])  # a part of it had been pushed before it was merged
    site.fake.merge_pull(4, made[5:7], is_merged=False)
    found = site.find(made[0])
    assert shas(found) == [made[1], made[2], made[4], made[5], made[6]]
    assert [landing.kind for landing in found.landings] == ["commit", "commit", "merge", "commit", "commit"]


def test_a_commit_that_belongs_to_two_pull_requests_is_grouped_with_the_one_that_brought_it(site: Site) -> None:
    made = grow(site.repository, line(6))
    site.fake.merge_pull(1, made[1:3])
    site.fake.merge_pull(2, made[3:5])
    site.fake.pulls[made[2]].append(site.fake.pulls[made[4]][0] | {"number": 3, "merge_commit_sha": "9" * 40})
    assert shas(site.find(made[0])) == [made[2], made[4], made[5]]


def test_pull_requests_are_asked_for_once(site: Site) -> None:
    made = grow(site.repository, line(5))
    site.fake.merge_pull(1, made[1:3])
    first = site.find(made[0])
    asked = [path for path in site.fake.paths() if path.endswith("/pulls")]
    assert asked == [f"/commits/{sha}/pulls" for sha in (made[3], made[2], made[1])]
    assert site.find(made[0]) == first
    assert [path for path in site.fake.paths() if path.endswith("/pulls")] == asked


def test_a_branch_of_merges_asks_for_no_pull_request(site: Site) -> None:
    first = site.repository.git("rev-parse", "HEAD")
    site.repository.land("One")
    site.repository.land("Two")
    site.repository.commit("Pushed")
    assert len(site.find(first).landings) == 3
    assert not [path for path in site.fake.paths() if path.endswith("/pulls")]


def test_what_was_learnt_about_pull_requests_outlives_a_limit(site: Site) -> None:
    made = grow(site.repository, line(5))
    site.fake.merge_pull(1, made[1:5])
    reset = limit(403, PRIMARY, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW + 1800)))
    site.fake.refusals[f"/commits/{made[2]}/pulls"] = reset
    with pytest.raises(RepositoryError, match="wants to be left alone"):
        site.find(made[0])
    site.fake.refusals.clear()
    site.now += 1900
    site.fake.requests.clear()
    assert shas(site.find(made[0])) == [made[4]]
    asked = [path for path in site.fake.paths() if path.endswith("/pulls")]
    assert asked == [f"/commits/{sha}/pulls" for sha in (made[2], made[1])]


@pytest.mark.parametrize("status", [403, 404, 409])
def test_where_pull_requests_are_refused_each_commit_counts(site: Site, status: int) -> None:
    made = grow(site.repository, line(4))
    site.fake.merge_pull(1, made[1:])
    for sha in made:
        site.fake.refusals[f"/commits/{sha}/pulls"] = limit(status, "Resource not accessible")
    found = site.find(made[0])
    assert shas(found) == made[1:]
    assert "which commits are of one pull request (Resource not accessible)" in found.remark
    assert site.waited == []


# -- Limits


def test_a_number_of_seconds_in_retry_after_is_waited_for(site: Site) -> None:
    for status in (403, 429):
        site.fake.faults.append(limit(status, SECONDARY, Retry_After="17"))
    assert site.github().find_head("main")
    assert site.waited == [17.5, 17.5]


def test_a_date_in_retry_after_is_meant_by_the_servers_clock(site: Site) -> None:
    ours_is_wrong_by = 3600
    server = NOW + ours_is_wrong_by
    dates = {
        "Date": email.utils.formatdate(server, usegmt=True),
        "Retry_After": email.utils.formatdate(server + 20, usegmt=True),
    }
    site.fake.faults.append(Fault(429, {name.replace("_", "-"): text for name, text in dates.items()}))
    assert site.github().find_head("main")
    assert site.waited == [20.5]


@pytest.mark.parametrize("status", [403, 429])
def test_the_primary_limit_is_waited_for_until_its_reset(site: Site, status: int) -> None:
    site.fake.faults.append(limit(status, PRIMARY, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW + 30))))
    assert site.github().find_head("main")
    assert site.waited == [31.5]


def test_the_reset_is_meant_by_the_servers_clock_too(site: Site) -> None:
    there = NOW - 7200
    about = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": str(int(there + 30))}
    site.fake.faults.append(limit(403, PRIMARY, Date=email.utils.formatdate(there, usegmt=True), **about))
    assert site.github().find_head("main")
    assert site.waited == [31.5]


@pytest.mark.parametrize("status", [403, 429])
def test_a_limit_that_does_not_say_how_long_is_given_a_minute_and_then_the_tick_ends(site: Site, status: int) -> None:
    site.fake.faults += [limit(status, SECONDARY)] * 2
    with pytest.raises(RepositoryError, match="wants to be left alone until 2026-11-21T09:03:01"):
        site.github().find_head("main")
    assert site.waited == [60.5]


def test_a_wait_that_is_too_long_ends_the_tick_and_holds_for_the_next_ones(site: Site) -> None:
    reset = str(int(NOW + 1800))
    site.fake.faults.append(limit(403, PRIMARY, x_ratelimit_remaining="0", x_ratelimit_reset=reset))
    with pytest.raises(RepositoryError, match="2026-11-21T09:30:01"):
        site.github().find_head("main")
    assert site.waited == []
    asked = len(site.fake.requests)
    site.now += 900
    with pytest.raises(RepositoryError, match="2026-11-21T09:30:01"):
        site.github().find_head("main")
    assert len(site.fake.requests) == asked
    site.now += 902
    assert site.github().find_head("main")


def test_a_token_that_is_set_later_does_not_wait_for_the_limit_without_one(site: Site) -> None:
    site.fake.faults.append(limit(429, PRIMARY, Retry_After="3600"))
    with pytest.raises(RepositoryError) as raised:
        site.github(token="").find_head("main")
    assert "ds_github_token" in raised.value.hint
    assert site.github().find_head("main")


def test_a_pause_of_more_than_a_day_is_not_believed(site: Site) -> None:
    site.fake.faults.append(limit(429, PRIMARY, Retry_After="999999999999"))
    with pytest.raises(RepositoryError, match="2026-11-22T09:00:00"):
        site.github().find_head("main")
    site.now -= 7200  # the clock was put back
    assert site.github().find_head("main")


def test_all_waits_of_a_tick_together_are_bounded(site: Site) -> None:
    github = site.github()
    site.fake.faults.append(limit(429, SECONDARY, Retry_After="50"))
    assert github.find_head("main")
    site.fake.faults.append(limit(429, SECONDARY, Retry_After="50"))
    assert github.find_head("main")
    site.fake.faults.append(limit(429, SECONDARY, Retry_After="50"))
    with pytest.raises(RepositoryError, match="left alone"):
        github.find_head("main")
    assert site.waited == [50.5, 50.5]


# -- Servers that are ill, and networks that are


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_of_the_server_is_tried_again_after_waits_that_double(site: Site, status: int) -> None:
    site.fake.faults += [Fault(status, {}, "<html>Unicorn!</html>")] * 4
    assert site.github().find_head("main")
    assert site.waited == [1.0, 2.0, 4.0, 8.0]


def test_an_error_of_the_server_that_stays_ends_the_tick(site: Site) -> None:
    site.fake.faults += [Fault(502)] * 5
    with pytest.raises(RepositoryError, match=r"an error of its own \(502\), 5 times in a row"):
        site.github().find_head("main")
    assert len(site.fake.requests) == 5


def test_maintenance_that_says_how_long_is_waited_for(site: Site) -> None:
    site.fake.faults.append(Fault(503, {"Retry-After": "10"}))
    assert site.github().find_head("main")
    assert site.waited == [10.5]


def test_an_answer_that_is_cut_off_is_asked_for_again(site: Site) -> None:
    body = json.dumps({"ref": "refs/heads/main", "object": {"type": "commit", "sha": "1" * 40}})
    site.fake.faults.append(Fault(200, {}, body, cut=20))
    assert site.github().find_head("main").sha == site.repository.git("rev-parse", "main")
    assert site.waited == [1.0]


def test_an_answer_that_does_not_come_is_asked_for_again(site: Site) -> None:
    site.timeout = 2.0
    site.fake.faults.append(Fault(hang=True))
    assert site.github().find_head("main")
    assert site.waited == [1.0]


def test_a_server_that_is_away_ends_the_tick(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        site.fake.address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RepositoryError, match=r"127.0.0.1 cannot be reached, .*5 times in a row"):
        site.github().find_head("main")
    assert site.waited == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("address", ["https://", "https://a b/", "https://[::1"])
def test_an_address_that_is_none_is_told_at_once(site: Site, address: str) -> None:
    site.fake.address = address
    with pytest.raises((RepositoryError, SettingsError), match=r"ds_github_api|cannot be asked"):
        site.github().find_head("main")
    assert site.waited == []


@pytest.mark.parametrize("body", ["<html>Log in to the hotel's network</html>", "", '{"cut": ', "[" * 100_000])
def test_what_is_not_json_is_told(site: Site, body: str) -> None:
    site.fake.faults.append(Fault(200, {}, body))
    with pytest.raises(RepositoryError, match="something that is not JSON"):
        site.github().find_head("main")


@pytest.mark.parametrize(
    "value",
    [None, [], 1, {}, {"object": None}, {"object": {"type": "commit", "sha": "../../user"}}, {"object": {"type": 1}}],
)
def test_json_of_another_shape_is_told(site: Site, value: object) -> None:
    site.fake.faults.append(Fault(200, {}, json.dumps(value)))
    with pytest.raises(RepositoryError, match="not what GitHub's documentation says"):
        site.github().find_head("main")


@pytest.mark.parametrize("value", [None, {}, {"merge_base_commit": None}, {"commits": [{"sha": 1}]}])
def test_a_comparison_of_another_shape_is_told(site: Site, value: object) -> None:
    first = site.repository.git("rev-parse", "HEAD")
    head = site.repository.commit("New")
    site.fake.refusals[f"/compare/{first}...{head}"] = Fault(200, {}, json.dumps(value))
    with pytest.raises(RepositoryError, match="not what GitHub's documentation says"):
        site.find(first)


def test_hostile_texts_of_a_commit_do_no_harm(site: Site) -> None:
    first = site.repository.git("rev-parse", "HEAD")
    head = site.repository.commit("New")
    about = {"author": None, "committer": {"date": "never"}, "message": "\ud800<b>\x1b[31m\n\n\n[WER skip]"}
    commit = {"sha": head, "parents": [{"sha": first}], "commit": about}
    value = {"merge_base_commit": {"sha": first}, "total_commits": 1, "commits": [commit]}
    site.fake.refusals[f"/compare/{first}...{head}"] = Fault(200, {}, json.dumps(value))
    (landing,) = site.find(first).landings
    assert landing.subject.encode() == b"?<b>\x1b[31m"
    assert (landing.author, landing.date, landing.marked) == ("", "1970-01-01T00:00:00+00:00", True)


# -- Who we are, and where we are sent


@pytest.mark.parametrize("status", [401, 403])
def test_bad_credentials_are_not_tried_again_and_not_shown(site: Site, status: int) -> None:
    site.fake.faults.append(limit(status, "Bad credentials"))
    github = GitHub(site.fake.address, "acme", "speech", TOKEN, site.cache, token_from="GH_TOKEN")
    with pytest.raises(RepositoryError) as raised:
        github.find_head("main")
    assert "the token from GH_TOKEN: Bad credentials" in raised.value.message
    assert TOKEN not in raised.value.message + raised.value.hint
    assert len(site.fake.requests) == 1


def test_a_renamed_repository_is_found(site: Site) -> None:
    site.fake.moved_from, site.fake.name = "acme/speech", "acme/listening"
    first = site.repository.git("rev-parse", "HEAD")
    push = site.repository.commit("New")
    assert shas(site.find(first)) == [push]
    site.github().set_status(push, "success", "WER 4 %")
    assert site.fake.requests[-1].body["state"] == "success"


def test_another_host_is_not_followed_and_gets_no_token(site: Site, tmp_path: Path) -> None:
    with FakeGitHub(site.repository).serving() as other:  # another port is another host here
        site.fake.faults.append(Fault(302, {"Location": f"{other.address}/repos/acme/speech/git/ref/heads/main"}))
        with pytest.raises(RepositoryError, match=r"sends us on to 127.0.0.1, where we do not go"):
            site.github().find_head("main")
        assert other.requests == []


@pytest.mark.parametrize("target", ["", "http://[::1", "ftp://127.0.0.1/", "//"])
def test_a_redirect_to_nowhere_ends(site: Site, target: str) -> None:
    site.fake.refusals["/git/ref/heads/main"] = Fault(301, {"Location": target})
    with pytest.raises(RepositoryError):
        site.github().find_head("main")
    assert len(site.fake.requests) <= 6


# -- Commit statuses


def test_a_status_is_set(site: Site) -> None:
    sha = site.repository.git("rev-parse", "HEAD")
    site.github().set_status(sha, "failure", "No such corpus:\n" + "x" * 200, "https://wer.example.org/")
    (request,) = site.fake.requests
    assert (request.method, request.path) == ("POST", f"/repos/acme/speech/statuses/{sha}")
    assert request.body["context"] == CONTEXT
    assert request.body["description"].startswith("No such corpus: xxx")
    assert len(request.body["description"]) == 140
    assert request.body["target_url"] == "https://wer.example.org/"


def test_a_status_that_may_not_be_set_is_told(site: Site) -> None:
    sha = site.repository.git("rev-parse", "HEAD")
    with pytest.raises(RepositoryError, match="without a token"):
        site.github(token="").set_status(sha, "success", "")
    assert site.fake.requests == []
    site.fake.faults.append(limit(403, "Resource not accessible by personal access token"))
    with pytest.raises(RepositoryError) as raised:
        site.github().set_status(sha, "success", "", "javascript:alert(1)")
    assert "Commit statuses: write" in raised.value.hint
    assert "target_url" not in site.fake.requests[0].body


# -- Settings


def settings(**values: str) -> Settings:
    return load({f"ds_{name}": value for name, value in values.items()}, {})


@pytest.mark.parametrize(
    ("repository", "api"),
    [
        ("https://github.com/acme/speech", ""),
        ("https://github.com/acme/speech.git/", ""),
        ("https://someone:secret@GitHub.com/acme/speech.git", ""),
        ("git@github.com:acme/speech.git", ""),
        ("ssh://git@github.com:22/acme/speech.git", ""),
        ("ssh://git@ssh.github.com:443/acme/speech.git", ""),
        ("git://github.com/acme/speech.git", ""),
        ("https://git.example.org/acme/speech.git", "https://git.example.org/api/v3"),
        ("git@acme.ghe.com:acme/speech.git", "https://api.acme.ghe.com"),
    ],
)
def test_account_and_project_are_read_from_the_repositorys_address(repository: str, api: str) -> None:
    assert repository_of(settings(repository=repository, github_api=api)) == ("acme", "speech")


def test_account_and_project_that_are_set_go_first() -> None:
    mirror = settings(repository="/srv/mirror.git", github_account="acme", github_project="speech")
    assert repository_of(mirror) == ("acme", "speech")
    assert repository_of(settings(github_account="acme")) == ("acme", "DeepSpeech")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"repository": "/srv/mirror.git"},
        {"repository": "https://someone:secret@gitlab.com/acme/speech.git"},
        {"repository": "https://evil-github.com/acme/speech"},
        {"repository": "https://github.com/acme"},
        {"repository": "https://github.com/acme/speech/tree/main"},
        {"github_account": "acme", "github_project": ".."},
        {"github_account": "acme/x", "github_project": "speech"},
    ],
)
def test_a_repository_that_is_not_githubs_is_a_wrong_setting(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as raised:
        repository_of(settings(**values))
    assert "secret" not in raised.value.message + raised.value.hint


@pytest.fixture
def no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_TOKEN", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_tokens")
def test_the_token_comes_from_the_first_place_that_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_token(settings()) == ("", "")
    command = {"github_token_command": "printf 'of-the-command\\n'"}
    assert find_token(settings(**command)) == ("of-the-command", "ds_github_token_command")
    monkeypatch.setenv("GH_TOKEN", "of-gh")
    assert find_token(settings(**command)) == ("of-gh", "GH_TOKEN")
    monkeypatch.setenv("GITHUB_TOKEN", "of-github")
    assert find_token(settings(**command)) == ("of-github", "GITHUB_TOKEN")
    assert find_token(settings(github_token="set", **command)) == ("set", "ds_github_token")


@pytest.mark.usefixtures("no_tokens")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sh -c 'echo secret; exit 3'", "sh failed with exit code 3"),
        ("sh -c 'echo two secrets'", "is no token"),
        ("true secret", "is no token"),
        ("'open secret", "not a command"),
        ("/no/such/program secret", "/no/such/program does not start"),
    ],
)
def test_a_command_that_gives_no_token_is_told_without_a_secret(command: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        find_token(settings(github_token_command=command))
    assert "secret" not in raised.value.message + raised.value.hint


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    script = tmp_path / "hang"
    script.write_text(f"#!/bin/sh\nsleep 300 &\necho $! > {tmp_path}/child\nwait\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(SettingsError, match=r"did not end within 1 s"):
        printed_by(str(script), seconds=1)
    child = int((tmp_path / "child").read_text())
    try:
        watched = os.pidfd_open(child)
    except ProcessLookupError:
        return
    ended, _, _ = select.select([watched], [], [], 30)
    os.close(watched)
    assert ended


@pytest.mark.usefixtures("no_tokens")
def test_all_of_it_comes_from_the_settings(site: Site) -> None:
    values = {"github_account": "acme", "github_project": "speech", "github_api": site.fake.address}
    github = GitHub.of(settings(**values, github_token_command=f"echo {TOKEN}"), site.cache)
    assert github.find_head("HEAD") == Head(site.repository.git("rev-parse", "main"), "HEAD", "main")
    assert site.fake.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    kept = list(site.cache.rglob("*.json"))
    assert len(kept) == 1
    assert TOKEN not in kept[0].read_text()


@pytest.mark.usefixtures("no_tokens")
def test_a_token_is_not_sent_for_all_to_read() -> None:
    values = {"github_account": "acme", "github_project": "speech", "github_api": "http://git.example.org/api/v3"}
    assert GitHub.of(settings(**values))
    with pytest.raises(SettingsError, match="for all to read"):
        GitHub.of(settings(**values, github_token=TOKEN))


def test_nothing_heavy_is_imported_with_it() -> None:
    code = "import sys, deepspeech_wer.landings.github; print({'requests', 'git', 'paramiko'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
