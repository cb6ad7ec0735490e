"""The kinds of services that there are."""

from __future__ import annotations

import importlib
from typing import Any

from envkit.errors import UsageError
from envkit.services.service import Request, Service

# Kind -> its module, which has a function `plan`.
KINDS = {"flask": "flask", "tensorflow-serving": "tensorflow_serving"}


def plan(request: Request) -> Service:
    """Return a service that can be started.

    Raises:
        UsageError: what is said of it is wrong, or there is no such kind.
        MissingError: something that it needs is not there.
    """
    config = request.config
    if config.kind not in KINDS:
        known = ", ".join(KINDS)
        raise UsageError(f"{config.own.source('kind')}: {config.kind!r} is not one of {known}")
    module: Any = importlib.import_module(f"envkit.services.{KINDS[config.kind]}")
    service: Service = module.plan(request)
    return service
