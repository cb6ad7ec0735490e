"""Services that have GPUs on lease, of which a stand-in for the driver tells."""

import json
from pathlib import Path

import pytest

from tests.support.nvml import Nvml, uuid
from tests.support.projects import Project
from tests.support.serving import Serving, declare, free_port, get, services, state, write
from tests.support.waiting import wait

pytestmark = pytest.mark.network

APP = """
import json, os
from flask import Flask
app = Flask(__name__)
app.add_url_rule("/", view_func=lambda: json.dumps([*map(os.environ.get, NAMES), os.getppid()]))
NAMES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "TF_FORCE_GPU_ALLOW_GROWTH")
"""


@pytest.fixture
def project(served: Project, driver: Nvml, leases: Path) -> Project:
    """A project that serves an application, on a machine with four GPUs."""
    served.machine.environ |= driver.environ
    served.machine.environ["ENVKIT_GPU_LEASES"] = str(leases)
    for name in ("CUDA_DEVICE_ORDER", "SLURM_JOB_ID", "TF_FORCE_GPU_ALLOW_GROWTH"):
        served.machine.environ.pop(name, None)
    write(served, app=APP)
    return served


def serves(project: Project, *lines: str, settings: str = "") -> int:
    port = free_port()
    declare(project, {"web": ['kind = "flask"', f"port = {port}", *lines]}, settings)
    return port


def held(project: Project) -> dict[int, str]:
    """Return the GPUs that are on lease, each with the command that has it."""
    found = project.succeed("gpu", "--json").json["gpus"]
    return {one["index"]: one["holder"]["command"] for one in found if one["holder"]}


def test_it_has_them_on_lease(project: Project) -> None:
    port = serves(project, "gpus = 2", settings="[gpu]\nmemory_growth = true\n")
    with Serving(project) as serving:
        serving.until_ready("web")
        mask, order, growth, _ = json.loads(get(port)[1])
        assert (mask, order, growth) == ("0,1", "PCI_BUS_ID", "true")
        assert services(project)["web"]["gpus"] == [0, 1]
        assert [*held(project)] == [0, 1]
        # What comes after it gets others.
        assert (
            project.succeed("run", "--gpus", "1", "--", "printenv", "CUDA_VISIBLE_DEVICES").out
            == "2\n"
        )
        serving.stop()
    assert held(project) == {}
    assert "0,1" in serving.err
    # One process, with threads, where several would each have the GPU's memory.
    assert serving.out.count("Booting worker") == 1
    assert "gthread" in serving.out


def test_who_is_killed_keeps_none(project: Project) -> None:
    serves(project, "gpus = 4")
    with Serving(project) as serving:
        serving.until_ready("web")
        assert [*held(project)] == [0, 1, 2, 3]
        serving.process.kill()
        serving.ended()
    wait(lambda: held(project) == {}, "the kernel lets go of them")


def test_left_behind_with_a_lease(project: Project) -> None:
    serves(project, "gpus = 1")
    project.succeed("serve", "--detach")
    assert [*held(project)] == [0]
    assert "envkit serve" in held(project)[0] or "gunicorn" in held(project)[0]
    project.succeed("stop")
    assert held(project) == {}


def test_each_has_its_own(project: Project) -> None:
    ports = {name: free_port() for name in ("one", "two")}
    tables = {
        name: ['kind = "flask"', f"port = {port}", "gpus = 1"] for name, port in ports.items()
    }
    declare(project, tables)
    project.succeed("serve", "--detach")
    masks = {name: json.loads(get(port)[1])[0] for name, port in ports.items()}
    assert masks == {"one": "0", "two": "1"}
    # What one has ends with it, whoever else goes on.
    project.succeed("stop", "one")
    assert [*held(project)] == [1]
    project.succeed("stop")


def test_as_many_as_any_run(project: Project) -> None:
    port = serves(project, settings="[gpu]\ncount = 1\n")
    with Serving(project) as serving:
        serving.until_ready("web")
        assert json.loads(get(port)[1])[0] == "0"
    port = serves(project, "gpus = 0", settings="[gpu]\ncount = 1\n")
    with Serving(project) as serving:
        serving.until_ready("web")
        assert json.loads(get(port)[1])[0] == ""
        assert held(project) == {}


def test_none_is_free(project: Project) -> None:
    serves(project, "gpus = 3")
    with Serving(project) as serving:
        serving.until_ready("web")
        other = project.machine.project("other")
        for path in project.root.glob("requirements*"):
            (other.root / path.name).write_bytes(path.read_bytes())
        other.install("--offline")
        serves(other, "gpus = 2")
        result = other.envkit("serve")
        assert result.code == 3
        assert "1 of 2 GPUs free" in result.err
        assert state(other, "web") == "stopped"


def test_no_forks_of_what_has_used_cuda(project: Project) -> None:
    serves(project, "gpus = 1", 'options = ["--preload"]')
    result = project.envkit("serve")
    assert result.code == 2, result.text
    assert "--preload and a GPU do not go together" in result.err
    assert held(project) == {}
    assert uuid(0).startswith("GPU-")
