"""Charts of ``gpu.csv``: a PNG a quantity, a line a GPU, over the minutes of the run.

The file is read as a stream, and what is drawn of it does not grow with the run: where more than MOST points would be
drawn for a line they stand for equal times, with their mean as the line and their range as a band behind it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deepspeech_wer.files import write_atomically

#: Points of one line at most. A chart is about a thousand pixels wide: with a point a pixel the line of a load that
#: goes up and down would be one solid block.
MOST = 600

#: What is drawn: the column, the name of the file, and what the axis says.
CHARTS = (
    ("power_w", "power.png", "power (W)"),
    ("temperature_c", "temperature.png", "temperature (°C)"),
    ("sm_percent", "sm_load.png", "time with a kernel running (%)"),
    ("memory_percent", "memory_load.png", "time with memory read or written (%)"),
    ("memory_used_mib", "memory_used.png", "memory in use (MiB)"),
    ("sm_clock_mhz", "sm_clock.png", "multiprocessor clock (MHz)"),
    ("memory_clock_mhz", "memory_clock.png", "memory clock (MHz)"),
)

#: Width and height in inches of 100 pixels.
_SIZE = (10.0, 4.0)
_DPI = 100


@dataclass
class _Bucket:
    """The points of one stretch of time, the ``place``-th of its width."""

    place: int
    count: int
    seconds: float
    total: float
    low: float
    high: float

    def add(self, other: _Bucket) -> None:
        self.count += other.count
        self.seconds += other.seconds
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)


class Curve:
    """A line of at most MOST points, however many are added, in the order of time."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._width = 1.0
        self._buckets: list[_Bucket] = []

    def add(self, seconds: float, value: float) -> None:
        """Add one point."""
        place = int(seconds / self._width)
        last = self._buckets[-1] if self._buckets else None
        if last is not None and place <= last.place:  # nearly always, in a long run
            last.count += 1
            last.seconds += seconds
            last.total += value
            if value < last.low:
                last.low = value
            elif value > last.high:
                last.high = value
            return
        self._buckets.append(_Bucket(place, 1, seconds, value, value, value))
        if len(self._buckets) > self._most:
            self._width *= 2
            buckets, self._buckets = self._buckets, []
            for bucket in buckets:
                bucket.place //= 2
                if self._buckets and bucket.place <= self._buckets[-1].place:
                    self._buckets[-1].add(bucket)
                else:
                    self._buckets.append(bucket)

    def points(self) -> list[tuple[float, float, float, float]]:
        """Seconds, mean, lowest and highest value of each point."""
        return [(b.seconds / b.count, b.total / b.count, b.low, b.high) for b in self._buckets]


#: The lines of one chart, by the name of the GPU.
Curves = dict[str, Curve]


def draw(source: Path, folder: Path) -> list[Path]:
    """Draw the file ``source`` into ``folder``, which is made if need be; returns the charts, whole files all.

    A quantity of which there is no figure has no chart. Raises ImportError where matplotlib is not installed, and
    OSError.
    """
    with source.open(encoding="utf-8", errors="replace", newline="") as file:
        started, curves = read(file)
    folder.mkdir(parents=True, exist_ok=True)
    charts = []
    for column, name, label in CHARTS:
        if curves[column]:
            path = folder / name
            write_atomically(path, _png(label, started, curves[column]))
            charts.append(path)
    return charts


def read(lines: Iterable[str]) -> tuple[str, Mapping[str, Curves]]:
    """When the figures begin, in words, and for each column that is drawn the curves of the GPUs.

    Lines that are no line of figures, such as one that was cut off by a kill, are passed over.
    """
    curves: dict[str, Curves] = {column: {} for column, _, _ in CHARTS}
    started: datetime | None = None
    rows = csv.reader(line for line in lines if line.endswith("\n"))
    header = next(rows, [])
    places = {column: place for place, column in enumerate(header)}
    drawn = [(places[column], curves[column]) for column in curves if column in places]
    for row in rows:
        try:
            at = datetime.fromisoformat(row[places["time"]])
            name = f"GPU {row[places['gpu']]}: {row[places['name']]}"
            figures = [(chart, float(row[place])) for place, chart in drawn if row[place]]
        except (KeyError, IndexError, ValueError):
            continue
        started = started or at
        seconds = (at - started).total_seconds()
        for chart, value in figures:
            curve = chart.get(name)
            if curve is None:
                curve = chart[name] = Curve()
            curve.add(seconds, value)
    return (started.strftime("%Y-%m-%d %H:%M UTC") if started else ""), curves


def _png(label: str, started: str, curves: Curves) -> bytes:
    # The figure alone: pyplot would look for a screen, and keep every figure that it has made.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, curve in curves.items():
        seconds, mean, low, high = zip(*curve.points(), strict=True)
        minutes = [second / 60 for second in seconds]
        (line,) = axes.plot(minutes, mean, linewidth=1.2, label=name)
        axes.fill_between(minutes, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
    axes.set_xlabel(f"minutes since {started}")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0, top=104 if label.endswith("(%)") else None)
    axes.margins(x=0)
    axes.grid(alpha=0.3)
    # Above the axes, where it hides no line.
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
