"""A project: the folder with the settings, its groups and their files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from envkit.config import Config, load
from envkit.errors import UsageError
from envkit.tables import read_toml

DEFAULT_GROUP = "default"

# Returns what a TOML file says; raises a UsageError if it cannot.
Reader = Callable[[Path], dict[str, Any]]

# As a group's name becomes part of a file's name, it has the letters that a distribution's may.
_GROUP_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


class Group(NamedTuple):
    """A named set of requirements: where they are written and where they are locked.

    Attributes:
        name: "default", or what stands behind `requirements-` in the file's name.
        inputs: the files that say what is wanted: the `.in` file, `pyproject.toml`; some may
            be missing.
        lock: the compiled file.
    """

    name: str
    inputs: tuple[Path, ...]
    lock: Path


class Project(NamedTuple):
    """A folder with `[tool.envkit]` in `pyproject.toml`, or `envkit.toml`.

    Attributes:
        root: the folder, absolute.
        settings_file: the file that makes it a project.
        pyproject: what `pyproject.toml` says; empty without one.
        config: the settings.
    """

    root: Path
    settings_file: Path
    pyproject: Mapping[str, Any]
    config: Config

    @property
    def environment(self) -> Path:
        """The folder of the environment."""
        return self.root / ".venv"

    @property
    def name(self) -> str:
        """What the project calls itself; the folder's name if it does not say."""
        name: str = self.pyproject.get("project", {}).get("name") or self.root.name
        return name

    @property
    def requires_python(self) -> str | None:
        """`[project] requires-python`, a specifier set (PEP 621)."""
        value: str | None = self.pyproject.get("project", {}).get("requires-python")
        return value

    @property
    def editable(self) -> bool:
        """Whether the project itself is installed: if set so, or if it has a build system."""
        chosen = self.config.editable
        return "build-system" in self.pyproject if chosen is None else chosen

    @property
    def static_dependencies(self) -> tuple[str, ...]:
        """`[project] dependencies`, where they stand there and are not dynamic (PEP 621)."""
        return tuple(self.pyproject.get("project", {}).get("dependencies", ()))

    def python_request(self, locked: str = "") -> str:
        """Return what decides the interpreter: the setting, the lock, or `requires-python`.

        Args:
            locked: the Python that the lock was compiled for, if there is a lock.
        """
        request = self.config.python or locked or self.requires_python or ""
        return request if os.sep in request else "".join(request.split())

    def group(self, name: str) -> Group:
        """Return a group by its name, whether or not its files exist.

        Raises:
            UsageError: the name cannot be part of a file's name.
        """
        if not _GROUP_NAME.fullmatch(name):
            raise UsageError(
                f"{name[:100]!r} cannot name a group",
                "Use letters, digits, '.', '_', '-', and no more than 100 of them.",
            )
        stem = "requirements" if name == DEFAULT_GROUP else f"requirements-{name}"
        inputs = [self.root / f"{stem}.in"]
        if name == DEFAULT_GROUP and self.static_dependencies:
            inputs.append(self.root / "pyproject.toml")
        return Group(name=name, inputs=tuple(inputs), lock=self.root / f"{stem}.txt")

    def groups(self) -> tuple[Group, ...]:
        """Return the groups that have an input: the default one first, then by name."""
        names = sorted(path.stem[13:] for path in self.root.glob("requirements-*.in"))
        found = [self.group(name) for name in (DEFAULT_GROUP, *names)]
        return tuple(group for group in found if any(path.is_file() for path in group.inputs))

    def choose(self, *, added: tuple[str, ...] = (), default: bool = True) -> tuple[Group, ...]:
        """Return the groups to install, in a fixed order.

        Args:
            added: groups named by the user, beside the configured ones.
            default: whether the group `default` is taken.

        Raises:
            UsageError: a group has neither an input nor a lock.
        """
        names = [*self.config.groups, *added]
        chosen = dict.fromkeys(name for name in names if default or name != DEFAULT_GROUP)
        groups = sorted(map(self.group, chosen), key=lambda g: (g.name != DEFAULT_GROUP, g.name))
        for group in groups:
            if not group.lock.is_file() and not any(path.is_file() for path in group.inputs):
                raise UsageError(
                    f"There is no group {group.name}: {group.inputs[0].name} does not exist",
                    f"Groups here: {', '.join(g.name for g in self.groups()) or 'none'}.",
                )
        return tuple(groups)


def find(start: Path, environ: Mapping[str, str], read_file: Reader = read_toml) -> Project:
    """Return the project that a folder is in: its own, or the nearest above it.

    Args:
        start: the folder.
        environ: the environment, whose variables override settings.
        read_file: how a TOML file is read.

    Raises:
        UsageError: there is none, or a folder has both kinds of settings.
    """
    project = nearest(start, environ, read_file)
    if project is None:
        raise UsageError(
            f"{start.absolute()} is not in a project: no envkit.toml, no [tool.envkit] in a "
            "pyproject.toml",
            "Run `envkit init` in the folder of your repository.",
        )
    return project


def nearest(
    start: Path, environ: Mapping[str, str], read_file: Reader = read_toml
) -> Project | None:
    """Return the project that a folder is in, or None.

    Args:
        start: the folder.
        environ: the environment, whose variables override settings.
        read_file: how a TOML file is read.

    Raises:
        UsageError: a folder has both kinds of settings, or they cannot be understood.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        project = read(folder, environ, read_file)
        if project:
            return project
    return None


def settings(start: Path, environ: Mapping[str, str]) -> Config:
    """Return the settings that count in a folder: those of the project that it is in, or of none.

    Raises:
        UsageError: as for `nearest`.
    """
    found = nearest(start, environ)
    return found.config if found else load({}, file=start / "envkit.toml", environ=environ)


def read(root: Path, environ: Mapping[str, str], read_file: Reader = read_toml) -> Project | None:
    """Return the project whose own folder this is, or None.

    Args:
        root: the folder.
        environ: the environment, whose variables override settings.
        read_file: how a TOML file is read.

    Raises:
        UsageError: the folder has both kinds of settings, or they cannot be understood.
    """
    own_file, pyproject_file = root / "envkit.toml", root / "pyproject.toml"
    pyproject = read_file(pyproject_file) if pyproject_file.is_file() else {}
    own = read_file(own_file) if own_file.is_file() else None
    return from_tables(root, pyproject, own, environ)


def from_tables(
    root: Path,
    pyproject: Mapping[str, Any],
    own: Mapping[str, Any] | None,
    environ: Mapping[str, str],
) -> Project | None:
    """Return the project that the files of a folder describe, or None.

    Args:
        root: the folder.
        pyproject: what its `pyproject.toml` says; empty without one.
        own: what its `envkit.toml` says; None without one.
        environ: the environment.

    Raises:
        UsageError: as for `read`.
    """
    tools = pyproject.get("tool", {})
    table = tools.get("envkit") if isinstance(tools, dict) else None
    file = root / ("pyproject.toml" if own is None else "envkit.toml")
    if own is not None and table is not None:
        raise UsageError(
            f"{root}: both envkit.toml and [tool.envkit] in pyproject.toml", "Keep one of them."
        )
    table = table if own is None else own
    if table is None:
        return None
    if not isinstance(table, dict):
        raise UsageError(f"{file.name}: tool.envkit: must be a table")
    _refuse_unusable(str(root))
    _check_description(pyproject)
    return Project(
        root=root,
        settings_file=file,
        pyproject=pyproject,
        config=load(table, file=file, environ=environ),
    )


def _refuse_unusable(path: str) -> None:
    """Make sure that a path can stand in scripts, which have lines and are UTF-8."""
    is_utf8 = path.encode("utf-8", "replace").decode() == path
    if not is_utf8 or set(path) & {"\n", "\r", "\t"}:
        raise UsageError(
            f"{path!r}: an environment's scripts cannot name a path with line breaks, tabs, or "
            "what is not UTF-8",
            "Rename the folder.",
        )


def _check_description(pyproject: Mapping[str, Any]) -> None:
    """Refuse values of `[project]` that have another type than PEP 621 says."""
    described = pyproject.get("project", {})
    if not isinstance(described, dict):
        raise UsageError("pyproject.toml: project: must be a table")
    for key in ("name", "requires-python"):
        if not isinstance(described.get(key, ""), str):
            raise UsageError(f"pyproject.toml: project.{key}: must be text")
    dependencies = described.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(one, str) for one in dependencies):
        raise UsageError("pyproject.toml: project.dependencies: must be a list of requirements")


def with_option(project: Project, key: str, value: object, option: str) -> Project:
    """Return the project with one setting overridden by an option of the command line."""
    return project._replace(config=project.config.override(key, value, option))
