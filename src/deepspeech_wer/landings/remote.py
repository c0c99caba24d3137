"""The tracked repository as git knows it: its address, what it answers, and how git is called so that nobody waits.

Plain git processes and no GitPython, whose import would take longer than the question; :func:`find_head` is all that a
tick does where nothing is new.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from deepspeech_wer.errors import RepositoryError
from deepspeech_wer.terminal import printable

#: Seconds within which a remote has to answer a question. Fetching has no such limit, but see :func:`environment`.
_ANSWER = 300.0


class GitFailed(Exception):
    """A git process failed with the exit status ``code``; ``said`` is what it had to say, on one line."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"git: {said or f'exit status {code}'}")
        self.code = code
        self.said = said


@dataclass(frozen=True)
class Head:
    """The tip of the tracked branch, as the remote gives it; ``branch`` is its name without ``refs/heads/``."""

    sha: str
    ref: str
    branch: str


@dataclass(frozen=True)
class Git:
    """git in one repository: ``where`` is the option that names it, ``url`` what it may have to fetch from.

    ``--git-dir`` is safer than ``-C``: git does not go looking in the folders above where that one is broken.
    """

    where: tuple[str, ...] = ()
    url: str = ""

    @classmethod
    def bare(cls, folder: Path, url: str = "") -> Git:
        """git in the bare repository ``folder``."""
        return cls(("--git-dir", str(folder)), url)

    def __call__(self, *arguments: str, given: str = "", seconds: float | None = None) -> str:
        """Run git to its end and give its output; what is no UTF-8 in it is replaced. Raises GitFailed."""
        return self.run(*arguments, given=given, seconds=seconds).stdout.decode(errors="replace")

    def run(
        self, *arguments: str, given: str = "", seconds: float | None = None, is_kept: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git to its end; its output is thrown away where it is not kept. Raises GitFailed."""
        with _git_is_there():
            done = subprocess.run(
                ["git", *self.where, *arguments],
                env=os.environ | environment(self.url),
                input=given.encode(),
                stdout=subprocess.PIPE if is_kept else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=seconds,
            )
        if done.returncode != 0:
            raise GitFailed(done.returncode, one_line(done.stderr))
        return done

    def unless(self, code: int, *arguments: str) -> str | None:
        """git's output without the last newline, or None where it ends with ``code``. Raises GitFailed."""
        try:
            return self(*arguments).rstrip("\n")
        except GitFailed as error:
            if error.code == code:
                return None
            raise

    def lines(self, *arguments: str) -> Generator[str, None, None]:
        """The lines of git's output as they come; git is ended when no more are wanted. Raises GitFailed."""
        with (
            _git_is_there(),
            subprocess.Popen(
                ["git", *self.where, *arguments],
                env=os.environ | environment(self.url),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            ) as process,
        ):
            try:
                assert process.stdout is not None
                yield from (line.rstrip("\n") for line in process.stdout)
                if process.wait() != 0:
                    raise GitFailed(process.returncode, "")
            finally:
                process.kill()


@contextmanager
def _git_is_there() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise RepositoryError("git is not installed", "install the system package git") from error


def one_line(said: bytes) -> str:
    """What git printed, as one line that a terminal can be given."""
    lines = (line.strip() for line in said.decode(errors="replace").splitlines())
    return printable(" ".join(line for line in lines if line))


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
    """Ask the remote for the tip of ``ref`` (``HEAD``: its default branch). Raises RepositoryError."""
    names = _candidates(ref)
    shas, target = {}, ""
    for line in _ask(url, "--symref", "--", public(url), *names).splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: "):
            target = value.removeprefix("ref: ") if name == "HEAD" else target
        else:
            shas[name] = value
    for name in names:
        if name in shas:
            full = target or name
            return Head(shas[name], name.removesuffix("^{}"), full.removeprefix("refs/heads/").removesuffix("^{}"))
    branches = [line.partition("\trefs/heads/")[2] for line in _ask(url, "--heads", "--", public(url)).splitlines()]
    there = printable(", ".join(branches[:10])) + (f" and {len(branches) - 10} more" if len(branches) > 10 else "")
    if not branches:
        raise RepositoryError(f"{public(url)} has no commit on any branch yet", "push a first commit")
    if ref == "HEAD":
        raise RepositoryError(
            f"the default branch of {public(url)} is gone, or was never there",
            f"set ds_ref to a branch that is there ({there}), or set the repository's HEAD to one",
        )
    raise RepositoryError(
        f"{public(url)} has no branch {ref}, or has it no more", f"set ds_ref to one that is there: {there}"
    )


def answers(url: str) -> bool:
    """Whether the remote answers at all."""
    try:
        _ask(url, "--", public(url), "HEAD")
    except RepositoryError:
        return False
    return True


def unreachable(url: str, said: str) -> RepositoryError:
    """What to raise where the remote cannot be read; ``said`` is what git says of it."""
    reason = said.replace(url, public(url))
    return RepositoryError(
        f"the repository {public(url)} cannot be read: {reason or 'git gave no reason'}",
        "check ds_repository, and that `git ls-remote` of it works for the user whose crontab this is",
    )


def known_commit_url(url: str) -> str:
    """The address of a commit's page on GitHub and GitLab, from any address of the repository; else nothing."""
    match = re.fullmatch(r"(?:https?://(?:[^@/]*@)?|(?:ssh://)?git@)([^/:]+)[/:](.+?)(?:\.git)?/?", url)
    if match is None:
        return ""
    host, path = match.groups()
    if "github" in host:
        return f"https://{host}/{path}/commit/{{sha}}"
    if "gitlab" in host:
        return f"https://{host}/{path}/-/commit/{{sha}}"
    return ""


def _ask(url: str, *arguments: str) -> str:
    try:
        return Git(url=url)("ls-remote", *arguments, seconds=_ANSWER)
    except subprocess.TimeoutExpired as error:
        raise RepositoryError(f"{public(url)} gave no answer for {_ANSWER:.0f} seconds", "check the network") from error
    except GitFailed as error:
        raise unreachable(url, error.said) from error


def _candidates(ref: str) -> list[str]:
    if ref == "HEAD" or ref.startswith("refs/heads/"):
        return [ref]
    if ref.startswith("refs/"):
        return [f"{ref}^{{}}", ref]
    return [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"]
