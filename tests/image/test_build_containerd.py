"""Images in the store of containerd, which newer engines have: all goes on as elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Index, images
from tests.support.base_images import BaseImages, Python
from tests.support.engines import Engine
from tests.support.images import BUILDERS, Image
from tests.support.makes import Make
from tests.support.projects import PYTHON, Machine
from tests.support.registries import Registry


@pytest.fixture(scope="module")
def own(newest_make: Make, base_images: BaseImages, python: Python) -> Iterator[Engine]:
    """An engine whose images are there."""
    features = {"features": {"containerd-snapshotter": True}}
    with Engine(newest_make, settings=features) as made:
        base_images.load(made, f"python:{PYTHON}-slim", python)
        yield made


@pytest.fixture(scope="module")
def desk(
    published: Index, full_store: Path, own: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Machine:
    return images.machine(tmp_path_factory.mktemp("desk"), published, own, store=full_store)


@pytest.mark.parametrize("builder", BUILDERS)
def test_from_the_store_to_a_container(desk: Machine, own: Engine, builder: str) -> None:
    project = images.project(desk, f"kept-{builder}", "alpha-1.0", "commands-1.0")
    options = ("--deps", "store", "--builder", builder)
    result = images.build(project, *options)
    image = Image(own, f"kept-{builder}:latest")
    assert image.run().out == "hello\n"
    assert image.installed() == {"alpha": "1.0", "commands": "1.0"}
    assert image.says("id", "-u") == "10001"
    assert f"Built kept-{builder}:latest" in result.err
    assert "nothing had changed" in images.build(project, *options).err
    assert project.envkit("build", "--check", *options).code == 0
    project.lock("alpha-1.1", "commands-1.0")
    images.build(project, *options)
    assert image.installed() == {"alpha": "1.1", "commands": "1.0"}
    assert images.idle(own)


def test_the_layers_are_those_of_any_engine(desk: Machine, own: Engine, engine: Engine) -> None:
    found: list[list[str]] = []
    for one in (own, engine):
        desk.environ |= one.environ
        try:
            project = images.project(desk, f"same-{len(found)}", "alpha-1.0", "forest-1.0")
            images.build(project, "--deps", "store", "--tag", "same:1")
        finally:
            desk.environ |= own.environ
        # The frame of an environment, and its distributions; above are two of the code.
        found.append(Image(one, "same:1").layers[-4:-2])
    assert found[0] == found[1]


def test_a_bump_sends_little(desk: Machine, own: Engine, registry: Registry) -> None:
    project = images.project(desk, "sent", "alpha-1.0", "forest-1.0")
    name = f"{registry.host}/sent"
    images.build(project, "--deps", "store", "--tag", f"{name}:1", "--push")
    whole = registry.uploaded
    project.lock("alpha-1.1", "forest-1.0")
    said = images.build(project, "--deps", "store", "--tag", f"{name}:2", "--push").err
    assert re.search(rf"^Pushed {name}:2", said, re.MULTILINE)
    assert registry.uploaded - whole < whole / 20
    assert registry.tags("sent") == ["1", "2"]
    own.ask("rmi", f"{name}:2")
    own.ask("pull", f"{name}:2")
    assert Image(own, f"{name}:2").installed()["alpha"] == "1.1"
