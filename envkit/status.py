"""Whether a project's locks and its environment are as they should be."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

from envkit.assets import installation as assets
from envkit.changes import Change
from envkit.environment import halves
from envkit.environment.halves import Half
from envkit.environment.home import Home
from envkit.errors import EnvkitError, UsageError
from envkit.image import freshness
from envkit.image.freshness import Freshness
from envkit.installation import composition
from envkit.installation import plan as plans
from envkit.installation.plan import Plan
from envkit.installation.request import Request
from envkit.locks import compiler
from envkit.project import DEFAULT_GROUP, Group, Project

LockState = Literal["fresh", "stale", "missing", "unreadable"]
EnvironmentState = Literal["current", "absent", "foreign", "unfinished", "different", "unknown"]


class LockStatus(NamedTuple):
    """A group's lock: whether it was compiled from what the inputs say now."""

    group: str
    file: str
    state: LockState
    reason: str = ""


class Status(NamedTuple):
    """What `envkit status` finds.

    Attributes:
        project: the project's folder.
        locks: one for each group that has an input or a lock.
        environment: whether `.venv` is what the locks say; "unknown" where they can't be used.
        reason: why it is unknown, or what to do; empty if all is well.
        python: the version of the interpreter, if it is known.
        changes: what `envkit install` would change.
        drift: path and kind of what somebody changed in an environment that is otherwise right.
        files: each large file and how its place is (`assets.installation.states`).
        image: how the image that was built last stands to lock and code; None if none was.
    """

    project: str
    locks: tuple[LockStatus, ...]
    environment: EnvironmentState
    reason: str
    python: str
    changes: tuple[Change, ...]
    drift: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]
    image: Freshness | None

    @property
    def good(self) -> bool:
        """Whether nothing differs; an image is older than the code as soon as that is worked on."""
        fresh = all(one.state == "fresh" for one in self.locks)
        there = all(state == "there" for _, state in self.files)
        return fresh and self.environment == "current" and not self.drift and there


def inspect(request: Request) -> Status:
    """Return how things stand, having changed nothing.

    Args:
        request: the project, and the groups that its environment is to have.
    """
    project = request.project
    locks = tuple(_lock_status(project, group) for group in project.groups())
    environment, reason = _first_look(project)
    python = ""
    changes: tuple[Change, ...] = ()
    drift: tuple[tuple[str, str], ...] = ()
    try:
        plan = plans.make(request)
        python, changes = plan.interpreter.version, plan.changes
        drift = tuple(_drift(plan)) if environment == "current" else ()
        if environment == "current" and plan.differs:
            environment, reason = "different", "Run `envkit install`."
        elif drift:
            environment, reason = "different", "Remove .venv and run `envkit install`."
    except EnvkitError as error:
        if environment == "current":
            environment, reason = "unknown", error.message
    return Status(
        project=str(project.root),
        locks=locks,
        environment=environment,
        reason=reason,
        python=python,
        changes=changes,
        drift=drift,
        files=tuple(assets.states(project, request.store)),
        image=_image(request),
    )


def _image(request: Request) -> Freshness | None:
    """Return how the image that was built last stands; None if none was, or there is no lock."""
    request = request._replace(groups=(request.project.group(DEFAULT_GROUP),))
    try:
        return freshness.of(request) if freshness.last_built(request) else None
    except UsageError:
        return None


def _lock_status(project: Project, group: Group) -> LockStatus:
    state: LockState = "fresh"
    try:
        reason = compiler.stale(project, group)
        if reason:
            state = "stale" if group.lock.is_file() else "missing"
    except UsageError as error:
        state, reason = "unreadable", error.message
    return LockStatus(group=group.name, file=group.lock.name, state=state, reason=reason)


def _first_look(project: Project) -> tuple[EnvironmentState, str]:
    live = Half(str(project.environment))
    if not live.exists:
        return "absent", "Run `envkit install`."
    try:
        halves.refuse_foreign(live.path)
    except UsageError as error:
        return "foreign", error.hint
    if live.record is None or not os.path.exists(f"{live.path}/bin/python"):
        return "unfinished", "Run `envkit install`."
    return "current", ""


def _drift(plan: Plan) -> list[tuple[str, str]]:
    """Return what was changed in an environment that has what the locks say.

    Returns:
        Path relative to the environment and "added", "missing" or "altered"; nothing where
        the environment is not what the locks say anyway.
    """
    if plan.lacking or plan.changes:
        return []
    wanted = composition.compose(plan, Home(plan.request.project.root, plan.request.store))
    return halves.drift(plan.live, wanted) if plan.live.has(wanted) else []
