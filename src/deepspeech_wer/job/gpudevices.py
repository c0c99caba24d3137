"""GPUs: which there are, which of them a job sees, and what each says of itself through NVML, the driver's library.

A job sees what ``CUDA_VISIBLE_DEVICES`` leaves it, a list of what may be named in four ways:

    0                       the place among the GPUs that this process may open
    GPU-8932f937-d72c       a UUID, or the beginning of one
    MIG-51fa7c7a-4c41       a part of a GPU, by its UUID: the GPU that it is a part of is what is measured
    MIG-GPU-8932f937/1/0    the same, as older drivers write it

As in CUDA the list ends at the first name that means nothing, and an empty list hides all. Places are counted in the
order of the PCI bus. CUDA counts so too where all GPUs of a machine are alike; where they are not it puts the fastest
first, unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` is set.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

#: Seconds between two looks at the GPUs.
PERIOD = 1.0

_MIB = 1 << 20


class NoGpu(Exception):
    """No GPU is seen; the message says why. ``is_broken``: there may well be one, and its driver does not work."""

    def __init__(self, why: str, is_broken: bool = False) -> None:
        super().__init__(why)
        self.is_broken = is_broken


class NoLibrary(NoGpu):
    """NVML is not on this machine, or not where it is looked for."""


@dataclass(frozen=True)
class Device:
    """A GPU: its number on this machine, and the UUIDs of the parts that it is split into, if it is."""

    index: int
    uuid: str
    name: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """One look at the GPU of the number ``gpu``; None is what that GPU does not tell.

    Loads are per cent of the last instant in which at least one kernel ran, or memory was read or written.
    ``energy_mj`` counts from when the driver was loaded.
    """

    gpu: int
    power_w: float | None = None
    temperature_c: float | None = None
    sm_percent: float | None = None
    memory_percent: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    energy_mj: int | None = None


class Source(Protocol):
    """Where figures come from. ``devices`` are the GPUs that the job sees, at least one."""

    devices: list[Device]

    def rounds(self, say: Callable[[str], None]) -> Iterator[list[Reading]]:
        """Readings as they come, once in PERIOD for each GPU, until stopped. ``say`` is told of troubles."""

    def stop(self) -> None:
        """End :meth:`rounds`, from any thread, at once and once for all."""

    def close(self) -> None:
        """Give back what is held."""


def seen(devices: list[Device], environment: Mapping[str, str]) -> list[Device]:
    """Those of ``devices`` that CUDA_VISIBLE_DEVICES leaves visible, in its order. Raises NoGpu where it hides all."""
    if not devices:
        raise NoGpu("the NVIDIA driver finds no GPU on this machine")
    names = environment.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return devices
    chosen: list[Device] = []
    for name in names.split(","):
        device = _named(name.strip(), devices)
        if device is None:
            break
        if device not in chosen:
            chosen.append(device)
    if not chosen:
        raise NoGpu(f"CUDA_VISIBLE_DEVICES={names[:100]!r} hides every GPU of this machine ({len(devices)})")
    return chosen


def _named(name: str, devices: list[Device]) -> Device | None:
    if re.fullmatch("[0-9]{1,4}", name):
        return devices[int(name)] if int(name) < len(devices) else None
    if name.startswith("MIG-GPU-"):
        name = name.removeprefix("MIG-").partition("/")[0]
    if name.startswith("GPU-"):
        found = [device for device in devices if device.uuid.startswith(name)]
    elif name.startswith("MIG-"):
        found = [device for device in devices if any(part.startswith(name) for part in device.parts)]
    else:
        found = []
    return found[0] if len(found) == 1 else None


class Nvml:
    """Figures from NVML. Nothing of the driver is held before this is made or after :meth:`close`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raises NoLibrary, or NoGpu."""
        try:
            import pynvml  # not above: an idle tick has no use for it
        except ImportError as error:
            raise NoLibrary("the Python package nvidia-ml-py is not installed") from error
        self._nvml: Any = pynvml
        self._stopped = threading.Event()
        self._handles: dict[int, Any] = {}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise _why_not(pynvml, error) from error
        try:
            self.devices = seen(self._find(), environment)
        except pynvml.NVMLError as error:
            self.close()
            raise _why_not(pynvml, error) from error
        except NoGpu:
            self.close()
            raise

    def rounds(self, say: Callable[[str], None]) -> Iterator[list[Reading]]:
        """See :class:`Source`. The first round is at once, and one more is after the stop, so that energy is whole."""
        left = list(self.devices)
        began, beat = time.monotonic(), 0
        while left:
            is_last = self._stopped.is_set()
            readings = []
            for device in tuple(left):
                try:
                    readings.append(self._read(device.index))
                except _Lost as error:
                    left.remove(device)
                    say(f"GPU {device.index} ({device.name}) gives no figures any more: {error}")
            if readings:
                yield readings
            if is_last:
                break
            elapsed = time.monotonic() - began
            beat = max(beat + 1, math.ceil(elapsed / PERIOD))
            self._stopped.wait(beat * PERIOD - elapsed)

    def stop(self) -> None:
        """See :class:`Source`."""
        self._stopped.set()

    def close(self) -> None:
        """See :class:`Source`."""
        with contextlib.suppress(self._nvml.NVMLError):  # a driver that went away has nothing to be given back to
            self._nvml.nvmlShutdown()

    def _find(self) -> list[Device]:
        nvml, devices, closed = self._nvml, [], ""
        count = nvml.nvmlDeviceGetCount()
        for index in range(count):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                devices.append(
                    Device(index, nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle), self._parts(handle))
                )
            except nvml.NVMLError as error:  # broken, or kept from us, as a cluster does with what others have booked
                closed = str(error)
                continue
            self._handles[index] = handle
        if count and not devices:
            raise NoGpu(f"no GPU of this machine ({count}) can be opened: {closed}", is_broken=True)
        return devices

    def _parts(self, handle: Any) -> tuple[str, ...]:
        nvml, parts = self._nvml, []
        try:
            places = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if nvml.nvmlDeviceGetMigMode(handle)[0] else 0
        except nvml.NVMLError:  # most GPUs cannot be split
            return ()
        for place in range(places):
            with contextlib.suppress(nvml.NVMLError):  # a place that is not taken
                parts.append(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)))
        return tuple(parts)

    def _read(self, index: int) -> Reading:
        nvml, refusals = self._nvml, [""]

        def ask(name: str, *arguments: Any, **options: Any) -> Any:
            """The answer to one question, or None where this GPU, driver or package does not know it."""
            question = getattr(nvml, name, None)
            try:
                return question and question(self._handles[index], *arguments, **options)
            except nvml.NVMLError as error:
                if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
                    raise _Lost(str(error)) from error
                refusals.append(str(error))
                return None

        def first(answers: Iterable[Any]) -> Any:
            return next((answer for answer in answers if answer is not None), None)

        load = ask("nvmlDeviceGetUtilizationRates")
        # The second form tells what nvidia-smi tells; the first counts what the driver reserves as used.
        memory = first(ask("nvmlDeviceGetMemoryInfo", **options) for options in ({"version": nvml.nvmlMemory_v2}, {}))
        power = ask("nvmlDeviceGetPowerUsage")
        reading = Reading(
            gpu=index,
            power_w=None if power is None else power / 1000,
            # The first is the old name, which is to go, and the second the new one, which old drivers lack.
            temperature_c=first(
                ask(name, nvml.NVML_TEMPERATURE_GPU)
                for name in ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV")
            ),
            sm_percent=load and load.gpu,
            memory_percent=load and load.memory,
            memory_used_mib=memory and memory.used / _MIB,
            memory_total_mib=memory and memory.total / _MIB,
            sm_clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            memory_clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            energy_mj=ask("nvmlDeviceGetTotalEnergyConsumption"),
        )
        if reading == Reading(index):
            raise _Lost(refusals[-1])
        return reading


class _Lost(Exception):
    """The GPU answers no more."""


def _why_not(nvml: Any, error: Any) -> NoGpu:
    """What an error of NVML at its start means."""
    if error.value == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return NoLibrary("no NVIDIA driver is installed: there is no libnvidia-ml.so.1")
    if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return NoGpu(
            "the NVIDIA driver was updated while the old one is still loaded (driver/library version mismatch): reboot",
            is_broken=True,
        )
    if error.value == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return NoGpu("the NVIDIA driver is installed and its kernel module is not loaded", is_broken=True)
    return NoGpu(f"the NVIDIA driver does not work: {error}", is_broken=True)
