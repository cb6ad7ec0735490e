"""Locks and what they are compiled from: whether they are stale, making them, writing them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from envkit import drafts, refusals
from envkit.errors import UsageError
from envkit.locks import inputs, lock, requirements
from envkit.locks.compilation import Compiled, Job, Request
from envkit.project import DEFAULT_GROUP, Group, Project


def python_field(setting: str | None) -> str:
    """Return what a lock says that it is for, where the setting decides it; or else nothing.

    Args:
        setting: a version, a specifier set, a path, or nothing.
    """
    if not setting or os.sep in setting:
        return ""
    return "".join(setting.split())


def stale(project: Project, group: Group) -> str:
    """Return why a group's lock cannot be what its inputs ask for; nothing if it may be.

    Only files are looked at: this is quick, and needs no network.

    Raises:
        UsageError: the lock or an input cannot be read.
    """
    if not group.lock.is_file():
        return f"{group.lock.name} does not exist"
    one = lock.read(group.lock)
    if not one.inputs:
        return f"{group.lock.name} was not made by `envkit lock`"
    wanted = python_field(project.config.python)
    if wanted and wanted != one.python:
        return f"{group.lock.name} is for Python {one.python}, not {wanted}"
    if not inputs.is_fresh(project, group, one):
        asked = inputs.names(project, group)
        return f"{group.lock.name} is older than what {asked} asks for"
    return ""


def compile_locks(
    request: Request, on_step: Callable[[str], None] = lambda _: None
) -> tuple[Compiled, ...]:
    """Compile the locks of groups; nothing in the project is touched.

    Args:
        request: what is to be compiled.
        on_step: called with a line on what is being done, for whoever waits.

    Raises:
        UsageError: the inputs cannot be read, locked or resolved.
        MissingError: pip-tools cannot be run for the interpreter.
        ToolError: an index or a build failed.
    """
    compiled: list[Compiled] = []
    default = request.project.group(DEFAULT_GROUP)
    bounds = requirements.read(default.lock) if default.lock.is_file() else None
    with request.store.temporary() as folder:
        jobs = [
            Job(request, group, folder / str(number)) for number, group in enumerate(request.groups)
        ]
        for job in jobs:
            compiled.append(job.run(bounds, on_step))
            if compiled[-1].group.name == DEFAULT_GROUP:
                bounds = compiled[-1].after
    return tuple(compiled)


def write(compiled: Sequence[Compiled]) -> None:
    """Let the compiled locks take the places of the old ones, each by one rename.

    A lock that is the same already is left alone.

    Raises:
        UsageError: the folder has gone, or something else has a lock's name.
        RefusedError: the system refuses.
    """
    texts = {one.group.lock: one.after.encode() for one in compiled if one.before != one.after}
    left = "Each lock is wholly as it was, or wholly the new one." if len(texts) > 1 else None
    try:
        drafts.replace(texts)
    except OSError as error:
        what = f"{error.filename}: cannot be written"
        raise refusals.explained(error, what=what, left=left) or UsageError(
            f"{what}: {error.strerror}"
        ) from None
