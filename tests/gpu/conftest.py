"""Machines with GPUs, which a stand-in for the driver tells of."""

from pathlib import Path

import pytest

from tests.support.nvml import Nvml
from tests.support.projects import Machine, Project


@pytest.fixture
def project(machine: Machine, driver: Nvml, leases: Path) -> Project:
    """A project on a machine with four GPUs."""
    machine.environ |= driver.environ
    machine.environ["ENVKIT_GPU_LEASES"] = str(leases)
    machine.environ["ENVKIT_MACHINE_CONFIG"] = str(machine.folder / "machine.toml")
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_ID", "SLURM_JOB_GPUS"):
        machine.environ.pop(name, None)
    made = machine.project()
    made.lock("alpha-1.0")
    made.install()
    return made
