"""The GPUs of containers: `envkit run --image`, with real engines and stand-ins for NVIDIA's parts.

The stand-ins: the driver's library; for engines that know the Container Device Interface a
specification of devices, which shows what was given; for others the program that they start for
NVIDIA's GPUs before a container starts, which does nothing: what it would be told is seen in the
container.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envkit.gpu.containers import LABEL
from tests.support import Index, images
from tests.support.base_images import BaseImages, Python
from tests.support.engines import Engine
from tests.support.makes import Make
from tests.support.nvml import Nvml, gpus, uuid
from tests.support.projects import PYTHON, Machine, Project
from tests.support.serving import declare, free_port
from tests.support.waiting import wait

KIND = "nvidia.com/gpu"
MASKS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
SHOW = ("sh", "-c", "env; sleep 0")


@pytest.fixture(scope="module")
def offering_engine(
    newest_make: Make,
    base_images: BaseImages,
    python: Python,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    """An engine that knows four GPUs by the Container Device Interface."""
    folder = tmp_path_factory.mktemp("cdi")
    devices = [
        {"name": uuid(number), "containerEdits": {"env": [f"GIVEN_{number}={uuid(number)}"]}}
        for number in range(4)
    ]
    specification = {"cdiVersion": "0.5.0", "kind": KIND, "devices": devices}
    (folder / "nvidia.json").write_text(json.dumps(specification))
    settings = {"features": {"cdi": True}, "cdi-spec-dirs": [str(folder)]}
    with Engine(newest_make, settings=settings) as made:
        base_images.load(made, f"python:{PYTHON}-slim", python)
        yield made


@pytest.fixture(scope="module")
def hooking_engine(
    newest_make: Make,
    base_images: BaseImages,
    python: Python,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    """An engine for which NVIDIA's runtime hook is installed."""
    folder = tmp_path_factory.mktemp("hook")
    hook = folder / "nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    with Engine(newest_make._replace(folders=(folder, *newest_make.folders))) as made:
        base_images.load(made, f"python:{PYTHON}-slim", python)
        yield made


@pytest.fixture
def machine_of(
    published: Index, full_store: Path, library: Nvml, leases: Path, tmp_path: Path
) -> Callable[[Engine], Machine]:
    """Makes a machine with four GPUs that works with an engine."""
    library.says(gpus(4))

    def make(engine: Engine) -> Machine:
        made = images.machine(tmp_path / "desk", published, engine, store=full_store)
        made.environ |= {**library.environ, "ENVKIT_GPU_LEASES": str(leases)}
        made.environ["CUDA_VISIBLE_DEVICES"] = "3,2,1"
        made.environ["NVIDIA_VISIBLE_DEVICES"] = "2"
        return made

    return make


def built(machine: Machine, settings: str = "") -> Project:
    project = images.project(machine, "computing", "alpha-1.0", settings=settings)
    images.build(project)
    return project


def seen(project: Project, *options: str) -> dict[str, str]:
    """Return the variables that a command in a container sees."""
    lines = project.succeed("run", "--image", *options, "--", *SHOW).out.splitlines()
    return dict(line.split("=", 1) for line in lines)


def running(engine: Engine) -> str:
    """Return the id of the container that has GPUs on lease; empty if there is none."""
    return engine.ask("ps", "-q", "--filter", f"label={LABEL}")


def given(environ: dict[str, str]) -> list[str]:
    return sorted(text for name, text in environ.items() if name.startswith("GIVEN_"))


def test_what_no_gpu_was_asked_for_sees_none(
    hooking_engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    environ = seen(built(machine_of(hooking_engine)))
    assert environ["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert not environ.keys() & {*MASKS}


def test_by_requests_of_devices(
    hooking_engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    project = built(machine_of(hooking_engine), "[gpu]\nmemory_growth = true\n")
    environ = seen(project, "--gpus", "2")
    # What is visible by hand here are the GPUs 3, 2, 1; in there they are counted from 0.
    assert environ["NVIDIA_VISIBLE_DEVICES"] == f"{uuid(3)},{uuid(2)}"
    assert not environ.keys() & {*MASKS}
    assert environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_by_the_container_device_interface(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    project = built(machine_of(offering_engine), "[gpu]\ncount = 2\n")
    environ = seen(project)
    assert given(environ) == [uuid(2), uuid(3)]
    assert not environ.keys() & {*MASKS}
    assert given(seen(project, "--gpus", "0")) == []


def test_devices_of_the_settings(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    machine = machine_of(offering_engine)
    del machine.environ["CUDA_VISIBLE_DEVICES"]
    project = built(machine, "[gpu]\ndevices = [1]\n")
    assert given(seen(project)) == [uuid(1)]
    machine.environ["SLURM_JOB_ID"] = "7"
    machine.environ["SLURM_JOB_GPUS"] = "2,3"
    assert given(seen(project)) == [uuid(2), uuid(3)]
    # A task of several can have some of them.
    machine.environ["CUDA_VISIBLE_DEVICES"] = "3"
    assert given(seen(project)) == [uuid(3)]
    result = project.envkit("run", "--image", "--gpus", "2", "--", "true")
    assert (result.code, "Slurm gave this job 1" in result.err) == (2, True)


def test_a_machine_without_a_driver(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    machine = machine_of(offering_engine)
    del machine.environ["CUDA_VISIBLE_DEVICES"]
    project = built(machine, "[gpu]\ndevices = [1]\n")
    machine.environ["LD_LIBRARY_PATH"] = ""
    for environ in ({}, {"SLURM_JOB_ID": "7"}):
        result = project.succeed("run", "--image", "--", *SHOW, env=environ)
        assert "NVIDIA_VISIBLE_DEVICES=void" in result.out
        assert "running without GPUs" in result.err


def outliving(project: Project, engine: Engine, *words: str) -> str:
    """Return the id of a container that outlives the command that has started it."""
    with subprocess.Popen(
        [sys.executable, "-m", "envkit", "run", *words],
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as client:
        wait(lambda: running(engine), "it runs")
        found = running(engine)
        # With Docker's own command, which has inherited the lease.
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
    return found


def test_a_container_that_outlives_its_command(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    project = built(machine_of(offering_engine))
    words = ("--image", "--gpus", "1", "sh", "-c", "sleep 60")
    found = outliving(project, offering_engine, *words)
    (held,) = [
        one for one in project.succeed("gpu", "--json").json["gpus"] if one["state"] != "free"
    ]
    assert held["uuid"] == uuid(3)
    assert held["holder"]["program"] == "sh"
    assert given(seen(project, "--gpus", "1")) == [uuid(2)]
    offering_engine.ask("rm", "--force", found)
    assert given(seen(project, "--gpus", "1")) == [uuid(3)]
    assert images.idle(offering_engine)


def test_a_container_that_has_ended_leaves_nothing_to_be_asked(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine], leases: Path
) -> None:
    project = built(machine_of(offering_engine))
    result = project.envkit("run", "--image", "--gpus", "1", "--", "sh", "-c", "exit 7")
    assert result.code == 7
    # Whoever may not ask the engine need not.
    assert json.loads((leases / uuid(3)).read_text().splitlines()[0])["container"] is None


@pytest.mark.parametrize("part", [(), ("--gpus", "1")])
def test_a_container_that_outlives_the_lease_it_is_within(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine], part: tuple[str, ...]
) -> None:
    project = built(machine_of(offering_engine))
    project.install()
    inner = (sys.executable, "-m", "envkit", "run", "--image", *part, "--", "sleep", "60")
    found = outliving(project, offering_engine, "--gpus", "2", "--", *inner)
    held = [one["uuid"] for one in project.succeed("gpu", "--json").json["gpus"] if one["holder"]]
    assert held == ([uuid(3)] if part else [uuid(2), uuid(3)])
    assert given(seen(project, "--gpus", "1")) == [uuid(2) if part else uuid(1)]
    offering_engine.ask("rm", "--force", found)
    assert given(seen(project, "--gpus", "1")) == [uuid(3)]
    assert images.idle(offering_engine)


def test_only_the_command_is_told_to_end(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    project = built(machine_of(offering_engine))
    words = ("run", "--image", "--gpus", "1", "--", "sleep", "60")
    with subprocess.Popen(
        [sys.executable, "-m", "envkit", *words],
        cwd=project.root,
        env=project.machine.environ,
        stdin=subprocess.DEVNULL,
    ) as client:
        wait(lambda: running(offering_engine), "it runs")
        client.terminate()
        assert client.wait() == 128 + signal.SIGTERM
    assert images.idle(offering_engine)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_container_is_asked_to_end(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine], number: signal.Signals
) -> None:
    project = built(machine_of(offering_engine))

    def when() -> None:
        wait(lambda: running(offering_engine), "it runs")

    arguments = ("run", "--image", "--gpus", "1", "--", "sh", "-c", "exec sleep 60")
    result = project.stopped(*arguments, when=when, number=number)
    assert result.code == 128 + number
    assert images.idle(offering_engine)
    states = [one["state"] for one in project.succeed("gpu", "--json").json["gpus"]]
    assert states == ["free"] * 4


def test_an_engine_without_any_of_it(
    engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    project = built(machine_of(engine))
    result = project.envkit("run", "--image", "--gpus", "1", "--", "true")
    assert result.code == 125
    assert "could not select device driver" in result.err
    assert images.idle(engine)
    states = [one["state"] for one in project.succeed("gpu", "--json").json["gpus"]]
    assert states == ["free"] * 4


def test_the_projects_folder_as_it_is_now(
    engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    project = built(machine_of(engine))
    (project.root / "main.py").write_text("open('made', 'w').write('new')\nprint('newer')\n")
    result = project.succeed("run", "--image", "--mount", "main.py")
    assert result.out == "newer\n"
    made = project.root / "made"
    assert (made.read_text(), made.stat().st_uid) == ("new", os.getuid())
    # From a folder within, where that is in the container.
    (project.root / "within").mkdir()
    words = [sys.executable, "-m", "envkit", "run", "--image", "--mount", "--", "pwd"]
    text = f"cd within && {' '.join(words)}"
    assert project.call(["sh", "-c", text]).out == "/app/within\n"


def test_a_service_has_its_lease_in_its_container(
    offering_engine: Engine, machine_of: Callable[[Engine], Machine]
) -> None:
    """In a stand-in for TensorFlow Serving's image, which says what it sees and is never ready."""
    machine = machine_of(offering_engine)
    project = machine.project("serving")
    (project.root / "models/half/1").mkdir(parents=True)
    (project.root / "models/half/1/saved_model.pb").touch()
    folder = machine.folder / "stand-in"
    folder.mkdir()
    command = json.dumps(["sh", "-c", "env; exec sleep 100", "sh"])
    text = f"FROM python:{PYTHON}-slim\nENTRYPOINT {command}\n"
    (folder / "Dockerfile").write_text(text)
    offering_engine.ask("build", "--tag", "tensorflow/serving:9-gpu", str(folder))
    lines = ['kind = "tensorflow-serving"', 'tag = "9"', 'model = "models/half"', "gpus = 2"]
    lines += [f"port = {free_port()}", f"grpc_port = {free_port()}", 'start_timeout = "3s"']
    declare(project, {"model": lines}, "[gpu]\nmemory_growth = true\n")
    result = project.envkit("serve")
    assert result.code == 4
    assert "it was not ready within 3 s" in result.err
    said = dict(line.removeprefix("model | ").split("=", 1) for line in result.out.splitlines())
    assert given(said) == [uuid(2), uuid(3)]
    assert said["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert not said.keys() & {*MASKS}
    assert running(offering_engine) == ""
    assert all(not one["holder"] for one in project.succeed("gpu", "--json").json["gpus"])
