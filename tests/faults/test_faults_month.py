"""A month in which nobody looks, short enough for a test: see `month`, which lives longer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import month


@pytest.mark.parametrize("seed", [3, 6])
def test_a_month_in_which_nobody_looks(tmp_path: Path, seed: int) -> None:
    lived = month.live(tmp_path, seed, ticks=12)
    print("\n".join(lived.events))
