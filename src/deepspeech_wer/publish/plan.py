"""What has to travel: the site as it is wanted, compared with what is at the place already."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import manifest, steps
from deepspeech_wer.publish.manifest import Entry, Manifest, NotOurs
from deepspeech_wer.publish.operations import (
    MOST_IN_FLIGHT,
    Attributes,
    Content,
    Digest,
    Look,
    Operation,
    Put,
    Read,
    Refusal,
    Store,
)
from deepspeech_wer.publish.site import Site, is_page
from deepspeech_wer.publish.survey import INCOMING, Survey

#: Bytes at the end of what arrived that are read again before an upload is gone on with, where the place works in
#: order: what is before them was written before them. Elsewhere all that may have been on its way is in doubt.
IN_ORDER_TAIL = 4 << 10


@dataclass(frozen=True)
class Job:
    """One publishing: the place, what was found there, what is wanted; ``keep`` releases stay, ``verify`` re-reads."""

    store: Store
    found: Survey
    site: Site
    keep: int
    verify: bool
    progress: Callable[[str, int, int], None]
    #: Paths of files whose content there is not what it ought to be.
    distrusted: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    #: Whether the place does make hard links, and its renames do replace files: the plain way can do without.
    links: bool = True
    replaces: bool = True

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


@dataclass(frozen=True)
class Plan:
    """``same``: unchanged under its path. ``copied``: a new path, and the one there that has its content already.

    ``sent``: what has to travel, by its SHA-256. ``old``: what stays for those who have the page of the release before.
    ``removed``: what readers do not find any more, once this release is in place.
    """

    same: Mapping[str, Entry]
    copied: Mapping[str, str]
    sent: Mapping[str, Content]
    old: Mapping[str, Entry]
    removed: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(content.size for content in self.sent.values())

    def paths_sent(self, site: Site) -> tuple[tuple[str, int], ...]:
        """The files whose content travels: each path once, with its size in bytes."""
        return tuple((path, content.size) for path, content in site.files.items() if content.sha256 in self.sent)


@dataclass(frozen=True)
class Outcome:
    """The release that readers see, whether it ``is_new``, and what was done for it.

    ``wrong``: full paths of files there that are not as they were left. Nothing was shown then, and all is to be
    planned again without relying on them.
    """

    id: str
    plan: Plan
    is_new: bool
    wrong: Set[str] = frozenset()


def compare(
    site: Site,
    there: Mapping[str, Entry],
    *,
    distrusted: Set[str] = frozenset(),
    elsewhere: Mapping[str, str] | None = None,
    can_copy: bool = True,
) -> Plan:
    """What to do so that the files of ``there`` become ``site``.

    ``distrusted`` paths are not relied on; ``elsewhere`` are paths of other copies, by their SHA-256.
    """
    there = {path: entry for path, entry in there.items() if path not in distrusted}
    by_content = {**(elsewhere or {}), **{entry.sha256: path for path, entry in there.items()}}
    same: dict[str, Entry] = {}
    copied: dict[str, str] = {}
    sent: dict[str, Content] = {}
    for path, content in site.files.items():
        entry = there.get(path)
        if entry and entry.sha256 == content.sha256:
            same[path] = Entry(entry.sha256, entry.size, entry.mtime)
        elif can_copy and content.sha256 in by_content:
            copied[path] = by_content[content.sha256]
        else:
            sent[content.sha256] = content
    old = {
        path: Entry(entry.sha256, entry.size, entry.mtime, old=True)
        for path, entry in there.items()
        if path not in site.files and not entry.old and not is_page(path)
    }
    removed = tuple(path for path in there if path not in site.files and path not in old)
    return Plan(same, copied, sent, old, removed)


def is_shown(site: Site, shown: Manifest | None) -> bool:
    """Whether the release that readers see has just the files of ``site``."""
    if shown is None or shown.page != site.page:
        return False
    files = {path: entry.sha256 for path, entry in shown.files.items() if not entry.old}
    return files == {path: content.sha256 for path, content in site.files.items()}


def matches(entry: Entry, here: Attributes) -> bool:
    """Whether a file is as publishing left it, as far as its size and time tell."""
    return here.is_file and here.size == entry.size and entry.mtime in (None, here.mtime)


def checks(files: Mapping[str, Entry], verify: bool) -> list[Operation]:
    """The questions whose answers :func:`doubtful` reads; ``files`` by their full paths."""
    return [Digest(path) if verify else Look(path) for path in files]


def doubtful(files: Mapping[str, Entry], answers: list[Any]) -> set[str]:
    """Those of ``files`` that are not there any more as they were left."""
    found = set()
    for (path, entry), answer in zip(files.items(), answers, strict=True):
        is_right = answer == entry.sha256 if isinstance(answer, str) else isinstance(answer, Attributes)
        if not is_right or (isinstance(answer, Attributes) and not matches(entry, answer)):
            found.add(path)
    return found


def doubt(job: Job, paths: set[str]) -> None:
    """Tells of files that have to be sent again."""
    some = ", ".join(sorted(posixpath.relpath(path, job.found.root) for path in paths)[:3])
    job.note(
        f"{len(paths)} file{'s' * (len(paths) > 1)} on {job.store.name} changed since they were published, "
        f"and are made good: {some}{', ...' * (len(paths) > 3)}"
    )


def time_after(times: Iterable[int]) -> int:
    """A modification time for new files: now, but later than those of the files there, to tell them apart."""
    return max(int(time.time()), 1 + max(times, default=0))


def puts(job: Job, sent: Mapping[str, Content], mtime: int) -> list[Put]:
    """The uploads, each going on from what an earlier try brought to the same name."""
    there = {sha: job.found.incoming[sha] for sha in sent if sha in job.found.incoming}
    tail = IN_ORDER_TAIL if job.store.in_order else MOST_IN_FLIGHT
    tails = {
        sha: Read(job.found.at(INCOMING, sha), max(0, here.size - tail), tail)
        for sha, here in there.items()
        if here.is_file and 0 < here.size <= sent[sha].size
    }
    answers = steps.each(job.store, list(tails.values())) if tails else []
    offsets = {
        sha: _agreement(sent[sha], tail, answer) for (sha, tail), answer in zip(tails.items(), answers, strict=True)
    }
    if (before := sum(offsets.values())) >= 100_000:
        job.note(f"{before / 1e6:.1f} MB of that had arrived before")
    return [Put(job.found.at(INCOMING, sha), content, mtime, offsets.get(sha, 0)) for sha, content in sent.items()]


def _agreement(content: Content, tail: Read, answer: bytes | Refusal) -> int:
    """From where a content has to be sent, when ``answer`` is the end of what arrived of it.

    What is before the tail was written before it, or was answered for.
    """
    if isinstance(answer, Refusal):
        return 0
    with content.open() as file:
        file.seek(tail.offset)
        ours = file.read(len(answer))
    if ours == answer:
        return tail.offset + len(answer)
    first = next((n for n, (a, b) in enumerate(zip(ours, answer, strict=False)) if a != b), len(ours))
    return tail.offset + first if first else 0


def manifests(store: Store, paths: Mapping[str, str]) -> dict[str, Manifest]:
    """Those manifests that are there and whole, by the names in ``paths``; a broken connection leaves half a one."""
    reads = [Read(path, limit=manifest.LARGEST) for path in paths.values()]
    found = {}
    for name, text in zip(paths, steps.each(store, reads) if reads else (), strict=True):
        with suppress(NotOurs):
            if not isinstance(text, Refusal):
                found[name] = manifest.parse(text)
    return found


class Count:
    """The bytes that arrived so far, told on as ``progress(what, done, total)``."""

    def __init__(self, job: Job, plan: Plan, uploads: list[Put]) -> None:
        self._progress = job.progress
        self._what = f"{len(plan.sent)} of {len(job.site.files)} files"
        self._total = plan.bytes
        self._done = sum(put.offset for put in uploads)
        self._progress(self._what, self._done, self._total)

    def __call__(self, size: int) -> None:
        self._done = min(self._done + size, self._total)
        self._progress(self._what, self._done, self._total)


def require_put(store: Store, uploads: list[Put], answers: list[Any], site: Site) -> None:
    """Raises PublishError for the first upload that was refused, under the path that the file has on the site."""
    paths = {content.sha256: path for path, content in site.files.items()}
    for put, answer in zip(uploads, answers, strict=True):
        if isinstance(answer, Refusal):
            error = store.refused(put, answer)
            path = paths.get(put.content.sha256, "")
            raise PublishError(f"{error.message} (it is {path} of the site)" if path else error.message, error.hint)
