"""The ways in which one image is built, each as its users do it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.building.engine import REPOSITORY
from benchmarks.timing import Command

_HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to build.

    ``kind`` picks the command: ``envkit``, ``docker`` or ``docker-py``. ``dockerfile`` is the name
    of a file beside this one; without it the Dockerfile is what `envkit init` writes.
    """

    name: str
    label: str
    kind: str
    dockerfile: str = ""
    options: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """What its images are called."""
        return f"{REPOSITORY}/{self.name}:latest"


ENVKIT = Way(name="envkit", label="`envkit build`", kind="envkit")
DOCKER = Way(name="docker", label="`docker build`", kind="docker")
CACHE = Way(
    name="cache",
    label="`docker build`, pip with a cache mount",
    kind="docker",
    dockerfile="Dockerfile.cache",
)
SPLIT = Way(
    name="split",
    label="`docker build`, heavy and light pins by hand",
    kind="docker",
    dockerfile="Dockerfile.split",
)
LOCKED = (ENVKIT, DOCKER, CACHE, SPLIT)

FILES = tuple(
    Way(
        name=f"files-{name}", label=label, kind=kind, dockerfile="Dockerfile.files", options=options
    )
    for name, label, kind, options in (
        ("envkit", "`envkit build`", "envkit", ()),
        ("api", "`envkit build --builder api`", "envkit", ("--builder", "api")),
        ("classic", "`envkit build --builder classic`", "envkit", ("--builder", "classic")),
        ("docker", "`docker build`", "docker", ()),
        ("docker-py", "docker-py", "docker-py", ()),
    )
)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The programs, the variables they run with, and what all ways are handed alike.

    ``arguments`` are build arguments; ``env`` names the engine, the store and the index. ``base``
    is what the names of the ways' bases begin with: each has one of its own, so that no way finds
    in a cache what another one made.
    """

    envkit: str
    docker: str
    env: Mapping[str, str]
    base: str
    arguments: Mapping[str, str]

    def base_of(self, way: Way) -> str:
        """Name the image that a way's images stand on."""
        return f"{self.base}-{way.name}"

    def build(self, way: Way, project: Path, *more: str, tag: str = "") -> Command:
        """Name the command that builds a project, under its way's tag by default."""
        arguments = {"BASE": self.base_of(way), **self.arguments}
        handed = [f"{name}={value}" for name, value in arguments.items()]
        options = ["--network", "host", "--tag", tag or way.tag]
        options += [part for one in handed for part in ("--build-arg", one)]
        lines = {
            "envkit": [self.envkit, "build", *options, *way.options, *more],
            "docker": [self.docker, "build", *options, *way.options, *more, "."],
            "docker-py": [sys.executable, str(_HERE / "docker_py.py"), ".", way.tag, *handed],
        }
        return self.command(project, lines[way.kind])

    def command(self, project: Path, argv: list[str]) -> Command:
        """Name a command that runs in a project."""
        return Command(argv=tuple(argv), cwd=project, env=self.env)


def dockerfile(way: Way, identity: str) -> str:
    """Return the text of a way's own Dockerfile; ``identity`` tells its caches from others'."""
    return (_HERE / way.dockerfile).read_text().replace("@ID@", identity)
