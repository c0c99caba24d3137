"""What there is to do: what has landed, what a person asked for, what waits to be tried again.

All of it goes through the journal: what is new is noted there, and what is noted there as unfinished is to do.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from deepspeech_wer.errors import SettingsError
from deepspeech_wer.landings import remote

if TYPE_CHECKING:
    from deepspeech_wer.config import Settings
    from deepspeech_wer.journal import Entry, Journal
    from deepspeech_wer.landings import Landing, git
    from deepspeech_wer.landings.github import GitHub
    from deepspeech_wer.log import Log

#: Why a landing is skipped that is no longer on the branch. Somebody may set the branch back to where it was.
_REWRITTEN = "the branch was rewritten, and it is no longer on it"
_GONE = "it is no commit of the repository any more"


def find_head(settings: Settings) -> remote.Head:
    """The tip of the tracked branch, from the source that the settings name. Raises RepositoryError."""
    if settings.landings_source == "github":
        return _github(settings).find_head(settings.tracked_ref())
    return remote.find_head(settings.require_repository(), settings.tracked_ref())


def find(settings: Settings, journal: Journal, mirror: git.Mirror, head: remote.Head) -> git.Found:
    """What has landed since ``last_sha1``, oldest first, and why some of it is to be skipped."""
    from deepspeech_wer.journal import State
    from deepspeech_wer.landings.selection import select

    done = {
        sha
        for sha, entry in journal.entries().items()
        if entry.state in (State.PUBLISHED, State.SKIPPED) and not _was_off_the_branch(entry)
    }
    last = journal.last_sha1() or _before_the_first(journal)
    if settings.landings_source == "github":
        found = _github(settings).landings(head, last, done, first=mirror.position)
    else:
        found = mirror.landings(head, last, done)
    return select(found, settings, mirror)


@functools.cache
def _github(settings: Settings) -> GitHub:
    """One for a whole tick: it counts how long it has waited, and may have asked a command for the token."""
    from deepspeech_wer.landings.github import GitHub

    return GitHub.of(settings)


def _before_the_first(journal: Journal) -> str | None:
    """The commit before the first landing that was found: where to go on from as long as none is settled."""
    for entry in journal.entries().values():
        if entry.landing is not None and entry.wanted is None and entry.landing.parents:
            return entry.landing.parents[0]
    return None


def tell(journal: Journal, found: git.Found, log: Log) -> None:
    """Tell what is not as it was left."""
    for remark in (journal.remark(), found.remark):
        if remark:
            log.step(remark)


def note(settings: Settings, journal: Journal, mirror: git.Mirror, head: remote.Head, found: git.Found) -> None:
    """Note in the journal what is new, what is skipped for the settings' sake, and what is gone from the branch."""
    from deepspeech_wer.journal import State

    known = journal.entries()
    new = [each for each in found.landings if each.sha not in known or _was_off_the_branch(known[each.sha])]
    journal.note_found({each: found.skipped.get(each.sha, "") for each in new})
    entries = journal.entries()
    waiting = [sha for sha in journal.pending(settings.seeds) if entries[sha].wanted is None]
    if found.is_rewritten:
        for sha in [sha for sha, entry in entries.items() if _was_off_the_branch(entry)]:
            if mirror.is_on_branch(sha, head.sha):
                journal.note(sha, State.FOUND)
        for sha in waiting:
            if not mirror.is_on_branch(sha, head.sha):
                journal.note(sha, State.SKIPPED, why=_REWRITTEN)
    if settings.landings_newest:
        on_the_way = {landing.sha for landing in found.landings}
        for sha in [sha for sha in waiting if sha in on_the_way][:-1]:
            journal.note(sha, State.SKIPPED, why="a newer one has landed (ds_landings_newest)")


def _was_off_the_branch(entry: Entry) -> bool:
    """Whether a landing was skipped for no other reason than that it was no longer on the branch."""
    from deepspeech_wer.journal import State

    return entry.state is State.SKIPPED and entry.why in (_REWRITTEN, _GONE)


def ask(settings: Settings, journal: Journal, mirror: git.Mirror) -> set[str]:
    """Note that the commits of ``ds_automation_force_sha`` are wanted; gives their SHAs. Raises SettingsError."""
    from deepspeech_wer.journal import State

    landings = [mirror.landing(name) for name in settings.automation_force_sha]
    for landing in landings:
        journal.note(landing.sha, State.ASKED, seeds=tuple(range(settings.seeds)), landing=landing)
    return {landing.sha for landing in landings}


def due(settings: Settings, journal: Journal, mirror: git.Mirror, only: set[str], log: Log) -> list[Landing]:
    """The landings to train now, in the order in which they were noted; of those in ``only``, where it is not empty."""
    from deepspeech_wer import queue
    from deepspeech_wer.journal import State

    todo: list[Landing] = []
    entries = journal.entries()
    line = queue.of(entries, settings)
    for sha in line.now:
        try:
            if not only or sha in only:
                here = mirror.landing(sha)
                todo.append(entries[sha].landing or here)  # the journal may know of commits that landed with it
        except SettingsError as error:
            journal.note(sha, State.SKIPPED, why=_GONE)
            log.step(f"{sha[:7]} is skipped: {error.message}")
    for sha, when in line.later.items():
        log.step(f"{sha[:7]} has failed and is tried again after {when:%Y-%m-%d %H:%M} UTC")
    if todo:
        shas = ", ".join(landing.short for landing in todo[:20])
        more = f" and {len(todo) - 20} more" if len(todo) > 20 else ""
        log.step(f"{len(todo)} landing{'s' if len(todo) > 1 else ''} to deal with, oldest first: {shas}{more}")
    return todo
