"""A secret that a command of the user's prints: a passphrase, a token."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

from deepspeech_wer.errors import TrackerError


def printed_by(command: str, label: str, what: str, seconds: float, kind: type[TrackerError]) -> bytes:
    """What ``command`` prints. Raises ``kind`` where it does not print it within ``seconds``.

    Neither the command nor anything it printed is told: people write secrets into commands. Its first word is, after
    the ``label``, so that the user knows which one failed; ``what`` is the secret's name in the hint.
    """
    hint = f"run the command by hand: it must print the {what} on its standard output and exit with 0"
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise kind(f"{label.rstrip(':')} is not a command: it is empty or has an open quote", hint)
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise kind(f"{label} {words[0]} does not start: {error.strerror}", hint) from None
    try:
        output, _ = process.communicate(timeout=seconds)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise kind(f"{label} {words[0]} did not end within {seconds:g} s", hint) from None
    if process.returncode:
        raise kind(f"{label} {words[0]} failed with exit code {process.returncode}", hint)
    return output
