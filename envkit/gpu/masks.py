"""Which devices a list of them means, and which variables let a process see these and no others.

Pure functions. Sources: CUDA C++ Programming Guide, "CUDA Environment Variables"
(CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER); ROCm documentation, "GPU isolation techniques"
(ROCR_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES); Slurm, gres.html ("NoDevFiles").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

CUDA = "CUDA_VISIBLE_DEVICES"
HIP = "HIP_VISIBLE_DEVICES"
ROCR = "ROCR_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"

# What hides devices from a process on the machine itself. Inside of a container devices are
# counted anew, so that none of these, nor the container runtime's own, is ever handed on there.
MASKS = (CUDA, HIP, ROCR)

# What frameworks call it to take memory as they need it, and the value for yes and no: TensorFlow's
# guide "Use a GPU"; JAX's documentation, "GPU memory allocation". PyTorch always does.
_GROWTH = (
    ("TF_FORCE_GPU_ALLOW_GROWTH", "true", "false"),
    ("XLA_PYTHON_CLIENT_PREALLOCATE", "false", "true"),
)

# All variables that are ever set.
NAMES = (*MASKS, ORDER, *(name for name, _, _ in _GROWTH))

# What strtoul takes from the beginning of a text.
_NUMBER = re.compile(r"\s*([+-]?)(\d+)", re.ASCII)

# No machine has a device whose index has more digits.
_DIGITS = 6


class Named(NamedTuple):
    """What a device can be called.

    Attributes:
        number: its place in the order of the PCI bus, from 0; None for a MIG instance.
        uuid: its UUID, as in "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6" or "MIG-…".
    """

    number: int | None
    uuid: str


def visible(mask: str | None, devices: Sequence[Named]) -> tuple[Named, ...]:
    """Return the devices that a CUDA program sees, in its order.

    Enumeration stops at the first entry that is no device, a UUID can be cut short as long as it is
    unique, and of MIG instances one is seen (CUDA C++ Programming Guide, CUDA_VISIBLE_DEVICES;
    MIG User Guide, "CUDA Device Enumeration"). A device that comes twice hides all, numbers and
    UUIDs do not mix, and numbers are read as strtoul(3) does: so PyTorch follows the driver
    (torch/cuda, `_parse_visible_devices`).

    Args:
        mask: the value of CUDA_VISIBLE_DEVICES; None if it is not set.
        devices: those of the machine. Indices are taken to count as theirs do.
    """
    if mask is None:
        return tuple(devices)
    found: list[Named] = []
    kind = ""
    for entry in mask.split(","):
        this = _kind(entry)
        device = _device(entry, this, devices)
        if device is None or (kind and kind != this):
            break
        if device in found:
            return ()
        found.append(device)
        if this == "MIG":
            break
        kind = this
    return tuple(found)


def _kind(entry: str) -> str:
    prefix = entry.strip()[:4]
    return prefix[:3] if prefix in ("GPU-", "MIG-") else "index"


def _device(entry: str, kind: str, devices: Sequence[Named]) -> Named | None:
    """Return the one device that an entry of a list means; None if it means none, or several."""
    if kind == "index":
        number = _NUMBER.match(entry)
        if not number or number[1] == "-" or len(number[2]) > _DIGITS:
            return None
        wanted = int(number[2])
        return next((one for one in devices if one.number == wanted), None)
    beginning = entry.strip()
    meant = [one for one in devices if one.uuid.startswith(beginning)]
    return meant[0] if len(meant) == 1 else None


def hides_all(mask: str | None) -> bool:
    """Return whether a list hides all devices, in the ways that are common, rather than some."""
    return mask is not None and mask.partition(",")[0].strip() in ("", "-1", "NoDevFiles")


def is_of_indices(mask: str) -> bool:
    """Return whether a list, as in CUDA_VISIBLE_DEVICES, has numbers in it, whose order matters."""
    return bool(mask) and _kind(mask.partition(",")[0]) == "index"


def lists(mask: str) -> dict[str, str]:
    """Return the variables that let a process see the devices of a list and no others.

    CUDA's alone would do on machines with NVIDIA's GPUs; ROCm's stand beside it, so that one
    setting is right on both. ROCm hides twice: first ROCR_VISIBLE_DEVICES, by index or UUID, then,
    counting anew among what is left, HIP_VISIBLE_DEVICES, by index, in whose absence HIP takes
    CUDA_VISIBLE_DEVICES. So numbers are said to HIP alone, and UUIDs to ROCR, with HIP counting
    what that leaves. To HIP an empty list is none at all; -1 is no device, and ends the list.

    Args:
        mask: as in CUDA_VISIBLE_DEVICES.
    """
    if not mask:
        return {CUDA: "", HIP: "-1"}
    if is_of_indices(mask):
        return {CUDA: mask, HIP: mask}
    count = len(mask.split(","))
    return {CUDA: mask, ROCR: mask, HIP: ",".join(map(str, range(count)))}


def growth(wanted: bool | None) -> dict[str, str]:
    """Return the variables that say whether frameworks take memory as they need it.

    Args:
        wanted: whether they do; None says nothing, and there are none.
    """
    if wanted is None:
        return {}
    return {name: yes if wanted else no for name, yes, no in _GROWTH}


def variables(mask: str | None, *, order: str, memory_growth: bool | None) -> dict[str, str]:
    """Return the variables of a process: what it sees, and how it counts and uses that.

    Args:
        mask: as in CUDA_VISIBLE_DEVICES; None says nothing of what is seen.
        order: the value of CUDA_DEVICE_ORDER.
        memory_growth: as for `growth`.
    """
    seen = {} if mask is None else lists(mask)
    return {**seen, ORDER: order, **growth(memory_growth)}


def added(environ: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `wanted` that are added to others.

    None that is set is overridden, with one exception: a list of numbers comes with the order that
    they count in, which without a list chooses nothing. What hides from HIP is one thing, be it by
    its own variable or by one of those that it looks at as well. Where a scheduler has given GPUs
    to a job, what may be seen is the scheduler's to say.
    """
    kept = {*environ}
    if is_allotted(environ):
        kept.update(MASKS)
    if kept & {*MASKS}:
        kept.update((HIP, ROCR))
    if CUDA in wanted and CUDA not in kept and is_of_indices(wanted[CUDA]):
        kept.discard(ORDER)
    return {name: value for name, value in wanted.items() if name not in kept}


def is_allotted(environ: Mapping[str, str]) -> bool:
    """Return whether Slurm has given this job GPUs (srun(1), SLURM_JOB_GPUS, SLURM_STEP_GPUS)."""
    return "SLURM_JOB_GPUS" in environ or "SLURM_STEP_GPUS" in environ


def is_scheduled(environ: Mapping[str, str]) -> bool:
    """Return whether a process is in an allocation of Slurm's (srun(1), SLURM_JOB_ID)."""
    return "SLURM_JOB_ID" in environ
