"""Work on many small files in threads, whose results come in the order of the work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Results that may wait for each thread: they hold audio.
_AHEAD = 2


def threads_for_files() -> int:
    """Threads that keep a file system busy: more than cores, since most of them wait for it."""
    return min(16, 4 + 2 * (os.cpu_count() or 1))


@contextmanager
def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[Iterator[R]]:
    """The results of ``work`` for each of ``items``, in their order; what ``work`` raises is raised when it is its
    turn. At the end of the block, however it comes, work that has not begun is dropped."""
    pool = ThreadPoolExecutor(threads)

    def results() -> Iterator[R]:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= threads * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield results()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
