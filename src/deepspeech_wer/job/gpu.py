"""What the GPUs do while a job runs: ``gpu.csv`` in the result folder, charts of it, and the energy in hyper.json.

``gpu.csv`` has a line a GPU and a second, below a line of names, and goes to the disk as it comes::

    time,gpu,name,power_w,temperature_c,sm_percent,memory_percent,memory_used_mib,...
    2026-01-02T03:04:05.006Z,0,NVIDIA A100-SXM4-40GB,251.3,58,97,41,31877,40960,1410,1215

A figure that the GPU does not give is empty. Times never run backwards, whatever happens to the machine's clock. Where
there is no GPU there is no file, and nothing is said; no trouble with a GPU, a driver or a chart fails a job.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from deepspeech_wer.files import write_atomically
from deepspeech_wer.job.gpudevices import Device, NoGpu, NoLibrary, Nvml, Reading, Source
from deepspeech_wer.job.gpudmon import Dmon
from deepspeech_wer.job.output import Output, one_line
from deepspeech_wer.job.spec import JobSpec
from deepspeech_wer.results import hyper

#: The file in the result folder.
GPU_CSV = "gpu.csv"

#: The figures of a line, after time, number and name of the GPU: fields of a Reading.
FIGURES = (
    "power_w",
    "temperature_c",
    "sm_percent",
    "memory_percent",
    "memory_used_mib",
    "memory_total_mib",
    "sm_clock_mhz",
    "memory_clock_mhz",
)

#: Seconds that the sampler has for its last look. More means a driver that hangs, which is not waited for.
_STOPPING = 2.0

#: Seconds that a driver has to name its GPUs; one that has to wake them up takes some.
_LOOKING = 30.0

_MJ_PER_KWH = 3.6e9


def visible(environment: Mapping[str, str] | None = None) -> list[str]:
    """The names of the GPUs that a job of this environment sees, by default this process's own. Raises nothing."""
    return [device.name for device in _look(environment)[0]]


def why_none(environment: Mapping[str, str] | None = None) -> str:
    """Why :func:`visible` names no GPU: a sentence without a full stop; empty where it names one."""
    return _look(environment)[1]


def sampling(spec: JobSpec, output: Output) -> AbstractContextManager[Usage]:
    """Watch the GPUs that this process's environment leaves visible, for as long as the block lasts.

    At its end, also where the job failed, figures and charts go where ``spec`` says; where the job was interrupted
    nothing is done that takes time. Troubles are a line in ``output`` each.
    """
    return _Sampling(spec, output)


def record(hyper_path: Path, usage: Usage) -> None:
    """Add ``results.energy_kwh`` to a valid hyper.json that has none of its own; nothing else in it changes.

    Does nothing where the energy is not known, or where there is no valid hyper.json. Raises OSError where the file
    cannot be written.
    """
    energy = usage.energy_kwh()
    if energy is None:
        return
    try:
        content = hyper.parse(hyper_path.read_bytes())
    except (FileNotFoundError, hyper.InvalidHyper):  # the job has failed, and is told so elsewhere
        return
    if "energy_kwh" not in content["results"]:
        content["results"]["energy_kwh"] = round(energy, 6)
        write_atomically(hyper_path, json.dumps(content, indent=2) + "\n")


class Usage:
    """What the GPUs of a job have used."""

    def __init__(self) -> None:
        self._meters: dict[int, _Meter] = {}

    def add(self, seconds: float, reading: Reading) -> None:
        """Take one reading of one GPU, ``seconds`` after the start."""
        self._meters.setdefault(reading.gpu, _Meter()).add(seconds, reading)

    def energy_kwh(self) -> float | None:
        """The energy of all GPUs in kWh; None where there is none, or where one of them does not tell its part."""
        parts = [meter.energy_mj() for meter in self._meters.values()]
        known = [part for part in parts if part is not None]
        return sum(known) / _MJ_PER_KWH if known and len(known) == len(parts) else None


class _Meter:
    """The energy of one GPU: by its own counter where it has one, else by its power over time (trapezoidal rule)."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._count = 0
        self._is_reset = False
        self._power: tuple[float, float] | None = None
        self._by_power: float | None = None

    def add(self, seconds: float, reading: Reading) -> None:
        if reading.energy_mj is not None:
            if self._first is None:
                self._first = reading.energy_mj
            self._is_reset |= reading.energy_mj < self._count
            self._count = reading.energy_mj
        if reading.power_w is not None:
            if self._power is not None:
                before, power = self._power
                mj = (seconds - before) * (reading.power_w + power) / 2 * 1000
                self._by_power = (self._by_power or 0.0) + mj
            self._power = (seconds, reading.power_w)

    def energy_mj(self) -> float | None:
        """Millijoules since the first reading, or None where they cannot be told.

        A counter that began anew in between, with the driver, or that stands still does not tell.
        """
        if self._first is not None and self._count > self._first and not self._is_reset:
            return self._count - self._first
        return self._by_power


class _Sampling(AbstractContextManager[Usage]):
    """The thread that asks, and what is done with the answers.

    All that concerns the driver is in that thread, since a broken driver may not answer for ever. NVML is loaded into
    the worker while it runs, which only ever starts programs and never goes on in a copy of itself.
    """

    def __init__(self, spec: JobSpec, output: Output) -> None:
        self._spec = spec
        self._output = output
        self._usage = Usage()
        self._source: Source | None = None
        self._is_stopped = False
        self._csv = spec.partial / GPU_CSV
        self._file: BinaryIO | None = None
        self._is_written = False
        self._began, self._began_at = time.monotonic(), datetime.now(UTC)
        self._thread = threading.Thread(target=self._sample, name="gpu", daemon=True)

    def __enter__(self) -> Usage:
        self._thread.start()
        return self._usage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopped = True
        if self._source is not None:
            self._source.stop()
        self._thread.join(_STOPPING)
        if error is not None and not isinstance(error, Exception):
            return
        if self._thread.is_alive():
            self._say("the GPU driver does not answer; the GPU figures end here")
        if self._is_written:
            self._copy()
            self._draw()

    def _sample(self) -> None:
        try:
            source = self._source = _open(os.environ)
        except NoGpu as error:
            if error.is_broken:
                self._say(f"no GPU figures: {error}")
            return
        if self._is_stopped:  # it was set before there was anything to stop
            source.stop()
        names = {device.index: device.name for device in source.devices}
        try:
            for readings in source.rounds(self._say):
                seconds = time.monotonic() - self._began
                for reading in readings:
                    self._usage.add(seconds, reading)
                self._write(seconds, readings, names)
        finally:
            source.close()
            if self._file is not None:
                self._file.close()

    def _write(self, seconds: float, readings: list[Reading], names: Mapping[int, str]) -> None:
        """Write the lines of one round, whole or not at all as far as the system lets us, and past every buffer."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        if not self._is_written:
            rows.writerow(("time", "gpu", "name", *FIGURES))
        at = (self._began_at + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for reading in readings:
            figures = (_figure(getattr(reading, name)) for name in FIGURES)
            rows.writerow((at, reading.gpu, names.get(reading.gpu, ""), *figures))
        try:
            if not self._is_written:
                self._is_written = True
                self._file = self._csv.open("wb", buffering=0)
            data = text.getvalue().encode()
            if self._file is not None and self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._say(f"no more GPU figures: {self._csv} cannot be written: {error.strerror}")
            if self._file is not None:
                self._file.close()
            self._file = None

    def _copy(self) -> None:
        if not self._spec.gpu_csv:
            return
        target = _during_run(self._spec, self._spec.gpu_csv)
        try:
            _replace(self._csv, target)
        except OSError as error:
            self._say(f"the GPU figures are not in {target}: {error.strerror or error}")

    def _draw(self) -> None:
        if not self._spec.gpu_charts:
            return
        folder = _during_run(self._spec, self._spec.gpu_charts)
        try:
            from deepspeech_wer.job import gpucharts

            gpucharts.draw(self._csv, folder)
        except ImportError as error:
            self._say(f"no GPU charts: {error.name} is not installed (pip install matplotlib)")
        except Exception as error:  # whatever a drawing library may raise: a chart is no reason to fail a job
            self._say(f"no GPU charts in {folder}: {type(error).__name__}: {error}")

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a log that takes no more is told by who writes the job's own output
            self._output.step(one_line(text))


def _look(environment: Mapping[str, str] | None) -> tuple[list[Device], str]:
    """The GPUs, or why there are none. A driver that hangs, as after a GPU's fault, is left behind in its thread."""
    found: list[tuple[list[Device], str]] = []

    def look() -> None:
        try:
            source = _open(os.environ if environment is None else environment)
            source.close()
            found.append((source.devices, ""))
        except NoGpu as error:
            found.append(([], str(error)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_LOOKING)
    return found[0] if found else ([], f"the driver gave no answer for {_LOOKING:g} seconds")


def _open(environment: Mapping[str, str]) -> Source:
    """NVML, or else nvidia-smi. Raises NoGpu where neither sees a GPU."""
    try:
        return Nvml(environment)
    except NoLibrary:
        program = shutil.which("nvidia-smi")
        if program is None:
            raise
        return Dmon(program, environment)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _during_run(spec: JobSpec, path: str) -> Path:
    """Where ``path`` is while the job runs: what is to be in the result folder is in the partial one until its end."""
    target = Path(path)
    return spec.partial / target.relative_to(spec.result) if target.is_relative_to(spec.result) else target


def _replace(source: Path, target: Path) -> None:
    """Copy ``source`` to ``target``, which is whole at every moment. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    os.close(handle)
    try:
        shutil.copyfile(source, temporary)
        Path(temporary).chmod(0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
