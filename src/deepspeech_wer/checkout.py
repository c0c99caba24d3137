"""The checkout of one landing, made for the job and wiped after it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_wer.errors import EnvironmentFailure, LandingFailed
from deepspeech_wer.job import processes
from deepspeech_wer.landings import Landing
from deepspeech_wer.landings.git import Mirror, environment, public

if TYPE_CHECKING:
    import git

#: Bytes of free space below which a disk counts as full: what did not fit was larger than what is left.
_FULL = 16 << 20


@contextmanager
def checked_out(mirror: Mirror, landing: Landing, folder: Path, branch: str, keep: bool = False) -> Iterator[None]:
    """``folder`` with the files of ``landing``, submodules included, gone after the block unless it is to ``keep``.

    Where it is kept, those of other landings beside it, which are named after their SHAs, go before. ``branch`` is what
    the work tree is on; ``HEAD``, a full ref and what git takes for no name of a branch leave it on none. The clone
    borrows its objects from the mirror, which is made anew where it turns out to be damaged; its ``origin`` is the
    repository itself, without a password. Raises LandingFailed where git cannot check the commit out,
    EnvironmentFailure where that is for want of room, and RepositoryError where a damaged mirror cannot be made anew.
    """
    import git

    wipe(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if keep:
        _wipe_others(folder)
    try:
        try:
            try:
                clone = _clone(mirror, landing, folder, branch)
            except git.GitCommandError:
                if not mirror.mend(landing.sha):
                    raise
                wipe(folder)
                clone = _clone(mirror, landing, folder, branch)
            if (folder / ".gitmodules").is_file():
                clone.git.submodule("update", "--init", "--recursive", "--quiet")
        except git.GitCommandError as error:
            if _is_full(folder.parent):
                raise EnvironmentFailure(
                    f"the disk is full: {landing.short} cannot be checked out to {folder}", "make room there"
                ) from error
            raise LandingFailed(
                f"{landing.short} cannot be checked out: {' '.join(str(error.stderr).split())}",
                "see whether `git clone --recurse-submodules` of the repository works for this user",
            ) from error
        yield
    except (KeyboardInterrupt, SystemExit):
        # A git that was at work goes on, and would write into the folder while that is wiped.
        processes.end_all(lambda: processes.descendants(os.getpid()), grace=0.0)
        raise
    finally:
        if not keep:
            wipe(folder)


def _clone(mirror: Mirror, landing: Landing, folder: Path, branch: str) -> git.Repo:
    import git

    quiet = environment(mirror.url)
    clone = git.Repo.clone_from(
        str(mirror.folder), str(folder), env=quiet, origin="origin", shared=True, no_checkout=True, quiet=True
    )
    clone.git.update_environment(**quiet)
    clone.git.remote("set-url", "origin", public(mirror.url))
    # A server may have a branch such as `-rf`, of which git makes no local one.
    has_no_branch = branch == "HEAD" or branch.startswith(("refs/", "-"))
    clone.git.checkout("--quiet", "--force", *(("--detach",) if has_no_branch else ("-B", branch)), landing.sha)
    return clone


def _is_full(folder: Path) -> bool:
    """Whether the disk of ``folder`` has next to no room left; git does not always say that this is why it failed."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize < _FULL or (state.f_files > 0 and state.f_favail == 0)


def _wipe_others(folder: Path) -> None:
    """Remove what is named after a commit beside ``folder``: the checkouts that were kept before."""
    for other in folder.parent.iterdir():
        if re.fullmatch(r"[0-9a-f]{40}", other.name):
            wipe(other)


def wipe(folder: Path) -> None:
    """Remove ``folder`` and all that a job left in it, also below folders that the job made read-only.

    What is a link or a file in its place is removed as such.
    """
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
        return
    for parent, names, _ in os.walk(folder):
        for child in (Path(parent) / name for name in names):
            if not child.is_symlink():
                child.chmod(0o700)
    if folder.exists():
        shutil.rmtree(folder)
