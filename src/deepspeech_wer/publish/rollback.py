"""Going back: readers are shown the release before the present one again, from what is kept at the place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import atomic, manifest, plain, steps
from deepspeech_wer.publish.claim import abilities
from deepspeech_wer.publish.manifest import Manifest, Way
from deepspeech_wer.publish.operations import (
    Content,
    Link,
    Look,
    MakeFolder,
    Put,
    Read,
    ReadLink,
    Refusal,
    Rename,
    Store,
)
from deepspeech_wer.publish.places import root_of
from deepspeech_wer.publish.plan import Job, doubtful, manifests, matches, time_after
from deepspeech_wer.publish.release import AS_USUAL, Manner, Tell, tried
from deepspeech_wer.publish.site import Site, is_page
from deepspeech_wer.publish.survey import INCOMING, KEPT, RECORDS, RELEASES, Survey, survey
from deepspeech_wer.publish.target import Place


@dataclass(frozen=True)
class Rollback:
    """``release`` is shown now, which was ``published`` then (ISO 8601); ``before`` was shown until now."""

    release: str
    before: str
    published: str
    way: Way


def rollback(place: Place, *, manner: Manner = AS_USUAL, tell: Tell | None = None) -> Rollback:
    """Shows the release before the present one. Raises PublishError; readers then still see what they saw.

    What it takes is looked at first: its files have to be there as they were left.
    """
    planned: list[Rollback] = []

    def once(store: Store) -> Rollback:
        return _back(store, root_of(place), manner, planned)

    return tried(once, place, manner.retries, tell or (lambda sentence: None))


def _back(store: Store, root: str, manner: Manner, planned: list[Rollback]) -> Rollback:
    """``planned`` holds where an earlier try wanted to go, so that none goes further back."""
    found = survey(store, root)
    if found.mark is None or not found.current:
        raise PublishError(
            f"nothing was published to {root} on {store.name} yet, so there is nothing to go back to",
            "publish first: deepspeech-wer publish",
        )
    if planned and found.current == planned[0].release:
        return planned[0]
    id, target = _earlier(store, found)
    planned[:] = [Rollback(id, found.current, target.published, found.mark.way)]
    if found.mark.way == "atomic":
        _switch_back(store, found, id, target)
    else:
        _put_back(store, found, id, target, manner)
    return planned[0]


def _earlier(store: Store, found: Survey) -> tuple[str, Manifest]:
    """The newest release before the present one that shows something else; its id and its manifest."""
    is_plain = found.mark is not None and found.mark.way == "plain"
    ids = [id for id in reversed(found.releases) if id < found.current]
    paths = {id: found.at(RECORDS, f"{id}.json") if is_plain else found.at(RELEASES, id, manifest.NAME) for id in ids}
    for id, there in manifests(store, paths).items():
        if found.shown is None or _contents(there) != _contents(found.shown):
            return id, there
    raise PublishError(
        f"there is no release before {found.current} in {found.root} on {store.name}",
        "ds_website_keep says how many are kept from now on; to show something else, publish it",
    )


def _contents(there: Manifest) -> dict[str, str]:
    return {path: entry.sha256 for path, entry in there.files.items() if not entry.old}


def _switch_back(store: Store, found: Survey, id: str, target: Manifest) -> None:
    files = {found.at(RELEASES, id, path): entry for path, entry in target.files.items()}
    links = [ReadLink(found.at(name)) for name, here in found.entries.items() if here.is_link]
    answers = steps.each(store, [*(Look(path) for path in files), *links])
    if wrong := doubtful(files, answers[: len(files)]):
        raise _gone(store, id, sorted(wrong)[0])
    target = _with_present(store, found, id, target)
    job = Job(store, found, Site(target.page, {}), 0, False, lambda what, done, total: None)
    texts = atomic.link_targets(found, links, answers[len(files) :])
    steps.done(store, *atomic.tops(job, target.files, texts))
    atomic.switch(store, found, id)


def _with_present(store: Store, found: Survey, id: str, target: Manifest) -> Manifest:
    """The release to go back to, and in it what those need who have a page of the present one open."""
    present = found.shown.files if found.shown else {}
    old = {
        path: replace(entry, old=True)
        for path, entry in present.items()
        if path not in target.files and not entry.old and not is_page(path)
    }
    if not old:
        return target
    folder = found.at(RELEASES, id)
    folders = {parent for path in old for parent in steps.parents(path)}
    for level in steps.by_depth(sorted(folders)):
        steps.done(store, *(MakeFolder(f"{folder}/{each}") for each in level))
    links = [Link(found.at(RELEASES, found.current, path), f"{folder}/{path}") for path in old]
    # One that is there already is of an earlier try.
    steps.each(store, links)
    looks = [Look(link.to) for link in links]
    for link, entry, here in zip(links, old.values(), steps.each(store, looks), strict=True):
        if isinstance(here, Refusal) or not matches(entry, here):
            raise _gone(store, id, link.to)
    both = replace(target, files={**target.files, **old})
    staged = found.at(INCOMING, f"{id}.json")
    steps.done(store, Put(staged, Content.of_bytes(both.dump()), time_after(())))
    steps.done(store, Rename(staged, f"{folder}/{manifest.NAME}"))
    return both


def _put_back(store: Store, found: Survey, id: str, target: Manifest, manner: Manner) -> None:
    files = {path: Content(entry.sha256, entry.size) for path, entry in target.files.items() if not entry.old}
    order = sorted(files, key=lambda path: (path == target.page, is_page(path)))
    site = Site(target.page, {path: files[path] for path in order})
    keep = max(manner.keep, len(found.releases))
    job = Job(store, found, site, keep, manner.verify, lambda what, done, total: None)
    links, replaces = abilities(store, found)
    job = replace(job, links=links, replaces=replaces)
    planned = plain.plan(job)
    if planned.sent and not job.links:
        # Without hard links a file goes back by way of this machine.
        brought = {sha: _fetched(store, found, sha, content) for sha, content in planned.sent.items()}
        site = replace(site, files={p: brought.get(content.sha256, content) for p, content in site.files.items()})
    elif planned.sent:
        path = next(path for path, content in site.files.items() if content.sha256 in planned.sent)
        raise _gone(store, id, found.at(path))
    plain.release(replace(job, site=site), id)


def _fetched(store: Store, found: Survey, sha: str, content: Content) -> Content:
    (data,) = steps.each(store, [Read(found.at(KEPT, sha), limit=plain.LARGEST_COPY)])
    if isinstance(data, Refusal) or Content.of_bytes(data).sha256 != sha:
        raise _gone(store, found.current, found.at(KEPT, sha))
    return Content.of_bytes(data)


def _gone(store: Store, id: str, path: str) -> PublishError:
    return PublishError(
        f"cannot go back to {id}: {path} on {store.name} is not there as it was left",
        "publish instead: deepspeech-wer publish",
    )
