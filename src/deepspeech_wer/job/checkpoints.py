"""Where a training keeps its checkpoints, so that a run that was cut off goes on from its last epoch.

``<data root>/checkpoints/<sha>/``, or ``<sha>-seed<n>/`` for the further seeds of a landing. The file
``checkpoint_file`` beside the lock, if there is one, names a folder of checkpoints to begin the next run from; it
counts once and is then removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from deepspeech_wer.errors import SettingsError


def folder_of(data_root: Path, sha: str, seed: int) -> Path:
    """The folder for the training of ``sha`` with the seed number ``seed``."""
    return data_root / "checkpoints" / (f"{sha}-seed{seed}" if seed else sha)


def prepare(folder: Path, checkpoint_file: Path) -> str:
    """Make ``folder`` be there and ready; gives a sentence for the user where something was restored into it.

    The folder that ``checkpoint_file`` names is copied, and stays as it is. Raises SettingsError where it is not there.
    """
    remark = ""
    if checkpoint_file.is_file():
        wanted = Path(checkpoint_file.read_text().strip()).expanduser()
        if not wanted.is_dir():
            raise SettingsError(
                f"{checkpoint_file} names {wanted}, which is not a folder",
                "write the path of a folder of checkpoints into it, or remove it",
            )
        shutil.rmtree(folder, ignore_errors=True)
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(wanted, partial)
        partial.rename(folder)
        checkpoint_file.unlink()
        remark = f"the training begins from the checkpoints in {wanted}"
    folder.mkdir(parents=True, exist_ok=True)
    return remark


def forget(data_root: Path, keep: int, needed: Collection[str]) -> None:
    """Remove the checkpoints of all landings but the ``keep`` last trained ones and those in ``needed``."""
    parent = data_root / "checkpoints"
    if not parent.is_dir():
        return
    last: dict[str, float] = {}
    for folder in parent.iterdir():
        sha = folder.name.strip(".").partition("-")[0].partition(".")[0]
        last[sha] = max(last.get(sha, 0.0), folder.stat().st_mtime)
    done = sorted((sha for sha in last if sha not in needed), key=lambda sha: last[sha], reverse=True)
    for folder in list(parent.iterdir()):
        if folder.name.strip(".").partition("-")[0].partition(".")[0] in done[keep:]:
            shutil.rmtree(folder, ignore_errors=True)
