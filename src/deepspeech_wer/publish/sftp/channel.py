"""One SFTP session on one channel of the connection: many requests on their way at once.

paramiko's own SFTP client sends one request, one SSH packet, and waits for the answer; of its requests only reads and
writes go side by side. It knows no hard links, and does not tell what the server can do besides. So this speaks SFTP
itself (``wire.py``) over paramiko's channels: every operation is a coroutine (``exchange.py``) that asks and awaits
answers; all that is asked meanwhile goes out in as few packets as hold it, and what comes in wakes who awaits it.

Bounded: requests without an answer, bytes on their way, open files; and so is what a server can make us keep.

The bytes on their way begin with a few and double as long as they arrive within a second, so that on a thin line no
more is asked for than it carries in a few seconds: then each answer shows that it still carries.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from deepspeech_wer.publish.operations import MOST_IN_FLIGHT, Chain, Digest, List, Operation, Put, Read
from deepspeech_wer.publish.sftp import wire

#: Requests without an answer, of one channel: more gain nothing, and their answers fit into the window.
_MOST_UNANSWERED = 2000
#: Files and folders open at a time, of one channel: where the server names no limit, and at most.
_MOST_OPEN, _MOST_OPEN_EVER = 100, 400
#: Bytes of one read or write: what every server takes; and the most that pays.
_PIECE, _LARGEST_PIECE = 32 << 10, 255 << 10
#: Bytes on their way at first, and at least; MOST_IN_FLIGHT at most.
_FIRST_BUDGET, _LEAST_BUDGET = 512 << 10, 128 << 10
#: Seconds after which a waiting thread looks around.
_TICK = 0.05
#: Bytes that the server may send unasked for more: all reads on their way fit in twice.
_WINDOW = 2 * MOST_IN_FLIGHT
_FOREVER = 24 * 3600.0
_OPENS = (Put, Read, List, Digest)


class Lost(Exception):
    """The session has ended, by no wish of ours."""


class Hello(Operation):
    """-> dict[str, str]: the server's extensions. What a session begins with."""

    def __str__(self) -> str:
        return "open an SFTP session"


class Pending:
    """A request and, when it has come, its answer: kind and body. To be awaited."""

    __slots__ = ("answer", "operation", "since", "size", "waiting")

    def __init__(self, operation: Operation, size: int) -> None:
        self.operation = operation
        #: Of the bytes of a file that go one way or the other.
        self.size = size
        self.since = time.monotonic()
        self.answer: tuple[int, bytes] | None = None
        self.waiting: list[_Task] = []

    def __await__(self) -> Generator[Any, None, tuple[int, bytes]]:
        if self.answer is None:
            yield self
        assert self.answer is not None
        return self.answer


class _Mark:
    def __await__(self) -> Generator[Any, None, None]:
        yield self


#: Awaited by an operation that has asked for all that it needs: a server that works in order gets the next one.
SENT = _Mark()
#: Awaited by an operation that would send or ask for many bytes, until they may be on their way.
ROOM = _Mark()

Carry = Callable[["Channel", Operation], Coroutine[Any, None, Any]]


@dataclass(eq=False)
class Job:
    """A chain that is being carried out."""

    chain: Chain
    finished: Callable[[], None]
    answers: list[Any] = field(init=False)
    begun: int = 0
    left: int = field(init=False)
    #: Whether it opens files or folders: one at a time.
    opens: bool = field(init=False)
    #: Bytes to upload, as far as they count for how many chains a channel takes.
    weight: int = field(init=False)

    def __post_init__(self) -> None:
        self.answers = [None] * len(self.chain)
        self.left = len(self.chain)

        self.opens = any(isinstance(operation, _OPENS) for operation in self.chain)
        uploads = (operation for operation in self.chain if isinstance(operation, Put))
        self.weight = min(sum(put.content.size - put.offset for put in uploads), MOST_IN_FLIGHT)


@dataclass(eq=False)
class _Task:
    coroutine: Coroutine[Any, None, Any]
    job: Job | None
    index: int = 0
    sent: bool = False


class Channel:
    """A session; used by one thread at a time, but for the figures that say how it fares."""

    def __init__(self, transport: Any, in_order: bool, carry: Carry) -> None:
        self.in_order = in_order
        self._carry = carry
        #: None until the server has said it.
        self.extensions: dict[str, str] | None = None
        self.piece_limit = _PIECE
        self.most_open = _MOST_OPEN
        #: For who watches: bytes of files that arrived; answers that came; whether it is the server that we wait for.
        self.arrived = 0
        self.answers = 0
        self.waiting = True
        self._budget = _FIRST_BUDGET
        self._measured, self._measured_since = 0, time.monotonic()
        self._in_flight = 0
        self._open = self._active = self._weight = 0
        self._number = 0
        self._pending: dict[int, Pending] = {}
        self._ready: deque[Job] = deque()
        self._thirsty: deque[_Task] = deque()
        self._out = bytearray(wire.init())
        self._inbox = wire.Inbox()
        self.hello = self._pending[-1] = Pending(Hello(""), 0)
        self._channel = _session(transport)
        self._step(_Task(self._learn(), None))

    @property
    def oldest(self) -> Pending | None:
        """The request that waits longest for its answer."""
        return min(self._pending.values(), key=lambda pending: pending.since, default=None)

    # What operations use ------------------------------------------------------------------------------------------

    def ask(self, operation: Operation, kind: int, body: bytes, size: int = 0) -> Pending:
        """Sends a request with the next packet."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        pending = self._pending[self._number] = Pending(operation, size)
        self._in_flight += size
        self._out += wire.ask(kind, self._number, body)
        return pending

    def extended(self, operation: Operation, name: str, body: bytes) -> Pending:
        return self.ask(operation, wire.EXTENDED, wire.text(name) + body)

    @property
    def has_room(self) -> bool:
        return self._in_flight < self._budget

    @property
    def piece(self) -> int:
        """Bytes that one write takes now: few on a thin line."""
        return min(self.piece_limit, max(_PIECE, self._budget // 16))

    # The work -----------------------------------------------------------------------------------------------------

    def work(self, take: Callable[[], Job | None]) -> None:
        """Carries out chains as long as there are any. Raises Lost, Garbled, and what an operation raises."""
        while True:
            self._begin(take)
            if not self._active:
                break
            self._send()
            self._receive()
        self._send()

    def _begin(self, take: Callable[[], Job | None]) -> None:
        while len(self._pending) < _MOST_UNANSWERED:
            if self._ready:
                self._next(self._ready.popleft())
                continue
            if not self.in_order and self.extensions is None:
                self._send()
                self._receive()
                continue
            # Two large files at a time, one to be opened while the other is sent; more are for other channels.
            if self._open >= self.most_open or self._weight >= 2 * MOST_IN_FLIGHT:
                return
            job = take()
            if job is None:
                return
            self._active += 1
            self._open += job.opens
            self._weight += job.weight
            self._next(job)

    def _next(self, job: Job) -> None:
        index = job.begun
        job.begun += 1
        self._step(_Task(self._carry(self, job.chain[index]), job, index))

    def _step(self, task: _Task) -> None:
        """Lets an operation go on until it has to wait."""
        while True:
            try:
                awaited = task.coroutine.send(None)
            except StopIteration as end:
                self._ended(task, end.value)
                return
            if awaited is SENT:
                if self.in_order and not task.sent:
                    task.sent = True
                    self._queue(task.job)
            elif awaited is ROOM:
                if not self.has_room:
                    self._thirsty.append(task)
                    return
            else:
                awaited.waiting.append(task)
                return

    def _ended(self, task: _Task, answer: Any) -> None:
        job = task.job
        if job is None:
            return
        job.answers[task.index] = answer
        job.left -= 1
        if job.left:
            if not task.sent:
                self._queue(job)
            return
        self._active -= 1
        self._open -= job.opens
        self._weight -= job.weight
        job.finished()

    def _queue(self, job: Job | None) -> None:
        if job is not None and job.begun < len(job.chain):
            self._ready.append(job)

    async def _learn(self) -> None:
        """Asks what the server can do, and what its limits are."""
        name = "limits@openssh.com"
        # One that works in order, OpenSSH's, refuses what it does not know, and need not be asked first.
        if not self.in_order:
            await self._greeted()
            if name not in (self.extensions or {}):
                return
        asked = self.extended(Hello(""), name, b"")
        await self._greeted()
        kind, body = await asked
        if kind != wire.EXTENDED_REPLY:
            return
        fields = wire.Body(body)
        _, read, write, files = (fields.long() for _ in range(4))
        sizes = [limit for limit in (read, write) if limit]
        self.piece_limit = max(4096, min([*sizes, _LARGEST_PIECE]))
        if files:
            self.most_open = max(1, min(files - 8, _MOST_OPEN_EVER))

    async def _greeted(self) -> None:
        _, body = await self.hello
        self.extensions = wire.extensions(body)

    # Packets ------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Sends all that was asked. What comes meanwhile is taken, lest each side waits for the other."""
        while self._out:
            while self._channel.recv_ready():
                self._take()
            self.waiting = True
            try:
                sent = self._channel.send(bytes(self._out[: 1 << 15]))
            except TimeoutError:
                continue
            except (OSError, EOFError) as error:
                raise Lost(str(error)) from error
            finally:
                self.waiting = False
            if not sent:
                raise Lost("the channel is closed")
            del self._out[:sent]

    def _receive(self) -> None:
        """Waits for something to come, and takes it."""
        while True:
            with suppress(TimeoutError):
                self._take()
                return

    def _take(self) -> None:
        self.waiting = True
        try:
            data = self._channel.recv(1 << 18)
        finally:
            self.waiting = False
        if not data:
            raise Lost("the channel is closed")
        for number, kind, body in self._inbox.feed(data):
            self._answered(number, kind, body)
        while self._thirsty and self.has_room:
            task = self._thirsty.popleft()
            self._step(task)
            if self._thirsty and self._thirsty[-1] is task:
                # Who came first goes on first: rather one file whole than two by halves.
                self._thirsty.rotate(1)

    def _answered(self, number: int, kind: int, body: bytes) -> None:
        pending = self._pending.pop(number, None)
        if pending is None:
            raise wire.Garbled(f"an answer to request {number} came, which was not asked")
        self.answers += 1
        if pending.size:
            self._in_flight -= pending.size
            self._measure(pending.size)
            if kind == wire.STATUS and body[:4] == b"\0\0\0\0":
                self.arrived += pending.size
        pending.answer = (kind, body)
        for task in pending.waiting:
            self._step(task)

    def _measure(self, size: int) -> None:
        self._measured += size
        if self._measured < self._budget:
            return
        now = time.monotonic()
        seconds = now - self._measured_since
        if seconds < 1:
            self._budget = min(2 * self._budget, MOST_IN_FLIGHT)
        elif seconds > 4:
            self._budget = max(self._budget // 2, _LEAST_BUDGET)
        self._measured, self._measured_since = 0, now


def _session(transport: Any) -> Any:
    """A channel on which SFTP was asked for; whether the server has it is not waited for: its first word tells."""
    import paramiko

    # Who watches ends a silence.
    channel = transport.open_session(window_size=_WINDOW, timeout=_FOREVER)
    channel.settimeout(_TICK)
    # As invoke_subsystem() does, which waits for the answer. A refusal closes the channel.
    request = paramiko.Message()
    request.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
    request.add_int(channel.remote_chanid)
    request.add_string("subsystem")
    request.add_boolean(True)
    request.add_string("sftp")
    transport._send_user_message(request)
    return channel


def tune(transport: Any) -> None:
    """Makes paramiko's transport quick; to be called before it talks."""
    import socket

    options = transport.get_security_options()
    # AES-GCM needs no second pass for the MAC: some 2 times as quick here.
    first = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
    options.ciphers = tuple(sorted(options.ciphers, key=lambda name: first.index(name) if name in first else 2))
    # New keys wait for what is on its way before them, on a thin line for minutes; who watches ends a silence.
    transport.clear_to_send_timeout = _FOREVER
    with suppress(OSError, AttributeError):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
