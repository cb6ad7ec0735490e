"""Machines with GPUs, which a stand-in for the driver tells of."""

import shutil
from pathlib import Path

import pytest

from tests.support.nvml import Nvml, gpus
from tests.support.projects import Machine, Project


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Nvml:
    """The stand-in for the driver, compiled once."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler here")
    return Nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(library: Nvml) -> Nvml:
    """The stand-in, with four GPUs that nobody uses."""
    library.says(gpus(4))
    return library


@pytest.fixture
def leases(tmp_path: Path) -> Path:
    """A folder for leases."""
    folder = tmp_path / "leases"
    folder.mkdir(mode=0o770)
    folder.chmod(0o3770)
    return folder


@pytest.fixture
def project(machine: Machine, driver: Nvml, leases: Path) -> Project:
    """A project on a machine with four GPUs."""
    machine.environ |= driver.environ
    machine.environ["ENVKIT_GPU_LEASES"] = str(leases)
    machine.environ["ENVKIT_MACHINE_CONFIG"] = str(machine.folder / "machine.toml")
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_ID"):
        machine.environ.pop(name, None)
    made = machine.project()
    made.lock("alpha-1.0")
    made.install()
    return made
