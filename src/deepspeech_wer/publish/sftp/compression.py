"""Whether it pays to compress what is sent, and the change to it in the middle of a connection.

Compressing costs this machine time, and saves the line some: on a quick line it makes a release slower, on a thin one
several times quicker, since pages and data files shrink to a quarter. Nobody can say beforehand which line it is, and
the line of a laptop changes. So a connection begins without, and is measured; where it turns out to be thin, new keys
are negotiated, with compression this time, as SSH allows at any moment: one or two round trips.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.operations import Content

#: Seconds of uploading before its pace is known.
_MEASURED = 1.0
#: Seconds that have to be saved, by estimate, for the change to be worth its round trips.
_WORTH = 1.0
#: What is sent is compressed as quickly as it is here, halved: there is other work, too.
_MARGIN = 2.0
#: How many files are sampled, and how many bytes of each.
_SAMPLES, _SAMPLE = 8, 32 << 10


class Compression:
    """Of one connection, over which files are uploaded, one lot after the other. ``mode`` is as in Target."""

    def __init__(self, transport: Any, mode: str) -> None:
        self._transport = transport
        self._mode = mode
        self._mark: tuple[float, int] | None = None
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """To be called when a lot begins."""
        self._mark = None
        if self._mode == "yes":
            self._change()

    def end(self) -> None:
        """To be called when the connection is closed."""
        if self._thread:
            self._thread.join(10)

    def consider(self, arrived: int, contents: Sequence[Content], size: int) -> None:
        """Changes to compression if that pays; to be called some times a second.

        ``arrived`` is how many bytes of the lot have; ``contents`` is what it consists of, ``size`` bytes in all.
        """
        if self._mode != "auto" or self._thread or not arrived:
            return
        now = time.monotonic()
        if self._mark is None:
            self._mark = (now, arrived)
        since, before = self._mark
        if now - since < _MEASURED or arrived == before:
            return
        self._mark = (now, arrived)
        rate = (arrived - before) / (now - since)
        left = size - arrived
        if left / rate > _WORTH and _saves(contents, rate, left) > _WORTH:
            self._change()

    def _change(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._negotiate, name="sftp-compression", daemon=True)
            self._thread.start()

    def _negotiate(self) -> None:
        # A server that does not compress is asked for it in vain, once. Where it goes wrong the connection is at its
        # end, which those notice who use it.
        with suppress(Exception):
            self._transport.use_compression(True)
            self._transport.renegotiate_keys()


def _saves(contents: Sequence[Content], rate: float, size: int) -> float:
    """Seconds that compressing ``size`` bytes such as those of ``contents`` would save at ``rate`` bytes a second."""
    sample = b"".join(_sample(content) for content in sorted(contents, key=lambda c: -c.size)[:_SAMPLES])
    if not sample:
        return 0.0
    before = time.perf_counter()
    compressed = len(zlib.compress(sample))
    seconds = max(time.perf_counter() - before, 1e-6)
    quickest = len(sample) / seconds / _MARGIN
    return size / rate - size / min(quickest, rate * len(sample) / compressed)


def _sample(content: Content) -> bytes:
    with suppress(OSError, PublishError), content.open() as file:
        file.seek(max(0, content.size // 2 - _SAMPLE // 2))
        return file.read(_SAMPLE)
    return b""
