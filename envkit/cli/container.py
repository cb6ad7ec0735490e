"""A command in the image that was built last: `envkit run --image`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from envkit import replacement
from envkit.cli.building import request_here
from envkit.cli.gpus import Granted, Granting
from envkit.cli.output import Output
from envkit.config import GpuOptions
from envkit.engines.connecting import Connecting
from envkit.errors import MissingError, UsageError
from envkit.gpu import containers
from envkit.gpu.holders import Container, Holder
from envkit.image import freshness
from envkit.image.freshness import Freshness
from envkit.project import Project

# Where a project is mounted if its image does not say where its commands run.
_FOLDER = "/app"


def run(
    command: tuple[str, ...], asked: GpuOptions, output: Output, *, stale: bool, mount: bool
) -> NoReturn:
    """Become the Docker command that runs a container of the image, which is gone afterwards.

    Args:
        command: what is run in it.
        asked: what GPUs are asked for.
        output: where it is said what is waited for.
        stale: whether the image may be older than the lock or the code.
        mount: whether the project's folder is in it, in place of the code that it was built with.

    Raises:
        MissingError: there is no engine, no image, no Docker command or no GPU.
        UsageError: the image is older.
    """
    request = request_here()
    image = freshness.of(request)
    if image.state == "unknown":
        raise MissingError(image.reasons[0], image.hint)
    if image.state == "missing":
        raise MissingError(f"The engine has no image {image.name}", "Run `envkit build`.")
    # Where the project's folder is mounted, the code is the one that there is now.
    older = [one for one in image.reasons if not (mount and one == freshness.CODE)]
    if older and not stale:
        raise UsageError(
            f"The image {image.name} is older than {' and '.join(older)}",
            "Run `envkit build`, or take it as it is with --stale.",
        )
    if command[0].endswith(".py"):
        command = ("python", *command)
    terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    docker = ["docker", "run", "--rm", "--init", "--interactive", *terminal]
    mounted = _mounted(request.project, image) if mount else []
    given = _gpus(command, request.project, asked, output)
    replacement.replace([*docker, *mounted, *given, image.id, *command], os.environ)


def _gpus(
    command: Sequence[str], project: Project, asked: GpuOptions, output: Output
) -> tuple[str, ...]:
    """Return the options that give a container its GPUs; a lease of them is handed on."""
    config = project.config.gpu
    with Connecting(os.environ) as connecting:
        where = connecting.endpoint
        label = os.urandom(8).hex()
        holder = Holder.this(command, str(project.root))._replace(
            container=Container(label, where.address)
        )
        granted: Granted = Granting(config, asked, os.environ, output).grant_container(holder)
        if not granted.gpus:
            return containers.options((), config, {}, "")
        if where.socket is None:
            raise UsageError(
                f"The engine at {where} is not this machine's, whose GPUs are meant",
                "Leave --gpus out, or use an engine of this machine.",
            )
        info = connecting.engine.info()
    if granted.lease:
        granted.lease.hand_on()
    return containers.options(granted.gpus, config, info, label if granted.lease else "")


def _mounted(project: Project, image: Freshness) -> list[str]:
    """Return the options that put the project's folder into a container, its files staying ours."""
    place = image.folder or _FOLDER
    bind = f"type=bind,source={project.root},target={place}"
    if "," in str(project.root):
        # A value of a list of them, as encoding/csv reads it.
        bind = f'type=bind,"source={project.root}",target={place}'
    return ["--mount", bind, "--workdir", place, "--user", f"{os.getuid()}:{os.getgid()}"]
