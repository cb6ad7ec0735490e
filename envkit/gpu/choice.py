"""Which of a machine's GPUs a command can have: by settings, by hand, by a scheduler, by lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envkit.config import GpuConfig
from envkit.declared import Count
from envkit.errors import MissingError, UsageError
from envkit.gpu import masks
from envkit.gpu.devices import Gpu
from envkit.gpu.marks import LEASE
from envkit.quantities import count as counted
from envkit.quantities import few

# No machine has a GPU with a greater number.
_MOST = 1000


def candidates(
    config: GpuConfig, count: Count, gpus: Sequence[Gpu], by_hand: str | None, order: str
) -> tuple[Gpu, ...]:
    """Return the GPUs of which a run can have some, the best first.

    Args:
        config: the settings, whose devices are meant if it names any.
        count: how many are wanted; instances of GPUs will do for one only, since a process can use
            one of them and no more (MIG User Guide, "CUDA Device Enumeration").
        gpus: all of the machine.
        by_hand: the value of CUDA_VISIBLE_DEVICES that somebody set by hand, which is obeyed as
            well; None if nobody did.
        order: what its numbers count in (CUDA_DEVICE_ORDER).

    Raises:
        UsageError: the settings name a device that is not there, or the lists do not agree.
    """
    meant = gpus if config.devices is None else _configured(config, gpus)
    chosen = [gpu for gpu in meant if gpu.is_usable and (count == 1 or not gpu.is_instance)]
    if by_hand is None:
        return tuple(chosen)
    seen = masks.visible(by_hand, [gpu.named for gpu in gpus if not gpu.fault])
    if seen and masks.is_of_indices(by_hand) and not _is_certain(order, gpus):
        raise UsageError(
            f"It is not certain which GPUs {masks.CUDA}={by_hand} means: there are several kinds",
            f"Set {masks.ORDER}=PCI_BUS_ID beside it, so that it counts as nvidia-smi does.",
        )
    by_uuid = {gpu.uuid: gpu for gpu in chosen}
    return tuple(by_uuid[one.uuid] for one in seen if one.uuid in by_uuid)


def number_of(count: Count, found: Sequence[Gpu], gpus: Sequence[Gpu], narrowed: str) -> int:
    """Return how many GPUs are meant.

    Args:
        count: what was asked for.
        found: the candidates.
        gpus: all of the machine.
        narrowed: what says that no others are candidates, for the message; may be empty.

    Raises:
        MissingError: there are not so many.
    """
    number = len(found) if count == "all" else count
    if 0 < number <= len(found):
        return number
    whole = [gpu for gpu in gpus if not gpu.is_instance]
    lost = [f"GPU {gpu.number}: {gpu.fault}" for gpu in whole if gpu.fault]
    reasons = "; ".join([*([narrowed] if narrowed else []), *lost])
    divided = any(gpu.is_divided for gpu in whole) and count != 1
    hint = "A process can use one MIG instance, and no more." if divided else "See `envkit gpu`."
    wanted = "All GPUs" if count == "all" else counted(count, "GPU")
    raise MissingError(
        f"{wanted} wanted, but {len(found)} of this machine's {len(whole)} can be had"
        + (f" ({reasons})" if reasons else ""),
        hint,
    )


def scheduled(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that Slurm gave to this job (srun(1), SLURM_STEP_GPUS, SLURM_JOB_GPUS).

    Of these a task can have been given some only, which CUDA_VISIBLE_DEVICES says (--gpu-bind).

    Args:
        environ: the variables. Slurm's have the numbers of the machine.
        gpus: those that the driver tells of: all of the machine, or where Slurm hides the others
            (cgroup.conf(5), ConstrainDevices) those of the job.
    """
    given = environ.get("SLURM_STEP_GPUS") or environ.get("SLURM_JOB_GPUS") or ""
    numbers = _numbers(given)
    whole = [gpu for gpu in gpus if not gpu.is_instance]
    if len(whole) == len(numbers):
        found = [gpu for gpu in gpus if gpu.is_usable]
    else:
        by_index = {gpu.number: gpu for gpu in whole if gpu.is_usable}
        found = [by_index[one] for one in numbers if one in by_index]
    seen = masks.visible(environ.get(masks.CUDA), [gpu.named for gpu in gpus if not gpu.fault])
    return tuple(gpu for gpu in found if gpu.named in seen)


def leased(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that this process has on lease already."""
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    return tuple(by_uuid[one] for one in environ.get(LEASE, "").split(",") if one in by_uuid)


def part(
    config: GpuConfig, devices: Sequence[str] | None, outer: Sequence[Gpu], gpus: Sequence[Gpu]
) -> tuple[Gpu, ...]:
    """Return the GPUs of a lease of which a run within it can have some.

    Args:
        config: the settings, with what the command line says above them.
        devices: those that the command line names; None if it names none.
        outer: the GPUs of the lease.
        gpus: all of the machine.

    Raises:
        UsageError: a device is named that is not there.
    """
    if devices is None:
        return tuple(outer)
    return tuple(gpu for gpu in _configured(config, gpus) if gpu in outer)


def _configured(config: GpuConfig, gpus: Sequence[Gpu]) -> list[Gpu]:
    """Return the devices that the settings name.

    Raises:
        UsageError: there is no such device, or none that a program can use, or not just one.
        MissingError: one is lost.
    """
    named = {gpu.uuid: gpu for gpu in gpus if not gpu.fault}
    lost = {str(gpu.number): gpu.fault for gpu in gpus if gpu.fault}
    devices = config.devices or ()
    if config.order != "PCI_BUS_ID" and any(one.isdecimal() for one in devices):
        raise UsageError(
            f"Which GPUs gpu.devices means is not known in the order {config.order}",
            "Name them by their UUIDs, or let order be PCI_BUS_ID.",
        )
    found: list[Gpu] = []
    for device in devices:
        if device in lost:
            raise MissingError(f"GPU {device} cannot be used: {lost[device]}")
        meant = masks.visible(device, [gpu.named for gpu in named.values()])
        if len(meant) != 1:
            several = sum(gpu.uuid.startswith(device) for gpu in named.values()) > 1
            by_uuid = not device.isdecimal()
            known = few((one.uuid if by_uuid else one.number for one in named.values()), 16)
            what = f"{device} means several GPUs" if several else f"There is no GPU {device} here"
            raise UsageError(what, f"There are: {known or 'none'}.")
        gpu = named[meant[0].uuid]
        if gpu.is_divided:
            raise UsageError(
                f"GPU {device} is divided into MIG instances, and cannot be used as a whole",
                "Name an instance by its UUID, which `envkit gpu` shows.",
            )
        if gpu in found:
            raise UsageError(f"{device} is a GPU that is named already", "Name each of them once.")
        found.append(gpu)
    return found


def _is_certain(order: str, gpus: Sequence[Gpu]) -> bool:
    """Return whether indices in variables count as ours do.

    Without CUDA_DEVICE_ORDER the fastest comes first, which among equals is the order of the bus.
    """
    kinds = {gpu.name for gpu in gpus if not gpu.is_instance and not gpu.fault}
    return order == "PCI_BUS_ID" or len(kinds) <= 1


def _numbers(text: str) -> list[int]:
    """Return the numbers in a list with ranges: "0,2-3"."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found += range(int(first), min(int(last or first), _MOST) + 1)
    return found
