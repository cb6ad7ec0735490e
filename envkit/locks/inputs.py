"""What a lock is compiled from, and whether it still is what that asks for."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from envkit.errors import UsageError
from envkit.locks.lock import Lock
from envkit.locks.names import normalize
from envkit.locks.requirements import nested, read, shown, split
from envkit.project import DEFAULT_GROUP, Group, Project

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def files(group: Group) -> tuple[Path, ...]:
    """Return the requirement files of a group and, in turn, those that they name (-r, -c)."""
    found: dict[Path, None] = {}
    waiting = [path for path in group.inputs if path.suffix == ".in" and path.is_file()]
    while waiting:
        path = waiting.pop(0)
        if path not in found and os.path.isfile(path):
            found[path] = None
            named = filter(None, map(nested, split(read(path), path.name)))
            waiting += [Path(os.path.normpath(path.parent / name)) for name in named]
    return tuple(found)


def direct_names(project: Project, groups: Iterable[Group]) -> set[str]:
    """Return the normalized names of what groups ask for themselves."""
    texts = [*project.static_dependencies]
    for group in groups:
        for path in files(group):
            texts += [line.text for line in split(read(path), path.name)]
    return {normalize(found[0]) for text in texts if (found := _NAME.match(text))}


def digest(project: Project, group: Group, python: str, *, default_lock: str | None = None) -> str:
    """Return the digest, in hex, of everything that a lock of this group is compiled from.

    Comments and empty lines do not count; the order of lines does.

    Args:
        project: the project.
        group: one of its groups.
        python: the Python that the lock is for, as its header has it.
        default_lock: what the default group's lock is about to say, if not what it says now.
    """
    default = project.group(DEFAULT_GROUP).lock
    texts = {path: read(path) for path in files(group) if path != default}
    if group.name != DEFAULT_GROUP and (default_lock is not None or default.is_file()):
        texts[default] = read(default) if default_lock is None else default_lock
    result = hashlib.sha256(f"python {python}\n".encode())
    for path, text in texts.items():
        name = _relative(path, project.root)
        lines = "".join(f"{line.text}\n" for line in split(text, name))
        result.update(f"file {name}\n{lines}".encode())
    if group.name == DEFAULT_GROUP:
        for dependency in project.static_dependencies:
            result.update(f"dependency {dependency}\n".encode())
    return result.hexdigest()


def is_fresh(project: Project, group: Group, lock: Lock) -> bool:
    """Return whether a lock was compiled from what the group's inputs say now.

    A lock without our line is taken as it is, since nothing is known about where it came from.
    """
    return not lock.inputs or lock.inputs == digest(project, group, lock.python)


def check_fresh(project: Project, group: Group, one: Lock) -> None:
    """Make sure that a lock was compiled from what its inputs say now.

    Raises:
        UsageError: it was not.
    """
    if not is_fresh(project, group, one):
        names = " or ".join(path.name for path in group.inputs)
        raise UsageError(
            f"{one.path.name} is stale: {names} has changed since it was compiled",
            "Run `envkit lock`, or take back the change.",
        )


def names(project: Project, group: Group) -> str:
    """Return the names of a group's inputs, as a person would list them."""
    found = [shown(path, project.root) for path in group.inputs if path.is_file()]
    return " and ".join(found) or group.inputs[0].name


def _relative(path: Path, root: Path) -> str:
    """Return what stands for a path in a digest, which is the same on every machine."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.name
