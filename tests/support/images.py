"""Images as an engine has them, and projects that build them."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from .engines import Engine
from .projects import PYTHON, Machine, Node, Project, Result, Wish

# Where an image has its environment.
VENV = "opt/venv"

# What builds an image: the options that choose it.
BUILDERS = ("buildx", "api", "classic")

# A program of a project, which shows that it runs.
PROGRAM = "print('hello')\n"

_KINDS: Sequence[tuple[Callable[[tarfile.TarInfo], bool], str]] = (
    (tarfile.TarInfo.isfile, "file"),
    (tarfile.TarInfo.isdir, "folder"),
    (tarfile.TarInfo.issym, "link"),
)


class Image:
    """An image that an engine has, by a name or its id."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    @property
    def about(self) -> Mapping[str, Any]:
        """What the engine says of it. Source: Docker Engine API, "Inspect an image"."""
        (found,) = json.loads(self._engine.ask("image", "inspect", self.name))
        assert isinstance(found, dict)
        return found

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.about["Id"])

    @property
    def layers(self) -> list[str]:
        """The digests of its layers, the lowest first."""
        return list(self.about["RootFS"]["Layers"])

    @property
    def config(self) -> Mapping[str, Any]:
        """What containers of it begin with."""
        found = self.about["Config"]
        assert isinstance(found, dict)
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.config["Labels"] or {}

    @property
    def exists(self) -> bool:
        """Whether the engine has it."""
        return self._engine.docker("image", "inspect", self.name).code == 0

    def run(self, *command: str) -> Result:
        """Run a command in a container of it; what it says by default if there is none."""
        return self._engine.docker("run", "--rm", "--network", "none", self.name, *command)

    def says(self, *command: str) -> str:
        """Return what a command prints in a container, which has to succeed."""
        result = self.run(*command)
        assert result.code == 0, result.text
        return result.out.strip()

    def python(self, code: str) -> str:
        """Return what code prints in its environment."""
        return self.says("python", "-c", code)

    def installed(self) -> dict[str, str]:
        """Return the distributions that its Python finds: name -> version."""
        found = self.python(
            "import importlib.metadata as m, json\n"
            "print(json.dumps({d.name: d.version for d in m.distributions()}))"
        )
        return dict(json.loads(found))

    def files(self, path: str) -> dict[str, tuple[Node, bytes]]:
        """Return what is in a folder of it, by path relative to that, with the contents."""
        found = {}
        with self._archive(path) as archive:
            for member in archive:
                name = member.name.partition("/")[2]
                if name:
                    kind = next(kind for is_one, kind in _KINDS if is_one(member))
                    file = archive.extractfile(member) if kind == "file" else None
                    content = file.read() if file else member.linkname.encode()
                    sha256 = "" if kind == "folder" else hashlib.sha256(content).hexdigest()
                    found[name] = (Node(kind, sha256, member.mode & 0o7777), content)
        return found

    def times(self, path: str) -> set[int]:
        """Return the times of all that is in a folder of it, in seconds since the epoch."""
        with self._archive(path) as archive:
            return {int(member.mtime) for member in archive}

    @contextmanager
    def _archive(self, path: str) -> Iterator[tarfile.TarFile]:
        container = self._engine.ask("create", self.name)
        try:
            command = [str(self._engine.make.docker), "cp", f"{container}:/{path}", "-"]
            packed = subprocess.run(
                command, env=dict(self._engine.environ), capture_output=True, check=True
            ).stdout
        finally:
            self._engine.ask("rm", container)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            yield archive


def dockerfile() -> str:
    """Return the Dockerfile that `envkit init` writes."""
    template = resources.files("envkit") / "templates" / "Dockerfile"
    return template.read_text(encoding="utf-8").replace("@PYTHON@", PYTHON)


def project(
    machine: Machine, name: str, *wishes: Wish, settings: str = "", text: str | None = None
) -> Project:
    """Make a project with a lock, a program, and a Dockerfile that runs that.

    Args:
        machine: whose it is.
        name: its folder's, and so the image's.
        wishes: what its lock has.
        settings: what its `envkit.toml` says.
        text: the Dockerfile; by default the one that `envkit init` writes.
    """
    made = machine.project(name, settings=settings)
    made.lock(*wishes)
    write(made, dockerfile() if text is None else text)
    (made.root / "main.py").write_text(PROGRAM, encoding="utf-8")
    return made


def write(project: Project, text: str) -> None:
    """Write a project's Dockerfile, with its program as the command."""
    text = text.replace('CMD ["python"]', 'CMD ["python", "main.py"]')
    (project.root / "Dockerfile").write_text(text, encoding="utf-8")


def machine(folder: Path, index: Any, engine: Engine, *, store: Path | None = None) -> Machine:
    """Make a machine whose Docker commands speak with an engine.

    Args:
        folder: where all of it is.
        index: what pip asks.
        engine: the engine.
        store: another store, with whose distributions it begins.
    """
    made = Machine(folder, index)
    made.environ |= engine.environ
    if store is not None:
        made.seed_from(store)
    return made


def build(project: Project, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
    """Run `envkit build`, which has to succeed, and return what it said."""
    return project.succeed("build", *arguments, env=env)


def idle(engine: Engine) -> bool:
    """Return whether nothing runs in an engine, and no container is left of what did."""
    return not engine.containers() and not engine.busy()
