"""Many small pieces of work that wait for a disk or for a decoder, in threads, results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Items a thread takes at once: a future costs as much as the header of a file.
CHUNK = 32


def in_threads(function: Callable[[T], R], items: Iterable[T], advance: Callable[[int], None]) -> Iterator[R]:
    """``function`` of each of ``items``, in their order; ``advance`` is told how many more are done.

    A bounded number is under way at once, so that a million items are no million futures. What ``function`` raises is
    raised here, and what has not begun by then never does.
    """
    threads = min(16, 2 * (os.cpu_count() or 1))
    rest = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[list[R]]] = deque()
        try:
            while True:
                while len(under_way) < 2 * threads and (chunk := list(islice(rest, CHUNK))):
                    under_way.append(pool.submit(_each, function, chunk))
                if not under_way:
                    return
                done = under_way.popleft().result()
                advance(len(done))
                yield from done
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _each(function: Callable[[T], R], items: list[T]) -> list[R]:
    return [function(item) for item in items]
