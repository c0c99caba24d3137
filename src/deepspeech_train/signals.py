"""Being told to stop: a signal is noted, and what is at work stops where nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .errors import RecipeError


class Stopped(RecipeError):
    """A signal asked for an end, and what was reached was kept first."""

    def __init__(self, number: signal.Signals, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.signal = number


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it is to end what is at work as Ctrl-C does: with all that tidies up."""

    signal = signal.SIGTERM


@contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """While entered, SIGTERM raises Terminated in the main thread, unless somebody else takes care of it."""

    def terminate(*_: object) -> None:
        raise Terminated

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class StopSignals:
    """While entered, SIGTERM and SIGINT are noted in ``received`` and end nothing by themselves.

    Python delivers signals to the main thread alone; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
