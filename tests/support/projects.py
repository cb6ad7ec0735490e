"""Projects made on the spot, and the real command line run in them.

Locks are written here from the hashes of published files, so that no test of the environment
stands or falls with a resolver.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from packaging.utils import canonicalize_name

from envkit import project as projects
from envkit.locks import inputs, lock

from . import backend
from .catalogue import good
from .distributions import Distribution
from .index import Index

# A key of `good()`, of which what stands behind a semicolon is a marker; or a distribution.
Wish: TypeAlias = str | Distribution

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/python{PYTHON}/site-packages"

# No command of these tests takes this many seconds, unless it hangs.
_LIMIT = 120

# What a store keeps beside distributions, and what belongs to the projects that used it.
_PROJECTS_OWN = {
    *("spares-v1", "ready-v1", "tmp", "set-aside", "unsynced", "collected"),
    *("background.lock", "collection.lock", "fetching.lock"),
}


# What a project says of itself that `Project.describe` makes.
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "@NAME@"
version = "1.0"
"""


class Node(NamedTuple):
    """What is at a path: "file", "folder" or "link"; the sha256 of its content or target; mode."""

    kind: str
    sha256: str
    mode: int


Snapshot: TypeAlias = Mapping[str, Node]


def snapshot(folder: Path, *, without: Iterable[str] = ()) -> dict[str, Node]:
    """Return everything in a folder, by path relative to it; nothing if it is not there.

    Args:
        folder: the folder.
        without: names of files and folders that are passed over, wherever they are.
    """
    found: dict[str, Node] = {}
    passed = set(without)

    def enter(place: str, prefix: str) -> None:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name in passed:
                    continue
                path = prefix + entry.name
                mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                if entry.is_symlink():
                    found[path] = Node("link", _sha256(os.fsencode(os.readlink(entry.path))), mode)
                elif entry.is_dir():
                    found[path] = Node("folder", "", mode)
                    enter(entry.path, f"{path}/")
                else:
                    found[path] = Node("file", _sha256(Path(entry.path).read_bytes()), mode)

    if folder.is_dir():
        enter(str(folder), "")
    return found


def _environments() -> Iterator[tuple[int, bytes]]:
    """Yield the id and the variables of each process that may be looked into."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            yield int(name), Path("/proc", name, "environ").read_bytes()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command that has ended left: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)

    @property
    def text(self) -> str:
        """All that it said."""
        return self.out + self.err


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], limit: float = _LIMIT
) -> Result:
    """Run a command, to which nobody talks, to its end within so many seconds."""
    completed = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=limit,
    )
    return Result(code=completed.returncode, out=completed.stdout, err=completed.stderr)


class Machine:
    """A user's machine: a home, a store and a package index.

    Attributes:
        folder: where all of it is, beside the projects that are made.
        index: what pip asks.
        environ: the variables of every command; a test may change them.
        through: what stands before every command; nothing, unless a test puts something there.
    """

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.index = index
        self.store = folder / "store"
        self.through: Sequence[str] = ()
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        dropped = ("ENVKIT_", "XDG_", "VIRTUAL", "PYTHONPATH", "CONDA", "NO_COLOR", "FORCE_COLOR")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(dropped)
        }
        self.environ = index.pip_environment(kept) | {
            "HOME": str(home),
            "ENVKIT_STORE": str(self.store),
            # Nothing is left running when a command has ended.
            "ENVKIT_COMPILE": "now",
        }

    def project(self, name: str = "project", *, settings: str = "") -> "Project":
        """Make a project's folder, which may be a path, with an `envkit.toml`."""
        root = self.folder / name
        root.mkdir(parents=True)
        root.joinpath("envkit.toml").write_text(settings, encoding="utf-8")
        return Project(root, self)

    def seed_from(self, store: Path) -> None:
        """Begin with the distributions of another store, linked rather than copied."""
        shutil.copytree(
            store,
            self.store,
            symlinks=True,
            copy_function=os.link,
            ignore=lambda folder, _: _PROJECTS_OWN if Path(folder) == store else (),
        )

    def entries(self) -> set[str]:
        """Return the names of the wheels and builds in the store."""
        buckets = (self.store / name for name in ("wheels-v1", "builds-v1"))
        return {entry.name for bucket in buckets if bucket.is_dir() for entry in bucket.iterdir()}

    def rest(self) -> None:
        """Wait until no process works on the store any more: what goes on behind an install ends.

        A failure if that takes too long. Source: proc(5), /proc/PID/environ.
        """
        until = time.monotonic() + _LIMIT
        clear = 0
        # More than one look, since a process that is becoming another program shows no variables.
        while clear < 3:
            clear = 0 if self.processes() else clear + 1
            assert time.monotonic() < until, "something goes on and on"
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """Return the ids of the processes that work on the store."""
        mark = f"\0ENVKIT_STORE={self.environ['ENVKIT_STORE']}\0".encode()
        return [number for number, environ in _environments() if mark in b"\0" + environ]

    def leftovers(self) -> list[str]:
        """Return what is in the store's folder for passing things."""
        folder = self.store / "tmp"
        return sorted(os.listdir(folder)) if folder.is_dir() else []


class Project:
    """A project of a machine.

    Attributes:
        root: its folder.
        venv: its environment, which need not exist.
        machine: the machine.
    """

    def __init__(self, root: Path, machine: Machine) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.machine = machine

    @property
    def site(self) -> Path:
        """The environment's site-packages."""
        return self.venv / SITE

    def lock(self, *wishes: Wish, group: str = "default") -> None:
        """Write the requirements and the lock of a group: the wishes, in their order.

        All must have been published; other groups than the default one come after it.
        """
        suffix = "" if group == "default" else f"-{group}"
        lines = [self.line(wish) for wish in wishes]
        names = "".join(f"{line.partition('==')[0]}\n" for line in lines)
        self.root.joinpath(f"requirements{suffix}.in").write_text(names, encoding="utf-8")
        found = projects.read(self.root, {})
        assert found
        digest = inputs.digest(found, found.group(group), PYTHON)
        self.write_lock([lock.header(PYTHON, digest), *lines], group=group)

    def write_lock(self, lines: Sequence[str], *, group: str = "default") -> None:
        """Write lines as the lock of a group."""
        suffix = "" if group == "default" else f"-{group}"
        text = "".join(f"{line}\n" for line in lines)
        self.root.joinpath(f"requirements{suffix}.txt").write_text(text, encoding="utf-8")

    def line(self, wish: Wish) -> str:
        """Return the line of a lock that pins what was published."""
        marker = ""
        if isinstance(wish, str):
            key, semicolon, condition = wish.partition(";")
            marker = f" ; {condition.strip()}" if semicolon else ""
            wish = good()[key.strip()]
        pin = f"{canonicalize_name(wish.name)}=={wish.version}"
        return f"{pin}{marker} --hash=sha256:{self.machine.index.sha256(wish.filename)}"

    def describe(self, name: str) -> Path:
        """Make it a project that a backend of its own builds; return the folder of its metadata."""
        stem = str(canonicalize_name(name)).replace("-", "_")
        info = self.root / "meta" / f"{stem}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (self.root / "src").mkdir()
        (self.root / "backend.py").write_bytes(Path(backend.__file__).read_bytes())
        (self.root / "pyproject.toml").write_text(PYPROJECT.replace("@NAME@", name))
        return info

    def envkit(
        self, *arguments: str, env: Mapping[str, str] | None = None, below: str = "."
    ) -> Result:
        """Run envkit in the project.

        Args:
            arguments: what stands behind `envkit`.
            env: variables that are added.
            below: the folder to run in, relative to the project's.
        """
        return self.call([sys.executable, "-m", "envkit", *arguments], env=env, below=below)

    def install(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """Run `envkit install`, which has to succeed."""
        return self.succeed("install", *arguments, env=env)

    def succeed(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """Run envkit, which has to succeed."""
        result = self.envkit(*arguments, env=env)
        assert result.code == 0, result.text
        return result

    def git(self, *arguments: str) -> str:
        """Run git in the project, which has to succeed, and return what it printed."""
        known = ["user.name=A", "user.email=a@example.org", "commit.gpgsign=false"]
        options = [word for one in known for word in ("-c", one)]
        result = self.call(["git", *options, *arguments])
        assert result.code == 0, result.text
        return result.out.strip()

    def python(self, code: str) -> str:
        """Run code in the environment, which has to succeed, and return what it printed."""
        result = self.call([str(self.venv / "bin" / "python"), "-c", code])
        assert result.code == 0, result.text
        return result.out

    def pip(self, *arguments: str) -> Result:
        """Run the environment's own pip."""
        return self.call([str(self.venv / "bin" / "python"), "-m", "pip", *arguments])

    def script(self, name: str, *arguments: str) -> Result:
        """Run a script of the environment."""
        return self.call([str(self.venv / "bin" / name), *arguments])

    def call(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, below: str = "."
    ) -> Result:
        """Run a command in the project to its end."""
        environ = {**self.machine.environ, **(env or {})}
        return run([*self.machine.through, *command], cwd=self.root / below, env=environ)

    def stopped(
        self, *arguments: str, when: Callable[[], object], number: signal.Signals
    ) -> Result:
        """Run envkit and send a signal to it and all its children, as a terminal does.

        Args:
            arguments: what stands behind `envkit`.
            when: called once it runs; the signal is sent when it returns.
            number: the signal.
        """
        with subprocess.Popen(
            [*self.machine.through, sys.executable, "-m", "envkit", *arguments],
            cwd=self.root,
            env=self.machine.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        ) as child:
            when()
            # Where it was faster, that is as good an instant as any.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            out, err = child.communicate(timeout=_LIMIT)
        return Result(code=child.returncode, out=out, err=err)

    def installed(self) -> dict[str, str]:
        """Return the distributions that Python finds: normalized name -> version; pip is left out.

        Distributions that are there twice are a failure.
        """
        listed = self.python(
            "import importlib.metadata as m, json\n"
            "print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
        )
        pairs = [(str(canonicalize_name(name)), version) for name, version in json.loads(listed)]
        assert len(dict(pairs)) == len(pairs), pairs
        return {name: version for name, version in pairs if name != "pip"}

    def has(self, module: str) -> bool:
        """Return whether the environment has a module, by its dotted name."""
        found = self.python(
            "import importlib.util\n"
            f"try: found = importlib.util.find_spec({module!r})\n"
            "except ModuleNotFoundError: found = None\n"
            "print(found is not None)"
        )
        return found.strip() == "True"
