"""What is at the web root before anything is done there: whose it is, which release it shows, what waits to be placed.

Nothing is changed by looking. All names below the web root that publishing uses beside the site's own:

    .deepspeech-wer.json             the mark: a manifest that says whose the web root is, and which way it is used
    .deepspeech-wer/                 all of it ours
      incoming/SHA256, ID.json       contents that arrived and are not in place yet; the manifest that they are for
      building/ID/                   atomic: a release that is being put together
      releases/ID.json, kept/SHA256  plain: manifests of the releases before that are kept; contents that only they have
    releases/ID/, current            atomic: the releases, and the symbolic link to the one that is shown
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import manifest, steps
from deepspeech_wer.publish.manifest import Entry, Manifest, NotOurs
from deepspeech_wer.publish.operations import Attributes, List, Look, Read, ReadLink, Refusal, Store

OURS = ".deepspeech-wer"
INCOMING = f"{OURS}/incoming"
BUILDING = f"{OURS}/building"
RECORDS = f"{OURS}/releases"
KEPT = f"{OURS}/kept"
#: Where the mark is for a moment while it is replaced, on a server whose rename does not replace.
MARK_ASIDE = f"{OURS}/mark"
RELEASES = "releases"
CURRENT = "current"

#: What a web root of an installation from before the manifest has.
LEGACY_MARKS = (".htaccess", "index.htm")

#: A release's name: when it was made, and the beginning of its manifest's SHA-256. Later ones sort behind earlier ones.
ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_ID_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Survey:
    """``entries`` are those of the web root itself; empty if it ``is_there`` not.

    ``mark`` is the manifest in the web root, ``shown`` that of the release that readers see (None: not known). The
    rest are the entries of folders of ours, by name.
    """

    root: str
    is_there: bool
    entries: Mapping[str, Attributes]
    mark: Manifest | None = None
    shown: Manifest | None = None
    ours: Mapping[str, Attributes] = field(default_factory=dict)
    incoming: Mapping[str, Attributes] = field(default_factory=dict)
    building: Mapping[str, Attributes] = field(default_factory=dict)
    kept: Mapping[str, Attributes] = field(default_factory=dict)
    releases: tuple[str, ...] = ()
    #: The id that ``current`` leads to, though its manifest may be lost.
    current: str = ""

    def at(self, *parts: str) -> str:
        """A path below the web root as the place takes it."""
        return posixpath.join(self.root, *parts)

    @property
    def is_legacy(self) -> bool:
        """Whether it is a web root of an installation from before the manifest."""
        return self.mark is None and all(name in self.entries and self.entries[name].is_file for name in LEGACY_MARKS)

    def next_id(self, files: Mapping[str, Entry]) -> str:
        """The name of a new release of ``files``: of now, but in any case behind all that are there."""
        listing = "".join(f"{path}\0{entry.sha256}\n" for path, entry in files.items())
        now = datetime.now(UTC).replace(microsecond=0)
        for release in (*self.releases, self.current):
            if ID.fullmatch(release):
                try:
                    there = datetime.strptime(release.split("-")[0], _ID_TIME).replace(tzinfo=UTC)
                except ValueError:
                    continue
                now = max(now, there + timedelta(seconds=1))
        return f"{now:{_ID_TIME}}-{hashlib.sha256(listing.encode()).hexdigest()[:8]}"


def survey(store: Store, root: str) -> Survey:
    """Looks at the web root. Raises PublishError where it is somebody else's, or cannot be looked at."""

    def at(*parts: str) -> str:
        return posixpath.join(root, *parts)

    listed = [List(at(name) if name else root) for name in ("", OURS, INCOMING, BUILDING, RECORDS, KEPT, RELEASES)]
    operations = [
        *listed,
        Read(at(manifest.NAME), limit=manifest.LARGEST),
        ReadLink(at(CURRENT)),
        Read(at(CURRENT, manifest.NAME), limit=manifest.LARGEST),
        Read(at(MARK_ASIDE), limit=manifest.LARGEST),
    ]
    answers = steps.each(store, operations)
    entries, *folders = answers[: len(listed)]
    mark, link, shown, aside = answers[len(listed) :]
    if isinstance(entries, Refusal):
        _require_absent(store, root, entries)
        return Survey(root, False, {})
    whose = Survey(root, True, entries)
    for operation, folder in zip(listed[1:], folders, strict=True):
        if isinstance(folder, Refusal) and folder.kind != "missing" and operation.path != at(RELEASES):
            raise store.refused(operation, folder)
    # Somebody removed the mark; the release that is shown says as much.
    known = _shown(shown)
    lost = Manifest("atomic") if known and known.way == "atomic" and manifest.NAME not in entries else None
    if manifest.NAME not in entries and isinstance(aside, Refusal) and lost is None:
        _require_empty(store, whose)
        return Survey(root, True, entries, ours={} if isinstance(folders[0], Refusal) else folders[0])
    if manifest.NAME in entries:
        found = _mark(store, whose, mark)
    else:
        found = lost or _mark(store, whose, aside, at(MARK_ASIDE))
    ours, incoming, building, records, kept, releases = ({} if isinstance(f, Refusal) else f for f in folders)
    common: dict[str, Any] = {"mark": found, "ours": ours, "incoming": incoming, "building": building, "kept": kept}
    if found.way == "plain":
        ids = tuple(sorted(name[:-5] for name in records if name.endswith(".json") and ID.fullmatch(name[:-5])))
        return Survey(root, True, entries, **common, shown=found, releases=ids, current=found.release)
    ids = tuple(sorted(name for name in releases if ID.fullmatch(name) and releases[name].is_folder))
    current = _current(store, whose, link, known.release if known and known.way == "atomic" else "")
    return Survey(root, True, entries, **common, shown=known if current else None, releases=ids, current=current)


def _require_absent(store: Store, root: str, refusal: Refusal) -> None:
    """Raises PublishError unless the web root is not there, and its parent is."""
    parent = posixpath.dirname(root) or "."
    look = [Look(root), Look(parent)]
    here, above = steps.each(store, look)
    if isinstance(here, Attributes):
        if not here.is_folder and not here.is_link:
            raise PublishError(
                f"cannot publish to {store.name}: {root} is a file there, and has to be a folder",
                f"move that file away there, or set {store.root_setting} to another folder",
            )
        raise store.refused(List(root), refusal)
    if here.kind != "missing":
        raise store.refused(look[0], here)
    if isinstance(above, Refusal):
        raise store.refused(
            look[1],
            above,
            f"the web root {root} is to be made in it: make that folder, or set {store.root_setting} to another one",
        )
    if not above.is_folder and not above.is_link:
        raise PublishError(
            f"cannot make the web root {root} on {store.name}: {parent} is not a folder",
            f"set {store.root_setting} to a folder that is there, or to a new one in such a folder",
        )


def _require_empty(store: Store, found: Survey) -> None:
    """Raises PublishError unless a web root without a mark is empty, or an old installation's."""
    names = [name for name in found.entries if not name.startswith(OURS)]
    if not names or found.is_legacy:
        return
    some = ", ".join(repr(name[:80]) for name in sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
    raise PublishError(
        f"the web root {found.root} on {store.name} holds files that are not ours: {some}. Nothing was touched",
        f"set {store.root_setting} to an empty folder, or to a new one such as {found.at('wer')}",
    )


def _mark(store: Store, found: Survey, text: bytes | Refusal, aside: str = "") -> Manifest:
    path = aside or found.at(manifest.NAME)
    if not aside and not found.entries[manifest.NAME].is_file:
        why = "is not a file"
    elif isinstance(text, Refusal):
        raise store.refused(Read(path), text)
    else:
        try:
            return manifest.parse(text)
        except NotOurs as error:
            why = str(error)
    hint = f"if the site there is yours to replace, remove {path} and empty the folder; "
    raise PublishError(
        f"the web root {found.root} on {store.name} may not be ours: {path} there {why}. Nothing was touched",
        ("" if "upgrade" in why else hint) + f"else set {store.root_setting} to another one",
    )


def _current(store: Store, found: Survey, link: str | Refusal, behind: str) -> str:
    """The id of the release that is shown; empty before the first one. ``behind`` is the one found behind the link."""
    if CURRENT not in found.entries:
        return ""
    if found.entries[CURRENT].is_link:
        # Some servers show links as they lie on their disks, or not at all.
        text = f"{RELEASES}/{behind}" if isinstance(link, Refusal) else link.rstrip("/")
        folder, _, release = text.rpartition("/")
        if posixpath.basename(folder) == RELEASES and ID.fullmatch(release) and behind in ("", release):
            return release
    raise PublishError(
        f"{found.at(CURRENT)} on {store.name} is not the link to a release that publishing makes. Nothing was touched",
        f"see who changed it: ls -l {found.at(CURRENT)}; it has to lead to one of the folders in {found.at(RELEASES)}",
    )


def _shown(text: bytes | Refusal) -> Manifest | None:
    """The manifest of the release that is shown; None where it was lost, so that nothing of it is relied on."""
    try:
        return None if isinstance(text, Refusal) else manifest.parse(text)
    except NotOurs:
        return None
