"""How each operation is carried out over SFTP: what is asked for it, and what its answer is made of.

One coroutine for each kind of operation. It asks (:meth:`Channel.ask`) and awaits; between two awaits it says with
``await SENT`` that all it needs is asked for. A server that works in order is asked for everything that does not
depend on an answer at once: of an upload, only the handle does.
"""

from __future__ import annotations

import hashlib
import posixpath
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, BinaryIO

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish import operations as op
from deepspeech_wer.publish.sftp import wire
from deepspeech_wer.publish.sftp.channel import ROOM, SENT, Channel, Hello, Pending

_RENAME, _LINK = "posix-rename@openssh.com", "hardlink@openssh.com"
_SPACE = "statvfs@openssh.com"
#: Parts of a list, and bytes of a file, that are asked for before it is known how many there are.
_AHEAD, _GUESS = 8, 256 << 10
#: Of a file too large to be read back whole: this many samples at least, of so many bytes.
_SAMPLES, _SAMPLE = 8, 32 << 10
#: More entries than any folder of ours has, and more reads cut short than any file: a server's fault, without end.
_MOST_ENTRIES, _MOST_SHORT = 100_000, 1000


async def carry_out(channel: Channel, operation: op.Operation) -> Any:
    """The answer to an operation. Raises Garbled, and PublishError for a file of this machine that cannot be read."""
    return await _HOW[type(operation)](channel, operation)


def _value(answer: tuple[int, bytes], wanted: int) -> wire.Body | op.Refusal:
    kind, body = answer
    if kind == wanted:
        return wire.Body(body)
    if kind == wire.STATUS and wire.status(body)[0] != wire.OK:
        return wire.refusal(body)
    raise wire.Garbled(f"an answer of kind {kind} came where {wanted} was due")


def _done(answer: tuple[int, bytes]) -> op.Refusal | None:
    kind, body = answer
    if kind != wire.STATUS:
        raise wire.Garbled(f"an answer of kind {kind} came where {wire.STATUS} was due")
    return None if wire.status(body)[0] == wire.OK else wire.refusal(body)


async def _hello(channel: Channel, operation: Hello) -> dict[str, str]:
    await channel.hello
    return channel.extensions or {}


async def _look(channel: Channel, look: op.Look) -> op.Attributes | op.Refusal:
    asked = channel.ask(look, wire.LSTAT, wire.text(look.path))
    await SENT
    value = _value(await asked, wire.ATTRS)
    return value if isinstance(value, op.Refusal) else value.attributes()


async def _read_link(channel: Channel, link: op.ReadLink) -> str | op.Refusal:
    asked = channel.ask(link, wire.READLINK, wire.text(link.path))
    await SENT
    kind, body = await asked
    value = _value((kind, body), wire.NAME)
    if isinstance(value, op.Refusal):
        return value
    found = wire.names(body)
    if len(found) != 1:
        raise wire.Garbled("a symbolic link has one text, and the server gives another number of them")
    return found[0][0]


async def _simple(channel: Channel, operation: op.Operation, kind: int, body: bytes) -> op.Refusal | None:
    asked = channel.ask(operation, kind, body)
    await SENT
    return _done(await asked)


async def _remove(channel: Channel, remove: op.Remove) -> op.Refusal | None:
    return await _simple(channel, remove, wire.REMOVE, wire.text(remove.path))


async def _remove_folder(channel: Channel, remove: op.RemoveFolder) -> op.Refusal | None:
    return await _simple(channel, remove, wire.RMDIR, wire.text(remove.path))


async def _symlink(channel: Channel, link: op.Symlink) -> op.Refusal | None:
    return await _simple(channel, link, wire.SYMLINK, wire.text(link.target) + wire.text(link.path))


async def _rename(channel: Channel, rename: op.Rename) -> op.Refusal | None:
    names = wire.text(rename.path) + wire.text(rename.to)
    if _RENAME in await _hello(channel, Hello("")):
        refusal = await _simple(channel, rename, wire.EXTENDED, wire.text(_RENAME) + names)
        if not refusal or refusal.kind != "unsupported":
            return refusal
    return await _simple(channel, rename, wire.RENAME, names)


async def _link(channel: Channel, link: op.Link) -> op.Refusal | None:
    if _LINK not in await _hello(channel, Hello("")):
        return op.Refusal("unsupported", "the server cannot make hard links")
    names = wire.text(link.path) + wire.text(link.to)
    return await _simple(channel, link, wire.EXTENDED, wire.text(_LINK) + names)


async def _make_folder(channel: Channel, make: op.MakeFolder) -> op.Refusal | None:
    path = wire.text(make.path)
    made = channel.ask(make, wire.MKDIR, path + struct.pack(">I", 0))
    # Where it costs no round trip it is asked for at once, since a folder that is there is refused with "Failure".
    there = channel.ask(make, wire.STAT, path) if channel.in_order else None
    await SENT
    refusal = _done(await made)
    if there is None and refusal:
        there = channel.ask(make, wire.STAT, path)
    value = _value(await there, wire.ATTRS) if there else None
    if not refusal or value is None or isinstance(value, op.Refusal):
        return refusal
    return None if value.attributes().is_folder else op.Refusal("failed", "a file is in the way")


async def _list(channel: Channel, folder: op.List) -> dict[str, op.Attributes] | op.Refusal:
    handle = _value(await channel.ask(folder, wire.OPENDIR, wire.text(folder.path)), wire.HANDLE)
    if isinstance(handle, op.Refusal):
        return handle
    name = _handle(handle)
    entries: dict[str, op.Attributes] = {}
    count = 0
    failure: op.Refusal | None = None
    ahead: deque[Pending] = deque()
    while True:
        while len(ahead) < (_AHEAD if channel.in_order else 1):
            ahead.append(channel.ask(folder, wire.READDIR, name))
        kind, body = await ahead.popleft()
        if kind != wire.NAME:
            if _done((kind, body)) is None:
                raise wire.Garbled("a list came without its entries")
            failure = None if wire.status(body)[0] == wire.END else wire.refusal(body)
            # What is asked ahead will be answered with the same, and nobody has to wait for it.
            break
        found = wire.names(body)
        entries.update(found)
        count += max(1, len(found))
        if count > _MOST_ENTRIES:
            raise wire.Garbled(f"the folder {folder.path} has no end")
    channel.ask(folder, wire.CLOSE, name)
    await SENT
    for dots in (".", ".."):
        entries.pop(dots, None)
    return failure or entries


def _handle(body: wire.Body) -> bytes:
    handle = body.string()
    if len(handle) > wire.LARGEST_HANDLE:
        raise wire.Garbled(f"a handle of {len(handle)} bytes came")
    return wire.text(handle)


def _open(channel: Channel, operation: op.Operation, flags: int) -> Pending:
    return channel.ask(operation, wire.OPEN, wire.text(operation.path) + struct.pack(">II", flags, 0))


# Reading -------------------------------------------------------------------------------------------------------------


async def _read(channel: Channel, read: op.Read) -> bytes | op.Refusal:
    length = read.limit if read.length is None else min(read.length, read.limit)
    found = bytearray()
    refusal = await _stream(channel, read, read.offset, read.offset + length, found.extend)
    return refusal or bytes(found)


async def _digest(channel: Channel, digest: op.Digest) -> str | op.Refusal:
    found = hashlib.sha256()
    refusal = await _stream(channel, digest, 0, 1 << 63, found.update)
    return refusal or found.hexdigest()


async def _stream(
    channel: Channel, operation: op.Operation, at: int, end: int, take: Callable[[bytes], None]
) -> op.Refusal | None:
    """Hands over the bytes of a file from ``at`` to ``end``, or where it ends, in their order."""
    value = _value(await _open(channel, operation, wire.FOR_READING), wire.HANDLE)
    if isinstance(value, op.Refusal):
        return value
    handle = _handle(value)
    guess = at + _GUESS

    def ask(begin: int, length: int) -> tuple[int, int, Pending]:
        return begin, length, channel.ask(operation, wire.READ, handle + struct.pack(">QI", begin, length), length)

    looked = channel.ask(operation, wire.FSTAT, handle)
    ahead: deque[tuple[int, int, Pending]] = deque()
    known: int | None = None
    short = 0
    ended = False
    refusal: op.Refusal | None = None
    while True:
        while not ended and at < end and (at < guess if known is None else channel.has_room):
            length = min(channel.piece_limit, end - at)
            ahead.append(ask(at, length))
            at += length
        if known is None:
            size = _value(await looked, wire.ATTRS)
            known = end if isinstance(size, op.Refusal) else size.attributes().size
            end = min(end, max(at, known))
        if not ahead or (ended and channel.in_order):
            if ended or at >= end:
                break
            await ROOM
            continue
        begin, length, asked = ahead.popleft()
        kind, body = await asked
        if kind == wire.DATA and not ended:
            data = wire.Body(body).string()
            if not 0 < len(data) <= length:
                raise wire.Garbled(f"{len(data)} bytes came where {length} were asked for")
            take(data)
            if begin + len(data) == known:
                ended = True
            elif len(data) < length:
                short += 1
                if short > _MOST_SHORT:
                    raise wire.Garbled(f"{operation.path} comes in crumbs")
                ahead.appendleft(ask(begin + len(data), length - len(data)))
        elif kind != wire.DATA and not ended:
            ended = True
            if _done((kind, body)) is None:
                raise wire.Garbled("an answer to a read came without its bytes")
            refusal = None if wire.status(body)[0] == wire.END else wire.refusal(body)
    channel.ask(operation, wire.CLOSE, handle)
    await SENT
    return refusal


# Uploading -----------------------------------------------------------------------------------------------------------


async def _put(channel: Channel, put: op.Put) -> op.Attributes | op.Refusal:
    with put.content.open() as source:
        return await _Upload(channel, put, source).carry_out()


class _Upload:
    def __init__(self, channel: Channel, put: op.Put, source: BinaryIO) -> None:
        self._channel = channel
        self._put = put
        self._source = source
        self._sha256 = hashlib.sha256()
        self._writes: deque[Pending] = deque()
        self._refusal: op.Refusal | None = None
        #: Where something is read back, how much, and its SHA-256.
        self._samples: list[tuple[int, int, bytes]] = []

    async def carry_out(self) -> op.Attributes | op.Refusal:
        channel, put = self._channel, self._put
        at = 0
        while at < put.offset:
            data = self._next(min(put.offset - at, 1 << 20))
            if not data:
                op.require_unchanged(put.content, self._sha256.hexdigest())
            at += len(data)
        flags = wire.FOR_WRITING | wire.MAKE | (0 if put.offset else wire.EMPTY)
        opened = _value(await _open(channel, put, flags | wire.FOR_READING), wire.HANDLE)
        readable = not isinstance(opened, op.Refusal)
        if isinstance(opened, op.Refusal) and opened.kind != "missing":
            # There are folders that may be written to and not read.
            opened = _value(await _open(channel, put, flags), wire.HANDLE)
        if isinstance(opened, op.Refusal):
            return await self._explained(opened)
        handle = _handle(opened)
        if put.offset:
            # Where that is refused all the same is overwritten; what is behind the end shows in the size.
            await self._in_turn(channel.ask(put, wire.FSETSTAT, handle + wire.size(put.offset)))
        await self._write(handle)
        if not channel.in_order:
            await self._written()
        await self._in_turn(channel.ask(put, wire.FSETSTAT, handle + wire.times(put.mtime)))
        looked = channel.ask(put, wire.FSTAT, handle)
        reads = []
        for begin, length, _ in self._samples if readable and not self._refusal else ():
            while not channel.has_room:
                await ROOM
            reads.append(channel.ask(put, wire.READ, handle + struct.pack(">QI", begin, length), length))
        if not channel.in_order:
            for read in reads:
                await read
        closed = channel.ask(put, wire.CLOSE, handle)
        await SENT
        await self._written()
        refusal = self._refusal or _done(await closed)
        attributes = _value(await looked, wire.ATTRS)
        if refusal:
            return await self._explained(refusal)
        if isinstance(attributes, op.Refusal):
            return attributes
        return await self._compared(attributes.attributes(), reads)

    async def _in_turn(self, asked: Pending) -> None:
        if not self._channel.in_order:
            await asked

    async def _write(self, handle: bytes) -> None:
        """Asks for all that is to be written, as long as nothing is refused."""
        channel, put, size = self._channel, self._put, self._put.content.size
        whole = size <= op.CHECKED_WHOLE
        at = sampled = put.offset
        while at < size and not self._refusal:
            while not channel.has_room:
                await ROOM
            data = self._next(min(channel.piece, size - at))
            if not data:
                break
            body = handle + struct.pack(">Q", at) + wire.text(data)
            self._writes.append(channel.ask(put, wire.WRITE, body, len(data)))
            at += len(data)
            if whole or at >= min(sampled, size):
                part = data if whole else data[-_SAMPLE:]
                self._samples.append((at - len(part), len(part), hashlib.sha256(part).digest()))
                sampled = at + size // _SAMPLES
            while self._writes and self._writes[0].answer:
                refusal = _done(await self._writes.popleft())
                self._refusal = self._refusal or refusal
        if not self._refusal:
            await self._require_unchanged(handle)

    def _next(self, length: int) -> bytes:
        try:
            data = self._source.read(length)
        except OSError as error:
            raise PublishError(
                f"cannot read {self._put.content.name}: {error.strerror}", "see what is wrong with that disk"
            ) from error
        self._sha256.update(data)
        return data

    async def _require_unchanged(self, handle: bytes) -> None:
        self._next(1)
        if self._sha256.hexdigest() != self._put.content.sha256:
            # What arrived is nobody's content: it must not be taken for what its name says.
            await self._written()
            await self._channel.ask(self._put, wire.FSETSTAT, handle + wire.size(0))
        op.require_unchanged(self._put.content, self._sha256.hexdigest())

    async def _written(self) -> None:
        while self._writes:
            refusal = _done(await self._writes.popleft())
            self._refusal = self._refusal or refusal

    async def _compared(self, attributes: op.Attributes, reads: list[Pending]) -> op.Attributes | op.Refusal:
        size = self._put.content.size
        if attributes.size != size:
            return op.Refusal("differs", f"{attributes.size} bytes of {size} arrived")
        for (begin, _, digest), asked in zip(self._samples, reads, strict=False):
            value = _value(await asked, wire.DATA)
            if isinstance(value, op.Refusal) or hashlib.sha256(value.string()).digest() != digest:
                return op.Refusal("differs", f"from byte {begin} on it holds something else than what was sent")
        return attributes

    async def _explained(self, refusal: op.Refusal) -> op.Refusal:
        """SFTP has one word, "Failure", for a full disk and much else: the server is asked how much room it has."""
        channel, put = self._channel, self._put
        if refusal.kind != "failed" or _SPACE not in await _hello(channel, Hello("")):
            return refusal
        folder = posixpath.dirname(put.path) or "."
        kind, body = await channel.extended(put, _SPACE, wire.text(folder))
        if kind != wire.EXTENDED_REPLY:
            return refusal
        fields = wire.Body(body)
        _, block, _, _, blocks, files, _, free_files = (fields.long() for _ in range(8))
        if block * blocks < channel.piece_limit or (files and not free_files):
            return op.Refusal("full", "the disk is full")
        return refusal


_HOW: dict[type[op.Operation], Callable[[Channel, Any], Coroutine[Any, None, Any]]] = {
    Hello: _hello,
    op.Look: _look,
    op.List: _list,
    op.Read: _read,
    op.Digest: _digest,
    op.Put: _put,
    op.MakeFolder: _make_folder,
    op.Remove: _remove,
    op.RemoveFolder: _remove_folder,
    op.Rename: _rename,
    op.Link: _link,
    op.Symlink: _symlink,
    op.ReadLink: _read_link,
}
