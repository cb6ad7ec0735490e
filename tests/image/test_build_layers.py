"""The layers of an image's distributions: the same everywhere, and few that change."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import Distribution, Index, images
from tests.support.engines import Engine
from tests.support.images import VENV, Image
from tests.support.projects import Machine, Project
from tests.support.registries import Registry

# So much that each has a layer of its own, or one of the shelves below that.
_WEIGHTS = {"heaviest": 65, "heavy": 17, "middling": 9, "light": 5}
_LIGHT = ("feather", "hair")


def weighing(name: str, version: str, megabytes: int) -> Distribution:
    """Return a distribution of so many mebibytes, which differ from version to version."""
    content = f"{name} {version}".encode().ljust(1 << 20, b".") * megabytes
    return Distribution(
        name=name,
        version=version,
        files={f"{name}/__init__.py": f"VERSION = {version!r}\n", f"{name}/data.bin": content},
    )


@pytest.fixture(scope="module")
def offered() -> dict[str, Distribution]:
    """Distributions of each weight, in two versions, by `name-version`."""
    weights = {**_WEIGHTS, **dict.fromkeys(_LIGHT, 0)}
    every = [
        weighing(name, version, size) for name, size in weights.items() for version in ("1", "2")
    ]
    return {f"{one.name}-{one.version}": one for one in every}


@pytest.fixture(scope="module")
def index(
    offered: dict[str, Distribution], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Index]:
    """An index that offers them."""
    with Index(tmp_path_factory.mktemp("weights")) as made:
        made.add(*offered.values())
        yield made


@pytest.fixture(scope="module")
def desk(
    index: Index, bare_store: Path, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Machine:
    return images.machine(tmp_path_factory.mktemp("desk"), index, engine, store=bare_store)


def pins(offered: dict[str, Distribution], **versions: str) -> Sequence[Distribution]:
    """Return what a lock has: version 1 of each, unless another is given."""
    names = [*_WEIGHTS, *_LIGHT]
    return [offered[f"{name}-{versions.get(name, '1')}"] for name in names]


@pytest.fixture(scope="module")
def project(desk: Machine, offered: dict[str, Distribution]) -> Project:
    """A project whose image has been built, with version 1 of each."""
    made = images.project(desk, "layered", *pins(offered))
    images.build(made)
    return made


def titles(engine: Engine, name: str) -> list[str]:
    """Return what an image's layers of distributions are said to have, the lowest first."""
    lines = engine.ask("history", "--no-trunc", "--format", "{{.CreatedBy}}", name).splitlines()
    return [line.removeprefix("envkit: ") for line in reversed(lines) if line.startswith("envkit:")]


def test_what_weighs_much_is_below(project: Project, engine: Engine) -> None:
    assert titles(engine, f"{project.root.name}:latest") == [
        "environment",
        "heaviest 1",
        "heavy 1",
        "middling 1",
        "light 1",
        "feather 1, hair 1",
    ]


@pytest.mark.parametrize("bumped", ["feather", "heavy"])
def test_a_bump_changes_what_it_must(
    project: Project, offered: dict[str, Distribution], engine: Engine, bumped: str
) -> None:
    name = f"{project.root.name}:latest"
    project.lock(*pins(offered))
    images.build(project)
    before = Image(engine, name).layers
    project.lock(*pins(offered, **{bumped: "2"}))
    # A folder that is made within the same second is the same layer.
    time.sleep(1)
    result = images.build(project)
    image = Image(engine, name)
    said = titles(engine, name)
    changed = said.index(next(title for title in said if f"{bumped} 2" in title))
    # What is below stands on the base's layers; above it are those with the code.
    distributions = len(before) - 2 - len(said)
    lowest = distributions + changed
    differing = [one for one, other in zip(image.layers, before, strict=True) if one != other]
    assert image.layers[:lowest] == before[:lowest]
    assert image.layers[lowest] != before[lowest]
    # Above are those of the code: WORKDIR, which is a folder with the time that it is, and COPY.
    assert differing == [image.layers[lowest], *image.layers[-2:]]
    assert f"3 of {len(before)} layers new" in result.err
    assert image.installed()[bumped] == "2"
    # Back again: the engine has it all.
    project.lock(*pins(offered))
    images.build(project)
    assert Image(engine, name).layers == before


def test_going_back_hands_nothing_over(
    project: Project, offered: dict[str, Distribution], engine: Engine
) -> None:
    """An engine keeps the images of the locks before, a few of them."""
    prefix = "localhost/envkit/dependencies:"
    project.lock(*pins(offered))
    images.build(project)
    project.lock(*pins(offered, hair="2"))
    images.build(project)
    project.lock(*pins(offered))
    before = {name for name in engine.images() if name.startswith(prefix)}
    images.build(project)
    assert {name for name in engine.images() if name.startswith(prefix)} == before


def test_images_of_older_locks_are_let_go_of(
    desk: Machine, offered: dict[str, Distribution], engine: Engine
) -> None:
    made = images.project(desk, "many-locks", offered["feather-1"])
    known = set(engine.images())
    for wishes in ("feather-1", "feather-2", "hair-1", "hair-2", "feather-1", "hair-1"):
        made.lock(offered[wishes])
        images.build(made)
    left = {name for name in set(engine.images()) - known if name.startswith("envkit/")}
    assert len([name for name in left if name.startswith("localhost/envkit/dependencies:")]) <= 3
    assert Image(engine, "many-locks:latest").installed() == {"hair": "1"}


def test_two_machines_make_the_same_layers(
    index: Index,
    offered: dict[str, Distribution],
    bare_store: Path,
    engine: Engine,
    older_engine: Engine,
    tmp_path: Path,
) -> None:
    """Clean builds of two users on two engines: another store, folder, umask and builder."""
    found = []
    for number, (umask, one) in enumerate(((0o077, engine), (0o022, older_engine))):
        kind = ("buildx", "classic")[number]
        machine = images.machine(tmp_path / str(number), index, one, store=bare_store)
        os.rename(machine.folder / "store", machine.folder / f"store-{number}")
        machine.environ["ENVKIT_STORE"] = str(machine.folder / f"store-{number}")
        machine.through = ["sh", "-c", f'umask {umask:03o} && exec "$@"', "sh"]
        made = images.project(machine, f"place-{number}", *pins(offered, light="2"))
        images.build(made, "--builder", kind, "--tag", "machine:1", "--no-cache")
        image = Image(one, "machine:1")
        # Not those below, as a file of the system has the time at which it was changed, and not the
        # two of the code.
        count = len(titles(one, "machine:1"))
        found.append((image.layers[-2 - count : -2], image.says("cat", f"/{VENV}/pyvenv.cfg")))
    assert found[0] == found[1]
    assert len(found[0][0]) > 5


def test_a_bump_sends_little(
    project: Project, offered: dict[str, Distribution], registry: Registry
) -> None:
    project.lock(*pins(offered))
    name = f"{registry.host}/layered"
    result = images.build(project, "--tag", f"{name}:1", "--push")
    whole = registry.uploaded
    assert f"Pushed {name}:1: " in result.err
    assert whole > 30_000_000
    project.lock(*pins(offered, hair="2"))
    result = images.build(project, "--tag", f"{name}:2", "--push")
    assert "Pushed" in result.err
    assert registry.uploaded - whole < 100_000
    assert registry.tags("layered") == ["1", "2"]
