"""What has landed, found with plain git on a cached bare mirror.

A landing is a step of the branch's first-parent history, so that merge commits, squashes, rebases and direct pushes all
count. Works with any URL that git takes, has no rate limit, and asks the server a single question where nothing is new.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from deepspeech_wer.errors import RepositoryError, SettingsError
from deepspeech_wer.landings import Landing

if TYPE_CHECKING:
    import git

#: The fields of a landing, subject last. A commit can hold any character but NUL, so NUL parts them.
_FIELDS = ("%H", "%P", "%an", "%ct", "%s")
_FORMAT = "".join(f"{field}%x00" for field in _FIELDS)
_KEPT = "refs/deepspeech-wer/head"
_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Head:
    """The tip of the tracked branch, as the remote gives it; ``branch`` is its name without ``refs/heads/``."""

    sha: str
    ref: str
    branch: str


@dataclass(frozen=True)
class Found:
    """What is new, oldest first, and a sentence for the user where the history is not as it was left.

    ``skipped`` tells of those landings that are not to be trained why that is, by their SHA. ``is_rewritten`` says that
    the commit to go on from is no longer on the branch; ``is_first``, that there is none to go on from, so that the head
    stands alone.
    """

    landings: tuple[Landing, ...]
    remark: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict)
    is_rewritten: bool = False
    is_first: bool = False


def environment(url: str = "") -> dict[str, str]:
    """The environment for git: nothing may ask a question or wait for ever, for nobody is there.

    The user name and the password in ``url`` go this way, too, so that no list of processes shows them: git is called
    with the address that :func:`public` gives, and is told here what to put in its place.
    """
    quiet = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15",
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "60",
    }
    settings = [("safe.bareRepository", "all")]  # the mirror is one, and the user may have forbidden all but named ones
    if public(url) != url:
        host = urlsplit(public(url))._replace(path="/", query="", fragment="")
        with_password = urlunsplit(host._replace(netloc=urlsplit(url).netloc))
        settings.append((f"url.{with_password}.insteadOf", urlunsplit(host)))
    first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    chosen = {name: value for name, value in quiet.items() if name not in os.environ}
    chosen |= {"LC_ALL": "C.UTF-8", "GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (name, value) in enumerate(settings, first):
        chosen |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return chosen


def public(url: str) -> str:
    """``url`` without the user name and the password that it may hold."""
    parts = urlsplit(url)
    if parts.scheme and "@" in parts.netloc and parts.scheme != "ssh":
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return url


def find_head(url: str, ref: str) -> Head:
    """Ask the remote for the tip of ``ref`` (``HEAD``: its default branch).

    By a git process and without GitPython, whose import would take longer than the question: this is all that a tick
    does where nothing is new. Raises RepositoryError.
    """
    command = ["git", "ls-remote", "--symref", "--", public(url), *_candidates(ref)]
    try:
        done = subprocess.run(
            command, env=os.environ | environment(url), stdin=subprocess.DEVNULL, capture_output=True, timeout=300
        )
    except FileNotFoundError as error:
        raise RepositoryError("git is not installed", "install the system package git") from error
    except subprocess.TimeoutExpired as error:
        raise RepositoryError(f"{public(url)} gave no answer for 300 seconds", "check the network") from error
    if done.returncode != 0:
        raise _unreachable(url, done.stderr.decode(errors="replace"))
    shas, target = {}, ""
    for line in done.stdout.decode(errors="replace").splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: "):
            target = value.removeprefix("ref: ") if name == "HEAD" else target
        else:
            shas[name] = value
    for name in _candidates(ref):
        if name in shas:
            full = target or name
            return Head(shas[name], name.removesuffix("^{}"), full.removeprefix("refs/heads/").removesuffix("^{}"))
    if ref == "HEAD":
        raise RepositoryError(f"{public(url)} has no commit on its default branch yet", "push a first commit")
    raise RepositoryError(f"{public(url)} has no branch {ref}", "set ds_ref to a branch that is there")


class Mirror:
    """The cached bare mirror of one branch of one repository, in a folder named after the address."""

    def __init__(self, cache: Path, url: str, commit_url: str = "") -> None:
        self.url = url
        self.folder = cache / "mirrors" / _folder_name(url)
        self._commit_url = commit_url or _known_commit_url(url)

    def fetch(self, head: Head) -> None:
        """Bring the mirror up to ``head``. Raises RepositoryError."""
        repository = self._open()
        if not self._has(head.sha):
            self._run(
                repository, "fetch", "--quiet", "--no-write-fetch-head", "--", public(self.url), f"+{head.ref}:{_KEPT}"
            )
        if not self._has(head.sha):  # the branch moved on between the question and the fetch
            self._run(repository, "fetch", "--quiet", "--no-write-fetch-head", "--", public(self.url), head.sha)
        repository.git.update_ref(_KEPT, head.sha)

    def landings(self, head: Head, last: str | None, known: Collection[str] = ()) -> Found:
        """What landed after ``last``, up to ``head``, oldest first; on a first run only the head.

        Where ``last`` is no ancestor of the head, history was rewritten: what came after the point at which the two
        part is given. Where there is no ``last``, or it is no commit of this repository, what came after the newest of
        the ``known`` landings is given; only the head, if there is none. All this is told in ``remark``.
        """
        import git

        repository = self._open()
        remark = ""
        if last is None or not self._has(last):
            if last or known:
                what = (
                    f"{last[:7]}, which last_sha1 holds, is no commit of {public(self.url)}" if last else "no last_sha1"
                )
                last = self._newest(repository, head, known)
                remark = (
                    f"{what}: going on from {last[:7]}, the newest in the journal" if last else f"{what}: only the head"
                )
            if last is None:
                return Found(self._log(repository, "-1", head.sha), remark)
        try:
            base = repository.git.merge_base(last, head.sha)
        except git.GitCommandError:
            remark = f"the branch has no history in common with last_sha1 {last[:7]}: going on from the head alone"
            return Found(self._log(repository, "-1", head.sha), remark)
        if base != last:
            remark = f"the branch was rewritten since last_sha1 {last[:7]}: going on from {base[:7]}, where they part"
        return Found(self._log(repository, f"{base}..{head.sha}"), remark)

    def _newest(self, repository: git.Repo, head: Head, known: Collection[str]) -> str | None:
        line = repository.git.rev_list("--first-parent", head.sha).split()
        return next((sha for sha in line if sha in known), None)

    def landing(self, name: str) -> Landing:
        """The commit that ``name``, a whole or a shortened SHA, means. Raises SettingsError where there is none."""
        import git

        repository = self._open()
        name = name.strip().lower()
        if not re.fullmatch(r"[0-9a-f]{4,40}", name):
            raise SettingsError(f"{name!r} is not the SHA of a commit", "give 4 to 40 hexadecimal digits")
        if _SHA.fullmatch(name) and not self._has(name):
            try:
                repository.git.fetch("--quiet", "--no-write-fetch-head", "--", public(self.url), name)
            except git.GitCommandError:
                pass  # told below
        try:
            sha = repository.git.rev_parse("--verify", "--quiet", f"{name}^{{commit}}")
        except git.GitCommandError as error:
            raise SettingsError(
                f"there is no commit {name} in {public(self.url)}", "give a commit of the tracked branch"
            ) from error
        return self._log(repository, "-1", sha)[0]

    def _open(self) -> git.Repo:
        import git

        try:
            repository = git.Repo(self.folder)
        except (git.NoSuchPathError, git.InvalidGitRepositoryError):
            try:
                repository = git.Repo.init(self.folder, mkdir=True, bare=True)
            except (git.GitCommandError, OSError) as error:
                raise RepositoryError(
                    f"the mirror {self.folder} cannot be made: {error}", "check the folder's owner, and the disk"
                ) from error
        repository.git.update_environment(**environment(self.url))
        return repository

    def _run(self, repository: git.Repo, *arguments: str) -> None:
        import git

        try:
            repository.git.execute(["git", *arguments])
        except git.GitCommandError as error:
            raise _unreachable(self.url, str(error.stderr)) from error

    def _has(self, sha: str) -> bool:
        done = subprocess.run(
            ["git", "-C", str(self.folder), "cat-file", "-e", f"{sha}^{{commit}}"],
            env=os.environ | environment(),
            capture_output=True,
        )
        return done.returncode == 0

    def _log(self, repository: git.Repo, *what: str) -> tuple[Landing, ...]:
        import git

        try:
            return read_log(repository, what, self._commit_url)
        except git.GitCommandError as error:
            shutil.rmtree(self.folder, ignore_errors=True)  # the next tick makes it anew
            raise RepositoryError(
                f"the history of {public(self.url)} has gaps: {' '.join(str(error.stderr).split())}",
                "a shallow clone cannot be tracked: name the whole repository, or run `git fetch --unshallow` in it",
            ) from error


def read_log(repository: git.Repo, what: tuple[str, ...], commit_url: str = "") -> tuple[Landing, ...]:
    """The first-parent history that ``what`` (a range, or ``-1`` and a SHA) names, oldest first."""
    text = repository.git.log(
        "--first-parent", "--reverse", "--no-show-signature", f"--format={_FORMAT}", "--encoding=UTF-8", *what, "--"
    )
    values = [value.removeprefix("\n") for value in text.split("\0")]
    records = list(zip(*(values[field :: len(_FIELDS)] for field in range(len(_FIELDS))), strict=False))
    if not records:
        return ()
    first = int(repository.git.rev_list("--first-parent", "--count", records[0][0]))
    return tuple(
        Landing(
            sha=sha,
            parents=tuple(parents.split()),
            author=author,
            date=_date(date),
            subject=subject,
            position=first + index,
            url=commit_url.replace("{sha}", sha) if commit_url else None,
        )
        for index, (sha, parents, author, date, subject) in enumerate(records)
    )


def _date(seconds: str) -> str:
    """A commit's time; the epoch where the commit gives none that there can be."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat()


def describe(folder: Path, sha: str | None, commit_url: str = "") -> Landing | None:
    """The commit ``sha`` of the work tree that ``folder`` is in, or None where it is in none or has no such commit."""
    import git

    try:
        repository = git.Repo(folder, search_parent_directories=True)
        remotes = [remote.url for remote in repository.remotes]
        address = commit_url or (_known_commit_url(remotes[0]) if remotes else "")
        return read_log(repository, ("-1", sha), address)[0] if sha else None
    except (git.InvalidGitRepositoryError, git.NoSuchPathError, git.GitCommandError):
        return None


def _candidates(ref: str) -> list[str]:
    if ref == "HEAD" or ref.startswith("refs/heads/"):
        return [ref]
    if ref.startswith("refs/"):
        return [f"{ref}^{{}}", ref]
    return [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"]


def _unreachable(url: str, said: str) -> RepositoryError:
    reason = " ".join(line.strip() for line in said.splitlines() if line.strip()).replace(url, public(url))
    return RepositoryError(
        f"the repository {public(url)} cannot be read: {reason or 'git gave no reason'}",
        "check ds_repository, and that `git ls-remote` of it works for the user whose crontab this is",
    )


def _folder_name(url: str) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "-", public(url)).strip("-")[-40:]
    return f"{words}-{hashlib.sha256(url.encode()).hexdigest()[:8]}.git"


def _known_commit_url(url: str) -> str:
    """The address of a commit's page on GitHub and GitLab, from any address of the repository."""
    match = re.fullmatch(r"(?:https?://(?:[^@/]*@)?|(?:ssh://)?git@)([^/:]+)[/:](.+?)(?:\.git)?/?", url)
    if match is None:
        return ""
    host, path = match.groups()
    if "github" in host:
        return f"https://{host}/{path}/commit/{{sha}}"
    if "gitlab" in host:
        return f"https://{host}/{path}/-/commit/{{sha}}"
    return ""
