"""Distributions that pip installs in the image: `--deps pip`, and `docker build` without envkit."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import Index, good, images
from tests.support.engines import Engine
from tests.support.images import VENV, Image
from tests.support.projects import Node, Project, Result

# No two with one path, of which pip lets the one win that it installs last, in an order of its own.
KEYS = (
    *("commands-1.0", "schemes-1.0", "alpha-1.1"),
    *("accents-1.0", "crooked-1.0", "hammer-1.0", "paths-1.0", "space-one-1.0", "space-two-1.0"),
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index that can be stopped."""
    with Index(tmp_path_factory.mktemp("index")) as made:
        made.add(*(good()[key] for key in KEYS))
        yield made


@pytest.fixture(scope="module")
def project(
    index: Index, bare_store: Path, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project whose image has been built out of the store."""
    folder = tmp_path_factory.mktemp("pip")
    made = images.project(images.machine(folder, index, engine, store=bare_store), "piped", *KEYS)
    images.build(made, "--tag", ":store")
    return made


# Written by whoever installs, or compiles; and links, which lead to one Python in another order.
BY_INSTALLER = re.compile(
    r".*\.dist-info/(INSTALLER|RECORD|REQUESTED)$|.*__pycache__|pyvenv\.cfg$"
    r"|bin/([Aa]ctivate|python)|bin/commands"
)


def of_distributions(image: Image) -> Mapping[str, Node]:
    """Return what an image's environment has of distributions themselves."""
    nodes = {path: node for path, (node, _) in image.files(VENV).items()}
    return {
        path: node
        for path, node in nodes.items()
        if node.kind != "folder" and not BY_INSTALLER.match(path)
    }


def test_pip_installs_the_same_files(project: Project, engine: Engine) -> None:
    result = images.build(project, "--deps", "pip", "--tag", ":pip")
    assert "Building the stage deps with buildx" in result.err
    by_store, by_pip = (Image(engine, f"piped:{tag}") for tag in ("store", "pip"))
    ours, theirs = of_distributions(by_store), of_distributions(by_pip)
    assert ours.keys() == theirs.keys()
    assert {path for path in ours if ours[path] != theirs[path]} == set()
    assert by_pip.installed() == by_store.installed()
    assert by_pip.run("commands", "one").out == "main one\n"


@pytest.mark.parametrize("builder", ["api", "classic"])
def test_builders_without_buildx_do_so_too(project: Project, engine: Engine, builder: str) -> None:
    images.build(project, "--deps", "pip", "--builder", builder, "--tag", f":{builder}")
    image = Image(engine, f"piped:{builder}")
    assert of_distributions(image) == of_distributions(Image(engine, "piped:store"))
    assert not [name for name in image.files("app") if "wheelhouse" in name]
    assert images.idle(engine)


def test_nothing_is_downloaded_again(bare_store: Path, engine: Engine, tmp_path: Path) -> None:
    with Index(tmp_path / "index") as index:
        index.add(*(good()[key] for key in KEYS))
        machine = images.machine(tmp_path, index, engine, store=bare_store)
        made = images.project(machine, "offline", *reversed(KEYS))
        images.build(made, "--deps", "pip")
        files = [good()[key].filename for key in KEYS]
        assert {index.downloads(name) for name in files} == {1}
    # The index is gone; the engine forgets what it had built.
    images.build(made, "--deps", "pip", "--no-cache", "--tag", "offline:again")
    first, second = Image(engine, "offline:latest"), Image(engine, "offline:again")
    assert of_distributions(first) == of_distributions(second)


def test_what_has_no_wheel_is_built_in_the_image(
    published: Index, bare_store: Path, engine: Engine, tmp_path: Path
) -> None:
    """For which pip may need what the lock does not name, and so asks the index as it is told."""
    machine = images.machine(tmp_path, published, engine, store=bare_store)
    made = images.project(machine, "sdists", "sourced-1.0", "alpha-1.0")
    index = f"PIP_INDEX_URL={published.url}"
    images.build(made, "--deps", "pip", "--network", "host", "--build-arg", index)
    image = Image(engine, "sdists:latest")
    assert image.installed() == {"alpha": "1.0", "sourced": "1.0"}
    assert image.says("sourced") == "sourced"


def test_a_change_of_code_does_not_run_pip(project: Project, engine: Engine) -> None:
    images.build(project, "--deps", "pip", "--tag", ":code")
    before = Image(engine, "piped:code").layers
    (project.root / "more.py").write_text("MORE = 1\n", encoding="utf-8")
    result = images.build(project, "--deps", "pip", "--tag", ":code")
    assert "Building the stage" not in result.err
    assert Image(engine, "piped:code").layers[:-1] == before[:-1]


def docker_build(
    project: Project, engine: Engine, name: str, environ: Mapping[str, str], *options: str
) -> Result:
    """Run `docker build .` in a project, with its index, which listens on this machine."""
    index = project.machine.index
    result = engine.docker(
        "build",
        "--network=host",
        f"--build-arg=PIP_INDEX_URL={index.url}",
        *options,
        f"--tag={name}",
        str(project.root),
        environ=environ,
    )
    assert result.code == 0, result.text
    return result


@pytest.mark.parametrize("buildx", [True, False])
@pytest.mark.parametrize("which", ["engine", "older_engine"])
def test_docker_build_alone(
    project: Project, engine: Engine, request: pytest.FixtureRequest, which: str, buildx: bool
) -> None:
    """Without envkit, by any engine and either of its builders, there is the same image."""
    one: Engine = request.getfixturevalue(which)
    environ = one.environ if buildx else {**one.bare_environ, "DOCKER_BUILDKIT": "0"}
    name = f"alone-{which}-{buildx}".lower()
    docker_build(project, one, name, environ)
    image = Image(one, name)
    assert image.run().out == "hello\n"
    assert of_distributions(image) == of_distributions(Image(engine, "piped:store"))
    assert image.config["User"] == "10001:10001"
    assert image.python("import importlib.util as u; print(u.find_spec('pip'))") == "None"


def test_a_wrong_hash_is_refused_by_docker_build_too(
    project: Project, engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    for name in ("Dockerfile", "main.py", "requirements.txt"):
        (folder / name).write_bytes((project.root / name).read_bytes())
    lock = folder / "requirements.txt"
    text = lock.read_text(encoding="utf-8")
    sha256 = project.machine.index.sha256(good()["alpha-1.1"].filename)
    lock.write_text(text.replace(sha256, "0" * 64), encoding="utf-8")
    wrong = Project(folder, project.machine)
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        docker_build(wrong, engine, "wrong", engine.environ)
    assert not Image(engine, "wrong").exists
