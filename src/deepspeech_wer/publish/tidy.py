"""Clearing away: what broken-off releases left, and what no release needs any more. Only what is ours is removed.

What cannot be removed does no harm to readers, so it fails nothing: it is told, and the next release tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deepspeech_wer.publish import manifest, steps
from deepspeech_wer.publish.manifest import Entry, NotOurs
from deepspeech_wer.publish.operations import List, Look, Operation, Read, Refusal, Remove, RemoveFolder, Store
from deepspeech_wer.publish.plan import Job, doubtful
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


def atomic(job: Job, id: str, files: Iterable[str], texts: Mapping[str, str], sent: Iterable[str] = ()) -> None:
    """After ``id`` is shown: removes what was uploaded for it, what is beyond the releases to keep, and stale links.

    ``texts`` are those of the symbolic links at the top of the web root, by name; ``sent`` names the uploads.
    """
    found = job.found
    names = {path.split("/")[0] for path in files}
    stale = [name for name, text in texts.items() if text == f"{CURRENT}/{name}" and name not in names]
    useless = [Remove(found.at(name)) for name in stale]
    useless += [Remove(found.at(INCOMING, name)) for name in {*found.incoming, *sent}]
    kept = dict.fromkeys(release for release in (id, found.current) if release)
    others = [release for release in reversed(found.releases) if release not in kept]
    drops = [*kept, *others][job.keep :]
    if useless:
        steps.each(job.store, useless)
    if drops:
        _drop(job, drops)


def _drop(job: Job, releases: list[str]) -> None:
    """Removes releases of the atomic way; a file in them that is not as it was left, is left."""
    store, found = job.store, job.found
    reads = [Read(found.at(RELEASES, release, manifest.NAME), limit=manifest.LARGEST) for release in releases]
    files: dict[str, Entry] = {}
    folders: set[str] = set()
    manifests: list[Operation] = []
    for release, read, text in zip(releases, reads, steps.each(store, reads), strict=True):
        folder = found.at(RELEASES, release)
        try:
            if isinstance(text, Refusal):
                raise NotOurs(text.said)
            listed = manifest.parse(text).files
        except NotOurs:
            continue  # told when somebody's change was found in it; what is left there is not known to be ours
        files |= {f"{folder}/{path}": entry for path, entry in listed.items()}
        folders |= {folder, *(f"{folder}/{parent}" for path in listed for parent in steps.parents(path))}
        manifests.append(Remove(read.path))
    answers = steps.each(store, [Look(path) for path in files])
    changed = {
        path
        for path, answer in zip(files, answers, strict=True)
        if not (isinstance(answer, Refusal) and answer.kind == "missing")
    } & doubtful(files, answers)
    levels = steps.by_depth(sorted(folders))
    groups: list[list[Operation]] = [
        [Remove(path) for path in files if path not in changed],
        manifests,
        *map(list[Operation], ([RemoveFolder(folder) for folder in level] for level in reversed(levels))),
    ]
    gone, _ = steps.in_turn(store, groups)
    if changed:
        job.note(f"left on {store.name}, since somebody changed it: {', '.join(sorted(changed)[:3])}")
    for group, answered in zip(groups, gone, strict=True):
        for operation, answer in zip(group, answered, strict=True):
            if isinstance(answer, Refusal) and answer.kind != "missing":
                job.note(store.refused(operation, answer).message)
