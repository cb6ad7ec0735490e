"""Builds that are interrupted, or whose engine ends: nothing goes on, and all is as it was."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Distribution, Index, images
from tests.support.base_images import BaseImages, Python
from tests.support.builds import wait_for
from tests.support.engines import Engine
from tests.support.images import BUILDERS, Image
from tests.support.makes import Make
from tests.support.projects import PYTHON, Machine, Project, Result
from tests.support.registries import Registry

# Ends when it is asked to, as the first process of a container would not by itself.
SLEEP = "RUN trap 'exit 143' TERM; sleep 1000 & wait\n"


def interrupted(project: Project, engine: Engine, result: Result, before: str) -> None:
    """Make sure that a build was interrupted and has left nothing but the image of before."""
    assert result.code == 130, result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    assert result.err.splitlines()[-1].startswith("Interrupted; ")
    # Who calls off a build does not wait for its last container to have gone.
    wait_for(lambda: images.idle(engine))
    wait_for(lambda: not project.machine.processes())
    image = Image(engine, f"{project.root.name}:latest")
    assert image.id == before
    assert image.run().out == "hello\n"
    assert project.machine.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("builder", BUILDERS)
def test_in_a_command(desk: Machine, engine: Engine, builder: str, number: signal.Signals) -> None:
    project = images.project(desk, f"stopped-{builder}-{number.name.lower()}", "alpha-1.0")
    images.build(project, "--builder", builder)
    before = Image(engine, f"{project.root.name}:latest").id
    images.write(project, images.dockerfile() + SLEEP)
    result = project.stopped(
        *("build", "--builder", builder),
        when=lambda: wait_for(lambda: "sleep 1000" in engine.busy()),
        number=number,
    )
    interrupted(project, engine, result, before)
    images.write(project, images.dockerfile())
    images.build(project, "--builder", builder)


def test_while_a_base_is_asked(desk: Machine, engine: Engine, base: str, tmp_path: Path) -> None:
    """The container in which a base is asked for its Python goes with the command."""
    context = tmp_path / "slow"
    context.mkdir()
    slow = "#!/bin/sh\nsleep 1000\n"
    (context / "python3").write_text(slow, encoding="utf-8")
    (context / "python3").chmod(0o755)
    text = f"FROM {base}\nCOPY python3 /usr/local/bin/python3\n"
    (context / "Dockerfile").write_text(text, encoding="utf-8")
    engine.ask("build", "--tag", "slow-python:1", str(context))
    project = images.project(desk, "asking", "alpha-1.0")
    images.build(project)
    before = Image(engine, "asking:latest").id
    result = project.stopped(
        *("build", "--build-arg", "BASE=slow-python:1"),
        when=lambda: wait_for(lambda: "sleep 1000" in engine.busy()),
        number=signal.SIGINT,
    )
    interrupted(project, engine, result, before)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, Distribution]]:
    """A distribution that takes a while to be handed over, and an index with it."""
    made = Distribution(name="heavy", files={"heavy.bin": os.urandom(1 << 20) * 250})
    with Index(tmp_path_factory.mktemp("heavy")) as index:
        index.add(made)
        yield index, made


def test_while_layers_are_loaded(
    heavy: tuple[Index, Distribution], bare_store: Path, engine: Engine, tmp_path: Path
) -> None:
    index, distribution = heavy
    machine = images.machine(tmp_path, index, engine, store=bare_store)
    project = images.project(machine, "loading")
    images.build(project)
    before = Image(engine, "loading:latest").id
    project.lock(distribution)
    project.install()
    known = set(engine.images())
    taken = engine.folder / "data" / "tmp"

    def loading() -> bool:
        """Return whether the engine has part of it."""
        files = [path for path in taken.rglob("*") if path.is_file()]
        return any(path.stat().st_size > 10_000_000 for path in files if path.exists())

    result = project.stopped("build", when=lambda: wait_for(loading), number=signal.SIGINT)
    interrupted(project, engine, result, before)
    wait_for(lambda: not loading())
    assert set(engine.images()) == known
    images.build(project)
    assert Image(engine, "loading:latest").installed() == {"heavy": "1.0"}


def test_while_it_is_pushed(desk: Machine, engine: Engine, registry: Registry) -> None:
    project = images.project(desk, "pushing", "alpha-1.0")
    images.build(project)
    before = Image(engine, "pushing:latest").id
    name = f"{registry.host}/pushing:1"
    result = project.stopped(
        *("build", "--push", "--tag", name),
        when=lambda: wait_for(lambda: registry.uploaded > 1_000_000),
        number=signal.SIGINT,
    )
    interrupted(project, engine, result, before)
    said = images.build(project, "--push", "--tag", name).err
    assert f"Pushed {name}" in said
    engine.ask("rmi", name)


def test_while_the_context_is_read(desk: Machine, engine: Engine) -> None:
    project = images.project(desk, "reading", "alpha-1.0")
    images.build(project)
    before = Image(engine, "reading:latest").id
    with (project.root / "large").open("wb") as file:
        file.truncate(3_000_000_000)
    large = project.root / "large"

    def being_read() -> bool:
        """Return whether a process of the project has the file open."""
        for number in project.machine.processes():
            folder = Path(f"/proc/{number}/fd")
            try:
                if any(os.readlink(path) == str(large) for path in folder.iterdir()):
                    return True
            except OSError:
                continue
        return False

    result = project.stopped("build", when=lambda: wait_for(being_read), number=signal.SIGINT)
    interrupted(project, engine, result, before)


@pytest.fixture(scope="module")
def own(newest_make: Make, base_images: BaseImages, python: Python) -> Iterator[Engine]:
    """An engine that tests may stop."""
    with Engine(newest_make) as made:
        base_images.load(made, f"python:{PYTHON}-slim", python)
        yield made


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_engine_ends(
    published: Index, full_store: Path, own: Engine, tmp_path: Path, builder: str, end: str
) -> None:
    machine = images.machine(tmp_path, published, own, store=full_store)
    project = images.project(machine, f"ended-{builder}-{end}", "alpha-1.0")
    images.build(project, "--builder", builder)
    before = Image(own, f"{project.root.name}:latest").id
    images.write(project, images.dockerfile() + SLEEP)
    results = []
    thread = threading.Thread(
        target=lambda: results.append(project.envkit("build", "--builder", builder))
    )
    thread.start()
    wait_for(lambda: "sleep 1000" in own.busy())
    own.kill() if end == "kill" else own.stop()
    thread.join()
    own.start()
    (result,) = results
    assert (result.code, result.out) == (4, ""), result.err
    lines = result.err.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    where = f"unix://{own.socket} (DOCKER_HOST)"
    assert lines[at].startswith(f"error: The Docker Engine at {where} stopped while it was to ")
    assert lines[at + 1].startswith("hint: Start it and run this again")
    assert len(lines) == at + 2
    own.ask("container", "prune", "--force")
    assert images.idle(own)
    image = Image(own, f"{project.root.name}:latest")
    assert image.id == before
    images.write(project, images.dockerfile())
    images.build(project, "--builder", builder)
    assert image.run().out == "hello\n"
