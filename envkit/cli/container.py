"""A command in the image that was built last: `envkit run --image`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from envkit import foreground
from envkit.cli.building import request_here
from envkit.cli.granting import Granting
from envkit.cli.output import Output
from envkit.config import GpuOptions
from envkit.engines.connecting import Connecting
from envkit.errors import MissingError, UsageError
from envkit.gpu import containers
from envkit.gpu.holders import Container, Holder
from envkit.gpu.leases import Lease
from envkit.image import freshness
from envkit.image.freshness import Freshness
from envkit.project import Project

# Where a project is mounted if its image does not say where its commands run.
_FOLDER = "/app"


def run(
    command: tuple[str, ...], asked: GpuOptions, output: Output, *, stale: bool, mount: bool
) -> int:
    """Run a command in a container of the image, which is gone afterwards.

    Args:
        command: what is run in it.
        asked: what GPUs are asked for.
        output: where it is said what is waited for.
        stale: whether the image may be older than the lock or the code.
        mount: whether the project's folder is in it, in place of the code that it was built with.

    Returns:
        The exit code, where GPUs are let go of afterwards; otherwise this process becomes Docker's.

    Raises:
        MissingError: there is no engine, no image, no Docker command or no GPU.
        UsageError: the image is older.
    """
    request = request_here()
    image = usable(freshness.of(request), stale=stale, mount=mount)
    if command[0].endswith(".py"):
        command = ("python", *command)
    terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    docker = ["docker", "run", "--rm", "--init", "--interactive", *terminal]
    mounted = _mounted(request.project, image) if mount else []
    given = _gpus(command, request.project, asked, output)
    words = [*docker, *mounted, *given.options, image.id, *command]
    if given.lease is None:
        foreground.replace(words, os.environ)
    return _attended(words, given.lease, given.holder)


def usable(image: Freshness, *, stale: bool, mount: bool) -> Freshness:
    """Return an image, if there is one that is new enough.

    Args:
        image: the image.
        stale: whether it may be older than the lock or the code.
        mount: whether the project's folder takes the place of its code.

    Raises:
        MissingError: there is none, or no engine.
        UsageError: it is older.
    """
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
    return image


def _attended(words: Sequence[str], lease: Lease, holder: Holder) -> int:
    """Run a container that has GPUs, and say when it does not run any more.

    Not everybody who may take GPUs may ask the engine; so whether a container that had them still
    runs is left to be asked only where this process, or Docker's, was killed.
    """
    lease.hand_on()
    code = foreground.attend(words, os.environ)
    if holder.container and not containers.is_running(holder.container):
        lease.end_container(holder.container)
    return code


class _Given(NamedTuple):
    """What a container gets: options of `docker run`; the lease of it, and by whom it is held."""

    options: tuple[str, ...]
    lease: Lease | None
    holder: Holder


def _gpus(command: Sequence[str], project: Project, asked: GpuOptions, output: Output) -> _Given:
    """Return the GPUs that a container gets."""
    config = project.config.gpu
    with Connecting(os.environ) as connecting:
        where = connecting.endpoint
        container = Container(os.urandom(8).hex(), where.address)
        holder = Holder.this(command, str(project.root))._replace(container=container)
        granted = Granting(project, asked, os.environ, output).grant_container(holder)
        holder = granted.holder or holder
        if not granted.gpus:
            return _Given(containers.Given.of((), config, {}).options(), None, holder)
        where.refuse_remote(
            "whose GPUs are meant", "Leave --gpus out, or use an engine of this machine."
        )
        info = connecting.engine.info()
    options = containers.Given.of(granted.gpus, config, info).options()
    if granted.lease and holder.container:
        options = (*options, "--label", f"{containers.LABEL}={holder.container.label}")
    return _Given(options, granted.lease, holder)


def _mounted(project: Project, image: Freshness) -> list[str]:
    """Return the options that put the project's folder into a container, its files staying ours."""
    place = image.folder or _FOLDER
    bind = f"type=bind,source={project.root},target={place}"
    if "," in str(project.root):
        # A value of a list of them, as encoding/csv reads it.
        bind = f'type=bind,"source={project.root}",target={place}'
    # Where this is run, there, if that is within the project.
    here = Path.cwd()
    within = here.relative_to(project.root) if here.is_relative_to(project.root) else Path()
    folder = str(PurePosixPath(place, within))
    return ["--mount", bind, "--workdir", folder, "--user", f"{os.getuid()}:{os.getgid()}"]
