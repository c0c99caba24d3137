"""Where a landing's training keeps its checkpoints, so that a run that was cut off goes on from its last epoch.

``<data root>/checkpoints/<sha>/``. The file ``checkpoint_file`` beside the lock, if there is one, names a folder of
checkpoints to begin the next run from; it counts once and is then removed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from deepspeech_wer.errors import SettingsError


def prepare(data_root: Path, sha: str, checkpoint_file: Path) -> tuple[Path, str]:
    """The folder for ``sha``, there and ready, and a sentence for the user where something was restored into it.

    The folder that ``checkpoint_file`` names is copied, and stays as it is. Raises SettingsError where it is not there.
    """
    folder = data_root / "checkpoints" / sha
    remark = ""
    if checkpoint_file.is_file():
        wanted = Path(checkpoint_file.read_text().strip()).expanduser()
        if not wanted.is_dir():
            raise SettingsError(
                f"{checkpoint_file} names {wanted}, which is not a folder",
                "write the path of a folder of checkpoints into it, or remove it",
            )
        shutil.rmtree(folder, ignore_errors=True)
        partial = folder.with_name(f".{sha}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(wanted, partial)
        partial.rename(folder)
        checkpoint_file.unlink()
        remark = f"the training begins from the checkpoints in {wanted}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder, remark


def forget_others(data_root: Path, sha: str) -> None:
    """Once ``sha`` is trained, its checkpoints are the newest: those of the landings before it are removed."""
    for folder in (data_root / "checkpoints").iterdir():
        if folder.name != sha:
            shutil.rmtree(folder, ignore_errors=True)
