"""The machine: the settings' file, the folders and their disks, the clock."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from deepspeech_wer import config
from deepspeech_wer.config import Settings
from deepspeech_wer.diagnosis import Check, fail, ok, warn
from deepspeech_wer.landings.git import public

#: File systems that are on another machine: there flock may hold between the processes of one machine only.
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "lustre", "glusterfs", "fuse.glusterfs")

#: Bytes that are written to see whether a disk takes a file.
_SAMPLE = 65536

#: No clock that is right is before this.
_FIRST_YEAR = 2026

#: Seconds that clocks of two machines, such as a file server's and ours, may differ without harm.
_TOLERANCE = 300.0


def settings_file(settings: Settings, path: Path) -> Iterator[Check]:
    """Where the settings come from, ``path`` being their file, and whether others can read what is secret in it."""
    own = sorted(name for name in config.names() if os.environ.get(name))
    from_environment = f"from the environment: {', '.join(own)}" if own else "nothing from the environment"
    if not path.is_file():
        yield ok("settings", f"there is no {path}; {from_environment}")
        return
    yield ok("settings", f"{path}; {from_environment}")
    secrets = [name for name in _named_in(path) if _is_secret(settings, name)]
    if secrets and path.stat().st_mode & 0o077:
        yield warn(
            "settings",
            f"others can read {path}, which holds {', '.join(secrets)}",
            f"chmod 600 {shlex.quote(str(path))}",
        )


def _named_in(path: Path) -> list[str]:
    try:
        return list(tomllib.loads(path.read_text()))
    except (OSError, ValueError):  # it was changed meanwhile
        return []


def _is_secret(settings: Settings, name: str) -> bool:
    if name == "ds_repository":
        return public(settings.repository) != settings.repository
    return name in ("ds_github_token", "ds_notify_webhook")


def folders(settings: Settings) -> Iterator[Check]:
    """Whether each folder is there or can be made, and its disk takes a file."""
    for name, folder in _folders(settings).items():
        mend = "check its owner, its permissions and its disk, or name another folder"
        there = _nearest(folder)
        if not there.is_dir():
            yield fail(name, f"{there} is not a folder", f"move it away, or set {name} to another folder")
            continue
        try:
            with tempfile.NamedTemporaryFile(dir=there, prefix=".deepspeech-wer-doctor-") as file:
                file.write(bytes(_SAMPLE))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            yield fail(name, f"{there} takes no file: {error.strerror}", mend)
            continue
        yield ok(name, f"{folder}" if there == folder else f"{folder}, which will be made")
    kind = _file_system(settings.cache)
    if kind in _REMOTE:
        yield warn(
            "lock",
            f"{settings.cache} is on a file system of another machine ({kind})",
            "let only one machine run the tracker, or set XDG_CACHE_HOME to a folder on a disk of this one",
        )


def _folders(settings: Settings) -> dict[str, Path]:
    found = {"ds_dataroot": settings.dataroot, "ds_clone_path": settings.clone_path, "cache": settings.cache}
    csv, charts = settings.gpu_usage_files()
    return (
        found
        | ({"ds_gpu_usage_csv": Path(csv).parent} if csv else {})
        | ({"ds_gpu_usage_charts": Path(charts)} if charts else {})
    )


def _nearest(folder: Path) -> Path:
    """``folder``, or what is there of the way to it."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _file_system(folder: Path) -> str:
    """The kind of the file system of ``folder``; see proc_pid_mountinfo(5)."""
    there = _nearest(folder).resolve()
    best, kind = -1, ""
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        fields = line.split()
        point = Path(fields[4].encode().decode("unicode_escape"))
        if there.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[fields.index("-") + 1]
    return kind


def disks(settings: Settings) -> Iterator[Check]:
    """Whether there is the room that a run is to find, on each disk that it writes to."""
    seen: dict[int, list[str]] = {}
    for name, folder in _folders(settings).items():
        seen.setdefault(_nearest(folder).stat().st_dev, []).append(name)
    for names in seen.values():
        folder = _nearest(_folders(settings)[names[0]])
        state = os.statvfs(folder)
        free = shutil.disk_usage(folder).free / 1e9
        found = f"{free:.1f} GB free on the disk of {', '.join(names)}; {settings.disk_free:g} GB are wanted"
        if free < settings.disk_free:
            yield fail("disk", found, f"make room below {folder}, or lower ds_disk_free")
        elif state.f_files and not state.f_favail:
            yield fail("disk", f"the disk of {', '.join(names)} takes no more files (inodes)", "remove some")
        else:
            yield ok("disk", found)


def clock(settings: Settings) -> Iterator[Check]:
    """Whether the clock can be right: times order runs of one landing, and keys and certificates go by it."""
    now = datetime.now(UTC)
    mend = "set the clock: timedatectl set-ntp true"
    shown = f"{now:%Y-%m-%d %H:%M} UTC"
    newest, path = _newest(settings)
    if now.year < _FIRST_YEAR:
        yield fail("clock", f"it is {shown} here, which is before this program was made", mend)
    elif newest - now.timestamp() > _TOLERANCE:
        later = datetime.fromtimestamp(newest, UTC)
        yield warn("clock", f"it is {shown} here, but {path} was written at {later:%Y-%m-%d %H:%M} UTC", mend)
    elif _is_synchronised() is False:
        yield warn("clock", f"{shown}; not synchronised", mend)
    else:
        yield ok("clock", shown)


def _newest(settings: Settings) -> tuple[float, Path]:
    """The newest of the files by which a clock that was set back is noticed, and its time."""
    root = settings.dataroot
    paths = [settings.cache / "last_sha1", root / "journal.jsonl", *root.glob("logs/*"), *root.glob("runs/*")]
    times = [(path.stat().st_mtime, path) for path in paths if path.exists()]
    return max(times, default=(0.0, root))


def _is_synchronised() -> bool | None:
    """What timedatectl says; None where it says nothing."""
    command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip()) if done.returncode == 0 else None
