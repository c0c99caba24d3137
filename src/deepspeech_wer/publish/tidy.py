"""Clearing away: what broken-off releases left, and what no release needs any more. Only what is ours is removed.

What cannot be removed does no harm to readers, so it fails nothing: it is told, and the next release tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deepspeech_wer.publish import manifest, steps
from deepspeech_wer.publish.manifest import Entry
from deepspeech_wer.publish.operations import List, Look, Operation, Refusal, Remove, RemoveFolder, Store
from deepspeech_wer.publish.plan import Job, doubtful, manifests
from deepspeech_wer.publish.survey import CURRENT, INCOMING, RELEASES


def wipe(store: Store, folders: list[str]) -> None:
    """Removes folders of ours with all that is in them; what cannot be removed stays."""
    levels = []
    files: list[Operation] = []
    while folders:
        levels.append(folders)
        answers = steps.each(store, [List(folder) for folder in folders])
        below = []
        for folder, entries in zip(folders, answers, strict=True):
            if isinstance(entries, Refusal):
                continue
            below += [f"{folder}/{name}" for name, here in entries.items() if here.is_folder]
            files += [Remove(f"{folder}/{name}") for name, here in entries.items() if not here.is_folder]
        folders = below
    if levels:
        steps.in_turn(store, [files, *([RemoveFolder(folder) for folder in level] for level in reversed(levels))])


def atomic(job: Job, id: str, files: Iterable[str], texts: Mapping[str, str], left: Iterable[str] = ()) -> None:
    """After ``id`` is shown: removes what is beyond the releases to keep, stale links, and uploads that are ``left``.

    ``texts`` are those of the symbolic links at the top of the web root, by name.
    """
    found = job.found
    names = steps.tops(files)
    stale = [name for name, text in texts.items() if text == f"{CURRENT}/{name}" and name not in names]
    useless = [Remove(found.at(name)) for name in stale]
    useless += [Remove(found.at(INCOMING, name)) for name in left]
    kept = dict.fromkeys(release for release in (id, found.current) if release)
    earlier = [release for release in reversed(found.releases) if release < id and release not in kept]
    # Later ones were never shown, or were gone back from: the new one takes their place.
    later = [release for release in found.releases if found.current < release != id] if id != found.current else []
    drops = [*[*kept, *earlier][job.keep :], *later]
    if useless:
        steps.each(job.store, useless)
    if drops:
        _drop(job, drops)


def _drop(job: Job, releases: list[str]) -> None:
    """Removes releases of the atomic way; a file in them that is not as it was left, is left."""
    store, found = job.store, job.found
    files: dict[str, Entry] = {}
    folders: set[str] = set()
    marks: list[Operation] = []
    paths = {found.at(RELEASES, release): found.at(RELEASES, release, manifest.NAME) for release in releases}
    # What has no manifest is not known to be ours; what somebody changed in it was told when that was found.
    for folder, there in manifests(store, paths).items():
        files |= {f"{folder}/{path}": entry for path, entry in there.files.items()}
        folders |= {folder, *(f"{folder}/{parent}" for path in there.files for parent in steps.parents(path))}
        marks.append(Remove(paths[folder]))
    answers = steps.each(store, [Look(path) for path in files])
    changed = {
        path
        for path, answer in zip(files, answers, strict=True)
        if not (isinstance(answer, Refusal) and answer.kind == "missing")
    } & doubtful(files, answers)
    levels = steps.by_depth(sorted(folders))
    groups: list[list[Operation]] = [
        [Remove(path) for path in files if path not in changed],
        marks,
        *map(list[Operation], ([RemoveFolder(folder) for folder in level] for level in reversed(levels))),
    ]
    gone, _ = steps.in_turn(store, groups)
    if changed:
        job.note(f"left on {store.name}, since somebody changed it: {', '.join(sorted(changed)[:3])}")
    for group, answered in zip(groups, gone, strict=True):
        for operation, answer in zip(group, answered, strict=True):
            if isinstance(answer, Refusal) and answer.kind != "missing":
                job.note(store.refused(operation, answer).message)
