"""Which builder is to be used."""

from __future__ import annotations

from collections.abc import Mapping

from envkit.builders import buildx
from envkit.builders.build import Builder
from envkit.builders.buildx import Buildx
from envkit.engines.connecting import Connecting
from envkit.errors import UsageError

WISHES = "auto, buildx, buildx:NAME, api or classic"


def choose(wish: str, connecting: Connecting, environ: Mapping[str, str]) -> Builder:
    """Return the builder that a user wishes for.

    Args:
        wish: "auto" for buildx where it is installed, or else the engine's API; "buildx" for the
            one in the engine; "buildx:NAME" for one that `docker buildx ls` lists; "api" for the
            engine's API; "classic" for its classic builder.
        connecting: how to reach the engine.
        environ: the environment.

    Raises:
        MissingError: it is not there.
        UsageError: the wish is none of these.
    """
    kind, colon, name = wish.partition(":")
    if kind == "auto":
        kind = "buildx" if buildx.find(environ) else "api"
    if kind == "buildx" and bool(colon) == bool(name):
        return Buildx(connecting, environ, name)
    if wish == "classic" or (kind == "api" and not colon):
        from envkit.builders.api import Api

        return Api(connecting.engine, buildkit=False if wish == "classic" else None)
    raise UsageError(f"{wish!r} is no builder", f"It is one of {WISHES}.")
