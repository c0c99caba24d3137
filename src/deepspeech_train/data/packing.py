"""Packing: from a manifest's many small files to a few shards (``data.shards`` says what they are).

The same utterances, in the same order, with the same options, give the same bytes, on every machine and however often
the work was interrupted. A shard is written under a hidden name and renamed when it is whole; what is known of it goes
into ``.pieces/`` then. A call that finds shards goes on after them; it first looks whether the inputs are what they
were, by a hash of the manifest (``.pack.json``) and the size and time of every file (``.sources.npy``).

Audio files go in as they are. A segment is cut out of its recording, without loss (:func:`audio.cut`). For several
nodes each utterance goes to the node with the fewest seconds so far, so that their shares differ by one utterance.

>>> pack(read_manifest(Path("train.jsonl")), Path("packed/train"), Packing())  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import heapq
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data import audio, features, shards, spans
from deepspeech_train.data._parallel import in_order, threads_for_files
from deepspeech_train.data.features import FeatureOptions
from deepspeech_train.data.manifest import Utterance, Utterances, durations
from deepspeech_train.data.shard_files import HINT, PIECES, Made, ShardFile, whole_pieces, write_index
from deepspeech_train.data.shards import INDEX, LEFT_OUT, LINES, TABLE, VERSION
from deepspeech_train.errors import RecipeError, SettingsError
from deepspeech_train.files import written_whole

_STATE, _SOURCES, _LOCK = ".pack.json", ".sources.npy", ".lock"
#: How many names a message shows; the rest is counted.
_NAMED = 5


@dataclass(frozen=True)
class Packing:
    """``shard_bytes`` is the size that no shard passes (unless one utterance alone does); ``features``, if set, are
    computed and stored in the place of audio (their normalisation is left to training)."""

    shard_bytes: int = 1 << 30
    nodes: int = 1
    features: FeatureOptions | None = None

    def __post_init__(self) -> None:
        if self.shard_bytes < 1 or self.nodes < 1:
            raise SettingsError(
                f"a shard size of {self.shard_bytes} bytes and {self.nodes} nodes cannot be",
                "give both more than 0, as in --shard-size 1GiB --nodes 2",
            )
        if self.features is not None:
            object.__setattr__(self, "features", dataclasses.replace(self.features, normalisation="none"))


@dataclass(frozen=True)
class Packed:
    """What :func:`pack` did: the index, the utterances that could not be packed with the reasons, and whether all was
    there already."""

    index: shards.ShardIndex
    left_out: tuple[tuple[str, str], ...]
    was_there: bool


def pack(
    utterances: Utterances,
    folder: Path,
    packing: Packing,
    *,
    again: bool = False,
    progress: Progress | None = None,
) -> Packed:
    """Writes the utterances into shards under ``folder``, or goes on where an earlier call ended.

    With ``again`` shards of ours that are there are removed first. Raises :class:`RecipeError` for ids that come
    twice, for files that are not there (before anything is written) and where the disk refuses, and
    :class:`SettingsError` for a folder that holds the shards of other inputs or something else.
    """
    progress = progress or Progress("pack", enabled=False)
    folder = Path(folder)
    utterances = tuple(utterances)
    if not utterances:
        raise RecipeError("there are no utterances to pack", "give a manifest that has some")
    _raise_for_ids(utterances)
    if any(source == folder.absolute() for source in {utterance.audio.parent.absolute() for utterance in utterances}):
        raise SettingsError(f"{folder} holds audio that is to be packed", "give a folder of its own for the shards")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / _LOCK):
            was_there = (folder / INDEX).is_file() and not again
            # Originals may be gone once they are packed; and nothing is removed before it is known that they are not.
            sources = _stat(utterances, progress, may_be_gone=was_there)
            if again:
                _clear(folder)
            _same_inputs(folder, utterances, packing, sources)
            if not was_there:
                _write(utterances, folder, packing, sources, progress)
    except OSError as error:
        raise RecipeError(
            f"cannot pack into {folder}: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else ""),
            HINT,
        ) from error
    return Packed(shards.read_index(folder), _left_out(folder), was_there)


def _write(
    utterances: Sequence[Utterance], folder: Path, packing: Packing, sources: npt.NDArray[np.int64], progress: Progress
) -> None:
    seconds = durations(utterances)
    node_of = _dealt(seconds, packing.nodes)
    order = np.argsort(node_of, kind="stable")
    (folder / PIECES).mkdir(exist_ok=True)
    pieces = whole_pieces(folder)
    done = sum(len(piece["rows"]) + len(piece["left_out"]) for piece in pieces)
    if done:
        progress.say(f"{len(pieces)} shards with {done} of {len(utterances)} utterances are there, going on")

    def content_of(place: int) -> Made:
        return _made(utterances[place], int(sources[place, 0]), packing)

    with progress.steps("packing", len(utterances), "utterances") as advance:
        advance(done)
        todo = [int(place) for place in order[done:]]
        with in_order(content_of, todo, threads_for_files()) as contents:
            shard: ShardFile | None = None
            try:
                for place, content in zip(todo, contents, strict=True):
                    if shard and shard.must_end_before(content, int(node_of[place])):
                        pieces.append(shard.end(utterances))
                        shard = None
                    if shard is None:
                        shard = ShardFile(folder, len(pieces), int(node_of[place]), packing.shard_bytes)
                    shard.add(place, utterances[place], content)
                    advance(1)
                if shard:
                    pieces.append(shard.end(utterances))
                    shard = None
            finally:
                if shard:
                    shard.drop()
    write_index(utterances, folder, packing.features, packing.nodes, pieces)
    shutil.rmtree(folder / PIECES)
    for left_behind in folder.glob(".*.tmp"):  # of a call that was killed
        left_behind.unlink()
    spans.forget()


def _made(utterance: Utterance, size: int, packing: Packing) -> Made:
    try:
        if packing.features is not None:
            samples = audio.load(utterance, packing.features.sample_rate)
            buffer = io.BytesIO()
            np.save(buffer, features.extract(samples, packing.features), allow_pickle=False)
            return Made(buffer.getvalue(), "npy")
        if utterance.start is not None:
            return Made(*audio.cut(utterance))
        content = audio.stored_bytes(utterance)
        if audio.is_features(content):
            raise RecipeError(f"{utterance.audio} holds features of {utterance.id}, not audio")
    except RecipeError as error:
        return Made(b"", "", error.message)
    if utterance.span is None and len(content) != size:
        raise RecipeError(
            f"{utterance.audio} (utterance {utterance.id}) changed while it was packed: {size} bytes, then "
            f"{len(content)}",
            "wait until the data is complete, then pack again with --again",
        )
    return Made(content, audio.suffix_of(content, utterance.audio.name))


def _dealt(seconds: npt.NDArray[np.float64], nodes: int) -> npt.NDArray[np.int64]:
    """The node of each utterance, shape ``(n,)``: the one that has the fewest seconds when it comes."""
    if nodes == 1:
        return np.zeros(len(seconds), np.int64)
    loads = [(0.0, node) for node in range(nodes)]
    dealt = np.empty(len(seconds), np.int64)
    for place, duration in enumerate(seconds):
        load, node = loads[0]
        dealt[place] = node
        heapq.heapreplace(loads, (load + float(duration), node))
    return dealt


def _left_out(folder: Path) -> tuple[tuple[str, str], ...]:
    path = folder / LEFT_OUT
    if not path.is_file():
        return ()
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    return tuple((record["id"], record["reason"]) for record in records)


def _raise_for_ids(utterances: Sequence[Utterance]) -> None:
    twice = [identity for identity, count in Counter(utterance.id for utterance in utterances).items() if count > 1]
    if twice:
        raise RecipeError(
            f"{_counted(len(twice), 'id')} {'come' if len(twice) > 1 else 'comes'} twice: {_shown(twice)}",
            "give every utterance an id of its own; splits are packed into a folder each",
        )


def _stat(utterances: Sequence[Utterance], progress: Progress, *, may_be_gone: bool) -> npt.NDArray[np.int64]:
    """Bytes and time of change of each utterance's file, shape ``(n, 2)``. RecipeError names files that are not there,
    unless they may be gone: theirs are -1."""
    paths = list(dict.fromkeys(utterance.audio for utterance in utterances))

    def look(path: Path) -> tuple[int, int] | str:
        try:
            status = path.stat()
        except OSError as error:
            return error.strerror or str(error)
        except ValueError as error:  # a zero byte in the path
            return str(error)
        return (status.st_size, status.st_mtime_ns)

    found: dict[Path, tuple[int, int] | str] = {}
    with (
        progress.steps("looking at the files", len(paths), "files") as advance,
        in_order(look, paths, threads_for_files()) as looked,
    ):
        for path, status in zip(paths, looked, strict=True):
            found[path] = status
            advance(1)
    missing = [f"{path} ({status})" for path, status in found.items() if isinstance(status, str)]
    if missing and not may_be_gone:
        raise RecipeError(
            f"{_counted(len(missing), 'audio file')} cannot be read: {_shown(missing)}",
            "bring them, or take their lines out of the manifest; nothing was packed",
        )
    gone = (-1, -1)
    rows = [gone if isinstance(status := found[utterance.audio], str) else status for utterance in utterances]
    return np.array(rows, np.int64).reshape(-1, 2)


def _same_inputs(
    folder: Path, utterances: Sequence[Utterance], packing: Packing, sources: npt.NDArray[np.int64]
) -> None:
    """Notes what is packed, or compares it with what an earlier call noted."""
    digest = hashlib.sha256()
    for utterance in utterances:
        span = utterance.span and dataclasses.astuple(utterance.span)
        part = [utterance.id, utterance.speaker, utterance.duration, utterance.text, utterance.start, span]
        digest.update(json.dumps(part).encode() + b"\n")
    state = {
        "manifest": digest.hexdigest(),
        "options": json.loads(json.dumps(dataclasses.asdict(packing))),
        "version": VERSION,
    }
    if not (folder / _STATE).is_file():
        foreign = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if foreign:
            raise SettingsError(
                f"{folder} is not empty and was not packed here: it holds {_shown(foreign)}",
                "give a folder of its own for the shards",
            )
        with written_whole(folder / _SOURCES, "The list of sources", HINT) as file:
            np.save(file, sources, allow_pickle=False)
        with written_whole(folder / _STATE, "The state of the packing", HINT) as file:
            file.write(json.dumps(state, indent=1).encode() + b"\n")
        return
    before = json.loads((folder / _STATE).read_bytes())
    hint = "give another folder, or --again to remove the shards there and pack anew"
    if before != state:
        what = "another manifest" if before["manifest"] != state["manifest"] else "other options"
        raise SettingsError(f"{folder} holds shards of {what}", hint)
    there = sources[:, 0] >= 0
    changed = np.flatnonzero((np.load(folder / _SOURCES) != sources).any(axis=1) & there)
    if len(changed):
        names = [f"{utterances[int(place)].id} ({utterances[int(place)].audio})" for place in changed]
        raise SettingsError(
            f"the audio of {_counted(len(names), 'utterance')} changed since {folder} was packed: {_shown(names)}", hint
        )


def _clear(folder: Path) -> None:
    """Removes what is ours; ``index.json`` first, so that nothing takes the rest for whole."""
    if not (folder / _STATE).is_file() and not (folder / INDEX).is_file():
        return
    (folder / INDEX).unlink(missing_ok=True)
    for pattern in ("shard-*.tar", ".shard-*.tar.partial", LINES, TABLE, LEFT_OUT, _SOURCES):
        for path in folder.glob(pattern):
            path.unlink()
    shutil.rmtree(folder / PIECES, ignore_errors=True)
    (folder / _STATE).unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock for the block; the kernel lets go of it however the process ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecipeError(
                f"another process is packing into {path.parent}", "wait for it, then call again"
            ) from error
        yield


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
