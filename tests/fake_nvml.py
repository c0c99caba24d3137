"""A fake of NVML, the library of NVIDIA's driver: what cannot be had on a machine without such a GPU.

``FakeNvml`` stands in for the module ``pynvml`` (package ``nvidia-ml-py``), whose names and habits it has: the errors
are of one class, figures come in the library's units, and questions that a GPU does not know raise "Not Supported".
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

MIB = 1 << 20


class FakeNVMLError(Exception):
    """An error of the library, with its number."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return {
            3: "Not Supported",
            6: "Not Found",
            9: "Driver Not Loaded",
            12: "NVML Shared Library Not Found",
            13: "Function Not Found",
            15: "GPU is lost",
            18: "RM has detected an NVML/RM version mismatch.",
        }.get(self.value, f"error {self.value}")


@dataclass
class FakeGpu:
    """A GPU. ``refuses`` are the questions that it does not know; it is lost after so many
    rounds of questions, of which the load is the first."""

    uuid: str = "GPU-00000000-1111-2222-3333-444444444444"
    name: str = "Fake A100"
    refuses: tuple[str, ...] = ()
    lost_after: int | None = None
    parts: tuple[str, ...] = ()
    milliwatts: int = 250_500
    #: The counter's first value, and by how much each look at it moves it: by 1 kWh.
    energy: int = 7_000_000
    energy_step: int = 3_600_000_000
    asked: list[str] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return self.asked.count("nvmlDeviceGetUtilizationRates")


class FakeNvml(ModuleType):
    """The module. ``init_error`` is the number of the error with which it does not start."""

    NVMLError = FakeNVMLError
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    nvmlMemory_v2 = 0x02000028

    def __init__(self, *gpus: FakeGpu, init_error: int = 0) -> None:
        super().__init__("pynvml")
        self.gpus = list(gpus)
        self.init_error = init_error
        self.is_open = 0

    def install(self) -> None:
        """Be what ``import pynvml`` finds, in this process."""
        sys.modules["pynvml"] = self

    def nvmlInit(self) -> None:
        if self.init_error:
            raise FakeNVMLError(self.init_error)
        self.is_open += 1

    def nvmlShutdown(self) -> None:
        assert self.is_open, "shut down more often than started"
        self.is_open -= 1

    def nvmlDeviceGetCount(self) -> int:
        assert self.is_open
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self._ask(self.gpus[index], "nvmlDeviceGetHandleByIndex")

    def nvmlDeviceGetUUID(self, handle: FakeGpu | str) -> str:
        return handle if isinstance(handle, str) else handle.uuid

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return gpu.name

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        if not gpu.parts:
            raise FakeNVMLError(3)
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, place: int) -> str:
        if place >= len(gpu.parts):
            raise FakeNVMLError(6)
        return gpu.parts[place]

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> Any:
        return self._ask(gpu, "nvmlDeviceGetUtilizationRates", SimpleNamespace(gpu=97, memory=41))

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu, version: int | None = None) -> Any:
        question = "nvmlDeviceGetMemoryInfo_v2" if version else "nvmlDeviceGetMemoryInfo"
        used = 1000 if version else 1500
        return self._ask(gpu, question, SimpleNamespace(used=used * MIB, total=40960 * MIB))

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        return self._ask(gpu, "nvmlDeviceGetPowerUsage", gpu.milliwatts)

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        return self._ask(gpu, "nvmlDeviceGetTemperature", 58)

    def nvmlDeviceGetTemperatureV(self, gpu: FakeGpu, sensor: int) -> int:
        return self._ask(gpu, "nvmlDeviceGetTemperatureV", 59)

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, clock: int) -> int:
        return self._ask(gpu, "nvmlDeviceGetClockInfo", {1: 1410, 2: 1215}[clock])

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        before = gpu.energy
        answer = self._ask(gpu, "nvmlDeviceGetTotalEnergyConsumption", before)
        gpu.energy += gpu.energy_step
        return answer

    def _ask(self, gpu: FakeGpu, question: str, answer: Any = None) -> Any:
        assert self.is_open, f"{question} was asked of a library that is not started"
        is_new_round = question == "nvmlDeviceGetUtilizationRates"
        if gpu.lost_after is not None and gpu.rounds + is_new_round > gpu.lost_after:
            raise FakeNVMLError(15)
        gpu.asked.append(question)
        if question in gpu.refuses:
            raise FakeNVMLError(3)
        return gpu if question == "nvmlDeviceGetHandleByIndex" else answer
