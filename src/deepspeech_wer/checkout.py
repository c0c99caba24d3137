"""The checkout of one landing, made for the job and wiped after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepspeech_wer.errors import LandingFailed
from deepspeech_wer.landings import Landing
from deepspeech_wer.landings.git import Mirror, environment, public


@contextmanager
def checked_out(mirror: Mirror, landing: Landing, folder: Path, branch: str) -> Iterator[None]:
    """``folder`` with the files of ``landing``, submodules included, gone after the block.

    ``branch`` is what the work tree is on; ``HEAD`` or a full ref leave it on none. The clone borrows its objects from
    the mirror; its ``origin`` is the repository itself, without a password. Raises LandingFailed where git cannot check
    the commit out.
    """
    import git

    wipe(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        try:
            clone = git.Repo.clone_from(
                str(mirror.folder), str(folder), origin="origin", shared=True, no_checkout=True, quiet=True
            )
            clone.git.update_environment(**environment(mirror.url))
            clone.git.remote("set-url", "origin", public(mirror.url))
            on_branch = ("--detach",) if branch == "HEAD" or branch.startswith("refs/") else ("-B", branch)
            clone.git.checkout("--quiet", "--force", *on_branch, landing.sha)
            if (folder / ".gitmodules").is_file():
                clone.git.submodule("update", "--init", "--recursive", "--quiet")
        except git.GitCommandError as error:
            raise LandingFailed(
                f"{landing.short} cannot be checked out: {' '.join(str(error.stderr).split())}",
                "see whether `git clone --recurse-submodules` of the repository works for this user",
            ) from error
        yield
    finally:
        wipe(folder)


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
