"""The machine's NVIDIA GPUs, as its driver tells of them.

Source: NVML API Reference Guide; nvidia-ml-py is its binding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from envkit import procfs
from envkit.errors import MissingError
from envkit.gpu.masks import Named

T = TypeVar("T")

# Drivers that name the wrong processes (nvidia-ml-py's own notes on 535.43 and 535.86).
_CONFUSED = ((535, 43), (535, 86))

# The program of the Multi-Process Service (NVIDIA MPS documentation).
_SERVER = "nvidia-cuda-mps-server"

# A GPU of whose memory more is in use than this is taken to be computing.
_IN_USE = 0.25


class NoDriverError(MissingError):
    """There is no NVIDIA driver, and so there are no GPUs."""


class Gpu(NamedTuple):
    """A GPU, or a MIG instance of one.

    Attributes:
        number: its place in the order of the PCI bus, or that of the GPU an instance is part of.
        uuid: its UUID; empty if it does not answer.
        name: as in "NVIDIA H100 80GB HBM3"; empty if it does not answer.
        handle: NVML's own for it.
        is_instance: whether it is a MIG instance, which has no index of its own.
        is_divided: whether it is divided into MIG instances, and cannot be used as a whole.
        fault: why nothing is known of it, in the driver's words; empty if all is well.
    """

    number: int
    uuid: str
    name: str
    handle: Any = None
    is_instance: bool = False
    is_divided: bool = False
    fault: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether a program can use it."""
        return not self.fault and not self.is_divided

    @property
    def named(self) -> Named:
        """What it can be called."""
        return Named(None if self.is_instance else self.number, self.uuid)


class Process(NamedTuple):
    """A process that computes on a GPU: its id, and the bytes it has there, if that is known."""

    pid: int
    memory: int | None


class Load(NamedTuple):
    """What a GPU is doing: memory in bytes, utilisation in percent; None where it does not say."""

    memory_used: int | None = None
    memory_total: int | None = None
    utilisation: int | None = None

    @property
    def is_much(self) -> bool:
        """Whether so much memory is in use that somebody is taken to be computing."""
        return (self.memory_used or 0) > _IN_USE * (self.memory_total or 0)


class Driver:
    """The driver, for as long as it is asked."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            NoDriverError: there is none.
            MissingError: it does not work.
        """
        import pynvml

        self._nvml: ModuleType = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise _explained(pynvml, error) from None

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *exception: object) -> None:
        self._asked(self._nvml.nvmlShutdown)

    @cached_property
    def version(self) -> str:
        """Its version; empty if it does not say."""
        return str(self._asked(self._nvml.nvmlSystemGetDriverVersion) or "")

    def gpus(self) -> tuple[Gpu, ...]:
        """Return the GPUs in the order of the PCI bus, each followed by its MIG instances.

        NVML's own order may be another after each start of the machine.
        """
        count = self._asked(self._nvml.nvmlDeviceGetCount) or 0
        found = _in_order([self._gpu(number) for number in range(count)])
        gpus: list[Gpu] = []
        for number, gpu in enumerate(found):
            gpus.append(gpu._replace(number=number))
            gpus += [one._replace(number=number) for one in self._instances(gpu)]
        return tuple(gpus)

    def load(self, gpu: Gpu) -> Load:
        """Return what a GPU is doing."""
        if gpu.fault:
            return Load()
        memory = self._asked(self._nvml.nvmlDeviceGetMemoryInfo, gpu.handle)
        rates = self._asked(self._nvml.nvmlDeviceGetUtilizationRates, gpu.handle)
        return Load(
            memory_used=memory and int(memory.used),
            memory_total=memory and int(memory.total),
            utilisation=rates and int(rates.gpu),
        )

    def processes(self, gpu: Gpu) -> tuple[Process, ...] | None:
        """Return the processes that compute on a GPU, by their ids on the host; None: not known."""
        if gpu.fault or _CONFUSED[0] <= _numbers(self.version) <= _CONFUSED[1]:
            return None
        found = self._asked(self._nvml.nvmlDeviceGetComputeRunningProcesses, gpu.handle)
        if found is None:
            return None
        return tuple(Process(pid=int(one.pid), memory=one.usedGpuMemory) for one in found)

    def user(self, gpu: Gpu) -> str:
        """Return who computes on a GPU that nobody has on lease; empty if nobody does.

        Where no process is named, as from within a container, much memory in use tells.
        """
        user = computing(self.processes(gpu))
        return user or ("somebody" if self.load(gpu).is_much else "")

    def _gpu(self, number: int) -> tuple[str, Gpu]:
        """Return the GPU that NVML gives a number, and its address on the bus, if that is known."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            bus = nvml.nvmlDeviceGetPciInfo(handle).busId
            gpu = Gpu(
                number=number,
                uuid=nvml.nvmlDeviceGetUUID(handle),
                name=nvml.nvmlDeviceGetName(handle),
                handle=handle,
                is_divided=bool(self._mode(handle)),
            )
        except nvml.NVMLError as error:
            return "", Gpu(number=number, uuid="", name="", fault=str(error))
        return str(bus).lower(), gpu

    def _instances(self, gpu: Gpu) -> Iterator[Gpu]:
        nvml = self._nvml
        if not gpu.is_divided:
            return
        for number in range(self._asked(nvml.nvmlDeviceGetMaxMigDeviceCount, gpu.handle) or 0):
            handle = self._asked(nvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu.handle, number)
            uuid = self._asked(nvml.nvmlDeviceGetUUID, handle) if handle else None
            if uuid:
                name = self._asked(nvml.nvmlDeviceGetName, handle) or ""
                yield Gpu(number=gpu.number, uuid=uuid, name=name, handle=handle, is_instance=True)

    def _mode(self, handle: Any) -> int:
        """Return 1 if a GPU is divided into MIG instances."""
        modes = self._asked(self._nvml.nvmlDeviceGetMigMode, handle)
        return modes[0] if modes else 0

    def _asked(self, ask: Callable[..., T], *arguments: Any) -> T | None:
        """Return what NVML answers; None if this GPU does not have it, or does not answer."""
        try:
            return ask(*arguments)
        except self._nvml.NVMLError:
            return None


def computing(processes: Sequence[Process] | None) -> str:
    """Return who computes, by the first of some processes; empty if nobody is known to."""
    for process in processes or ():
        found = procfs.find(process.pid)
        # The server of CUDA's Multi-Process Service is there whether or not somebody computes.
        if found is None or os.path.basename(found.words[0]) != _SERVER:
            return f"{found.user} ({found.command})" if found else "somebody"
    return ""


def _in_order(found: Sequence[tuple[str, Gpu]]) -> list[Gpu]:
    """Return GPUs in the order of the bus; one whose address is not known keeps its place."""
    addresses = iter(sorted((one for one in found if one[0]), key=lambda one: one[0]))
    return [next(addresses)[1] if address else gpu for address, gpu in found]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _explained(nvml: ModuleType, error: Exception) -> MissingError:
    """Return what it means that the driver cannot be asked."""
    code = getattr(error, "value", None)
    if code == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return NoDriverError("There is no NVIDIA driver here (no libnvidia-ml.so.1)")
    if code == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return NoDriverError("The NVIDIA driver is installed but not loaded")
    if code == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return MissingError(
            "The NVIDIA driver that is loaded is another version than its library",
            "Start the machine anew, or load the driver's modules again.",
        )
    return MissingError(f"The NVIDIA driver does not work: {error}")
