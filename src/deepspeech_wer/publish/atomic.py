"""The atomic way: every release is a folder of its own, and one rename of a symbolic link shows it.

::

    WEB ROOT/.deepspeech-wer.json     says that the web root is ours
             releases/ID/...          whole releases, with a manifest each; files that did not change are hard links
             current -> releases/ID   the one that readers see
             index.html -> current/index.html, js -> current/js, ...

The last line makes the web root itself show the current release, for a web server that does not begin at ``current``.

A release is put together where nobody looks, gets its name by one rename, and is looked through; then it is switched
to. Whatever happens before the switch, readers see the old one, and whatever happens after it, the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import manifest, steps, tidy
from deepspeech_wer.publish.manifest import Entry, Manifest
from deepspeech_wer.publish.operations import (
    Attributes,
    Chain,
    Content,
    Link,
    Look,
    MakeFolder,
    Operation,
    Put,
    ReadLink,
    Refusal,
    Remove,
    Rename,
    Store,
    Symlink,
)
from deepspeech_wer.publish.plan import (
    Count,
    Job,
    Outcome,
    Plan,
    checks,
    compare,
    doubtful,
    is_shown,
    manifests,
    matches,
    puts,
    require_put,
    time_after,
)
from deepspeech_wer.publish.survey import BUILDING, CURRENT, INCOMING, OURS, RELEASES, Survey

_NEXT = f"{OURS}-current"


def plan(job: Job) -> Plan:
    """What a release would do."""
    shown = job.found.shown
    return compare(job.site, shown.files if shown else {}, distrusted=job.distrusted)


def wrong(job: Job) -> set[str]:
    """Full paths of files, relied on by the plan, that are not there any more as they were left."""
    sources = _sources(job, plan(job))
    return doubtful(sources, steps.each(job.store, checks(sources, job.verify)))


def release(job: Job) -> Outcome:
    """Publishes, and clears away what is needed no more. Raises PublishError; readers still see what they saw."""
    planned = plan(job)
    sources = _sources(job, planned)
    links = [ReadLink(job.found.at(name)) for name, here in job.found.entries.items() if here.is_link]
    if is_shown(job.site, job.found.shown) and not job.distrusted:
        looks = [*checks(sources, job.verify), *links]
        answers = steps.each(job.store, looks)
        changed = doubtful(sources, answers[: len(sources)])
        if not changed:
            _show(job, job.found.current, link_targets(job.found, links, answers[len(sources) :]))
        return Outcome(job.found.current, planned, False, changed)
    if id := _ready(job):
        _show(job, id, link_targets(job.found, links, steps.each(job.store, links)))
        return Outcome(id, Plan({}, {}, {}, {}, planned.removed), True)
    return _Building(job, planned, sources, links).publish()


def _show(job: Job, id: str, targets: Mapping[str, str]) -> None:
    """Shows a release that is there already and has the site, and clears away the rest."""
    steps.done(job.store, *tops(job, job.site.files, targets))
    if id != job.found.current:
        switch(job.store, job.found, id)
    tidy.atomic(job, id, job.site.files, targets, job.found.incoming)


def switch(store: Store, found: Survey, id: str, beside: Iterable[Operation] = ()) -> None:
    """Shows the release ``id`` to readers, by one rename. Raises PublishError; they still see what they saw then.

    What is carried out ``beside`` does no harm if that is refused; nor does a refusal of it.
    """
    # Beside the one that it replaces: some servers look where a link leads to when it is made.
    link = found.at(_NEXT)
    if _NEXT in found.entries:  # left of a try that was ended between the two steps
        steps.each(store, [Remove(link)])
    groups: list[list[Operation]] = [[Symlink(link, f"{RELEASES}/{id}")], [Rename(link, found.at(CURRENT))]]
    answers, _ = steps.in_turn(store, groups, [[operation] for operation in beside])
    for group, answered in zip(groups, answers, strict=True):
        steps.require(store, group, answered, "see whether somebody changed that link; readers still see what they saw")


def tops(job: Job, files: Iterable[str], texts: Mapping[str, str]) -> list[Operation]:
    """The links that are missing at the top of the web root. Raises PublishError where something is in their way."""
    found = job.found
    missing: list[Operation] = []
    for name in sorted(steps.tops(files)):
        if name not in found.entries:
            missing.append(Symlink(found.at(name), f"{CURRENT}/{name}"))
        elif texts.get(name) != f"{CURRENT}/{name}":
            raise PublishError(
                f"cannot publish {name} to {job.store.name}: {found.at(name)} is there, and publishing did not make it",
                "move it away there, then publish again. Nothing was changed",
            )
    return missing


def link_targets(found: Survey, links: list[ReadLink], answers: list[str | Refusal]) -> dict[str, str]:
    """The texts of the symbolic links at the top of the web root, by name.

    Where the server does not show them as they were made, those with names of the release that is shown are ours.
    """
    start = len(found.at(""))
    ours = steps.tops(found.shown.files) if found.shown else set()
    texts = {}
    for link, answer in zip(links, answers, strict=True):
        name = link.path[start:]
        resolved = (f"/{CURRENT}/{name}", f"/{RELEASES}/{found.current}/{name}")
        if (name in ours or found.shown is None) and (isinstance(answer, Refusal) or answer.endswith(resolved)):
            texts[name] = f"{CURRENT}/{name}"
        elif isinstance(answer, str):
            texts[name] = answer
    return texts


def _ready(job: Job) -> str:
    """The id of a release that has the site already and is not shown: one whose switch was not reached, or was undone.

    An empty text where there is none, or where its files are not as they were left.
    """
    found, store = job.found, job.store
    later = [release for release in reversed(found.releases) if release > found.current]
    for id, there in manifests(store, {id: found.at(RELEASES, id, manifest.NAME) for id in later}).items():
        if is_shown(job.site, there):
            files = {found.at(RELEASES, id, path): entry for path, entry in there.files.items()}
            if not doubtful(files, steps.each(store, checks(files, job.verify))):
                return id
    return ""


def _folder(found: Survey, release: str) -> str:
    return found.at(RELEASES, release)


def _sources(job: Job, planned: Plan) -> dict[str, Entry]:
    """By full path, all that is relied on of the release that is shown."""
    shown = job.found.shown
    if shown is None:
        return {}
    paths = {*planned.same, *planned.old, *planned.copied.values()}
    folder = _folder(job.found, job.found.current)
    return {f"{folder}/{path}": entry for path, entry in shown.files.items() if path in paths}


class _Building:
    """A release while it is put together."""

    def __init__(self, job: Job, planned: Plan, sources: dict[str, Entry], links: list[ReadLink]) -> None:
        self.job, self.plan, self.sources, self.links = job, planned, sources, links
        self.mtime = time_after(())
        self.files = self._entries()
        self.id = job.found.next_id(self.files)
        self.folder = job.found.at(BUILDING, self.id)
        #: The paths that are linked to uploads.
        self.new = [path for path in job.site.files if path not in planned.same and path not in planned.copied]

    def publish(self) -> Outcome:
        job, found = self.job, self.job.found
        tidy.wipe(job.store, [found.at(BUILDING, name) for name in found.building])
        linked, wrong = self._bring()
        if wrong:
            return Outcome("", self.plan, True, wrong)
        self._put_together(tops(job, self.files, linked))
        # The release holds what was uploaded for it, shown or not.
        arrived = {*found.incoming, *self.plan.sent}
        switch(job.store, found, self.id, [Remove(found.at(INCOMING, name)) for name in arrived])
        tidy.atomic(job, self.id, self.files, linked)
        return Outcome(self.id, self.plan, True)

    def _entries(self) -> dict[str, Entry]:
        """The files of the release, as they will be once the uploads have their time."""
        there = self.job.found.shown.files if self.job.found.shown else {}
        files = {}
        for path, content in self.job.site.files.items():
            source = path if path in self.plan.same else self.plan.copied.get(path)
            mtime = there[source].mtime if source else self.mtime
            files[path] = Entry(content.sha256, content.size, mtime)
        return {**files, **self.plan.old}

    def _manifest(self) -> Put:
        text = Manifest("atomic", self.id, self.job.site.page, manifest.now(), self.files).dump()
        return Put(f"{self.folder}/{manifest.NAME}", Content.of_bytes(text), self.mtime)

    def _bring(self) -> tuple[dict[str, str], set[str]]:
        """Uploads, and links what is there; gives the texts of the links at the top, and what is not as it was left."""
        job, store, found = self.job, self.job.store, self.job.found
        uploads = [*puts(job, self.plan.sent, self.mtime), self._manifest()]
        looks: list[Operation] = [*checks(self.sources, job.verify), *self.links]
        folders = sorted({folder for path in self.files for folder in steps.parents(path)})
        made = [[MakeFolder(f"{self.folder}/{folder}") for folder in level] for level in steps.by_depth(folders)]
        old = _folder(found, found.current)
        there = {**{path: path for path in (*self.plan.same, *self.plan.old)}, **self.plan.copied}
        linked = [Link(f"{old}/{source}", f"{self.folder}/{path}") for path, source in there.items()]
        groups: list[list[Operation]] = [[MakeFolder(self.folder)], *map(list[Operation], made), [*linked]]
        count = Count(job, self.plan, uploads[:-1])
        beside: list[Chain] = [[each] for each in (*looks, *uploads[:-1])]
        answers, others = steps.in_turn(store, groups, [*beside, [MakeFolder(self.folder), uploads[-1]]], count)
        values = [answer[-1] for answer in others]
        wrong = doubtful(self.sources, values[: len(self.sources)])
        arrived = values[-len(uploads) :]
        require_put(store, uploads, arrived, job.site)
        if not wrong:
            for group, answered in zip(groups, answers, strict=True):
                steps.require(store, group, answered)
            self._take_times(uploads, arrived)
        return link_targets(found, self.links, values[len(self.sources) : -len(uploads)]), wrong

    def _take_times(self, uploads: list[Put], arrived: list[Attributes]) -> None:
        """The manifest written again where the place did not let the times of the uploads be set."""
        times = {put.content.sha256: here.mtime for put, here in zip(uploads, arrived, strict=True)}
        for path in self.new:
            entry = self.files[path]
            self.files[path] = Entry(entry.sha256, entry.size, times[entry.sha256])
        if any(self.files[path].mtime != self.mtime for path in self.new):
            steps.done(self.job.store, self._manifest())

    def _put_together(self, missing: list[Operation]) -> None:
        """The uploads linked into the release, the release under its name, all that came looked at there."""
        store, found = self.job.store, self.job.found
        folder = _folder(found, self.id)
        groups: list[list[Operation]] = [
            [Link(found.at(INCOMING, self.files[path].sha256), f"{self.folder}/{path}") for path in self.new],
            [Rename(self.folder, folder)],
            [Look(f"{folder}/{path}") for path in self.new],
        ]
        answers, others = steps.in_turn(store, groups, [[operation] for operation in missing])
        steps.require(store, missing, [answer[0] for answer in others])
        for group, answered in zip(groups, answers, strict=True):
            steps.require(store, group, answered)
        for path, here in zip(self.new, answers[-1], strict=True):
            if not matches(self.files[path], here):
                raise store.refused(Look(f"{folder}/{path}"), Refusal("differs", "it is not as it was uploaded"))
