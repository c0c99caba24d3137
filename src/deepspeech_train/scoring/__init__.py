"""Scoring: how far what was recognised is from what was said.

``rates`` counts the edits of an utterance and of a set, ``breakdown`` tells them apart by speaker, length and word,
``bootstrap`` says how far they would scatter, ``listing`` shows the utterances, ``summary`` has it all as text and
JSON. For scoring files there are ``transcripts``, ``normalising`` and ``matching``.

>>> score("turn the light on", "turn light off").wer
0.5
"""

from __future__ import annotations

from .bootstrap import Comparison, Interval, compare, confidence_interval
from .breakdown import Confusions, Part, by_length, by_speaker, confusions, sentence_error_rate
from .listing import align, examples, report
from .rates import Score, Transcription, aligned, percent, score, total
from .summary import Summary, summarise

__all__ = [
    "Comparison",
    "Confusions",
    "Interval",
    "Part",
    "Score",
    "Summary",
    "Transcription",
    "align",
    "aligned",
    "by_length",
    "by_speaker",
    "compare",
    "confidence_interval",
    "confusions",
    "examples",
    "percent",
    "report",
    "score",
    "sentence_error_rate",
    "summarise",
    "total",
]
