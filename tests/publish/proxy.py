"""A line between a client and a server on this machine that is slow, thin, or breaks: a TCP proxy on 127.0.0.1.

    with proxied(server.port, delay=0.02) as proxy:
        proxy.plan = lambda number: Fault(after=50_000) if number == 0 else None
        publish(site, proxy.target(server))
    assert proxy.up < 200_000

``delay`` is in seconds each way. It does not limit the bandwidth: each piece is kept with the time at which it is due.
``rate`` is in bytes a second each way, 0 for no limit. As over a real line of that length, a new connection reaches the
server one and a half round trips after it was asked for. A command by itself, for benchmarks, in a process of its own:

    python tests/publish/proxy.py PORT --delay 0.02 [--rate 1000000]

prints the port that it listens on and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from deepspeech_wer.publish.target import Target
    from ssh_servers import Server

#: Bytes on their way each way: enough for any delay of the tests.
_LONG_LINE = 32 << 20
#: Seconds of traffic that wait before a thin line, as in a router.
_BUFFERED = 0.1
#: Seconds in which a server has taken what came through.
_SETTLED = 0.1
#: A line that dribbles lets one byte through in that many seconds.
_DRIBBLE = 0.2


@dataclass(frozen=True)
class Fault:
    """What becomes of a connection when ``after`` bytes have come through, the way that is ``counted``.

    A connection that is cut is closed at both ends, at the server's a moment later, so that it sees what came through;
    one that stalls is kept, and nothing comes through any more; one that dribbles lets a byte through now and then.
    Anything else to be done at that moment is a function, which is called once, in the proxy's thread, before the next
    byte comes through; the connection goes on.
    """

    after: int
    act: Literal["cut", "stall", "dribble"] | Callable[[], object] = "cut"
    counted: Literal["up", "down", "both"] = "both"


class Proxy:
    """The line to ``port``; all figures are of all its connections."""

    def __init__(self, port: int, delay: float, rate: float) -> None:
        self._to = port
        self.delay, self.rate = delay, rate
        self.port = 0
        #: Bytes that came through: to the server, and back.
        self.up = self.down = 0
        #: How many connections there were.
        self.connections = 0
        #: The fault of the connection of that number, counted from 0.
        self.plan: Callable[[int], Fault | None] = lambda number: None
        self._lines: set[_Line] = set()
        self._loop = asyncio.new_event_loop()
        # A connection that is gone while its end is still to be told: asyncio has nobody else to tell that.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._server: asyncio.Server

    def target(self, server: Server, root: str = "www", **changes: Any) -> Target:
        """The server by way of this line, its host keys known by that name too."""
        name, through = (f"[127.0.0.1]:{port} " for port in (server.port, self.port))
        known = server.known_hosts.read_text()
        if through not in known:
            server.known_hosts.write_text(known + known.replace(name, through))
        return server.target(root, **{"port": self.port} | changes)

    def cut(self) -> None:
        """Cuts the connections that there are."""
        self._call(lambda: [line.fail("cut") for line in set(self._lines)])

    def stall(self) -> None:
        """Lets nothing more through on the connections that there are."""
        self._call(lambda: [line.fail("stall") for line in set(self._lines)])

    def forget(self) -> None:
        """Counts from 0 again."""
        self.up = self.down = self.connections = 0

    def _call(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accepted(self) -> _End:
        line = _Line(self, self.plan(self.connections))
        self.connections += 1
        self._lines.add(line)
        return line.client

    def begin(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    def end(self) -> None:
        if self._loop.is_closed():
            return
        self._call(self._server.close)
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class _End(asyncio.Protocol):
    """Our socket at one end of a line; what it receives goes into ``lane``."""

    def __init__(self, line: _Line) -> None:
        self.line = line
        self.lane: _Lane
        self.transport: asyncio.Transport | None = None
        self.takes_no_more = False
        self.is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.line.made(self)

    def data_received(self, data: bytes) -> None:
        self.lane.put(data)

    def eof_received(self) -> bool:
        self.lane.put(b"")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.lane.put(b"")

    def pause_writing(self) -> None:
        self.takes_no_more = True

    def resume_writing(self) -> None:
        self.takes_no_more = False
        self.line.lane_to(self).deliver()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def reads(self, on: bool) -> None:
        if self.transport is not None and not self.transport.is_closing() and on == self.is_paused:
            (self.transport.resume_reading if on else self.transport.pause_reading)()
            self.is_paused = not on


class _Lane:
    """One way of a line: what came in, each piece with the time at which it is due at the other end; b"" is the end."""

    def __init__(self, line: _Line, source: _End, sink: _End, way: Literal["up", "down"]) -> None:
        self.line, self.source, self.sink, self.way = line, source, sink, way
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._free_at = 0.0
        rate = line.proxy.rate
        self._most = max(4096, int(rate * (_BUFFERED + line.proxy.delay))) if rate else _LONG_LINE
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def put(self, data: bytes) -> None:
        if self._ended:
            return
        self._ended = not data
        proxy = self.line.proxy
        now = self.line.loop.time()
        # What a thin line still has before it goes first.
        self._free_at = max(now, self._free_at) + (len(data) / proxy.rate if proxy.rate else 0)
        earliest = self.line.open_at if self.way == "up" else 0
        self._pieces.append((max(self._free_at + proxy.delay, earliest), data))
        self._size += len(data)
        if self._size > self._most:
            self.source.reads(False)
        self.deliver()

    def deliver(self) -> None:
        loop = self.line.loop
        while self._pieces and not self.line.is_stalled:
            due, data = self._pieces[0]
            if due > loop.time():
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = loop.call_at(due, self.deliver)
                return
            if self.sink.transport is None or self.sink.takes_no_more:
                return  # it is called again when the sink is there, or takes more
            self._pieces.popleft()
            passed = data[: self.line.may_pass(self.way, len(data))] if data else data
            if len(passed) < len(data):
                rest = data[len(passed) :]
                self._pieces.appendleft((due + (_DRIBBLE if self.line.dribbles else 0), rest))
            self._size -= len(passed)
            self.line.passed(self.way, len(passed))
            if passed:
                self.sink.transport.write(passed)
            elif not data:
                self.line.ended(self)
            self.line.look()
            if self.line.dribbles and self._pieces:
                self._pieces[0] = (loop.time() + _DRIBBLE, self._pieces[0][1])
        if self._size < self._most // 2 and not self.line.is_stalled:
            self.source.reads(True)


class _Line:
    """One connection."""

    def __init__(self, proxy: Proxy, fault: Fault | None) -> None:
        self.proxy, self.fault = proxy, fault
        self.loop = proxy._loop
        self.is_stalled = self.dribbles = False
        self.client, self.server = _End(self), _End(self)
        self.open_at = self.loop.time() + 3 * proxy.delay
        self.client.lane = _Lane(self, self.client, self.server, "up")
        self.server.lane = _Lane(self, self.server, self.client, "down")
        self._count = {"up": 0, "down": 0}

    def lane_to(self, end: _End) -> _Lane:
        return self.client.lane if end is self.server else self.server.lane

    def made(self, end: _End) -> None:
        if end is self.client:
            self.loop.call_at(self.open_at, lambda: setattr(self, "_opening", self.loop.create_task(self._open())))
        else:
            self.client.lane.deliver()

    async def _open(self) -> None:
        try:
            await self.loop.create_connection(lambda: self.server, "127.0.0.1", self.proxy._to)
        except OSError:
            self.fail("cut")

    def may_pass(self, way: str, size: int) -> int:
        """How many of ``size`` bytes may come through now."""
        if self.dribbles:
            return 1
        if self.fault is None or self.fault.counted not in (way, "both"):
            return size
        return min(size, self.fault.after - self._counted(self.fault))

    def _counted(self, fault: Fault) -> int:
        return sum(self._count.values()) if fault.counted == "both" else self._count[fault.counted]

    def passed(self, way: Literal["up", "down"], size: int) -> None:
        self._count[way] += size
        setattr(self.proxy, way, getattr(self.proxy, way) + size)

    def look(self) -> None:
        """Whether it is time for the fault."""
        fault = self.fault
        if fault is not None and self._counted(fault) >= fault.after:
            self.fault = None
            if callable(fault.act):
                fault.act()
            else:
                self.fail(fault.act)

    def fail(self, act: Literal["cut", "stall", "dribble"]) -> None:
        if act == "dribble":
            self.dribbles = True
            return
        self.is_stalled = True
        for end in (self.client, self.server):
            end.reads(False)
        if act == "cut":
            self.client.abort()
            self.loop.call_later(_SETTLED, self.server.abort)
            self.proxy._lines.discard(self)

    def ended(self, lane: _Lane) -> None:
        """What one end sent is at its end."""
        if lane.source.transport is None:  # it is gone altogether
            if lane.sink.transport is not None:
                lane.sink.transport.close()
            self.proxy._lines.discard(self)
        elif lane.sink.transport is not None:
            lane.sink.transport.write_eof()


@contextlib.contextmanager
def proxied(port: int, *, delay: float = 0.0, rate: float = 0.0) -> Iterator[Proxy]:
    """A line to 127.0.0.1:``port``, in a thread of this process."""
    proxy = Proxy(port, delay, rate)
    proxy.begin()
    try:
        yield proxy
    finally:
        proxy.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    with proxied(options.port, delay=options.delay, rate=options.rate) as proxy:
        print(proxy.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
