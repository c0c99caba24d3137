"""One release of the site: published to a place so that readers see the old one or the new one, and nothing between.

    release = publish(Path("www"), Target("www.example.org", 22, "wer", "www/wer"))

What travels is what the place does not have yet (``plan``); it is put in place in one of two ways (``atomic``,
``plain``), which the web root keeps once it is used (``claim``). Where the connection breaks, it is tried again, and
goes on from what arrived.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish import atomic, plain, steps
from deepspeech_wer.publish.claim import abilities, claim, way_of
from deepspeech_wer.publish.manifest import Way
from deepspeech_wer.publish.operations import Store
from deepspeech_wer.publish.places import opened, root_of
from deepspeech_wer.publish.plan import Job, Outcome, doubt, is_shown
from deepspeech_wer.publish.site import Site, gather
from deepspeech_wer.publish.survey import RELEASES, Survey, survey
from deepspeech_wer.publish.target import Place

Progress = Callable[[str, int, int], None]
Tell = Callable[[str], None]
T = TypeVar("T")

#: Seconds before the first retry; doubled for each one after it, up to the longest.
FIRST_WAIT = 2.0
LONGEST_WAIT = 60.0

#: A web root whose files change again and again while they are published is somebody else's workshop.
MOST_DOUBTS = 3


@dataclass(frozen=True)
class Manner:
    """How to publish. ``way``: "atomic", "plain", or "auto" for whichever the place can.

    ``keep`` is how many releases stay there, the newest included; ``retries`` how often a broken connection is tried
    again. ``verify`` reads back and hashes all that is relied on, in place of looking at sizes and times.
    """

    way: str = "auto"
    keep: int = 3
    retries: int = 3
    verify: bool = False


AS_USUAL = Manner()


@dataclass(frozen=True)
class Release:
    """What readers see now, and what it took.

    ``sent`` are the files whose content travelled, with their sizes, ``bytes`` in all; ``carried`` counts those that
    were there already. ``removed`` are the paths that readers do not find any more. ``is_new`` is False where the site
    was there already. ``left_out`` and ``notes`` are sentences for the user.
    """

    id: str
    way: Way
    is_new: bool
    files: int
    sent: tuple[tuple[str, int], ...]
    bytes: int
    carried: int
    removed: tuple[str, ...]
    seconds: float
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def publish(
    web_root: Path,
    place: Place,
    *,
    page: str = "index.html",
    manner: Manner = AS_USUAL,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> Release:
    """Publishes ``page`` of the site in ``web_root``, and what it needs, to ``place``.

    ``progress(what, done, total)`` is called as bytes arrive; ``tell(sentence)`` when it is tried again. Raises
    PublishError; readers still see what they saw before.
    """
    started = time.monotonic()
    notes: list[str] = []
    progress = progress or (lambda what, done, total: None)
    # The site is read while the network is waited for.
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(gather, web_root, page)

        def once(store: Store) -> tuple[Way, Outcome]:
            return _publish(store, root_of(place), reading.result(), manner, progress, notes)

        try:
            way, outcome = tried(once, place, manner.retries, tell or (lambda sentence: None))
        finally:
            site = reading.result()  # where there is no site, that is what to tell
    return _told(site, way, outcome, started, notes)


def preview(web_root: Path, place: Place, *, page: str = "index.html", manner: Manner = AS_USUAL) -> Release:
    """What :func:`publish` would do; nothing is changed. The way of an unused place is a guess: only trying tells."""
    started = time.monotonic()
    site = gather(web_root, page)
    notes: list[str] = []
    with opened(place) as store:
        found = survey(store, root_of(place))
        way = way_of(store, found, manner.way, steps.tops(site.files)) or "atomic"
        job = Job(store, found, site, manner.keep, manner.verify, lambda *step: None, notes=notes, links=store.links)
        if way == "atomic" and (wrong := atomic.wrong(job)):
            doubt(job, wrong)
            job = replace(job, distrusted=_below(found, wrong))
        planned = atomic.plan(job) if way == "atomic" else plain.plan(job)
        is_new = bool(planned.sent) or not is_shown(site, found.shown)
        outcome = Outcome(found.current, planned, is_new)
    return _told(site, way, outcome, started, notes)


def look(store: Store, place: Place) -> str:
    """What a release would find in the web root, in words; it changes nothing. Raises PublishError if not ours."""
    found = survey(store, root_of(place))
    if found.mark is None:
        able = store.replaces and store.links and store.symlinks and not found.is_legacy
        way = "atomic releases, if a trial there goes well" if able else "plain releases, file by file"
        what = "is not there yet, and will be made" if not found.is_there else "is empty"
        return f"{found.root} {'is that of an older installation' if found.is_legacy else what}: {way}"
    return f"{found.root} is ours: {shown(found)}"


def shown(found: Survey) -> str:
    """Which release a web root of ours shows, and which way, in words."""
    way = found.mark.way if found.mark else ""
    kept = len({*found.releases, found.current} - {""})
    if not found.current:
        return f"{way} releases, none yet"
    when = f", published {found.shown.published}" if found.shown else ", whose manifest is lost"
    return f"{way} releases, showing {found.current}{when}; {kept} kept"


def tried(once: Callable[[Store], T], place: Place, retries: int, tell: Tell) -> T:
    """``once`` with the open place; again, each time later, where the connection fails. Raises PublishError."""
    end = time.monotonic() + place.time_limit if place.time_limit else float("inf")
    wait = FIRST_WAIT
    for left in range(retries, -1, -1):
        try:
            rest = max(1.0, end - time.monotonic()) if place.time_limit else 0.0
            with opened(replace(place, time_limit=rest)) as store:
                return once(store)
        except ConnectionFailed as error:
            if not left or time.monotonic() + wait > end:
                raise
            tell(f"{error.message}; trying again in {wait:g} s ({left} left)")
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    raise AssertionError


def _publish(
    store: Store, root: str, site: Site, manner: Manner, progress: Progress, notes: list[str]
) -> tuple[Way, Outcome]:
    distrusted: frozenset[str] = frozenset()
    for _ in range(MOST_DOUBTS):
        found = survey(store, root)
        mark = claim(store, found, manner.way, steps.tops(site.files))
        job = Job(store, replace(found, mark=mark), site, manner.keep, manner.verify, progress, distrusted, notes)
        if mark.way == "plain":
            links, replaces = abilities(store, found)
            job = replace(job, links=links, replaces=replaces)
        outcome = (atomic if mark.way == "atomic" else plain).release(job)
        if not outcome.wrong:
            return mark.way, outcome
        doubt(job, outcome.wrong)
        distrusted |= _below(found, outcome.wrong)
    raise PublishError(
        f"the files in {root} on {store.name} change again and again while they are being published",
        "see who else writes there; publish again when that is over",
    )


def _below(found: Survey, wrong: Set[str]) -> frozenset[str]:
    """Paths in the release that is shown of files there."""
    return frozenset(posixpath.relpath(path, found.at(RELEASES, found.current)) for path in wrong)


def _told(site: Site, way: Way, outcome: Outcome, started: float, notes: list[str]) -> Release:
    planned = outcome.plan
    sent = planned.paths_sent(site) if outcome.is_new else ()
    return Release(
        id=outcome.id,
        way=way,
        is_new=outcome.is_new,
        files=len(site.files),
        sent=sent,
        bytes=planned.bytes if outcome.is_new else 0,
        carried=len(site.files) - len(sent),
        removed=planned.removed if outcome.is_new else (),
        seconds=time.monotonic() - started,
        left_out=site.left_out,
        notes=tuple(notes),
    )
