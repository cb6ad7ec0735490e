"""Which builder is to be used."""

from __future__ import annotations

from collections.abc import Mapping

from envkit.errors import UsageError
from envkit.image.builders import buildx
from envkit.image.builders.api import Api
from envkit.image.builders.build import Builder
from envkit.image.builders.buildx import Buildx
from envkit.image.engine import Engine

WISHES = "auto, buildx, buildx:NAME, api or classic"


def choose(wish: str, engine: Engine, environ: Mapping[str, str]) -> Builder:
    """Return the builder that a user wishes for.

    Args:
        wish: "auto" for buildx where it is installed, or else the engine's API; "buildx" for the
            one in the engine; "buildx:NAME" for one that `docker buildx ls` lists; "api" for the
            engine's API; "classic" for its classic builder.
        engine: the engine.
        environ: the environment.

    Raises:
        MissingError: it is not there.
        UsageError: the wish is none of these.
    """
    kind, colon, name = wish.partition(":")
    if kind == "auto":
        kind = "buildx" if buildx.find(environ) else "api"
    if kind == "buildx" and bool(colon) == bool(name):
        return Buildx(engine, environ, name)
    if wish == "classic":
        return Api(engine, buildkit=False)
    if kind == "api" and not colon:
        return Api(engine)
    raise UsageError(f"{wish!r} is no builder", f"It is one of {WISHES}.")
