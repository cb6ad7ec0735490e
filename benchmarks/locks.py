"""The locks that every tool installs: three sizes, each a series of states one pin apart.

A series has the states 0 to `LAST`. In the last one every pin is current; in state ``k`` the
distributions ``bumped[k:]`` are held at the release before, so that going from one state to the
next bumps exactly one of them, and from state 1 to the last one bumps ten. Locks are made once and
kept: a folder of ours appears by a rename.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recipes import LAST, Recipe

LOCK_LIMIT = 1800.0  # seconds that one compilation may take
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)([^\\]*)")
_PIPTOOLS_OPTIONS = (
    "--quiet",
    "--generate-hashes",
    "--allow-unsafe",
    "--strip-extras",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-emit-trusted-host",
)


class LockError(Exception):
    """A lock could not be made; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A folder with ``requirements.in`` and ``requirements.txt``, and the pins of the latter."""

    name: str
    folder: Path
    pins: Mapping[str, str]


def normalized(name: str) -> str:
    """Spell a name as the simple index does (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Read the pins of a compiled ``requirements.txt`` that hold without a marker."""
    matches = (_PIN.match(line) for line in text.splitlines())
    return {normalized(m[1]): m[2] for m in matches if m and ";" not in m[3]}


def blocks(text: str) -> dict[str, str]:
    """Cut a compiled ``requirements.txt`` into its pins; what precedes them is under ``""``."""
    found, key = {"": ""}, ""
    for line in text.splitlines(keepends=True):
        if match := _PIN.match(line):
            key = normalized(match[1])
            found[key] = ""
        found[key] += line
    return found


@dataclass(frozen=True, kw_only=True)
class Maker:
    """How locks are compiled: by ``envkit lock``, or by pip-tools while ``envkit`` is None.

    ``python`` is the interpreter they are for, ``version`` its ``X.Y``; pip-tools resolves for the
    one that it runs in.
    """

    envkit: tuple[str, ...] | None
    python: str
    version: str
    env: Mapping[str, str]

    @property
    def name(self) -> str:
        """What compiles, as a folder name."""
        return "envkit" if self.envkit else "piptools"

    def compile(self, folder: Path) -> None:
        """Make ``folder/requirements.txt``, keeping the pins it has; raises `LockError`."""
        if self.envkit:
            argv = [*self.envkit, "lock"]
        elif self.version == f"{sys.version_info[0]}.{sys.version_info[1]}":
            argv = [
                sys.executable,
                "-m",
                "piptools",
                "compile",
                *_PIPTOOLS_OPTIONS,
                "requirements.in",
            ]
        else:
            raise LockError(
                f"without envkit, run this with the Python to be locked for ({self.version})"
            )
        _run(argv, folder, self.env)


class Series:
    """The states of one size's lock, each made when it is first asked for."""

    def __init__(
        self, recipe: Recipe, root: Path, maker: Maker, say: Callable[[str], None]
    ) -> None:
        self.recipe = recipe
        self._root, self._maker, self._say = root, maker, say
        self._known: dict[int, Lock] = {}

    def state(self, number: int) -> Lock:
        """State ``number`` of the series, 0 to `LAST`; raises `LockError`."""
        if number not in self._known:
            folder = self._root / (f"state-{number:02d}" if number < LAST else "current")
            if not _is_complete(folder, self._inputs(number)):
                self._say(f"making the lock {folder.name} of {self.recipe.size}")
                self._make(number, folder)
            text = (folder / "requirements.txt").read_text()
            self._known[number] = Lock(name=folder.name, folder=folder, pins=pins(text))
        return self._known[number]

    def changes(self, old: int, new: int) -> list[str]:
        """Name the distributions that differ between two states."""
        one, other = self.state(old).pins, self.state(new).pins
        return sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))

    def _inputs(self, number: int) -> str:
        lines = list(self.recipe.requirements)
        if number < LAST:
            current = self.state(LAST).pins
            absent = [name for name in self.recipe.bumped if name not in current]
            if absent:
                raise LockError(f"not in the lock of {self.recipe.size}: {', '.join(absent)}")
            lines += [f"{name}<{current[name]}" for name in self.recipe.bumped[number:]]
        return "".join(f"{line}\n" for line in lines)

    def _make(self, number: int, folder: Path) -> None:
        building = folder.with_name(folder.name + ".new")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        (building / "requirements.in").write_text(self._inputs(number))
        (building / "envkit.toml").write_text(f'python = "{self._maker.version}"\n')
        if number < LAST:
            mixed = self._mixed(number) if number else None
            known = mixed or (self.state(LAST).folder / "requirements.txt").read_text()
            (building / "requirements.txt").write_text(known)
        if number in (0, LAST) or mixed is None or self._maker.envkit:
            self._maker.compile(building)
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)

    def _mixed(self, number: int) -> str | None:
        """Put a lock together from those of the first and the last state; None if that is unsafe.

        A shortcut, since pip-tools can need minutes for each; it holds where the two differ by the
        bumped pins alone. envkit compiles it once more, which is quick with all pins kept.
        """
        if self.changes(0, LAST) != sorted(self.recipe.bumped):
            return None
        parts = blocks((self.state(LAST).folder / "requirements.txt").read_text())
        old = blocks((self.state(0).folder / "requirements.txt").read_text())
        return "".join((parts | {name: old[name] for name in self.recipe.bumped[number:]}).values())


class UvProjects:
    """Makes the uv project with a lock's pins, beside it: ``uv/pyproject.toml``, ``uv/uv.lock``."""

    def __init__(self, uv: str, python: str, version: str, env: Mapping[str, str]) -> None:
        major, minor, _ = version.split(".", 2)
        self._uv, self._python, self._env = uv, python, env
        self._versions = f">={version},<{major}.{int(minor) + 1}"

    def ensure(self, lock: Lock) -> Path:
        """Give the folder of ``lock``'s uv project; `LockError` if uv comes to other pins."""
        folder = lock.folder / "uv"
        if not (folder / "uv.lock").exists():
            building = lock.folder / "uv.new"
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            (building / "pyproject.toml").write_text(self._pyproject(lock.pins))
            _run([self._uv, "lock", "--python", self._python], building, self._env)
            text = (building / "uv.lock").read_text()
            found = dict(re.findall(r'^name = "([^"]+)"\nversion = "([^"]+)"', text, re.MULTILINE))
            found.pop("benchmark", None)
            if found != dict(lock.pins):
                raise LockError(f"uv's lock of {lock.name} has other pins than requirements.txt")
            building.rename(folder)
        return folder

    def _pyproject(self, wanted: Mapping[str, str]) -> str:
        listed = "".join(f'    "{name}=={version}",\n' for name, version in sorted(wanted.items()))
        here = f"sys_platform == '{sys.platform}' and platform_machine == '{platform.machine()}'"
        return (
            '[project]\nname = "benchmark"\nversion = "0"\n'
            f'requires-python = "{self._versions}"\ndependencies = [\n{listed}]\n\n'
            f'[tool.uv]\npackage = false\nenvironments = ["{here}"]\n'
        )


def _is_complete(folder: Path, inputs: str) -> bool:
    try:
        made_from = (folder / "requirements.in").read_text()
    except FileNotFoundError:
        return False
    return made_from == inputs and (folder / "requirements.txt").exists()


def _run(argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            argv,
            check=False,
            cwd=folder,
            env=dict(env),
            capture_output=True,
            text=True,
            timeout=LOCK_LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise LockError(f"{' '.join(argv[:4])} took more than {LOCK_LIMIT:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise LockError(f"{' '.join(argv[:4])} failed in {folder}:\n{tail}")
