"""What a process may see of the machine's GPUs: the settings, and what stands above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envkit.config import Count, GpuConfig
from envkit.errors import MissingError, UsageError
from envkit.gpu import masks
from envkit.gpu.devices import Gpu
from envkit.quantities import count as counted
from envkit.quantities import few

# Beside each variable that envkit sets there is one of this name with the same value. Where the two
# differ, or there is no mark, it was set by hand, and stays.
MARK = "_ENVKIT_SET_"

# For which environment that was, by its folder. What was decided for one is not decided again
# there, and counts for nothing in another.
PLACE = "ENVKIT_GPU_ENVIRONMENT"

# The UUIDs of the GPUs that a process has on lease, in the order in which it counts them.
LEASE = "ENVKIT_GPU_LEASE"


def project_variables(config: GpuConfig) -> dict[str, str]:
    """Return the variables of every process of a project that has no lease; none if nothing is set.

    Args:
        config: the settings.
    """
    return _variables(config, config.mask) if config.is_set else {}


def hidden_variables(config: GpuConfig) -> dict[str, str]:
    """Return the variables of a process that is to see no GPU at all."""
    return _variables(config, "")


def chosen_variables(
    config: GpuConfig, chosen: Sequence[Gpu], gpus: Sequence[Gpu], order: str
) -> dict[str, str]:
    """Return the variables of a process that may see certain GPUs.

    They are named by their indices, which every program understands, where indices are certain.

    Args:
        config: the settings.
        chosen: the GPUs, in the order in which the process is to count them.
        gpus: all of the machine.
        order: the CUDA_DEVICE_ORDER that the process will have.
    """
    certain = order == "PCI_BUS_ID" and not any(gpu.fault for gpu in gpus)
    by_index = certain and not any(gpu.is_instance for gpu in chosen)
    mask = ",".join(str(gpu.index) if by_index else gpu.uuid for gpu in chosen)
    return masks.variables(mask, order=order, memory_growth=config.memory_growth)


def lease_variable(leased: Sequence[Gpu]) -> dict[str, str]:
    """Return the variable that says that a process has GPUs on lease."""
    return {LEASE: ",".join(gpu.uuid for gpu in leased)}


def with_own(
    environ: Mapping[str, str], added: Mapping[str, str], environment: str
) -> dict[str, str]:
    """Return variables with others that envkit sets for an environment, marked as such."""
    marks = {f"{MARK}{name}": value for name, value in added.items()}
    return {**environ, **added, **marks, PLACE: environment}


def without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those that envkit has set, and that are as it set them."""
    result = dict(environ)
    result.pop(PLACE, None)
    for name in masks.NAMES:
        own = result.pop(f"{MARK}{name}", None)
        if own is not None and result.get(name) == own:
            del result[name]
    return result


def scheduled_count(environ: Mapping[str, str]) -> int | None:
    """Return how many GPUs a job of Slurm's has; None if it has no list of them."""
    mask = environ.get(masks.CUDA)
    if mask is None:
        return None
    return sum(1 for one in mask.split(",") if one and one != "NoDevFiles")


def scheduled(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that Slurm gave to this job (srun(1), SLURM_STEP_GPUS, SLURM_JOB_GPUS).

    Args:
        environ: the variables. Slurm's have the numbers of the machine.
        gpus: those that the driver tells of: all of the machine, or where Slurm hides the others
            (cgroup.conf(5), ConstrainDevices) those of the job.
    """
    given = environ.get("SLURM_STEP_GPUS") or environ.get("SLURM_JOB_GPUS") or ""
    numbers = _numbers(given)
    whole = [gpu for gpu in gpus if not gpu.is_instance]
    if len(whole) == len(numbers):
        return tuple(gpu for gpu in gpus if gpu.is_usable)
    by_index = {gpu.index: gpu for gpu in whole if gpu.is_usable}
    return tuple(by_index[one] for one in numbers if one in by_index)


def _numbers(text: str) -> list[int]:
    """Return the numbers in a list with ranges: "0,2-3"."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found += range(int(first), int(last or first) + 1)
    return found


def leased(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that this process has on lease already."""
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    return tuple(by_uuid[one] for one in environ.get(LEASE, "").split(",") if one in by_uuid)


def _variables(config: GpuConfig, mask: str | None) -> dict[str, str]:
    return masks.variables(mask, order=config.order, memory_growth=config.memory_growth)


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
    lost = [f"GPU {gpu.index}: {gpu.fault}" for gpu in whole if gpu.fault]
    reasons = "; ".join([*([narrowed] if narrowed else []), *lost])
    divided = any(gpu.is_divided for gpu in whole) and count != 1
    hint = "A process can use one MIG instance, and no more." if divided else "See `envkit gpu`."
    wanted = "All GPUs" if count == "all" else counted(count, "GPU")
    raise MissingError(
        f"{wanted} wanted, but {len(found)} of this machine's {len(whole)} can be had"
        + (f" ({reasons})" if reasons else ""),
        hint,
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
    found: list[Gpu] = []
    for device in devices:
        meant = masks.visible(device, [gpu.named for gpu in named.values()])
        if len(meant) != 1:
            several = sum(gpu.uuid.startswith(device) for gpu in named.values()) > 1
            known = few((gpu.uuid if gpu.is_instance else gpu.index for gpu in gpus), 16)
            what = f"{device} means several GPUs" if several else f"There is no GPU {device} here"
            raise UsageError(what, f"There are: {known or 'none'}.")
        if named[meant[0].uuid] in found:
            raise UsageError(f"{device} is a GPU that is named already", "Name each of them once.")
        found.append(named[meant[0].uuid])
    return found


def _is_certain(order: str, gpus: Sequence[Gpu]) -> bool:
    """Return whether indices in variables count as ours do.

    Without CUDA_DEVICE_ORDER the fastest comes first, which among equals is the order of the bus.
    """
    kinds = {gpu.name for gpu in gpus if not gpu.is_instance and not gpu.fault}
    return order == "PCI_BUS_ID" or len(kinds) <= 1
