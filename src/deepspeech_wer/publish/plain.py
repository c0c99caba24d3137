"""The plain way: the files of the site lie in the web root itself, as in installations of old.

::

    WEB ROOT/index.html, js/hyper.js ...     the site
             .deepspeech-wer.json            the manifest of the release that is in place, written last
             .deepspeech-wer/releases/ID.json, kept/SHA256    what it takes to go back to earlier releases

Contents are brought to a folder of ours, looked through, and put in place by one rename each: data and assets, then
pages, then the page that readers begin with, then the manifest. Assets that carry their content's hash in their names
(the tracker's own do) lie side by side with those of the release before, so that a page finds its own at any moment.

A release that broke off is known by its manifest, which waits in ``incoming``: a file of it that is in place already
has the size and the time that stand there. No two releases give one file the same time.
"""

from __future__ import annotations

from collections.abc import Iterable

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import manifest, steps
from deepspeech_wer.publish.manifest import Entry, Manifest
from deepspeech_wer.publish.operations import (
    Attributes,
    Chain,
    Content,
    Digest,
    Link,
    Look,
    MakeFolder,
    Put,
    Read,
    Refusal,
    Remove,
    RemoveFolder,
    Rename,
)
from deepspeech_wer.publish.plan import (
    Count,
    Job,
    Outcome,
    Plan,
    compare,
    doubt,
    is_shown,
    manifests,
    matches,
    puts,
    require_put,
    time_after,
)
from deepspeech_wer.publish.site import is_page
from deepspeech_wer.publish.survey import ID, INCOMING, KEPT, LEGACY_MARKS, MARK_ASIDE, RECORDS

#: Without hard links a file is kept for going back by copying it through here; a larger one (bytes) is not.
LARGEST_COPY = 8 << 20


def plan(job: Job) -> Plan:
    """What a release would do."""
    return _Ground(job).plan


def release(job: Job, id: str = "") -> Outcome:
    """Publishes, and clears away what is needed no more; ``id`` is set to go back to that release.

    Raises PublishError; every file that readers find is whole, and a page finds what it needs.
    """
    ground = _Ground(job)
    if ground.changed:
        doubt(job, {job.found.at(path) for path in ground.changed})
    if not id and is_shown(job.site, job.found.shown) and ground.plan.same.keys() == job.site.files.keys():
        _clear(job, [Remove(job.found.at(INCOMING, name)) for name in job.found.incoming])
        return Outcome(job.found.current, ground.plan, False)
    return Outcome(_Placing(ground, id).publish(), ground.plan, True)


class _Ground:
    """The web root as it is: which file has which content of ours, and what is not ours."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.mark = job.found.mark or Manifest("plain")
        records = {id: job.found.at(RECORDS, f"{id}.json") for id in job.found.releases}
        unfinished = {name[:-5]: job.found.at(INCOMING, name) for name in job.found.incoming if ID.fullmatch(name[:-5])}
        said = manifests(job.store, {**records, **unfinished})
        #: The releases before the present one that are kept, by id, the oldest first.
        self.records = {id: said[id] for id in records if id in said}
        #: What each path may hold, by our own account: as the manifests say, the present one first.
        self.known: dict[str, list[Entry]] = {}
        for each in (self.mark, *said.values()):
            for path, entry in each.files.items():
                self.known.setdefault(path, []).append(entry)
        self.here = self._look()
        #: What each path does hold.
        self.truth: dict[str, Entry] = {p: held for p, here in self.here.items() if (held := self._entry(p, here))}
        if job.verify:
            self._read_back()
        self.changed = {path for path in job.site.files if path in self.known and path in self.here} - self.truth.keys()
        self._require_free()
        self.plan = compare(
            job.site,
            {path: self._marked(path, entry) for path, entry in self.truth.items()},
            elsewhere={sha: f"{KEPT}/{sha}" for sha in job.found.kept},
            can_copy=job.links,
        )

    def _look(self) -> dict[str, Attributes]:
        job = self.job
        paths = sorted({*self.known, *job.site.files, *(p for path in job.site.files for p in steps.parents(path))})
        looks = [Look(job.found.at(path)) for path in paths]
        here = {}
        for path, look, answer in zip(paths, looks, steps.each(job.store, looks), strict=True):
            if isinstance(answer, Attributes):
                here[path] = answer
            elif answer.kind != "missing":
                raise job.store.refused(look, answer)
        return here

    def _entry(self, path: str, here: Attributes) -> Entry | None:
        if path in self.job.distrusted:
            return None
        return next((entry for entry in self.known.get(path, ()) if matches(entry, here)), None)

    def _read_back(self) -> None:
        digests = [Digest(self.job.found.at(path)) for path in self.truth]
        answers = steps.each(self.job.store, digests)
        for path, answer in zip(list(self.truth), answers, strict=True):
            if answer != self.truth[path].sha256:
                del self.truth[path]

    def _marked(self, path: str, entry: Entry) -> Entry:
        """The entry, old unless the present release has the path for itself."""
        present = self.mark.files.get(path)
        return Entry(entry.sha256, entry.size, entry.mtime, old=present is None or present.old)

    def _require_free(self) -> None:
        """Raises PublishError where something that is not ours is in the way; nothing was changed yet."""
        job = self.job
        takes_over = not self.mark.release and all(name in job.found.entries for name in LEGACY_MARKS)
        for folder in sorted({f for path in job.site.files for f in steps.parents(path)} & self.here.keys()):
            if not self.here[folder].is_folder:
                raise self._in_the_way(folder, "and has to be a folder")
        for path in job.site.files:
            here = self.here.get(path)
            if here and not here.is_file:
                raise self._in_the_way(path, "and has to be a file")
            if here and path not in self.known and not takes_over:
                raise self._in_the_way(path, "and publishing did not make it")

    def _in_the_way(self, path: str, why: str) -> PublishError:
        here = self.here[path]
        what = "a folder" if here.is_folder else "a symbolic link" if here.is_link else "a file"
        return PublishError(
            f"cannot publish to {self.job.store.name}: {self.job.found.at(path)} is {what} there, {why}. "
            "Nothing was changed",
            "move it away there, then publish again",
        )


class _Placing:
    """A release while it is put in place."""

    def __init__(self, ground: _Ground, id: str) -> None:
        job = ground.job
        self.job, self.ground, self.plan = job, ground, ground.plan
        self.mtime = time_after(here.mtime for here in ground.here.values() if here.is_file)
        self.new = [path for path in self.job.site.files if path not in self.plan.same]
        self.staged = self._names()
        self.files = self._entries()
        self.id = id or job.found.next_id(self.files)
        current = job.found.current
        earlier = {
            **{each: record for each, record in ground.records.items() if each < current},
            **({ground.mark.release: ground.mark} if ground.mark.release else {}),
        }
        # To go back takes nothing away: what is later stays, until something else is published.
        earlier |= ground.records if id else {}
        kept = [each for each in sorted(earlier, reverse=True) if each != self.id][: job.keep - 1]
        self.earlier = {each: earlier[each] for each in kept}

    def publish(self) -> str:
        job, found = self.job, self.job.found
        self._bring()
        self._write_down()
        self._keep()
        assets = [path for path in self.new if not is_page(path)]
        pages = [path for path in self.new if is_page(path) and path != job.site.page]
        for group in (assets, pages, [path for path in self.new if path == job.site.page]):
            self._place([(found.at(INCOMING, self.staged[path]), path) for path in group])
        self._place([(found.at(INCOMING, f"{self.id}.json"), manifest.NAME)])
        self._tidy()
        return self.id

    def _names(self) -> dict[str, str]:
        """Under which name in ``incoming`` each new file waits: its SHA-256; further ones of the same get a number."""
        counts: dict[str, int] = {}
        names = {}
        for path in self.new:
            sha = self.job.site.files[path].sha256
            number = counts[sha] = counts.get(sha, 0) + 1
            names[path] = sha if number == 1 else f"{sha}-{number}"
        return names

    def _entries(self) -> dict[str, Entry]:
        files = {}
        for path, content in self.job.site.files.items():
            mtime: int | None = self.mtime
            if path in self.plan.same:
                mtime = self.plan.same[path].mtime
            elif source := self.plan.copied.get(path):
                kept = self.job.found.kept.get(content.sha256)
                mtime = self.ground.truth[source].mtime if source in self.ground.truth else kept and kept.mtime
            files[path] = Entry(content.sha256, content.size, mtime)
        return {**files, **self.plan.old}

    def _bring(self) -> None:
        """Everything new into ``incoming``, and the folders that it will need."""
        job, store, found = self.job, self.job.store, self.job.found
        uploads = puts(job, self.plan.sent, self.mtime)
        copies: list[Chain] = []
        seconds: list[Chain] = []
        for path in self.new:
            name, to = self.staged[path], found.at(INCOMING, self.staged[path])
            if path in self.plan.copied:
                copies.append(self._linked(found.at(self.plan.copied[path]), name))
            elif name in self.plan.sent:
                pass
            elif job.links:
                seconds.append(self._linked(found.at(INCOMING, name[:64]), name))
            else:
                uploads.append(Put(to, job.site.files[path], self.mtime))
        folders = {folder for path in self.new for folder in steps.parents(path)} - self.ground.here.keys()
        groups = [[MakeFolder(found.at(folder)) for folder in level] for level in steps.by_depth(sorted(folders))]
        beside: list[Chain] = [*copies, *([put] for put in uploads)]
        answers, others = steps.in_turn(store, [[*group] for group in groups], beside, Count(job, self.plan, uploads))
        arrived = [answer[-1] for answer in others[len(copies) :]]
        require_put(store, uploads, arrived, job.site)
        for group, answered in zip(groups, answers, strict=True):
            steps.require(store, group, answered)
        linked = [*others[: len(copies)], *(store.run(seconds) if seconds else [])]
        steps.require(store, [chain[-1] for chain in (*copies, *seconds)], [answer[-1] for answer in linked])
        times = {put.content.sha256: here.mtime for put, here in zip(uploads, arrived, strict=True)}
        for path in self.new:
            if path not in self.plan.copied:
                entry = self.files[path]
                self.files[path] = Entry(entry.sha256, entry.size, times[entry.sha256])

    def _linked(self, source: str, name: str) -> Chain:
        """A hard link in ``incoming``, in place of what an earlier try may have left under that name."""
        to = self.job.found.at(INCOMING, name)
        return [Remove(to), Link(source, to)] if name in self.job.found.incoming else [Link(source, to)]

    def _write_down(self) -> None:
        """The manifests of this release and of the one before."""
        job, found = self.job, self.job.found
        present = Manifest("plain", self.id, job.site.page, manifest.now(), self.files)
        texts = {found.at(INCOMING, f"{self.id}.json"): present}
        if (before := self.ground.mark).release in self.earlier:
            texts[found.at(RECORDS, f"{before.release}.json")] = before
        steps.done(job.store, *(Put(path, Content.of_bytes(each.dump()), self.mtime) for path, each in texts.items()))

    def _keep(self) -> None:
        """Keeps the contents that only earlier releases have from now on."""
        job, found = self.job, self.job.found
        by_content = {entry.sha256: path for path, entry in self.ground.truth.items()}
        missing = [sha for sha in self._needed() - found.kept.keys() if sha in by_content]
        if job.links:
            steps.done(job.store, *(Link(found.at(by_content[sha]), found.at(KEPT, sha)) for sha in missing))
            return
        # Without hard links a file is kept by way of this machine.
        for sha in missing:
            path, entry = by_content[sha], self.ground.truth[by_content[sha]]
            if entry.size > LARGEST_COPY:
                job.note(
                    f"{path}, of {entry.size} bytes, is not kept for going back: {job.store.name} has no hard links"
                )
                continue
            (data,) = steps.done(job.store, Read(found.at(path), limit=LARGEST_COPY))
            if (content := Content.of_bytes(data)).sha256 == sha:
                staged = found.at(INCOMING, f"{sha}-kept")
                steps.done(job.store, Put(staged, content, entry.mtime or self.mtime))
                steps.done(job.store, Rename(staged, found.at(KEPT, sha)))

    def _needed(self) -> set[str]:
        """The contents that earlier releases have and this one, under the same path, has not."""
        return {
            entry.sha256
            for record in self.earlier.values()
            for path, entry in record.files.items()
            if not entry.old and not (path in self.files and self.files[path].sha256 == entry.sha256)
        }

    def _place(self, renames: list[tuple[str, str]]) -> None:
        """Puts files under their names. Raises PublishError where one is refused; what was there is there then."""
        job, found = self.job, self.job.found
        entering = [Rename(staged, found.at(path)) for staged, path in renames]
        if job.replaces:
            steps.done(job.store, *entering)
            return
        # Plain SFTP does not rename over a file. The old one is moved aside, not removed, so that it can go back;
        # between two requests there is no file at all, which cannot be helped.
        there = {*self.ground.here, manifest.NAME}
        asides = [found.at(MARK_ASIDE) if path == manifest.NAME else f"{staged}-aside" for staged, path in renames]
        leaving = [
            Rename(found.at(path), aside) if path in there else None
            for (_, path), aside in zip(renames, asides, strict=True)
        ]
        chains = [[out, enter] if out else [enter] for out, enter in zip(leaving, entering, strict=True)]
        answers = job.store.run(chains)
        failed = [n for n, answer in enumerate(answers) if isinstance(answer[-1], Refusal)]
        back = [Rename(out.to, out.path) for n in failed if (out := leaving[n]) and answers[n][0] is None]
        steps.each(job.store, [*back, *(Remove(out.to) for n, out in enumerate(leaving) if out and n not in failed)])
        for chain, answer in zip(chains, answers, strict=True):
            steps.require(job.store, chain, answer)

    def _tidy(self) -> None:
        """Removes files that no page needs any more, and what no kept release needs."""
        job, found = self.job, self.job.found
        gone = [path for path in self.ground.truth if path not in self.files]
        others = [path for path in self.ground.here if path in self.ground.known and path not in self.ground.truth]
        for path in others:
            if path not in self.files:
                job.note(f"left on {job.store.name}, since somebody changed it: {found.at(path)}")
        needed = self._needed()
        staged = {*self.staged.values(), f"{self.id}.json"}
        useless: list[str] = [
            *gone,
            *(f"{RECORDS}/{id}.json" for id in found.releases if id not in self.earlier),
            *(f"{KEPT}/{sha}" for sha in found.kept if sha not in needed),
            *(f"{INCOMING}/{name}" for name in found.incoming if name not in staged),
        ]
        folders = {f for path in gone for f in steps.parents(path)} - {f for p in self.files for f in steps.parents(p)}
        levels = steps.by_depth(sorted(folders))
        _clear(job, [Remove(found.at(path)) for path in useless])
        for level in reversed(levels):
            # One that is not empty holds somebody else's files, and stays.
            steps.each(job.store, [RemoveFolder(found.at(folder)) for folder in level])


def _clear(job: Job, removals: Iterable[Remove]) -> None:
    """Removes files; one that cannot be removed is told."""
    removals = list(removals)
    if not removals:
        return
    for removal, answer in zip(removals, steps.each(job.store, removals), strict=True):
        if isinstance(answer, Refusal) and answer.kind != "missing":
            job.note(job.store.refused(removal, answer).message)
