"""A command as the shell sees it: whatever ends it, a line says so, no traceback is shown but a bug's, and it has its
exit code.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import TYPE_CHECKING

from deepspeech_wer.errors import EXIT_DONE, EXIT_RUN_FAILED, TrackerError
from deepspeech_wer.terminal import printable, tell

if TYPE_CHECKING:
    from types import FrameType


def run(do: Callable[[], int], program: str = "deepspeech-wer") -> int:
    """Do it, and give the exit code of the ``program``."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a subject may hold what the terminal's character set has not
            stream.reconfigure(errors="backslashreplace")
    # paramiko imports it for "Match exec" in ssh's configuration, which we read ourselves: as long as all else of it.
    sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]
    try:
        code = do()
        sys.stdout.flush()
        return code
    except TrackerError as error:
        tell(f"{program}: {printable(error.message)}")
        if error.hint:
            tell(f"  {printable(error.hint)}")
        return error.exit_code
    except KeyboardInterrupt:
        tell(f"{program}: ended by Ctrl-C; the next run goes on from here")
        return 130
    except BrokenPipeError:  # `deepspeech-wer settings | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        tell(f"{program}: {error.strerror or error}{where}")
        tell("  check the disk, and the owner and the permissions of that place")
        return EXIT_RUN_FAILED


def _end(number: int, frame: FrameType | None) -> None:
    """Leave through every ``finally``, once: a second signal must not cut the cleaning up short."""
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    tell(f"deepspeech-wer: ended by {signal.Signals(number).name}; the next run goes on from here")
    sys.exit(128 + number)
