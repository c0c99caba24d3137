"""Figures from ``nvidia-smi dmon``, for machines that have this program and no NVML where Python finds it.

It prints a line a GPU and a second, and now and then a header of two lines. Which columns there are, and in which
order, differs from driver to driver, so that they are told by name alone::

    # gpu   pwr gtemp mtemp    sm   mem   enc   dec  mclk  pclk    fb  bar1
    # Idx     W     C     C     %     %     %     %   MHz   MHz    MB    MB
        0    70    48     -     5     1     0     0  7000  1350   442     2

A dash is a figure that the GPU does not give. ``temp`` is what old drivers call ``gtemp``; ``pclk`` is the clock of the
multiprocessors; the MB of ``fb``, the memory in use, are MiB.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from deepspeech_wer.job.gpudevices import Device, NoGpu, Reading, seen
from deepspeech_wer.job.output import one_line

#: Seconds that nvidia-smi may take for one answer: a driver that nobody uses is loaded anew for each.
_ANSWER = 20.0

_GPU = re.compile(r"GPU (\d+): (.+) \(UUID: (GPU-[^)\s]+)\)")
_PART = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)\s]+)\)")


class Dmon:
    """Figures from the program at the path ``program``."""

    def __init__(self, program: str, environment: Mapping[str, str]) -> None:
        """Raises NoGpu."""
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        self.devices = seen(listed(_answer(program, "-L")), environment)

    def rounds(self, say: Callable[[str], None]) -> Iterator[list[Reading]]:
        """See :class:`~deepspeech_wer.job.gpudevices.Source`."""
        totals = self._totals()
        numbers = ",".join(str(device.index) for device in self.devices)
        # A group of its own, so that a wrapper around nvidia-smi ends with all it started. Where the worker is killed
        # the next line that is printed finds no reader, and SIGPIPE ends it.
        process = subprocess.Popen(
            [self._program, "dmon", "-s", "pucm", "-d", "1", "-i", numbers],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            text=True,
            errors="replace",
        )
        self._process = process
        if self._is_stopped:
            self.stop()
        table, remark = Table(), ""
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                reading = table.read(line)
                if reading is not None:
                    yield [replace(reading, memory_total_mib=totals.get(reading.gpu))]
                elif not line.startswith("#"):
                    remark = one_line(line) or remark
        # SIGTERM is what whoever ends all that a job started sends it.
        if process.wait() != -signal.SIGTERM and not self._is_stopped:
            say(f"nvidia-smi dmon gives no figures any more: {remark or f'return code {process.returncode}'}")

    def stop(self) -> None:
        """See :class:`~deepspeech_wer.job.gpudevices.Source`."""
        self._is_stopped = True
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """See :class:`~deepspeech_wer.job.gpudevices.Source`."""
        self.stop()
        if self._process is not None:
            self._process.wait()

    def _totals(self) -> dict[int, float]:
        """The memory of each GPU in MiB, which dmon does not tell; without those that do not tell it either."""
        try:
            text = _answer(self._program, "--query-gpu=index,memory.total", "--format=csv,noheader,nounits")
        except NoGpu:  # dmon itself is about to tell, if it is more than this one figure
            return {}
        return {int(gpu): float(mib) for gpu, mib in re.findall(r"^(\d+), (\d+)$", text, re.MULTILINE)}


class Table:
    """Lines of dmon's output, one after the other."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def read(self, line: str) -> Reading | None:
        """What ``line`` tells, or None for headers and anything else that is no line of figures."""
        words = line.lower().split()
        if line.startswith("#"):
            names = [name for name in (word.lstrip("#") for word in words) if name]
            if "gpu" in names:
                self._columns = names
            return None
        row = dict(zip(self._columns, words, strict=False))
        if len(words) != len(self._columns) or not row["gpu"].isdecimal():
            return None
        return Reading(
            gpu=int(row["gpu"]),
            power_w=_number(row.get("pwr")),
            temperature_c=_number(row.get("gtemp", row.get("temp"))),
            sm_percent=_number(row.get("sm")),
            memory_percent=_number(row.get("mem")),
            memory_used_mib=_number(row.get("fb")),
            sm_clock_mhz=_number(row.get("pclk")),
            memory_clock_mhz=_number(row.get("mclk")),
        )


def listed(text: str) -> list[Device]:
    """The GPUs, and the parts below each, that ``nvidia-smi -L`` lists."""
    devices: list[Device] = []
    for line in text.splitlines():
        gpu, part = _GPU.match(line), _PART.match(line)
        if gpu:
            devices.append(Device(int(gpu[1]), gpu[3], gpu[2]))
        elif part and devices:
            devices[-1] = replace(devices[-1], parts=(*devices[-1].parts, part[1]))
    return devices


def _answer(program: str, *arguments: str) -> str:
    """What ``nvidia-smi`` prints. Raises NoGpu where it fails."""
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_ANSWER,
        )
    except OSError as error:
        raise NoGpu(f"{program} cannot be started: {error.strerror}", is_broken=True) from error
    except subprocess.TimeoutExpired as error:
        raise NoGpu(f"{program} does not answer within {_ANSWER:g} s", is_broken=True) from error
    if "No devices" in done.stdout:
        return ""
    if done.returncode:
        why = one_line(done.stdout) or f"return code {done.returncode}"
        raise NoGpu(f"the NVIDIA driver does not work: {why}", is_broken=True)
    return done.stdout


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "-")
    except ValueError:  # "-", or the "ERR!" of a broken sensor
        return None
    return value if math.isfinite(value) else None
