"""The failures a user can mend: a message, a hint, and the exit code of the whole command.

One family, shown without a traceback as two lines: what was tried on what, and what to do next.
Anything that is not of this family is a bug and shows its traceback.
"""

from __future__ import annotations

#: Exit codes of the command; the same table stands in ``deepspeech-wer --help`` and in the README.
EXIT_DONE = 0
EXIT_USAGE = 2
EXIT_RUN_FAILED = 70
EXIT_LOCKED = 75
EXIT_PUBLISH_FAILED = 76


class TrackerError(Exception):
    """A failure the user can mend.

    ``message`` says what was tried and on what; ``hint`` says what to do next (may be empty).
    """

    exit_code = EXIT_RUN_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(TrackerError):
    """A setting or an argument is wrong or missing."""

    exit_code = EXIT_USAGE


class LockHeld(TrackerError):
    """Another run holds the lock."""

    exit_code = EXIT_LOCKED


class RepositoryError(TrackerError):
    """The tracked repository cannot be reached or read: nobody's landing is at fault."""


class EnvironmentFailure(TrackerError):
    """The machine is at fault and no landing: the disk is full, there is no GPU. It counts against nobody."""


class LandingFailed(TrackerError):
    """One landing's own fault: it is recorded as failed and the next one goes on."""


class PublishError(TrackerError):
    """The site could not be published; what was there is still there."""

    exit_code = EXIT_PUBLISH_FAILED


class ConnectionFailed(PublishError):
    """The way to the server broke, or the server did: to try again may help."""
