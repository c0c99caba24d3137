"""Whether a folder of shards is still what was packed: every file against its size and SHA-256.

A shard whose SHA-256 is another is then read utterance by utterance, so that the damaged ones are named.

>>> damage(Path("packed/train"))  # doctest: +SKIP
['shard-000002.tar: the audio of m3-0007 is damaged (bytes 512 to 98746)']
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from deepspeech_train.corpora._progress import Progress
from deepspeech_train.data.shards import LINES, ShardIndex, read_index
from deepspeech_train.errors import RecipeError

_CHUNK = 1 << 20


def damage(folder: Path, progress: Progress | None = None) -> list[str]:
    """What is wrong with the shards in ``folder``, one line each; none if all is as it was packed.

    Raises :class:`RecipeError` if the folder has no index that can be read.
    """
    progress = progress or Progress("check", enabled=False)
    folder = Path(folder)
    index = read_index(folder)
    found: list[str] = []
    sizes = {name: (int(file["bytes"]), str(file["sha256"])) for name, file in index.files.items()}
    total = sum(size for size, _ in sizes.values()) + sum(shard.bytes for shard in index.shards)
    with progress.steps("checking", total, "B") as advance:
        for name, (size, sha256) in sizes.items():
            problem = _differs(folder / name, size, sha256, advance)
            if problem:
                found.append(f"{name}: {problem}")
        whole_lines = not any(problem.startswith(LINES) for problem in found)
        for number, shard in enumerate(index.shards):
            problem = _differs(folder / shard.name, shard.bytes, shard.sha256, advance)
            if not problem:
                continue
            damaged = list(_damaged(index, number)) if whole_lines and (folder / shard.name).is_file() else []
            if damaged:
                found += [f"{shard.name}: {utterance}" for utterance in damaged]
            else:
                found.append(f"{shard.name}: {problem}" + (", and not in the audio" if "differ" in problem else ""))
    return found


def _differs(path: Path, size: int, sha256: str, advance: Callable[[int], None]) -> str:
    """How a file differs from what was written; empty if it does not."""
    digest = hashlib.sha256()
    done = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                advance(len(chunk))
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be read at byte {done}: {error.strerror or error}"
    if done != size:
        return f"has {done} bytes, {size} were written"
    return "" if digest.hexdigest() == sha256 else "the bytes differ from what was written"


def _damaged(index: ShardIndex, number: int) -> Iterator[str]:
    """The utterances of a shard whose audio is not what was packed."""
    table = index.columns()
    path = index.folder / index.shards[number].name
    with path.open("rb") as file:
        for place in np.flatnonzero(table["shard"] == number):
            row = table[place]
            first, size = int(row["offset"]), int(row["size"])
            try:
                file.seek(first)
                content = file.read(size)
            except OSError as error:
                content, why = b"", f" ({error.strerror or error})"
            else:
                why = "" if len(content) == size else f" (the file ends at byte {first + len(content)})"
            if len(content) != size or zlib.crc32(content) != row["crc32"]:
                try:
                    name = index[int(place)].id
                except RecipeError:
                    name = f"utterance {place}"
                yield f"the audio of {name} is damaged: bytes {first} to {first + size}{why}"
