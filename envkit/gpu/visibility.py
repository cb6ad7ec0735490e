"""What a process may see of the machine's GPUs: the settings, and what stands above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envkit.config import Count, GpuConfig
from envkit.errors import MissingError, UsageError
from envkit.gpu import masks
from envkit.gpu.devices import Gpu
from envkit.quantities import count as counted
from envkit.quantities import few

# The mask that envkit itself has set for a whole project. Another mask is somebody else's will.
OWN = "ENVKIT_GPU_MASK"

# The UUIDs of the GPUs that a process has on lease, in the order in which it counts them.
LEASE = "ENVKIT_GPU_LEASE"


def project_variables(config: GpuConfig) -> dict[str, str]:
    """Return the variables of every process of a project that has no lease; none if nothing is set.

    Args:
        config: the settings.
    """
    if not config.is_set:
        return {}
    own = {} if config.mask is None else {OWN: config.mask}
    return {**_variables(config, config.mask), **own}


def hidden_variables(config: GpuConfig) -> dict[str, str]:
    """Return the variables of a process that is to see no GPU at all."""
    return _variables(config, "")


def chosen_variables(
    config: GpuConfig, chosen: Sequence[Gpu], gpus: Sequence[Gpu], *, leased: bool
) -> dict[str, str]:
    """Return the variables of a process that may see certain GPUs.

    They are named by their indices, which every program understands, where indices are certain.

    Args:
        config: the settings.
        chosen: the GPUs, in the order in which the process is to count them.
        gpus: all of the machine.
        leased: whether it has them on lease; if not, they are what the project says.
    """
    certain = config.order == "PCI_BUS_ID" and not any(gpu.fault for gpu in gpus)
    by_index = certain and not any(gpu.is_instance for gpu in chosen)
    mask = ",".join(str(gpu.index) if by_index else gpu.uuid for gpu in chosen)
    own = {LEASE: ",".join(gpu.uuid for gpu in chosen)} if leased else {OWN: mask}
    return {**_variables(config, mask), **own}


def scheduled(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that Slurm gave to this job (srun(1), SLURM_STEP_GPUS, SLURM_JOB_GPUS).

    Args:
        environ: the variables.
        gpus: all of the machine.
    """
    given = environ.get("SLURM_STEP_GPUS") or environ.get("SLURM_JOB_GPUS") or ""
    by_name = {gpu.named: gpu for gpu in gpus if not gpu.fault}
    return tuple(by_name[one] for one in masks.visible(given, list(by_name)))


def leased(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that this process has on lease already."""
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    return tuple(by_uuid[one] for one in environ.get(LEASE, "").split(",") if one in by_uuid)


def _variables(config: GpuConfig, mask: str | None) -> dict[str, str]:
    return masks.variables(mask, order=config.order, memory_growth=config.memory_growth)


def without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables without the mask that envkit has set for a whole project.

    A mask that is another one than envkit set was set by hand, and stays.
    """
    own = environ.get(OWN)
    if own is None:
        return dict(environ)
    ours = masks.lists(own)
    is_ours = all(environ.get(name) == value for name, value in ours.items())
    dropped = {OWN, *ours} if is_ours else {OWN}
    return {name: value for name, value in environ.items() if name not in dropped}


def without_lease(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables without what a lease has said that is over."""
    dropped = {LEASE, *masks.MASKS}
    return {name: value for name, value in environ.items() if name not in dropped}


def candidates(
    config: GpuConfig, count: Count, gpus: Sequence[Gpu], environ: Mapping[str, str]
) -> tuple[Gpu, ...]:
    """Return the GPUs of which a run can have some, the best first.

    Args:
        config: the settings, whose devices are meant if it names any.
        count: how many are wanted; instances of GPUs will do for one only, since a process can use
            one of them and no more (MIG User Guide, "CUDA Device Enumeration").
        gpus: all of the machine.
        environ: the variables, of which a list that somebody set by hand is obeyed as well.

    Raises:
        UsageError: the settings name a device that is not there, or the lists do not agree.
    """
    usable = [gpu for gpu in gpus if gpu.is_usable and (count == 1 or not gpu.is_instance)]
    chosen = usable if config.devices is None else _configured(config, gpus)
    own = environ.get(masks.CUDA)
    if own is None:
        return tuple(chosen)
    if masks.is_of_indices(own) and not _is_certain(environ, gpus):
        raise UsageError(
            f"It is not certain which GPUs {masks.CUDA}={own} means: the machine has several kinds",
            f"Set {masks.ORDER}=PCI_BUS_ID beside it, so that it counts as nvidia-smi does.",
        )
    by_uuid = {gpu.uuid: gpu for gpu in chosen}
    seen = masks.visible(own, [gpu.named for gpu in gpus if not gpu.fault])
    return tuple(by_uuid[one.uuid] for one in seen if one.uuid in by_uuid)


def number_of(count: Count, found: Sequence[Gpu], gpus: Sequence[Gpu]) -> int:
    """Return how many GPUs are meant.

    Args:
        count: what was asked for.
        found: the candidates.
        gpus: all of the machine.

    Raises:
        MissingError: there are not so many.
    """
    number = len(found) if count == "all" else count
    if 0 < number <= len(found):
        return number
    whole = [gpu for gpu in gpus if not gpu.is_instance]
    lost = "; ".join(f"GPU {gpu.index}: {gpu.fault}" for gpu in whole if gpu.fault)
    divided = any(gpu.is_divided for gpu in whole) and count != 1
    raise MissingError(
        f"{'All GPUs' if count == 'all' else counted(count, 'GPU')} wanted, but {len(found)} of "
        f"this machine's {len(whole)} can be had" + (f" ({lost})" if lost else ""),
        "A process can use one MIG instance, and no more." if divided else "See `envkit gpu`.",
    )


def _configured(config: GpuConfig, gpus: Sequence[Gpu]) -> list[Gpu]:
    """Return the devices that the settings name."""
    named = {gpu.uuid: gpu for gpu in gpus if not gpu.fault}
    devices = config.devices or ()
    if config.order != "PCI_BUS_ID" and any(one.isdecimal() for one in devices):
        raise UsageError(
            f"Which GPUs gpu.devices means is not known in the order {config.order}",
            "Name them by their UUIDs, or let order be PCI_BUS_ID.",
        )
    found = []
    for device in devices:
        meant = masks.visible(device, [gpu.named for gpu in named.values()])
        if len(meant) != 1:
            known = few((gpu.uuid if gpu.is_instance else gpu.index for gpu in gpus), 16)
            raise UsageError(f"There is no GPU {device} here", f"There are: {known or 'none'}.")
        found.append(named[meant[0].uuid])
    return [gpu for gpu in found if gpu.is_usable]


def _is_certain(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> bool:
    """Return whether indices in variables count as ours do.

    Without CUDA_DEVICE_ORDER the fastest comes first, which among equals is the order of the bus.
    """
    ordered = environ.get(masks.ORDER) == "PCI_BUS_ID"
    return ordered or len({gpu.name for gpu in gpus if not gpu.is_instance}) <= 1
