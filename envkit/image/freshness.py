"""Whether the image that was built last is what would be built now."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from envkit.contexts import context
from envkit.engines.engine import Engine
from envkit.environment.home import Home
from envkit.errors import EnvkitError
from envkit.image import labels, plan, record
from envkit.installation.request import Request

State = Literal["current", "stale", "missing", "unknown"]


class Freshness(NamedTuple):
    """How an image stands to the lock and the code.

    Attributes:
        name: the image's name.
        id: its id; empty if the engine has none of that name.
        state: "stale" if it is older than the lock or the code, "unknown" if no engine answers.
        reasons: what it is older than, or why nothing is known.
        hint: what to do for something to be known; may be empty.
    """

    name: str
    id: str
    state: State
    reasons: tuple[str, ...]
    hint: str = ""


def last_built(request: Request) -> str:
    """Return the name of the image that was built last of a project here; empty if none was."""
    known = record.read(Path(Home(request.project.root, request.store).image))
    return known.tags[0] if known else ""


def of(request: Request, name: str = "") -> Freshness:
    """Return how an image stands to the lock and the code.

    Args:
        request: the project, and the group whose lock is meant.
        name: the image; by default the one built last, or what it would be called.

    Raises:
        UsageError: there is no lock, or the project's folder cannot be read.
    """
    name = name or last_built(request) or f"{plan.name(request.project)}:latest"
    try:
        with Engine(request.environ) as engine:
            image = engine.inspect(name)
    except EnvkitError as error:
        return Freshness(name, "", "unknown", (error.message,), error.hint or "")
    if image is None:
        return Freshness(name, "", "missing", ("The engine has no such image.",))
    lock = labels.digest(request.groups[0].lock)
    dockerfile = labels.digest(request.project.root / plan.DOCKERFILE)
    code = context.scan(
        request.project.root,
        environment=request.project.environment.name,
        memory=Path(Home(request.project.root, request.store).context),
    )
    older = []
    if image.labels.get(labels.LOCK) != lock:
        older.append(request.groups[0].lock.name)
    if image.labels.get(labels.CODE) != f"sha256:{code.digest}":
        older.append("the code")
    if image.labels.get(labels.DOCKERFILE) != dockerfile:
        older.append("the Dockerfile")
    return Freshness(name, image.id, "stale" if older else "current", tuple(older))
