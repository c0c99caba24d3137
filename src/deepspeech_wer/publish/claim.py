"""Making a web root ours: which of the two ways it is used, found out by trying; and the folders that it takes."""

from __future__ import annotations

import time
from collections.abc import Iterable

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import manifest, steps
from deepspeech_wer.publish.manifest import Manifest, Way
from deepspeech_wer.publish.operations import (
    Content,
    Link,
    MakeFolder,
    Operation,
    Put,
    Read,
    Refusal,
    Remove,
    Rename,
    Store,
    Symlink,
)
from deepspeech_wer.publish.survey import BUILDING, CURRENT, INCOMING, KEPT, MARK_ASIDE, OURS, RECORDS, RELEASES, Survey

_PROBE = b"deepspeech-wer\n"

#: What the atomic way takes, to the user.
_TAKES = "hard links, symbolic links, and renames that replace them (posix-rename@openssh.com, hardlink@openssh.com)"


def way_of(store: Store, found: Survey, wanted: str, tops: Iterable[str]) -> Way | None:
    """Which way the web root is used; None: that has to be tried. Raises PublishError if it is not the ``wanted`` one.

    ``tops`` are the names at the top of the site.
    """
    taken = sorted({CURRENT, RELEASES} & set(tops))
    present: Way | None = found.mark.way if found.mark else "plain" if found.is_legacy else None
    if taken and "atomic" in (present, wanted):
        raise PublishError(
            f"the site has a file or folder named {taken[0]} at its top, which atomic releases keep for themselves",
            f"rename it; or publish file by file (ds_website_release=plain) with {store.root_setting} an empty folder",
        )
    if present:
        if wanted not in ("auto", present):
            raise PublishError(
                f"ds_website_release asks for {wanted} releases, and the web root {found.root} on {store.name} "
                f"has {present} ones" + ("" if found.mark else ", of an older installation"),
                f"set ds_website_release=auto, or {store.root_setting} to an empty folder, which can become either",
            )
        return present
    if wanted == "plain":
        return "plain"
    able = store.replaces and store.links and store.symlinks and not taken
    return None if able or wanted == "atomic" else "plain"


def claim(store: Store, found: Survey, wanted: str, tops: Iterable[str]) -> Manifest:
    """The web root made ours, with the folders that are needed. Gives its mark. Raises PublishError."""
    way = way_of(store, found, wanted, tops)
    _require_folders(store, found)
    if not found.is_there:
        steps.done(store, MakeFolder(found.root))
    _make(store, found, [OURS])
    _make(store, found, [INCOMING])
    if way is None:
        refused = _probe(store, found)
        if refused and wanted == "atomic":
            raise PublishError(
                f"{store.name} cannot hold atomic releases, which take {_TAKES}: {refused}",
                "set ds_website_release=plain (or auto, which chooses that by itself)",
            )
        way = "plain" if refused else "atomic"
    folders = [BUILDING, RELEASES] if way == "atomic" else [RECORDS, KEPT]
    if found.mark:
        _make(store, found, folders)
        if manifest.NAME not in found.entries:  # the connection broke while it was replaced, or somebody removed it
            aside = Rename(found.at(MARK_ASIDE), found.at(manifest.NAME))
            if isinstance(steps.each(store, [aside])[0], Refusal):
                _put_mark(store, found, found.mark)
        left = [found.at(INCOMING, name) for name in found.incoming if name.endswith("-aside")]
        left += [found.at(MARK_ASIDE)] if MARK_ASIDE.rpartition("/")[2] in found.ours else []
        steps.each(store, [Remove(path) for path in left])
        return found.mark
    mark = Manifest(way)
    _put_mark(store, found, mark)
    # Only now: should we be killed in between, a folder without the mark would be taken for somebody else's.
    _make(store, found, folders)
    return mark


def abilities(store: Store, found: Survey) -> tuple[bool, bool]:
    """Whether hard links and replacing renames work in a web root of ours, whatever the place says of itself."""
    one, two = (found.at(INCOMING, f"probe{number}") for number in (1, 2))
    mark, clear = found.at(manifest.NAME), [Remove(one), Remove(two)]
    if store.links:
        groups: list[list[Operation]] = [[*clear], [Link(mark, one), Link(mark, two)], [Rename(one, two)], [*clear]]
        (_, linked, renamed, _), _ = steps.in_turn(store, groups)
        if not any(isinstance(answer, Refusal) for answer in linked):
            return True, renamed[0] is None
    some = Content.of_bytes(_PROBE)
    groups = [[Put(one, some, 0), Put(two, some, 0)], [Rename(one, two)], [*clear]]
    (_, renamed, _), _ = steps.in_turn(store, groups)
    return False, renamed[0] is None


def _put_mark(store: Store, found: Survey, mark: Manifest) -> None:
    staged = found.at(INCOMING, "mark")
    steps.done(store, Put(staged, Content.of_bytes(mark.dump()), int(time.time())))
    steps.done(store, Rename(staged, found.at(manifest.NAME)))


def _require_folders(store: Store, found: Survey) -> None:
    """Raises PublishError where something else has the name of a folder of ours: nothing is written through a link."""
    names = {OURS: found.entries.get(OURS)}
    if found.mark and found.mark.way == "atomic":
        names[RELEASES] = found.entries.get(RELEASES)
    for name in (INCOMING, BUILDING, RECORDS, KEPT):
        names[name] = found.ours.get(name.rpartition("/")[2])
    for name, here in names.items():
        if here and not here.is_folder:
            what = "a symbolic link" if here.is_link else "a file"
            raise PublishError(
                f"cannot publish to {store.name}: {found.at(name)} is {what} there, and has to be a folder. "
                "Nothing was changed",
                "see who put it there, remove it, then publish again",
            )


def _make(store: Store, found: Survey, names: list[str]) -> None:
    inside = {f"{OURS}/{name}" for name in found.ours} | set(found.entries if found.mark else ())
    missing = [MakeFolder(found.at(name)) for name in names if name not in inside]
    if missing:
        steps.done(store, *missing)


def _probe(store: Store, found: Survey) -> str:
    """Tries what the atomic way takes, with files of ours; what was refused, or an empty text."""
    one, two, three = (found.at(INCOMING, f"probe{number}") for number in (1, 2, 3))
    clear = [Remove(path) for path in (one, two, three)]
    steps.each(store, clear)
    groups: list[list[Operation]] = [
        [Put(one, Content.of_bytes(_PROBE), 0)],
        [Link(one, two)],
        [Symlink(three, ".")],
        [Read(f"{three}/probe1")],
        [Rename(two, three)],
    ]
    answers: list[object] = []
    for group in groups:
        answers += steps.each(store, group)
        if isinstance(answers[-1], Refusal):
            break
    steps.each(store, clear)
    for group, answer in zip(groups, answers, strict=False):
        if isinstance(answer, Refusal):
            if isinstance(group[0], Put):
                raise store.refused(group[0], answer)
            return store.refused(group[0], answer).message
    return "" if answers[3] == _PROBE else "a symbolic link there does not lead to its file"
