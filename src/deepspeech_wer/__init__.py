"""Continuous word-error-rate tracking for speech recognition."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"


def maybe_publish(result: str | Path) -> int:
    """Keep, merge and publish the result folder of a run by hand; see :func:`deepspeech_wer.byhand.maybe_publish`."""
    from deepspeech_wer.byhand import maybe_publish as publish

    return publish(result)
