"""What has landed, found with plain git on a cached bare mirror.

A landing is a step of the branch's first-parent history, so that merge commits, squashes, rebases and direct pushes all
count. Works with any URL that git takes, has no rate limit, and asks the server a single question where nothing is new.

The mirror is a cache: where it is damaged, by a power cut, a full disk or by hand, it is made anew on the spot, which
is told. A mirror is changed by one process at a time, and made anew beside the old one, so that a job whose checkout
borrows from it, or a verb that reads it meanwhile, always finds one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from deepspeech_wer.errors import RepositoryError, SettingsError
from deepspeech_wer.landings import Landing
from deepspeech_wer.landings.history import SHA, Positions, read_log
from deepspeech_wer.landings.remote import (
    Git,
    GitFailed,
    Head,
    answers,
    environment,
    find_head,
    known_commit_url,
    one_line,
    public,
    unreachable,
)

__all__ = ["Found", "Head", "Mirror", "describe", "environment", "find_head", "public"]

_T = TypeVar("_T")

#: What keeps the head, and a ``last_sha1`` that is no longer on the branch, from being tidied away by git.
_HEAD = "refs/deepspeech-wer/head"
_LAST = "refs/deepspeech-wer/last"

#: The file in the mirror that remembers one commit's position.
_POSITION = "deepspeech-wer-position"

#: Where in a repository git leaves its lock files.
_LOCKED = ("*.lock", "refs/**/*.lock", "objects/info/**/*.lock", "objects/pack/*.lock")


@dataclass(frozen=True)
class Found:
    """What is new, oldest first, and a sentence for the user where the history is not as it was left.

    ``skipped`` tells of those landings that are not to be trained why that is, by their SHA. ``is_rewritten`` says that
    the commit to go on from is no longer on the branch; ``is_first``, that there is none to go on from and the head
    stands alone.
    """

    landings: tuple[Landing, ...]
    remark: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict)
    is_rewritten: bool = False
    is_first: bool = False


class Mirror:
    """The cached bare mirror of one branch of one repository, in a folder named after the address."""

    def __init__(self, cache: Path, url: str, commit_url: str = "") -> None:
        self.url = url
        self.folder = cache / "mirrors" / _folder_name(url)
        self._git = Git.bare(self.folder, url)
        self._positions = Positions(self._git, self.folder / _POSITION)
        self._commit_url = commit_url or known_commit_url(url)
        self._head: Head | None = None
        self._is_anew = False
        self._remarks: list[str] = []
        self._read: dict[str, Landing] = {}

    def fetch(self, head: Head) -> None:
        """Bring the mirror up to ``head``. Raises RepositoryError."""
        self._head = head
        with self._alone():
            for left in (self._beside("new"), self._beside("broken")):
                _remove(left)
            is_new = not os.path.lexists(self.folder)
            if is_new:
                _make(self.folder)
            try:
                try:
                    self._bring(self.folder, head, is_new)
                except GitFailed:
                    if not self._unlock():
                        raise
                    self._bring(self.folder, head, is_new)
            except GitFailed as error:
                if is_new:
                    _remove(self.folder)
                if is_new or self._is_whole():
                    raise unreachable(self.url, error.said) from error
                self._make_anew(error)

    def landings(self, head: Head, last: str | None, known: Collection[str] = ()) -> Found:
        """What landed after ``last``, up to ``head``, oldest first; on a first run only the head.

        Where ``last`` is no ancestor of the head, history was rewritten: what came after the point at which the two
        part is given. Where there is no ``last``, or it is no commit of this repository, or of another history, what
        came after the newest of the ``known`` landings is given; only the head, if there is none. All this is told in
        ``remark``, and so is what had to be done to the mirror.
        """
        found = self._surely(lambda: self._landings(head, last, known))
        if found.landings:
            self._positions.remember(head.sha, found.landings[-1].position)
            self._read |= {landing.sha: landing for landing in found.landings}
        return replace(found, remark=self.told(found.remark))

    def landing(self, name: str) -> Landing:
        """The commit that ``name``, a whole or a shortened SHA, means. Raises SettingsError where there is none."""
        name = name.strip().lower()
        if not re.fullmatch(r"[0-9a-f]{4,40}", name):
            raise SettingsError(f"{name!r} is not the SHA of a commit", "give 4 to 40 hexadecimal digits")
        if name in self._read:
            return self._read[name]
        sha = self._find(name)
        if sha is None:
            raise SettingsError(f"there is no commit {name} in {public(self.url)}", "give a commit of the repository")
        return self._surely(lambda: self._log("-1", sha))[0]

    def is_on_branch(self, sha: str, head_sha: str) -> bool:
        """Whether the commit ``sha`` is part of the history of ``head_sha``; False for what is no commit here."""
        if not SHA.fullmatch(sha) or self._surely(lambda: self._commit(sha)) is None:
            return False
        return self._surely(lambda: self._is_ancestor(sha, head_sha))

    def position(self, sha: str) -> int:
        """Where the commit ``sha`` stands on the first-parent line that leads to it, the root being 1."""
        return self._surely(lambda: self._positions.of(sha))

    def changed(self, landings: Sequence[Landing], paths: Sequence[str]) -> set[str]:
        """The SHAs of those landings that changed, against their first parent, what the git pathspecs mean.

        For all of them that is one git process. Raises SettingsError for pathspecs that git does not take.
        """
        return self._surely(lambda: self._changed(landings, paths))

    def mend(self, sha: str) -> bool:
        """Make the mirror anew where not all files of the commit ``sha`` can be read from it; gives whether it was."""
        if self._is_anew or self._is_whole(sha):
            return False
        with self._alone():
            self._make_anew(GitFailed(1, f"not all files of {sha[:7]} could be read"))
        return self._find(sha) is not None

    def told(self, remark: str = "") -> str:
        """What had to be done to the mirror, said once, with ``remark`` after it."""
        remarks, self._remarks = [*self._remarks, remark], []
        return "; ".join(each for each in remarks if each)

    def _landings(self, head: Head, last: str | None, known: Collection[str]) -> Found:
        start = None
        if last and SHA.fullmatch(last):
            try:
                new = self._log(f"{last}..{head.sha}")
            except GitFailed:
                new = ()  # what is wrong shows below
            if last == head.sha or (new and new[0].parents[:1] == (last,)):
                return Found(new)  # the usual case, for which this one git process is enough
            start = self._find(last)
        if start is None:
            what = f"{last[:7]}, which last_sha1 holds, is no commit of {public(self.url)}" if last else "no last_sha1"
            found = self._after_the_newest(head, known, what)
            return replace(found, remark=found.remark if last or known else "", is_rewritten=bool(last))
        self._check(start)  # git takes a commit that it cannot read for a root, and so finds no common history
        if self._is_ancestor(start, head.sha):
            return Found(self._log(f"{start}..{head.sha}"))
        self._git("update-ref", _LAST, start)
        base = self._git.unless(1, "merge-base", start, head.sha)
        if base is None:
            what = f"the branch has no history in common with last_sha1 {start[:7]}"
            return replace(self._after_the_newest(head, known, what), is_rewritten=True)
        remark = f"the branch was rewritten since last_sha1 {start[:7]}: going on from {base[:7]}, where they part"
        return Found(self._log(f"{start}..{head.sha}"), remark, is_rewritten=True)

    def _after_the_newest(self, head: Head, known: Collection[str], what: str) -> Found:
        """What came after the newest of ``known`` on the branch, else only the head; ``what`` tells why it is that."""
        start = self._newest(head, known)
        if start is None:
            return Found(self._log("-1", head.sha), f"{what}: only the head", is_first=True)
        remark = f"{what}: going on from {start[:7]}, the newest in the journal"
        return Found(self._log(f"{start}..{head.sha}"), remark)

    def _newest(self, head: Head, known: Collection[str]) -> str | None:
        """The newest of ``known`` on the first-parent line, which is read only down to it."""
        if not known:
            return None
        with closing(self._git.lines("rev-list", "--first-parent", head.sha)) as line:
            return next((sha for sha in line if sha in known), None)

    def _changed(self, landings: Sequence[Landing], paths: Sequence[str]) -> set[str]:
        groups = [landing for landing in landings if landing.commits > 1]
        shas = (
            self._git("rev-parse", "--verify", *(f"{each.sha}~{each.commits}" for each in groups)).split()
            if groups
            else ()
        )
        bases = {landing.sha: landing.parents[:1] for landing in landings}
        bases |= {landing.sha: (sha,) for landing, sha in zip(groups, shas, strict=True)}
        given = "".join(" ".join((sha, *base)) + "\n" for sha, base in bases.items())
        command = ("diff-tree", "--stdin", "-r", "--root", "--raw", "--no-renames", "--no-ext-diff")
        try:
            lines = self._git(*command, "--", *paths, given=given).splitlines()
        except GitFailed as error:
            self._git(*command, given=given)  # where this fails, too, it was not for the paths
            raise SettingsError(
                f"ds_landings_paths cannot be used: {error.said}", "give git pathspecs, such as src or *.py"
            ) from error
        return {line for line in lines if not line.startswith(":")}

    def _log(self, *what: str) -> tuple[Landing, ...]:
        return tuple(read_log(self._git, what, self._commit_url, self._positions.of))

    def _is_ancestor(self, sha: str, of: str) -> bool:
        return self._git.unless(1, "merge-base", "--is-ancestor", sha, of) is not None

    def _commit(self, name: str) -> str | None:
        return self._git.unless(1, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")

    def _find(self, name: str) -> str | None:
        """The commit ``name`` of the mirror, else of the repository, off the tracked branch, too."""
        sha = self._here(name)
        if sha is None and SHA.fullmatch(name):
            try:
                with self._alone():
                    self._fetch(self._git, name)
            except GitFailed as error:
                if not answers(self.url):
                    raise unreachable(self.url, error.said) from error
                return None
            sha = self._commit(name)
        return sha

    def _here(self, name: str) -> str | None:
        """The commit ``name`` of the mirror; where it has none, it is seen first whether the mirror has lost it."""
        sha = self._surely(lambda: self._commit(name))
        if sha is None:
            self._surely(lambda: self._check())
            sha = self._surely(lambda: self._commit(name))
        return sha

    def _check(self, *more: str) -> None:
        """Raises GitFailed where the mirror does not have all commits that it should have, with those of ``more``."""
        self._git.run("rev-list", "--quiet", "--all", _HEAD, *more)

    def _is_whole(self, sha: str = "") -> bool:
        """Whether git can read all that should be in the mirror, or all files of the commit ``sha``, to the end."""
        what = ("--revs",) if sha else ("--all",)
        given = f"{sha}^{{tree}}\n" if sha else ""
        options = ("--stdout", "--no-reuse-object", "--window=0", "--quiet")
        try:
            self._check()
            self._git.run("-c", "pack.compression=0", "pack-objects", *what, *options, given=given, is_kept=False)
        except GitFailed:
            return False
        return True

    def _surely(self, action: Callable[[], _T]) -> _T:
        """What ``action`` gives; where git fails at it, the mirror is mended first. Raises RepositoryError."""
        while True:
            try:
                return action()
            except GitFailed as error:
                with self._alone():
                    if not self._unlock():
                        self._make_anew(error)

    def _bring(self, folder: Path, head: Head, is_new: bool) -> None:
        """Have the mirror in ``folder`` hold ``head`` and all that it is made of. Raises GitFailed, RepositoryError."""
        git, shallow = Git.bare(folder, self.url), folder / "shallow"
        was_shallow, before = shallow.exists(), self._head_of(git)
        if before is None and not is_new:
            raise GitFailed(1, "the head that was fetched last cannot be read")
        if before == head.sha and not was_shallow:
            return
        for left in folder.glob("objects/pack/tmp_*"):  # of a git that was killed; it can be as large as all the rest
            left.unlink()
        try:
            git("-c", "gc.autoDetach=false", "-c", "gc.writeCommitGraph=false", "gc", "--auto", "--quiet")
        except GitFailed as error:
            self._remarks.append(f"the mirror of {public(self.url)} could not be tidied: {error.said}")
        said = self._fetch(git, f"+{head.ref}:{_HEAD}", *(("--unshallow",) if was_shallow else ()))
        if was_shallow and not shallow.exists():
            (folder / _POSITION).unlink(missing_ok=True)
            self._remarks.append(f"the mirror of {public(self.url)} was shallow; the rest of its history was fetched")
        if self._head_of(git) not in (None, head.sha):  # the branch moved on between the question and the fetch
            is_here = git.unless(1, "rev-parse", "--verify", "--quiet", f"{head.sha}^{{commit}}") is not None
            if is_here and git.unless(1, "merge-base", "--is-ancestor", head.sha, _HEAD) is not None:
                git("update-ref", _HEAD, head.sha)
            else:
                said = self._fetch(git, f"+{head.sha}:{_HEAD}")
        if self._head_of(git) != head.sha or shallow.exists():
            raise RepositoryError(
                f"the history of {public(self.url)} has gaps: {said or 'it is shallow'}",
                "a shallow clone cannot be tracked: name the whole repository, or run `git fetch --unshallow` in it",
            )

    def _fetch(self, git: Git, what: str, *options: str) -> str:
        """Fetch ``what`` and give what git says of it. Tidying up is left for later: now it could take too much."""
        quiet = ("--quiet", "--no-write-fetch-head", "--no-tags", "--no-recurse-submodules")
        never = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")
        return one_line(git.run(*never, "fetch", *quiet, *options, "--", public(self.url), what).stderr)

    def _head_of(self, git: Git) -> str | None:
        return git.unless(1, "rev-parse", "--verify", "--quiet", f"{_HEAD}^{{commit}}")

    def _make_anew(self, error: GitFailed) -> None:
        """Make the mirror anew beside the broken one and then take its place; for whoever holds our lock.

        Raises RepositoryError where that does not help or cannot be done.
        """
        if self._is_anew or self._head is None:
            raise RepositoryError(
                f"the history of {public(self.url)} has gaps: {error.said or error}",
                "see whether `git fsck` in a fresh clone of the repository finds it whole",
            ) from error
        self._is_anew = True
        new, broken = self._beside("new"), self._beside("broken")
        try:
            _remove(new)
            _make(new)
            self._bring(new, self._head, is_new=True)
            _remove(broken)
            if os.path.lexists(self.folder):
                self.folder.rename(broken)
            new.rename(self.folder)
            _remove(broken)
        except GitFailed as again:
            raise unreachable(self.url, again.said) from again
        except OSError as again:
            raise _unwritable(self.folder, again) from again
        self._remarks.append(
            f"the mirror of {public(self.url)} was damaged and has been made anew ({error.said[:200] or error})"
        )

    def _unlock(self) -> bool:
        """Remove the lock files of a git that was killed, for whoever holds our lock; gives whether there were any."""
        left = [path for part in _LOCKED for path in self.folder.glob(part)]
        for path in left:
            path.unlink(missing_ok=True)
        if left:
            self._remarks.append(f"{left[0].name} was removed from the mirror, where a git that was killed had left it")
        return bool(left)

    def _beside(self, what: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{what}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """With nobody else changing the mirror: a verb may fetch while a tick does."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._beside("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def describe(folder: Path, sha: str | None, commit_url: str = "") -> Landing | None:
    """The commit ``sha`` of the work tree that ``folder`` is in, or None where it is in none or has no such commit."""
    git = Git(("-C", str(folder)))
    if not sha or not SHA.fullmatch(sha):
        return None
    try:
        remotes = git.unless(1, "config", "--get-regexp", r"^remote\..*\.url$") or ""
        address = commit_url or known_commit_url(remotes.partition("\n")[0].partition(" ")[2])
        return read_log(git, ("-1", sha), address, Positions(git).of)[0]
    except GitFailed:
        return None


def _make(folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        Git()("init", "--quiet", "--bare", "--template=", "--", str(folder))
    except (GitFailed, OSError) as error:
        raise _unwritable(folder, error) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unwritable(folder: Path, error: Exception) -> RepositoryError:
    return RepositoryError(
        f"the mirror {folder} cannot be made: {error}", "check the folder's owner, and the room on its disk"
    )


def _folder_name(url: str) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "-", public(url)).strip("-")[-40:]
    return f"{words}-{hashlib.sha256(url.encode()).hexdigest()[:8]}.git"
