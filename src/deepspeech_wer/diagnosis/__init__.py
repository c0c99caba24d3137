"""What ``deepspeech-wer doctor`` looks at, a module for each part of the machine, and what it finds.

An examination is a function of the settings that gives its findings one after the other and changes nothing that stays.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from deepspeech_wer.config import Settings
from deepspeech_wer.errors import TrackerError
from deepspeech_wer.job import processes

T = TypeVar("T")


class State(StrEnum):
    """Whether a run can be made with what was found."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it is, what was found, and, unless it is OK, how to mend it."""

    name: str
    state: State
    found: str
    mend: str = ""


Examination = Callable[[Settings], Iterator[Check]]


def ok(name: str, found: str) -> Check:
    """Something that is as it should be."""
    return Check(name, State.OK, found)


def warn(name: str, found: str, mend: str) -> Check:
    """Something that does not stop a run, or that stops only some."""
    return Check(name, State.WARN, found, mend)


def fail(name: str, found: str, mend: str) -> Check:
    """Something with which no run can be made, or none published."""
    return Check(name, State.FAIL, found, mend)


def within(seconds: float, what: str, ask: Callable[[], T]) -> T:
    """What ``ask`` gives. Raises TrackerError after ``seconds``; what it started is ended then.

    For questions that go over the network and have only long limits of their own, since nobody waits for a tick.
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            errors.append(error)

    before = set(processes.descendants(os.getpid()))
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        processes.end_all(lambda: set(processes.descendants(os.getpid())) - before, grace=0.5)
        raise TrackerError(
            f"{what} gave no answer within {seconds:g} s", "see whether the network and the server are up"
        )
    if errors:
        raise errors[0]
    return answers[0]
