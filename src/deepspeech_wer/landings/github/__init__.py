"""What has landed, as GitHub's API tells it (``ds_landings_source=github``); and commit statuses.

The same landings as a mirror gives (:mod:`deepspeech_wer.landings.git`), with one thing that git does not know: which
commits came together, as one pull request that was merged by rebasing. They are one landing, the last of them.

Where nothing is new, a tick asks with the ETags that it was given, and gets a 304 that counts against no limit (with a
token). What is new comes from the comparison of two commits, a hundred commits a page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deepspeech_wer.errors import RepositoryError, SettingsError
from deepspeech_wer.landings import Landing, is_marked
from deepspeech_wer.landings.git import Found
from deepspeech_wer.landings.github.access import find_token, host_of, is_overheard, repository_of, website_of
from deepspeech_wer.landings.github.api import Api, Memory, Patience, Refused
from deepspeech_wer.landings.github.pulls import Pulls
from deepspeech_wer.landings.github.values import Commit, commit_of, is_sha, object_of, sha_of, shaped, text_of
from deepspeech_wer.landings.remote import Head

if TYPE_CHECKING:
    from deepspeech_wer.config import Settings

#: Commits on a page; the API gives no more.
PER_PAGE = 100

#: Pages of one comparison that are read at once; where there are more commits, the rest is compared anew.
COMPARED_PAGES = 100

#: Pages of history that are searched for a landing that the journal knows, where last_sha1 is of no use.
SEARCHED_PAGES = 30

#: Refs whose ETags are kept.
REMEMBERED_REFS = 20

#: What GitHub calls us in a commit's list of statuses.
CONTEXT = "deepspeech-wer"

#: Characters of a commit status's description that GitHub takes.
DESCRIPTION = 140

STATES = ("error", "failure", "pending", "success")


@dataclass(frozen=True)
class _Comparison:
    """What is reachable from one commit and not from another: their merge base, and the commits by SHA.

    ``is_whole`` is False where GitHub did not list them all.
    """

    base: str
    commits: dict[str, Commit]
    is_whole: bool


class GitHub:
    """One repository on GitHub, or on a GitHub Enterprise Server, at the API address ``api``."""

    def __init__(
        self,
        api: str,
        account: str,
        project: str,
        token: str,
        cache: Path,
        *,
        token_from: str = "ds_github_token",
        commit_url: str = "",
        patience: Patience | None = None,
    ) -> None:
        self.name = f"{account}/{project} on {host_of(api)}"
        folder = cache / "github"
        name = f"{account}-{project}-{hashlib.sha256(f'{api} {account}/{project}'.encode()).hexdigest()[:8]}"
        self._memory = Memory(folder / f"{name}.json")
        self._api = Api(api, token, token_from, self._memory, patience or Patience())
        self._has_token = bool(token)
        self._path = f"/repos/{quote(account, safe='')}/{quote(project, safe='')}"
        self._pulls = Pulls(self._api, self._path, self.name, Memory(folder / f"{name}-pulls.json"))
        self._commit_url = commit_url or f"{website_of(api)}/{account}/{project}/commit/{{sha}}"

    @classmethod
    def of(cls, settings: Settings, cache: Path | None = None, patience: Patience | None = None) -> GitHub:
        """The repository that ``settings`` name. Raises SettingsError where it is not known, or the token is none."""
        account, project = repository_of(settings)
        token, token_from = find_token(settings)
        if token and is_overheard(settings.github_api):
            raise SettingsError(
                "ds_github_api is not an https address: the token would be sent for all to read", "use https"
            )
        return cls(
            settings.github_api,
            account,
            project,
            token,
            cache or settings.cache,
            token_from=token_from,
            commit_url=settings.commit_url,
            patience=patience,
        )

    def find_head(self, ref: str) -> Head:
        """Ask for the tip of ``ref``, which means what it means to :func:`deepspeech_wer.landings.git.find_head`.

        A branch goes before a tag of the same name. Raises RepositoryError.
        """
        if ref == "HEAD":
            with self._seen():
                branch = self._probe(self._path, lambda value: text_of(value["default_branch"]))
            if (sha := self._tip(f"heads/{branch}")) is None:
                raise RepositoryError(f"{self.name} has no commit on its default branch yet", "push a first commit")
            return Head(sha, "HEAD", branch)
        names = [ref.removeprefix("refs/")] if ref.startswith("refs/") else [f"heads/{ref}", f"tags/{ref}"]
        for name in names:
            if (sha := self._tip(name)) is not None:
                return Head(sha, f"refs/{name}", f"refs/{name}".removeprefix("refs/heads/"))
        with self._seen():
            self._api.get(self._path)
        raise RepositoryError(f"{self.name} has no branch {ref}", "set ds_ref to a branch that is there")

    def landings(
        self, head: Head, last: str | None, known: Collection[str] = (), *, first: Callable[[str], int]
    ) -> Found:
        """What landed after ``last``, up to ``head``, oldest first, as :meth:`Mirror.landings` says it.

        ``first`` gives the position on the branch of the commit with which the new ones begin, such as
        :meth:`Mirror.position`: the API cannot tell it without reading the whole history. Where ``last`` is of no use,
        the newest of the ``known`` is looked for among the last 3000 commits. Raises RepositoryError.
        """
        if last == head.sha:
            return Found(())
        remark, is_rewritten = "", False
        compared = self._compared(last, head.sha) if last else None
        if compared is None and (last or known):
            if last and self._exists(last):
                what = f"the branch has no history in common with last_sha1 {last[:7]}"
            else:
                what = f"{last[:7]}, which last_sha1 holds, is no commit of {self.name}" if last else "no last_sha1"
            is_rewritten = bool(last)
            last = self._newest(head.sha, known)
            then = f"going on from {last[:7]}, the newest in the journal" if last else "only the head"
            remark = f"{what}: {then}"
        if last is None:
            return self._found([self._commit(head.sha)], first, remark, is_rewritten=is_rewritten, is_first=True)
        compared = compared or self._compare(last, head.sha)
        if compared.base != last:
            parted = compared.base[:7]
            remark = f"the branch was rewritten since last_sha1 {last[:7]}: going on from {parted}, where they part"
            is_rewritten = True
        return self._found(self._line(compared, last, head.sha), first, remark, is_rewritten=is_rewritten)

    def set_status(self, sha: str, state: str, description: str, target_url: str = "") -> None:
        """Set our commit status of ``sha``; ``state`` is one of :data:`STATES`. Raises RepositoryError."""
        if state not in STATES or not is_sha(sha):
            raise ValueError(f"{state!r} of {sha!r} is no commit status")
        if not self._has_token:
            raise RepositoryError(
                "a commit status cannot be set without a token", "set ds_github_token or ds_github_token_command"
            )
        text = " ".join("".join(c if c.isprintable() else " " for c in description).split())
        about = {"state": state, "context": CONTEXT, "description": _cut(text)}
        if target_url.startswith(("http://", "https://")):
            about["target_url"] = target_url
        try:
            self._api.post(f"{self._path}/statuses/{sha}", about)
        except Refused as error:
            if error.status not in (403, 404):
                raise
            raise RepositoryError(
                f"the token from {self._api.token_from} may not set a commit status in {self.name}: {error.said}",
                "give it the permission 'Commit statuses: write' (repo:status for a classic token)",
            ) from error

    def _probe(self, path: str, read: Callable[[Any], str]) -> str:
        """What ``read`` finds at ``path``, from what was kept if the ETag says that nothing changed."""
        kept = self._memory.read().get("probes")
        probes: dict[str, Any] = kept if isinstance(kept, dict) else {}
        match probes.get(path):
            case {"etag": str(etag), "value": str(value)}:
                answer = self._api.get(path, etag=etag)
                if answer.status == 304:
                    return value
            case _:
                answer = self._api.get(path)
        with shaped(self.name):
            found = read(answer.value)
        if answer.etag:
            probes.pop(path, None)
            probes[path] = {"etag": answer.etag, "value": found}
            self._memory.write({**self._memory.read(), "probes": dict(list(probes.items())[-REMEMBERED_REFS:])})
        return found

    def _tip(self, name: str) -> str | None:
        """The commit of the ref ``name`` (``heads/main``), of a tag the tagged one; None where there is no such ref."""
        path = f"{self._path}/git/ref/{quote(name)}"
        try:
            kind, sha = self._probe(path, object_of).split()
            for _ in range(10):  # a tag of a tag of a tag
                if kind != "tag":
                    break
                with shaped(self.name):
                    kind, sha = object_of(self._api.get(f"{self._path}/git/tags/{sha}").value).split()
        except Refused as error:
            if error.status in (404, 409, 422):  # 409: the repository is empty
                return None
            raise
        if kind != "commit":
            raise RepositoryError(f"refs/{name} of {self.name} is no commit", "set ds_ref to a branch")
        return sha

    def _compared(self, last: str, head: str) -> _Comparison | None:
        """The comparison; None where ``last`` is no commit there, or one of another history."""
        if not is_sha(last):
            return None
        try:
            return self._compare(last, head)
        except Refused as error:
            if error.status in (404, 422):
                return None
            raise

    def _compare(self, base: str, tip: str) -> _Comparison:
        commits: dict[str, Commit] = {}
        merge_base, total = base, 0
        for page in range(1, COMPARED_PAGES + 1):
            value = self._api.get(f"{self._path}/compare/{base}...{tip}", {"per_page": PER_PAGE, "page": page}).value
            with shaped(self.name):
                merge_base, total = sha_of(value["merge_base_commit"]["sha"]), int(value["total_commits"])
                new = {commit.sha: commit for commit in map(commit_of, value["commits"])}
            if new.keys() <= commits.keys():
                break
            commits |= new
            if len(commits) >= total:
                break
        return _Comparison(merge_base, commits, len(commits) >= total)

    def _line(self, compared: _Comparison, last: str, head: str) -> list[Commit]:
        """The first-parent line from ``head`` down to what ``last`` has as well, oldest first."""
        line: list[Commit] = []
        tip = head
        if compared.base == head:
            return line
        while True:
            before = len(line)
            while (commit := compared.commits.pop(tip, None)) is not None:
                line.append(commit)
                if not commit.parents:
                    return line[::-1]
                tip = commit.parents[0]
            if tip == last or (compared.is_whole and line):
                return line[::-1]
            if len(line) == before:
                raise RepositoryError(
                    f"{self.name}: GitHub's comparison leaves {tip[:7]} out, which is on the branch",
                    "read what has landed from the repository itself: ds_landings_source=git",
                )
            # GitHub did not list all: what is left, unless it is of the history of ``last``, begins with this one.
            compared = self._compare(last, tip)

    def _newest(self, head: str, known: Collection[str]) -> str | None:
        """The newest of the ``known`` commits on the first-parent line of ``head``."""
        if not known:
            return None
        commits: dict[str, Commit] = {}
        tip = head
        for page in range(1, SEARCHED_PAGES + 1):
            listed = self._listed(head, PER_PAGE, page)
            commits |= {commit.sha: commit for commit in listed}
            while tip not in known and (commit := commits.pop(tip, None)) is not None:
                if not commit.parents:
                    return None
                tip = commit.parents[0]
            if tip in known:
                return tip
            if len(listed) < PER_PAGE:
                break
        return None

    def _listed(self, sha: str, per_page: int, page: int = 1) -> list[Commit]:
        value = self._api.get(f"{self._path}/commits", {"sha": sha, "per_page": per_page, "page": page}).value
        with shaped(self.name):
            return [commit_of(each) for each in value]

    def _commit(self, sha: str) -> Commit:
        listed = self._listed(sha, 1)
        if not listed or listed[0].sha != sha:
            raise RepositoryError(f"{self.name} does not give the commit {sha[:7]}", "the next tick tries again")
        return listed[0]

    def _exists(self, sha: str) -> bool:
        if not is_sha(sha):
            return False
        try:
            self._api.get(f"{self._path}/git/commits/{sha}")
        except Refused as error:
            if error.status in (404, 409, 422):
                return False
            raise
        return True

    def _found(
        self,
        line: list[Commit],
        first: Callable[[str], int],
        remark: str,
        *,
        is_rewritten: bool = False,
        is_first: bool = False,
    ) -> Found:
        if not line:
            return Found((), remark, is_rewritten=is_rewritten)
        try:
            groups = self._pulls.grouped(line)
        except Refused as error:
            if error.status not in (403, 404, 409):
                raise
            groups = [(commit, 1) for commit in line]
            ungrouped = f"GitHub does not say which commits are of one pull request ({error.said}): each is a landing"
            remark = f"{remark}; {ungrouped}" if remark else ungrouped
        position = first(line[0].sha) - 1
        landings = []
        for commit, commits in groups:
            position += commits
            landings.append(self._landing(commit, position, commits))
        return Found(tuple(landings), remark, is_rewritten=is_rewritten, is_first=is_first)

    def _landing(self, commit: Commit, position: int, commits: int) -> Landing:
        return Landing(
            sha=commit.sha,
            parents=commit.parents,
            author=commit.author,
            date=commit.date,
            subject=commit.subject,
            position=position,
            url=self._commit_url.replace("{sha}", commit.sha),
            kind="merge" if len(commit.parents) > 1 else "rebase" if commits > 1 else "commit",
            commits=commits,
            marked=is_marked(commit.message),
        )

    @contextmanager
    def _seen(self) -> Iterator[None]:
        """Say it in the user's words where there is no such repository."""
        try:
            yield
        except Refused as error:
            if error.status != 404:
                raise
            who = f"the token from {self._api.token_from}" if self._has_token else "we, without a token,"
            raise RepositoryError(
                f"there is no {self.name}, or none that {who} may read",
                "check ds_repository (or ds_github_account and ds_github_project), and ds_github_token",
            ) from error


def _cut(text: str) -> str:
    return text if len(text) <= DESCRIPTION else text[: DESCRIPTION - 1] + "…"
