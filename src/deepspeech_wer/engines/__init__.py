"""Where jobs run, and what they tell meanwhile.

An engine takes a JobSpec and gives the whole result folder back. What is trusted is that folder, never the word of the
machinery that ran the job.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a job has come.

    ``cell`` of ``cells`` code cells and ``epoch`` of ``epochs`` are done, all 0 where it is not known (yet); ``eta`` is
    the number of seconds that training will still take, or None; ``lines`` are the log's lines since the last one.
    """

    cell: int
    cells: int
    epoch: int
    epochs: int
    eta: float | None
    lines: tuple[str, ...]
