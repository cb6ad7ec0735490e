"""Where there are real GPUs: the same as with the stand-in."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from envkit.gpu.devices import Driver, Gpu, NoDriverError
from tests.gpu.test_doors import run
from tests.support.projects import Project

pytestmark = pytest.mark.gpu


@pytest.fixture
def real() -> Sequence[Gpu]:
    """The GPUs of this machine."""
    try:
        with Driver() as driver:
            found = driver.gpus()
            assert all(driver.load(gpu).memory_total for gpu in found if gpu.is_usable)
    except NoDriverError as error:
        pytest.skip(error.message)
    return found


@pytest.fixture
def here(project: Project, real: Sequence[Gpu]) -> Project:
    """A project that the real driver tells of them."""
    assert real
    project.machine.environ["LD_LIBRARY_PATH"] = ""
    return project


def test_they_are_listed(here: Project, real: Sequence[Gpu]) -> None:
    found = here.succeed("gpu", "--json").json
    assert found["driver"]
    assert [one["uuid"] for one in found["gpus"]] == [gpu.uuid for gpu in real]
    assert here.succeed("gpu").out.count("\n") >= len(real) + 1


def test_one_is_leased(here: Project, real: Sequence[Gpu]) -> None:
    found = run(here, "--gpus", "1")
    uuid = found["ENVKIT_GPU_LEASE"]
    (gpu,) = [one for one in real if one.uuid == uuid]
    assert found["CUDA_VISIBLE_DEVICES"] in (str(gpu.number), gpu.uuid)


def test_cuda_sees_what_is_leased(here: Project, tmp_path: Path) -> None:
    # The driver's own library, asked as every CUDA program asks it (CUDA Driver API, cuInit).
    program = tmp_path / "count.py"
    program.write_text(
        "import ctypes, json\n"
        "cuda = ctypes.CDLL('libcuda.so.1')\n"
        "number = ctypes.c_int()\n"
        "started = cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(number)) == 0\n"
        "print(json.dumps(number.value if started else 0))\n"
    )
    for options, expected in ((("--gpus", "1"), 1), (("--gpus", "0"), 0)):
        assert here.succeed("run", *options, "--", "python", str(program)).json == expected


def test_nvidia_smi_agrees(real: Sequence[Gpu]) -> None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"],  # noqa: S607
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except FileNotFoundError:
        pytest.skip("no nvidia-smi here")
    listed = [line.split(", ") for line in done.stdout.splitlines()]
    assert listed == [[str(gpu.number), gpu.uuid] for gpu in real if not gpu.is_instance]
