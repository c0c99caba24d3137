"""Shards: the utterances of a manifest in a few large tar files, with an index by which each is read directly.

A folder of shards, as ``data.packing`` writes it::

    shard-000000.tar   uncompressed tar (USTAR), for each utterance three members that WebDataset groups by their KEY:
    shard-000001.tar     KEY.flac  the audio file as it was, with the suffix of its kind; or KEY.npy, float32 features
    ...                  KEY.txt   the transcript, UTF-8
                         KEY.json  {"id": ..., "speaker": ..., "duration": ..., "text": ...}
    index.jsonl        one line an utterance, in the order of the manifest, with where its audio lies in which shard:
                         {"id", "speaker", "duration", "text", "shard": "shard-000000.tar", "offset", "size", "crc32"}
    index.npy          the same numbers as a NumPy array of COLUMNS, a row a line: mapped into memory, not read
    index.json         the rest: sizes and SHA-256 of all files, nodes, characters of the transcripts, kind of features
    left_out.jsonl     the utterances that could not be packed, if any: {"id", "reason"}

``index.json`` is written last: a folder that has it is whole. KEY is the utterance's id, in which every byte that is
no letter, digit, ``-`` or ``_`` is written ``=XX`` (its hexadecimal), since WebDataset ends a key at the first dot;
an id that comes out longer than 80 bytes is cut there and goes on with ``==`` and 16 digits of its SHA-256.

A :class:`ShardIndex` is a sequence of utterances that makes each as it is asked for; durations and lengths come as
arrays, so that a million entries are sorted or shuffled at once.

>>> index = read_index(Path("packed/train"))  # doctest: +SKIP
>>> index[0].span, index.durations.sum() / 3600  # doctest: +SKIP
(Span(offset=512, size=98234), 960.7)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from deepspeech_train.data import spans
from deepspeech_train.data.manifest import Span, Utterance
from deepspeech_train.errors import RecipeError

if TYPE_CHECKING:
    from deepspeech_train.data.features import FeatureOptions

INDEX, LINES, TABLE, LEFT_OUT = "index.json", "index.jsonl", "index.npy", "left_out.jsonl"
VERSION = 1

#: A row of ``index.npy``: seconds; where the line begins in ``index.jsonl`` and its bytes; where the audio is in which
#: shard (its place in ``index.json``'s list); the output frames that CTC needs for the text; two checksums.
COLUMNS = np.dtype(
    [
        ("duration", "<f8"),
        ("line", "<i8"),
        ("offset", "<i8"),
        ("size", "<i8"),
        ("id_hash", "<u8"),
        ("length", "<i4"),
        ("needed", "<i4"),
        ("shard", "<i4"),
        ("crc32", "<u4"),
    ]
)

_LONGEST_KEY = 76


@dataclass(frozen=True)
class Shard:
    """One tar file, as ``index.json`` has it."""

    name: str
    bytes: int
    sha256: str
    node: int
    utterances: int
    seconds: float


class ShardIndex(Sequence[Utterance]):
    """The utterances of a folder of shards, or those at ``positions`` of it, made as they are asked for.

    It is pickled as its folder's name (and the positions), not with what it holds.
    """

    def __init__(self, folder: Path, positions: npt.NDArray[np.int64] | None = None) -> None:
        self.folder = Path(folder)
        self._about = _about(self.folder)
        self._table = _table(self.folder, int(self._about["utterances"]))
        self._positions = positions
        self.shards = tuple(Shard(**shard) for shard in self._about["shards"])
        # Made once: a path costs more than the read of a line.
        self._lines = self.folder / LINES
        self._paths = tuple(self.folder / shard.name for shard in self.shards)

    def __reduce__(self) -> tuple[type[ShardIndex], tuple[Path, npt.NDArray[np.int64] | None]]:
        return ShardIndex, (self.folder.absolute(), self._positions)

    def __len__(self) -> int:
        return len(self._table) if self._positions is None else len(self._positions)

    @overload
    def __getitem__(self, place: int) -> Utterance: ...
    @overload
    def __getitem__(self, place: slice) -> ShardIndex: ...
    def __getitem__(self, place: int | slice) -> Utterance | ShardIndex:
        if isinstance(place, slice):
            return self.subset(np.arange(len(self))[place])
        place = int(place)
        if not -len(self) <= place < len(self):
            raise IndexError(f"{place} of {len(self)} utterances")
        row = self._table[place if self._positions is None else self._positions[place]]
        line = spans.read(self._lines, int(row["line"]), int(row["length"]))
        return self._utterance(row, line)

    def __iter__(self) -> Iterator[Utterance]:
        if self._positions is not None:
            yield from (self[place] for place in range(len(self)))
            return
        with self._lines.open("rb") as lines:
            for row, line in zip(self._table, lines, strict=True):
                yield self._utterance(row, line)

    def subset(self, positions: npt.ArrayLike) -> ShardIndex:
        """The utterances at ``positions`` (whole numbers, shape ``(n,)``) of this one, in that order."""
        chosen = np.asarray(positions, np.int64)
        return ShardIndex(self.folder, chosen if self._positions is None else self._positions[chosen])

    def will_need(self, positions: npt.ArrayLike) -> None:
        """Has the system begin to read the audio of the utterances at ``positions``, and does not wait for it: a disk
        or a network that is asked for one clip after the other is idle most of the time."""
        chosen = np.asarray(positions, np.int64)
        rows = self._table[chosen if self._positions is None else self._positions[chosen]]
        for shard, offset, size in zip(*(rows[name].tolist() for name in ("shard", "offset", "size")), strict=True):
            spans.will_need(self._paths[shard], offset, size)

    def of_node(self, node: int) -> ShardIndex:
        """The part that was packed for one of ``nodes`` machines (``pack --nodes``): it needs its own shards alone."""
        mine = np.array([shard.node == node for shard in self.shards], bool)
        return self.subset(np.flatnonzero(mine[self._column("shard")]))

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """Bytes and SHA-256 of the index's other files, by name."""
        files: Mapping[str, Mapping[str, Any]] = self._about["files"]
        return files

    @property
    def nodes(self) -> int:
        """For how many machines it was packed."""
        return int(self._about["nodes"])

    @cached_property
    def durations(self) -> npt.NDArray[np.float64]:
        """Seconds of each, shape ``(len(self),)``."""
        return self._column("duration")

    @cached_property
    def needed(self) -> npt.NDArray[np.int32]:
        """The fewest output frames with which CTC can emit each text (``text.frames_needed``), shape ``(len(self),)``;
        0 for an empty one."""
        return self._column("needed")

    @cached_property
    def id_hashes(self) -> npt.NDArray[np.uint64]:
        """64 bits of each id (:func:`hash_of`), shape ``(len(self),)``: to look for ids that two indexes share."""
        return self._column("id_hash")

    @property
    def characters(self) -> str:
        """All characters that are in any transcript of the whole folder, each once, sorted."""
        return str(self._about["characters"])

    @property
    def features(self) -> FeatureOptions | None:
        """What the members hold, if not audio: features made with these options, which are not normalised."""
        made = self._about["features"]
        if made is None:
            return None
        from deepspeech_train.data.features import FeatureOptions

        return FeatureOptions(**made)

    def columns(self) -> npt.NDArray[Any]:
        """The rows of ``index.npy`` of these utterances, shape ``(len(self),)`` of :data:`COLUMNS`."""
        return self._table if self._positions is None else self._table[self._positions]

    def _column(self, name: str) -> npt.NDArray[Any]:
        column = self._table[name]
        return np.ascontiguousarray(column if self._positions is None else column[self._positions])

    def _utterance(self, row: npt.NDArray[Any], line: bytes) -> Utterance:
        try:
            record = json.loads(line)
            return Utterance(
                id=record["id"],
                audio=self._paths[row["shard"]],
                duration=float(row["duration"]),
                text=record["text"],
                speaker=record["speaker"],
                span=Span(int(row["offset"]), int(row["size"])),
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise RecipeError(
                f"the index {self._lines} is damaged at byte {row['line']}",
                f"see what else is with deepspeech-train pack --check {self.folder}, and copy it again or pack again",
            ) from error


def read_index(folder: Path) -> ShardIndex:
    """The utterances of a folder of shards.

    Raises :class:`RecipeError` if it is none, if it is not packed to its end, or if its index is damaged.
    """
    return ShardIndex(Path(folder))


def is_packed(folder: Path) -> bool:
    """Whether ``folder`` holds shards (perhaps not all of them yet)."""
    return folder.is_dir() and ((folder / INDEX).is_file() or any(folder.glob("shard-*.tar")))


def key_of(identity: str) -> str:
    """The name, without suffix, of an utterance's members in a tar file; each id has its own."""
    key = re.sub(rb"[^A-Za-z0-9_-]", lambda byte: b"=%02X" % byte.group()[0], identity.encode()).decode()
    if len(key) > _LONGEST_KEY:
        key = f"{key[:_LONGEST_KEY]}=={hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    return key


def hash_of(identity: str) -> int:
    """64 bits of an id, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), "little")


def _about(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        about = json.loads(path.read_bytes())
        version = about["version"]
    except FileNotFoundError as error:
        begun = folder.is_dir() and (any(folder.glob("shard-*")) or (folder / ".pack.json").exists())
        raise RecipeError(
            f"{folder} is not packed to its end: it has no {INDEX}" if begun else f"there are no shards in {folder}",
            "call deepspeech-train pack again as before: it goes on after the last whole shard"
            if begun
            else "give a folder that deepspeech-train pack has written",
        ) from error
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror or error}", "check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{path} is not the index of a folder of shards", "copy it again, or pack again") from error
    if version != VERSION:
        raise RecipeError(
            f"the shards in {folder} are of version {version!r}; this program reads version {VERSION}",
            "pack again, or use the program that packed them",
        )
    assert isinstance(about, dict)
    return about


def _table(folder: Path, count: int) -> npt.NDArray[Any]:
    if count == 0:
        return np.zeros(0, COLUMNS)
    try:
        table: npt.NDArray[Any] = np.load(folder / TABLE, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise RecipeError(f"cannot read {folder / TABLE}: {error}", _COPY_AGAIN) from error
    if table.dtype != COLUMNS or table.shape != (count,):
        raise RecipeError(
            f"{folder / TABLE} does not belong to {folder / INDEX}: it has {table.shape} entries, not {count}",
            _COPY_AGAIN,
        )
    return table


_COPY_AGAIN = "copy the folder again, all of it, or pack again"
