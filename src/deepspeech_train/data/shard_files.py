"""One shard as it is written, and the index over all of them; ``data.packing`` says in which order.

What is known of a whole shard is a piece, kept under ``.pieces/`` until the index is written::

    {"shard": {"name", "bytes", "sha256", "node", "utterances", "seconds"},
     "rows": [[place in the manifest, offset, size, crc32], ...], "left_out": [[place, reason], ...]}
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tarfile import BLOCKSIZE, NUL, RECORDSIZE, USTAR_FORMAT, TarInfo
from typing import Any

import numpy as np

from deepspeech_train.data import shards
from deepspeech_train.data.features import FeatureOptions
from deepspeech_train.data.manifest import Utterance
from deepspeech_train.data.shards import COLUMNS, INDEX, LEFT_OUT, LINES, TABLE, VERSION, Shard
from deepspeech_train.files import written_whole
from deepspeech_train.text import frames_needed

PIECES = ".pieces"
HINT = "make room, or give another folder, and call again: it goes on after the last whole shard"


@dataclass(frozen=True)
class Made:
    """One utterance's content: bytes of its audio (or features), or the reason why there are none."""

    content: bytes
    suffix: str
    refused: str = ""


class ShardFile:
    """A shard that is being written, under a hidden name until :meth:`end`."""

    def __init__(self, folder: Path, number: int, node: int, limit: int) -> None:
        self._path = folder / f"shard-{number:06d}.tar"
        self._hidden = folder / f".{self._path.name}.partial"
        self._piece = folder / PIECES / f"{number:06d}.json"
        self._node = node
        self._limit = limit
        self._file = self._hidden.open("wb")
        self._digest = hashlib.sha256()
        self._rows: list[tuple[int, int, int, int]] = []
        self._left_out: list[tuple[int, str]] = []

    def must_end_before(self, made: Made, node: int) -> bool:
        """Whether the next utterance belongs into another shard."""
        full = self._rows and not made.refused and self._file.tell() + len(made.content) + RECORDSIZE > self._limit
        return bool(full) or node != self._node

    def add(self, place: int, utterance: Utterance, made: Made) -> None:
        if made.refused:
            self._left_out.append((place, made.refused))
            return
        key = shards.key_of(utterance.id)
        about = {"id": utterance.id, "speaker": utterance.speaker, "duration": utterance.duration}
        offset = self._member(f"{key}.{made.suffix}", made.content)
        self._member(f"{key}.txt", utterance.text.encode())
        self._member(f"{key}.json", json.dumps(about | {"text": utterance.text}, ensure_ascii=False).encode())
        self._rows.append((place, offset, len(made.content), zlib.crc32(made.content)))

    def end(self, utterances: Sequence[Utterance]) -> dict[str, Any]:
        """Gives the shard its name; gives what is to be known of it, as it is kept in ``.pieces``."""
        self._put(NUL * (2 * BLOCKSIZE))
        self._put(NUL * (-self._file.tell() % RECORDSIZE))
        size = self._file.tell()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._hidden.replace(self._path)
        piece = {
            "shard": dataclasses.asdict(
                Shard(
                    self._path.name,
                    size,
                    self._digest.hexdigest(),
                    self._node,
                    len(self._rows),
                    round(sum(utterances[row[0]].duration for row in self._rows), 3),
                )
            ),
            "rows": self._rows,
            "left_out": self._left_out,
        }
        with written_whole(self._piece, "The list of a shard", HINT) as file:
            file.write(json.dumps(piece).encode())
        return piece

    def drop(self) -> None:
        self._file.close()
        self._hidden.unlink(missing_ok=True)

    def _member(self, name: str, content: bytes) -> int:
        """Writes one member; gives where its content begins. Nobody's, of no time: the same bytes at every run."""
        member = TarInfo(name)
        member.size = len(content)
        self._put(member.tobuf(USTAR_FORMAT, "ascii", "strict"))
        offset = self._file.tell()
        self._put(content)
        self._put(NUL * (-len(content) % BLOCKSIZE))
        return offset

    def _put(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)


def write_index(
    utterances: Sequence[Utterance],
    folder: Path,
    features: FeatureOptions | None,
    nodes: int,
    pieces: list[dict[str, Any]],
) -> None:
    """The four files of the index; ``index.json`` last."""
    where: dict[int, tuple[int, int, int, int]] = {}
    reasons: dict[int, str] = {}
    for number, piece in enumerate(pieces):
        for place, offset, size, checksum in piece["rows"]:
            where[place] = (number, offset, size, checksum)
        reasons.update((int(place), str(reason)) for place, reason in piece["left_out"])
    table = np.zeros(len(where), COLUMNS)
    characters: set[str] = set()
    line_start = 0
    with written_whole(folder / LINES, "The index", HINT) as file:
        for row, place in enumerate(sorted(where)):
            utterance = utterances[place]
            number, offset, size, checksum = where[place]
            record = {
                "id": utterance.id,
                "speaker": utterance.speaker,
                "duration": utterance.duration,
                "text": utterance.text,
                "shard": pieces[number]["shard"]["name"],
                "offset": offset,
                "size": size,
                "crc32": checksum,
            }
            line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
            file.write(line)
            table[row] = (
                utterance.duration,
                line_start,
                offset,
                size,
                shards.hash_of(utterance.id),
                len(line),
                frames_needed(utterance.text),
                number,
                checksum,
            )
            line_start += len(line)
            characters.update(utterance.text)
    with written_whole(folder / TABLE, "The index", HINT) as file:
        np.save(file, table, allow_pickle=False)
    if reasons:
        with written_whole(folder / LEFT_OUT, "The list of what was left out", HINT) as file:
            for place in sorted(reasons):
                record = {"id": utterances[place].id, "reason": reasons[place]}
                file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    names = [LINES, TABLE, *([LEFT_OUT] if reasons else [])]
    about = {
        "format": "deepspeech_train shards",
        "version": VERSION,
        "utterances": len(where),
        "left_out": len(reasons),
        "seconds": round(float(table["duration"].sum()), 3),
        "characters": "".join(sorted(characters)),
        "features": None if features is None else dataclasses.asdict(features),
        "nodes": nodes,
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)} for name in names
        },
        "shards": [piece["shard"] for piece in pieces],
    }
    with written_whole(folder / INDEX, "The index", HINT) as file:
        file.write(json.dumps(about, indent=1, ensure_ascii=False).encode() + b"\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole_pieces(folder: Path) -> list[dict[str, Any]]:
    """What is known of the shards that an earlier call finished, in their order."""
    pieces: list[dict[str, Any]] = []
    while (path := folder / PIECES / f"{len(pieces):06d}.json").is_file():
        piece = json.loads(path.read_bytes())
        shard = folder / piece["shard"]["name"]
        if not shard.is_file() or shard.stat().st_size != piece["shard"]["bytes"]:
            break
        pieces.append(piece)
    return pieces
