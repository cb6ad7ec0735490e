"""A command in the image that was built last: `envkit run --image`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from envkit import process
from envkit.cli.building import request_here
from envkit.errors import MissingError, UsageError
from envkit.image import freshness


def run(command: tuple[str, ...], *, stale: bool) -> NoReturn:
    """Become the Docker command that runs a container of the image, which is gone afterwards.

    Args:
        command: what is run in it.
        stale: whether the image may be older than the lock or the code.

    Raises:
        MissingError: there is no engine, no image or no Docker command.
        UsageError: the image is older.
    """
    image = freshness.of(request_here())
    if image.state == "unknown":
        raise MissingError(image.reasons[0], image.hint)
    if image.state == "missing":
        raise MissingError(f"The engine has no image {image.name}", "Run `envkit build`.")
    if image.state == "stale" and not stale:
        raise UsageError(
            f"The image {image.name} is older than {' and '.join(image.reasons)}",
            "Run `envkit build`, or take it as it is with --stale.",
        )
    if command[0].endswith(".py"):
        command = ("python", *command)
    terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    docker = ["docker", "run", "--rm", "--init", "--interactive", *terminal]
    process.replace([*docker, image.id, *command], os.environ)
