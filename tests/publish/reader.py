"""A reader of the published site who looks at it all the time, and sees whether what it gets ever is half of two sites.

    with served(server.home) as address, Reader(address, ["/www/"], [version1, version2]) as reader:
        publish(...)
    assert reader.failures == [] and reader.loads > 10

A version is what a site consists of: {path: bytes}. One load is a page and then everything that it links to, other
pages left out, in any order and with small pauses, so that a release comes in between. It is consistent if the page is
the one of some version, byte for byte, and all that it links to is there and is of the same version. What a page loads
by a name that stays the same (``loose``) may be of another version, but has to be the whole file of one of them.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import http.server
import posixpath
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

Version = Mapping[str, bytes]

_LINK = re.compile(rb'(?:href|src)="([^"]+)"|url\(([^)]+)\)')
_SEARCHED = (".html", ".css")
#: Seconds between two files of a page, at most.
_PAUSE = 0.004


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """A web server that shows ``folder`` and goes through symbolic links, as most do; where it listens."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield "127.0.0.1", server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def links_of(path: str, content: bytes) -> set[str]:
    """The paths in the site that a page or a style sheet links to."""
    if not path.endswith(_SEARCHED):
        return set()
    found = (link or url for link, url in _LINK.findall(content))
    return {posixpath.normpath(posixpath.join(posixpath.dirname(path), link.decode())) for link in found}


class Reader:
    """Reads in a thread of its own from entering to leaving; at least one load comes after each :meth:`settle`."""

    def __init__(
        self,
        address: tuple[str, int],
        bases: Sequence[str],
        versions: Sequence[Version],
        loose: Collection[str] = (),
        seed: int = 1,
    ) -> None:
        self._address, self._bases, self._versions, self._loose = address, bases, versions, loose
        self._random = random.Random(seed)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._settled = threading.Semaphore(0)
        self._connection = http.client.HTTPConnection(*address, timeout=10)
        #: What was wrong, in words.
        self.failures: list[str] = []
        #: Pages loaded, with what they need.
        self.loads = 0
        #: How often each version was seen.
        self.seen: Counter[int] = Counter()

    def __enter__(self) -> Reader:
        self._thread.start()
        self.settle()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._connection.close()

    def settle(self) -> None:
        """Returns when a load has been done that was begun after this was called."""
        while self._settled.acquire(blocking=False):
            pass
        for _ in range(2):  # the first may have been begun before
            assert self._settled.acquire(timeout=30)

    def get(self, path: str) -> tuple[int, bytes]:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _read(self) -> None:
        pages = sorted({path for version in self._versions for path in version if path.endswith(".html")})
        while not self._end.is_set():
            base = self._random.choice(self._bases)
            # The first page that everybody sees more often than the others.
            page = "index.html" if self._random.random() < 0.7 else self._random.choice(pages)
            try:
                self._load(base, page)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                self.failures.append(f"{base}{page}: {error!r}")
            self._settled.release()
            self._end.wait(self._random.uniform(0, _PAUSE))

    def _load(self, base: str, page: str) -> None:
        def get(path: str) -> bytes | None:
            if self._random.random() < 0.2:
                self._end.wait(self._random.uniform(0, _PAUSE))
            status, content = self.get(base + path)
            return content if status == 200 else None

        seen, failures = judge(get, page, self._versions, self._loose, self._random)
        self.failures += [f"{base}{failure}" for failure in failures]
        self.seen.update(seen[:1])
        self.loads += 1


def judge(
    get: Callable[[str], bytes | None],
    page: str,
    versions: Sequence[Version],
    loose: Collection[str] = (),
    order: random.Random | None = None,
) -> tuple[list[int], list[str]]:
    """One load of a page: the versions that the page is of, by number, and what is wrong, in words."""
    content = get(page)
    seen = [number for number, version in enumerate(versions) if version.get(page) == content]
    if content is None or not seen:
        return seen, [f"{page}: {_told(content)}, of no version"]
    failures = []
    waiting = sorted(links_of(page, content))
    done = set(waiting)
    while waiting:
        path = waiting.pop(order.randrange(len(waiting)) if order else -1)
        if path.endswith(".html"):
            continue
        content = get(path)
        of = [number for number, version in enumerate(versions) if version.get(path) == content]
        if content is None or not set(of) & set(range(len(versions)) if path in loose else seen):
            failures.append(f"{path}, which {page} of version {seen} needs: {_told(content)}, of version {of}")
            continue
        new = links_of(path, content) - done
        done |= new
        waiting += sorted(new)
    return seen, failures


def _told(content: bytes | None) -> str:
    return "not there" if content is None else f"{len(content)} bytes"
