"""One tick of the tracker, told top to bottom: what cron runs every 15 minutes.

Take the lock; find what has landed since ``last_sha1``; for each landing, oldest first: check it out, run its job, keep
the result, merge all results into the site, publish it, and only then move ``last_sha1``; let the lock go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepspeech_wer import discovery, errors, lock, page, trouble, website
from deepspeech_wer.landings.remote import public
from deepspeech_wer.settled import settled_at

if TYPE_CHECKING:
    from deepspeech_wer.config import Settings
    from deepspeech_wer.journal import Journal
    from deepspeech_wer.landings import git
    from deepspeech_wer.landings.remote import Head
    from deepspeech_wer.log import Log


def tick(settings: Settings, log: Log) -> int:
    """Run one tick and give the exit code of the command. Raises TrackerError where the tick cannot go on at all."""
    url = settings.require_repository()
    website.require(settings)
    with lock.held(settings.cache / "lock", "deepspeech-wer run"), trouble.watched(settings, log):
        settled = settled_at(*settings.journal_files)
        if settled is None:
            from deepspeech_wer import attempt
            from deepspeech_wer.journal import Journal

            attempt.pick_up(settings, Journal(*settings.journal_files), log)
        head = discovery.find_head(settings)
        if head.sha == settled and not settings.automation_force_sha:
            log.step(f"nothing new: {public(url)} is at {head.sha[:7]}, which is done")
            if (settings.dataroot / "unsent.json").exists():
                from deepspeech_wer.notify import Notifier

                Notifier(settings, log).retry()
            return errors.EXIT_DONE
        return work(settings, head, log)


def work(settings: Settings, head: Head, log: Log) -> int:
    """The part of a tick in which there is something to do; gives the exit code of the command."""
    from deepspeech_wer import attempt, housekeeping
    from deepspeech_wer.journal import Journal
    from deepspeech_wer.landings import git
    from deepspeech_wer.notify import Notifier

    journal = Journal(*settings.journal_files)
    housekeeping.tidy(settings, journal)
    mirror = git.Mirror(settings.cache, settings.require_repository(), settings.commit_url)
    mirror.fetch(head)
    found = discovery.find(settings, journal, mirror, head)
    discovery.tell(journal, found, log)
    discovery.note(settings, journal, mirror, head, found)
    forced = discovery.ask(settings, journal, mirror)
    landings = discovery.due(settings, journal, mirror, forced, log)

    notifier = Notifier(settings, log)
    notifier.retry()
    failed, published = False, True
    if journal.unpublished(settings.seeds):  # the server was away, or we were killed: the next training may take days
        published = page.show(settings, journal, notifier, log)
        advance(journal, found, head)
    for landing in landings:
        failed |= not attempt.train_seeds(settings, journal, mirror, landing, head.branch, notifier, log)
        published = page.show(settings, journal, notifier, log)
        advance(journal, found, head)
    if not landings:
        log.step(f"nothing to train: {public(mirror.url)} is at {head.sha[:7]}")
    advance(journal, found, head)
    journal.settle(head.sha, settings.seeds)
    housekeeping.tidy(settings, journal)
    if not published:
        return errors.EXIT_PUBLISH_FAILED
    return errors.EXIT_RUN_FAILED if failed else errors.EXIT_DONE


def plan(settings: Settings, log: Log) -> int:
    """Tell what :func:`tick` would do, on a copy of the journal and with a mirror that does not stay."""
    import shutil
    import tempfile
    from pathlib import Path

    from deepspeech_wer.journal import Journal
    from deepspeech_wer.landings import git

    url = settings.require_repository()
    website.require(settings)
    real = Journal(*settings.journal_files)
    if who := lock.holder(settings.cache / "lock"):
        log.step(f"another run is on: {who}")
    head = discovery.find_head(settings)
    with tempfile.TemporaryDirectory(prefix="deepspeech-wer-") as folder:
        journal = Journal(Path(folder) / real.path.name, Path(folder) / real.pointer.name)
        for original, copy in ((real.path, journal.path), (real.pointer, journal.pointer)):
            if original.is_file():
                shutil.copyfile(original, copy)
        mirror = git.Mirror(Path(folder), url, settings.commit_url)
        mirror.fetch(head)
        found = discovery.find(settings, journal, mirror, head)
        discovery.tell(journal, found, log)
        discovery.note(settings, journal, mirror, head, found)
        forced = discovery.ask(settings, journal, mirror)
        landings = discovery.due(settings, journal, mirror, forced, log)
        for landing in landings:
            times = len(journal.entries()[landing.sha].missing(settings.seeds))
            log.step(f"would train {landing.short} ({landing.subject[:60]})" + (f" {times} times" if times > 1 else ""))
        unpublished = journal.unpublished(settings.seeds)
    if unpublished:
        log.step(f"would publish {len(unpublished)} result{'s' if len(unpublished) > 1 else ''} not on the page yet")
    elif not landings:
        log.step(f"would do nothing: {public(url)} is at {head.sha[:7]}, and nothing is due")
    return errors.EXIT_DONE


def advance(journal: Journal, found: git.Found, head: Head) -> None:
    """Move ``last_sha1`` to the head where all that was found is settled, else to the last before what is not."""
    from deepspeech_wer.journal import State

    entries = journal.entries()
    settled = None
    for landing in found.landings:
        if entries[landing.sha].state not in (State.PUBLISHED, State.SKIPPED):
            break
        settled = landing.sha
    else:
        settled = head.sha
    if settled is not None:
        journal.advance(settled)
