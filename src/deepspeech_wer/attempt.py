"""One attempt at one landing: check it out, run its job, keep what it came to, note it in the journal.

Whose fault a failure is decides what follows. A landing's own is noted as failed, and counts. The machine's (no room on
the disk, no GPU where one is demanded) is noted as put off, and counts against nobody; so is an attempt that we were
told to stop. A disk that has room again without what the run itself wrote was filled by the landing, which would else
fill it at every tick and block all others. What a tick that was killed has left of an attempt is swept by the next one,
see :func:`pick_up`.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_wer import queue
from deepspeech_wer.checkout import checked_out, wipe
from deepspeech_wer.config import Settings
from deepspeech_wer.engines.local import LocalEngine
from deepspeech_wer.errors import EnvironmentFailure, LandingFailed, TrackerError
from deepspeech_wer.job import checkpoints, outcome, processes
from deepspeech_wer.job.output import utc_now
from deepspeech_wer.job.spec import FAILED, JobSpec, Status, partial_folder
from deepspeech_wer.journal import Entry, Journal, State
from deepspeech_wer.landings import Landing
from deepspeech_wer.log import Log
from deepspeech_wer.results import archive

if TYPE_CHECKING:
    from deepspeech_wer.landings.git import Mirror
    from deepspeech_wer.notify import Notifier

#: Failures after which a training begins anew instead of going on from its checkpoint, which may be what is broken.
_FAILURES_BEFORE_A_FRESH_START = 2

#: What a disk and the rights on it can be in the way with. Any other error of the system may be of the job's making.
_MACHINES = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE),
    *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.ENOENT),
)

#: What the last attempt that was put off had printed, in the folder of logs.
_PUT_OFF_LOG = "put-off.txt"

#: What stays of a run that filled the disk.
_TELLING = frozenset({"job.json", "status.json", "log.txt"})


def train_seeds(
    settings: Settings,
    journal: Journal,
    mirror: Mirror,
    landing: Landing,
    branch: str,
    notifier: Notifier,
    log: Log,
) -> bool:
    """Train ``landing`` with each seed that is missing. False where one failed: it and the others wait for a retry.

    Raises EnvironmentFailure where the machine is at fault.
    """
    notifier.status(landing, "pending", "is trained and tested")
    missing = journal.entries()[landing.sha].missing(settings.seeds)
    return all(train(settings, journal, mirror, landing, seed, branch, log) for seed in missing)


def train(
    settings: Settings, journal: Journal, mirror: Mirror, landing: Landing, seed: int, branch: str, log: Log
) -> bool:
    """Train ``landing`` once, with the seed number ``seed``. False where it failed, which is kept as well.

    Raises EnvironmentFailure where the machine is at fault.
    """
    check_machine(settings)
    spec = _specification(settings, journal.entry(landing.sha) or Entry(State.FOUND), landing, seed, branch)
    remark = _prepare_checkpoints(settings, journal.entry(landing.sha), spec)
    journal.note(landing.sha, State.RUNNING, spec.run_id, seed=seed)
    which = f", seed {seed + 1}" if seed else ""
    log.step(f"{landing.short} is trained{which}: {landing.subject[:80]}" + (f" ({remark})" if remark else ""))
    was_full = False
    try:
        with (
            checked_out(mirror, landing, spec.checkout, branch, settings.keep_clone),
            log.watching(landing.short) as watch,
        ):
            try:
                LocalEngine().run(spec, watch)
            except EnvironmentFailure:
                was_full = _too_little_room(settings) is not None  # before the checkout, which may fill it, is wiped
                raise
    except LandingFailed as error:
        archive.keep_failure(spec, error)
    except (TrackerError, KeyboardInterrupt, SystemExit, OSError) as error:
        # The machine's fault, or we are told to stop. What is neither is a bug of ours, which this landing may meet
        # each time: the next tick finds it cut off and counts that, so that it does not block the others for ever.
        if isinstance(error, OSError) and error.errno not in _MACHINES:
            raise
        if spec.result.is_dir():  # it was done all the same, before it could be told to stop
            _note_result(settings, journal, spec.result, log)
            raise
        is_machine = isinstance(error, EnvironmentFailure)
        if not (is_machine and _filled_the_disk(settings, spec.partial, spec.checkpoint_dir, was_full)):
            is_told = isinstance(error, KeyboardInterrupt | SystemExit)
            why = "the tick was told to stop" if is_told else str(error)
            _put_off(settings, journal, landing.sha, spec.partial, why)
            raise
        now, why = utc_now(), f"it filled the disk of {settings.dataroot}"
        outcome.finish(spec, Status(FAILED, now, now, why, "let it write less, or make room for what it writes"))
    return _note_result(settings, journal, spec.result, log)


def check_machine(settings: Settings) -> None:
    """Raises EnvironmentFailure where no run can be started now: too little room on a disk, no GPU but one demanded."""
    if trouble := _too_little_room(settings):
        raise trouble
    if settings.require_gpu:
        from deepspeech_wer.job import gpu

        if not gpu.visible(_devices(settings)):
            raise EnvironmentFailure(
                f"no GPU is seen, and ds_require_gpu demands one: {gpu.why_none(_devices(settings))}",
                "see what nvidia-smi says; CUDA_VISIBLE_DEVICES and ds_cuda_visible_devices say which GPUs count",
            )


def _too_little_room(settings: Settings) -> EnvironmentFailure | None:
    for setting, folder in (("ds_dataroot", settings.dataroot), ("ds_clone_path", settings.clone_path)):
        free = free_bytes(folder)
        if free < settings.disk_free * 1e9:
            return EnvironmentFailure(
                f"too little room for a run: {free / 1e9:.1f} GB are free on the disk of {folder} ({setting}), and "
                f"{settings.disk_free:g} GB are wanted",
                "make room there, or lower ds_disk_free",
            )
    return None


def free_bytes(folder: Path) -> int:
    """How much this user can still write on the disk of ``folder``, which need not be there yet."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def pick_up(settings: Settings, journal: Journal, log: Log) -> None:
    """Deal with what a tick that was killed has left of an attempt: processes, half a result, or a whole one."""
    for sha, entry in journal.entries().items():
        if entry.state is not State.RUNNING:
            continue
        result, checkout = settings.dataroot / "runs" / entry.run, settings.clone_path / sha
        partial = partial_folder(result)
        processes.end_run(entry.run, folders=(partial, checkout))
        if not settings.keep_clone:
            wipe(checkout)
        if not result.is_dir() and entry.cut_off + 1 >= queue.MOST_CUT_OFF and entry.landing is not None:
            spec = _specification(settings, entry, entry.landing, entry.seed, "HEAD")
            archive.keep_failure(
                replace(spec, run_id=entry.run, result=result, attempt=entry.attempts),
                LandingFailed(
                    f"its training was cut off {queue.MOST_CUT_OFF} times, without an end of its own",
                    "look at what ended the machine or the tracker meanwhile: its log, the kernel's, memory, power",
                ),
            )
        if result.is_dir():
            log.step(f"{sha[:7]}: its run {entry.run} came to an end that was not noted yet")
            _note_result(settings, journal, result, log)
        else:
            wipe(partial)
            journal.note(sha, State.CUT_OFF, entry.run)
            log.step(f"{sha[:7]} was cut off in its run {entry.run}; what was left of it is swept")


def _specification(settings: Settings, entry: Entry, landing: Landing, seed: int, branch: str) -> JobSpec:
    run = archive.new_run_id(landing.sha)
    csv, charts = settings.gpu_usage_files()
    return JobSpec(
        run_id=run,
        landing=landing,
        branch=branch,
        checkout=settings.clone_path / landing.sha,
        result=settings.dataroot / "runs" / run,
        checkpoint_dir=checkpoints.folder_of(settings.dataroot, landing.sha, seed),
        script=settings.wer_automation,
        notebook=settings.notebook,
        kernel=settings.kernel,
        parameters=settings.parameters,
        environment=settings.job_environment(seed),
        withheld=settings.withheld(),
        run_seconds=settings.run_timeout,
        cell_seconds=settings.cell_timeout,
        log_bytes=int(settings.log_limit * 1e6),
        seed=seed,
        attempt=entry.attempts + 1,
        nice=settings.nice,
        ionice=settings.ionice,
        python=settings.job_python,
        setup_command=settings.setup_command,
        setup_files=settings.setup_files,
        environments=str(settings.cache / "environments"),
        gpu_csv=csv,
        gpu_charts=charts,
    )


def _prepare_checkpoints(settings: Settings, entry: Entry | None, spec: JobSpec) -> str:
    """Make the run's checkpoints ready; gives a remark for the user, or an empty text."""
    if entry is not None:
        # What is trained once more is trained from its beginning, and not from the end of the last time.
        goes_on = entry.seed == spec.seed and entry.state in (State.CUT_OFF, State.PUT_OFF, State.FAILED)
        is_again = spec.seed in entry.trained and not goes_on
        if is_again or entry.failures >= _FAILURES_BEFORE_A_FRESH_START:
            shutil.rmtree(spec.checkpoint_dir, ignore_errors=True)
    return checkpoints.prepare(spec.checkpoint_dir, settings.cache / "checkpoint_file")


def _note_result(settings: Settings, journal: Journal, folder: Path, log: Log) -> bool:
    """Read the whole result in ``folder`` and note in the journal what the landing came to. True where it trained.

    A run that failed while the machine is in trouble says nothing about its landing. Raises EnvironmentFailure then.
    """
    record = archive.keep(folder)
    short = record.sha[:7]
    if record.hyper is not None:
        journal.note(record.sha, State.TRAINED, record.run_id, seed=record.seed)
        log.step(f"{short} has a test WER of {record.hyper['results']['test_wer']:.2%}")
        return True
    try:
        check_machine(settings)
    except EnvironmentFailure as error:
        if not _filled_the_disk(settings, folder, checkpoints.folder_of(settings.dataroot, record.sha, record.seed)):
            _put_off(settings, journal, record.sha, folder, f"{record.why}; {error.message}")
            raise
    journal.note(record.sha, State.FAILED, record.run_id, record.why, seed=record.seed)
    log.step(f"{short} failed: {record.why}" + (f" ({record.hint})" if record.hint else ""))
    log.step(f"{short} has its log in {record.folder / 'log.txt'}")
    entry = journal.entry(record.sha)
    if entry is not None and queue.is_given_up(entry, settings):
        journal.note(record.sha, State.PASSED, record.run_id, record.why)
        times = "once" if entry.failures == 1 else f"{entry.failures} times"
        log.step(f"{short} has failed {times} and is passed; `deepspeech-wer retry {short}` tries again")
    elif entry is not None and (when := queue.due_at(entry, settings)):
        log.step(f"{short} is tried again after {when:%Y-%m-%d %H:%M} UTC")
    return False


def _filled_the_disk(settings: Settings, folder: Path, checkpoint_dir: Path, was_full: bool = False) -> bool:
    """Whether a run filled the disk by what it left: then that is removed, but for what tells of it.

    It is the result in ``folder``, the checkpoints, which go only where that gives room enough, and the checkout, which
    is gone: ``was_full`` says that there was too little room before it went.
    """
    if _too_little_room(settings) is None:
        return was_full
    if folder.is_symlink() or not folder.is_dir():
        return False
    for path in folder.iterdir():
        if path.name not in _TELLING:
            wipe(path)
    if _too_little_room(settings) is None:
        return True
    if free_bytes(checkpoint_dir) + _size(checkpoint_dir) >= settings.disk_free * 1e9:
        wipe(checkpoint_dir)
    return _too_little_room(settings) is None


def _size(folder: Path) -> int:
    """Bytes that the files of ``folder`` take on the disk."""
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_blocks * 512 for path in files)


def _put_off(settings: Settings, journal: Journal, sha: str, folder: Path, why: str) -> None:
    """Take away what an attempt left in ``folder``, but for its log, and note that it counts against nobody."""
    kept = settings.dataroot / "logs" / _PUT_OFF_LOG
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / "log.txt", kept)
    except OSError:  # it printed nothing, or the disk is full: the journal has the reason
        pass
    wipe(folder)
    journal.note(sha, State.PUT_OFF, why=why)


def _devices(settings: Settings) -> dict[str, str]:
    return (
        {"CUDA_VISIBLE_DEVICES": settings.cuda_visible_devices} if settings.cuda_visible_devices else dict(os.environ)
    )
