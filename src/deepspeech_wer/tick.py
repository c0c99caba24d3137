"""One tick of the tracker, told top to bottom: what cron runs every 15 minutes.

Take the lock; find what has landed since ``last_sha1``; for each landing, oldest first: check it out, run its job, keep
the result, merge all results into the site, publish it, and only then move ``last_sha1``; let the lock go.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_wer import errors, lock, page
from deepspeech_wer.config import Settings
from deepspeech_wer.journal import Journal, State
from deepspeech_wer.landings import Landing
from deepspeech_wer.landings.git import Found, Head, Mirror, find_head, public
from deepspeech_wer.log import Log

if TYPE_CHECKING:
    from deepspeech_wer.results.archive import RunRecord


def tick(settings: Settings, log: Log) -> int:
    """Run one tick and give the exit code of the command. Raises TrackerError where the tick cannot go on at all."""
    url = settings.require_repository()
    page.require_website(settings)
    journal = open_journal(settings)
    with lock.held(settings.cache / "lock", "deepspeech-wer run"):
        pick_up(settings, journal)
        head = find_head(url, settings.tracked_ref())
        forced = settings.automation_force_sha
        if head.sha == journal.last_sha1() and not forced and not journal.unpublished(settings.seeds):
            log.step(f"nothing new: {public(url)} is at {head.sha[:7]}, which is done")
            return errors.EXIT_DONE

        mirror = Mirror(settings.cache, url, settings.commit_url)
        mirror.fetch(head)
        found = find_landings(settings, journal, mirror, head)
        tell_found(found, log)
        for landing in found.landings:
            if forced or landing.sha not in journal.entries():
                journal.note(landing.sha, State.FOUND)

        failed = False
        published = True
        for landing in found.landings:
            if forced or not is_trained(settings, journal, landing):
                failed |= not train(settings, journal, mirror, landing, head.branch, log)
            published = show(settings, journal, log)
            if published and not forced:
                journal.advance(landing.sha)
        if journal.unpublished(settings.seeds) and not found.landings:
            published = show(settings, journal, log)
        if published and not forced:
            journal.advance(head.sha)

    if not published:
        return errors.EXIT_PUBLISH_FAILED
    return errors.EXIT_RUN_FAILED if failed else errors.EXIT_DONE


def plan(settings: Settings, log: Log) -> int:
    """Tell what :func:`tick` would do, and write nothing that stays."""
    url = settings.require_repository()
    page.require_website(settings)
    journal = open_journal(settings)
    if who := lock.holder(settings.cache / "lock"):
        log.step(f"another run is on: {who}")
    head = find_head(url, settings.tracked_ref())
    with tempfile.TemporaryDirectory(prefix="deepspeech-wer-") as folder:
        mirror = Mirror(Path(folder), url, settings.commit_url)
        mirror.fetch(head)
        found = find_landings(settings, journal, mirror, head)
    tell_found(found, log)
    for landing in found.landings:
        trained = not settings.automation_force_sha and is_trained(settings, journal, landing)
        verb = "publish the result of" if trained else "train"
        log.step(f"would {verb} {landing.short} ({landing.subject[:60]})")
    if not found.landings and journal.unpublished(settings.seeds):
        log.step(f"would publish {len(journal.unpublished(settings.seeds))} results that are not on the page yet")
    elif not found.landings:
        log.step(f"would do nothing: {public(url)} is at {head.sha[:7]}, which is done")
    return errors.EXIT_DONE


def open_journal(settings: Settings) -> Journal:
    """The journal of these settings."""
    return Journal(settings.dataroot / "journal.jsonl", settings.cache / "last_sha1")


def find_landings(settings: Settings, journal: Journal, mirror: Mirror, head: Head) -> Found:
    """The landings to deal with, oldest first: the forced ones, else what is new and not settled."""
    if settings.automation_force_sha:
        named = {landing.sha: landing for landing in map(mirror.landing, settings.automation_force_sha)}
        return Found(tuple(named.values()))
    done = {sha for sha, entry in journal.entries().items() if entry.state is State.PUBLISHED}
    found = mirror.landings(head, journal.last_sha1(), done)
    new = tuple(landing for landing in found.landings if landing.sha not in done)
    return Found(new, found.remark)


def tell_found(found: Found, log: Log) -> None:
    """A line that says what was found."""
    if found.remark:
        log.step(found.remark)
    shas = ", ".join(landing.short for landing in found.landings[:20])
    more = f" and {len(found.landings) - 20} more" if len(found.landings) > 20 else ""
    if found.landings:
        s = "s" if len(found.landings) > 1 else ""
        log.step(f"{len(found.landings)} landing{s} to deal with, oldest first: {shas}{more}")


def is_trained(settings: Settings, journal: Journal, landing: Landing) -> bool:
    """Whether there is a whole result of ``landing`` already, also one that nobody lived to note in the journal."""
    entry = journal.entries().get(landing.sha)
    if entry and entry.state is State.RUNNING and (settings.dataroot / "runs" / entry.run).is_dir():
        return True
    return entry is not None and entry.state in (State.TRAINED, State.FAILED)


def train(settings: Settings, journal: Journal, mirror: Mirror, landing: Landing, branch: str, log: Log) -> bool:
    """Check one landing out, run its job, keep the result. False where the landing failed, which is kept as well."""
    from deepspeech_wer.checkout import checked_out
    from deepspeech_wer.engines.local import LocalEngine
    from deepspeech_wer.job import checkpoints
    from deepspeech_wer.job.spec import JobSpec
    from deepspeech_wer.results import archive

    run = archive.new_run_id(landing.sha)
    checkpoint_dir, remark = checkpoints.prepare(settings.dataroot, landing.sha, settings.cache / "checkpoint_file")
    spec = JobSpec(
        run_id=run,
        landing=landing,
        branch=branch,
        checkout=settings.clone_path / landing.sha,
        result=settings.dataroot / "runs" / run,
        checkpoint_dir=checkpoint_dir,
        script=settings.wer_automation,
        notebook=settings.notebook,
        kernel=settings.kernel,
        parameters=settings.parameters,
        environment=settings.job_environment(),
        withheld=settings.withheld(),
        run_seconds=settings.run_timeout,
        cell_seconds=settings.cell_timeout,
    )
    journal.note(landing.sha, State.RUNNING, run)
    log.step(f"{landing.short} is trained: {landing.subject[:80]}" + (f" ({remark})" if remark else ""))
    try:
        with checked_out(mirror, landing, spec.checkout, branch), log.watching(landing.short) as watch:
            LocalEngine().run(spec, watch)
    except errors.LandingFailed as error:
        archive.keep_failure(spec, error)

    record = note_result(journal, spec.result)
    if record.hyper is None:
        log.step(f"{landing.short} failed: {record.why}" + (f" ({record.hint})" if record.hint else ""))
        log.step(f"{landing.short} has its log in {record.folder / 'log.txt'}")
        return False
    checkpoints.forget_others(settings.dataroot, landing.sha)
    log.step(f"{landing.short} has a test WER of {record.hyper['results']['test_wer']:.2%}")
    return True


def note_result(journal: Journal, folder: Path) -> RunRecord:
    """Read the whole result in ``folder`` and note in the journal what the landing came to."""
    from deepspeech_wer.results import archive

    record = archive.keep(folder)
    journal.note(record.sha, State.FAILED if record.hyper is None else State.TRAINED, record.run_id, record.why)
    return record


def pick_up(settings: Settings, journal: Journal) -> None:
    """Deal with what a tick that was killed has left of a run: its processes, its half result, or its whole one."""
    for sha, entry in journal.entries().items():
        if entry.state is not State.RUNNING:
            continue
        from deepspeech_wer.checkout import wipe
        from deepspeech_wer.job import processes
        from deepspeech_wer.job.spec import partial_folder

        processes.end_run(entry.run)
        folder = settings.dataroot / "runs" / entry.run
        if folder.is_dir():
            note_result(journal, folder)
        else:
            wipe(partial_folder(folder))
            journal.note(sha, State.FOUND)


def show(settings: Settings, journal: Journal, log: Log) -> bool:
    """Build the site from all results and publish it. False where it could not be published; that is told."""
    page.build(settings, log)
    try:
        page.publish(settings, log)
    except errors.PublishError as error:
        log.step(f"not published: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return False
    for sha in journal.unpublished(settings.seeds):
        journal.note(sha, State.PUBLISHED)
    return True
