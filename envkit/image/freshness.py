"""Whether the image that was built last is what would be built now."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from envkit.engines.connecting import Connecting
from envkit.engines.glance import Glance
from envkit.environment.home import Home
from envkit.errors import EnvkitError
from envkit.image import labels, plan, record
from envkit.installation.request import Request

# What an image is older than that would be built with other code.
CODE = "the code"

State = Literal["current", "stale", "missing", "unknown"]


class Freshness(NamedTuple):
    """How an image stands to the lock and the code.

    Attributes:
        name: the image's name.
        id: its id; empty if the engine has none of that name.
        state: "stale" if it is older than the lock or the code, "unknown" if no engine answers.
        reasons: what it is older than, or why nothing is known.
        hint: what to do for something to be known; may be empty.
        folder: where its commands run; empty if there is no image, or it does not say.
    """

    name: str
    id: str
    state: State
    reasons: tuple[str, ...]
    hint: str = ""
    folder: str = ""


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
    project, lock = request.project, request.groups[0].lock
    name = name or last_built(request) or f"{plan.name(project)}:latest"
    try:
        with Connecting(request.environ) as connecting:
            image = Glance(connecting).inspect(name)
    except EnvkitError as error:
        return Freshness(name, "", "unknown", (error.message,), error.hint or "")
    if image is None:
        return Freshness(name, "", "missing", ("The engine has no such image.",))
    folder = str(image.config.get("WorkingDir") or "")
    code = plan.scan(project, Home(project.root, request.store))
    ours = {
        labels.LOCK: labels.digest(lock),
        labels.CODE: f"sha256:{code.digest}",
        labels.DOCKERFILE: labels.digest(project.root / plan.DOCKERFILE),
    }
    kinds = {labels.LOCK: lock.name, labels.CODE: CODE, labels.DOCKERFILE: "the Dockerfile"}
    older = tuple(kinds[label] for label in labels.differing(image.labels, ours))
    return Freshness(name, image.id, "stale" if older else "current", older, folder=folder)
