"""What the bytes around the samples tell that libsndfile does not: a file that ends too early, and why one is refused.

libsndfile takes a WAV, SPHERE or OGG file that ends early for a shorter one, so that half an utterance would be trained
on against the whole transcript. The headers know better.
"""

from __future__ import annotations

import io
import re
import struct
from typing import BinaryIO

_SPHERE = b"NIST_1A\n"
_OGG_PAGE = b"OggS"
#: Length of an OGG page's header without its table of segments, and of a whole page at most.
_OGG_HEADER = 27
_OGG_LONGEST = 65_307

_SUFFIXES = {b"fLaC": "flac", _OGG_PAGE: "ogg", _SPHERE: "sph", b"ID3": "mp3", b"\x93NUMPY": "npy"}


def suffix(content: bytes) -> str:
    """The usual suffix of a file that begins like this; empty if it is none of the usual ones."""
    if content[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return "wav"
    for magic, name in _SUFFIXES.items():
        if content.startswith(magic):
            return name
    return "mp3" if len(content) > 1 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2 else ""


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes a WAV, SPHERE or OGG file lacks at its end; 0 for a whole one and for other formats."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    magic = file.read(12)
    if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
        return _missing_of_wav(file, size)
    if magic[:8] == _SPHERE:
        return _missing_of_sphere(file, size)
    return _missing_of_ogg(file, size) if magic[:4] == _OGG_PAGE else 0


def refused(file: BinaryIO) -> str:
    """Why libsndfile could not read the file, going on from "the audio file X ..."; empty if it is not known."""
    file.seek(0)
    head = file.read(1024)
    if head.startswith(_SPHERE) and b"shorten" in head:
        return (
            "is SPHERE compressed with shorten, which cannot be read here: "
            "convert it with sph2pipe (sph2pipe -f wav X.sph X.wav)"
        )
    if head.startswith(b"\x93NUMPY"):
        return "holds features that were computed when it was packed, not audio"
    if head[:1] == b"<" or head[:1] == b"{":
        return "is not audio but text: perhaps what a server answered instead of the file"
    if head.startswith(b"version https://git-lfs"):
        return "is not audio but a pointer of Git LFS: fetch the file itself (git lfs pull)"
    return ""


def _missing_of_wav(file: BinaryIO, size: int) -> int:
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            # A recorder that writes to a pipe does not know the length and says "all that comes".
            streamed = length in (0, 0xFFFFFFFF, 0x7FFFFFFF)
            return 0 if streamed else max(0, int(file.tell() + length - size))
        file.seek(length + length % 2, io.SEEK_CUR)
    return 0


def _missing_of_sphere(file: BinaryIO, size: int) -> int:
    """The header is lines of "name -type value", its own length is in its second line."""
    file.seek(0)
    head = file.read(1024)
    numbers = {name: int(value) for name, value in re.findall(rb"^(\w+) -i (\d+)\s*$", head, re.MULTILINE)}
    length = re.match(rb"NIST_1A\n\s*(\d+)\s*\n", head)
    compressed = b"embedded" in head
    if length is None or compressed or b"sample_count" not in numbers or b"sample_n_bytes" not in numbers:
        return 0
    samples = numbers[b"sample_count"] * numbers[b"sample_n_bytes"] * numbers.get(b"channel_count", 1)
    return max(0, int(length.group(1)) + samples - size)


def _missing_of_ogg(file: BinaryIO, size: int) -> int:
    """A page says how long it is: the last one must end where the file does."""
    file.seek(max(0, size - _OGG_LONGEST))
    tail = file.read()
    place = tail.rfind(_OGG_PAGE)
    if place < 0:
        return 0
    header = tail[place : place + _OGG_HEADER]
    if len(header) < _OGG_HEADER:
        return _OGG_HEADER - len(header)
    table = tail[place + _OGG_HEADER : place + _OGG_HEADER + header[26]]
    if len(table) < header[26]:
        return header[26] - len(table)
    return max(0, place + _OGG_HEADER + len(table) + sum(table) - len(tail))
