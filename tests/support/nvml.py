"""A stand-in for NVIDIA's driver: a library of C, compiled here, that says what a test says.

The real binding, nvidia-ml-py, loads it in place of the real one.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")
_MIB = 1 << 20

# NVML_ERROR_DRIVER_NOT_LOADED, NVML_ERROR_LIB_RM_VERSION_MISMATCH, NVML_ERROR_UNKNOWN
NOT_LOADED, MISMATCH, UNKNOWN = 9, 18, 999


@dataclass(frozen=True, kw_only=True)
class FakeGpu:
    """A GPU, or a MIG instance, of the stand-in.

    Attributes:
        uuid: its UUID.
        bus: its address on the PCI bus.
        name: its name.
        total: its memory in MiB.
        used: the part of it that is in use.
        busy: its utilisation in percent.
        state: "plain", "mig" (it could be divided), "divided", "lost" (all but its handle is),
            "gone" (its handle too), "silent" (does not name its processes).
        processes: the id of each process that computes there -> its MiB.
        instances: its MIG instances.
    """

    uuid: str
    bus: str = "00000000:00:00.0"
    name: str = "NVIDIA Stand-In"
    total: int = 81920
    used: int = 0
    busy: int = 0
    state: str = "plain"
    processes: Mapping[int, int] = field(default_factory=dict)
    instances: "Sequence[FakeGpu]" = ()

    def lines(self, word: str = "gpu") -> list[str]:
        """Return what the library reads of it."""
        name = self.name.replace(" ", "_")
        own = f"{self.total * _MIB} {self.used * _MIB} {self.busy} {self.state}"
        lines = [f"{word} {self.uuid} {self.bus} {name} {own}"]
        lines += [f"process {pid} {size * _MIB}" for pid, size in self.processes.items()]
        return lines + [line for one in self.instances for line in one.lines("mig")]


def uuid(number: int) -> str:
    """Return the UUID of a stand-in by its number."""
    return f"GPU-{number:08x}-0000-4000-8000-{number:012x}"


def gpus(count: int) -> list[FakeGpu]:
    """Return so many GPUs, in the order of the bus."""
    return [FakeGpu(uuid=uuid(n), bus=f"00000000:{n + 1:02X}:00.0") for n in range(count)]


class Nvml:
    """The library, and the file that it reads.

    Attributes:
        environ: the variables of a process that is to load it.
    """

    def __init__(self, folder: Path) -> None:
        """Compile it into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "state"
        library = folder / "libnvidia-ml.so.1"
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library)]
        subprocess.run([*command, str(_SOURCE)], check=True)
        self.environ = {"LD_LIBRARY_PATH": str(folder), "ENVKIT_TEST_NVML": str(self._file)}
        self.says([])

    def says(
        self, gpus: Sequence[FakeGpu], *, version: str = "550.54.14", failure: int = 0
    ) -> None:
        """Let it say that these are the machine's GPUs, or fail to start with a code of NVML's."""
        lines = [f"driver {version} {failure}", *(line for one in gpus for line in one.lines())]
        draft = self._file.with_suffix(".new")
        draft.write_text("".join(f"{line}\n" for line in lines))
        draft.replace(self._file)
