"""The variables of processes that say which GPUs they may see, and who has set them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envkit.config import GpuConfig
from envkit.gpu import masks
from envkit.gpu.devices import Gpu
from envkit.gpu.marks import DEPTH, FOLDER, LEASE, MARK, PLACE, SETTINGS


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
    mask = ",".join(str(gpu.number) if by_index else gpu.uuid for gpu in chosen)
    return masks.variables(mask, order=order, memory_growth=config.memory_growth)


def lease_variables(leased: Sequence[Gpu], depth: int, folder: str) -> dict[str, str]:
    """Return the variables that say that a process has GPUs on lease, and where that is kept."""
    return {LEASE: ",".join(gpu.uuid for gpu in leased), DEPTH: str(depth), FOLDER: folder}


def depth(environ: Mapping[str, str]) -> int:
    """Return how deep the lease is that variables tell of."""
    said = environ.get(DEPTH, "")
    return int(said) if said.isdecimal() and len(said) < 3 else 0


def without_lease(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those that tell of a lease, and what was set for it."""
    kept = without_own(environ)
    return {name: value for name, value in kept.items() if name not in (LEASE, DEPTH, FOLDER)}


def with_own(
    environ: Mapping[str, str], added: Mapping[str, str], environment: str
) -> dict[str, str]:
    """Return variables with others that envkit sets for an environment, marked as such."""
    marks = {f"{MARK}{name}": value for name, value in added.items()}
    kept = {name: value for name, value in environ.items() if name != SETTINGS}
    return {**kept, **added, **marks, PLACE: environment}


def without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those that envkit has set, and that are as it set them."""
    result = dict(environ)
    result.pop(PLACE, None)
    result.pop(SETTINGS, None)
    for name in masks.NAMES:
        own = result.pop(f"{MARK}{name}", None)
        if own is not None and result.get(name) == own:
            del result[name]
    return result


def scheduled_count(environ: Mapping[str, str]) -> int:
    """Return how many GPUs a job of Slurm's has; 0 if it does not say."""
    mask = environ.get(masks.CUDA, "")
    return sum(1 for one in mask.split(",") if one and one != "NoDevFiles")


def _variables(config: GpuConfig, mask: str | None) -> dict[str, str]:
    return masks.variables(mask, order=config.order, memory_growth=config.memory_growth)
