"""`envkit serve`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from envkit import project
from envkit.cli import running, serving
from envkit.cli.granting import Granted, Granting
from envkit.cli.output import Output
from envkit.cli.services import complete_names, ledger_of, picked
from envkit.config import GpuOptions
from envkit.declared import ServiceConfig
from envkit.engines import endpoint
from envkit.environment import stamp
from envkit.errors import UsageError
from envkit.gpu.holders import Container, Holder
from envkit.locks import lock
from envkit.project import Project
from envkit.quantities import parse_seconds
from envkit.services import kinds
from envkit.services.ledger import Ledger
from envkit.services.service import Grant, Request, Service
from envkit.services.supervisor import Planned


class _Options(NamedTuple):
    """What was asked for, beside the names."""

    dev: bool
    image: str
    wait: str | None


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
@click.option("--dev", is_flag=True, help="Follow changes of the code: Flask's own reloader.")
@click.option("--image", "in_image", is_flag=True, help="Run Flask in the image built last.")
@click.option("--stale", is_flag=True, help="Even if that is older than the lock or the code.")
@click.option("--wait", metavar="TIME", help="Wait so long for GPUs, as in 2h.")
@click.option("-d", "--detach", is_flag=True, help="Return once all are ready; they go on.")
@click.option("--json", "as_json", is_flag=True, help="With --detach, print them as JSON.")
@click.pass_obj
def serve(
    output: Output,
    names: tuple[str, ...],
    dev: bool,
    in_image: bool,
    stale: bool,
    wait: str | None,
    detach: bool,
    as_json: bool,
) -> int:
    """Start the services of the project, or those named, and show what they say.

    Ctrl-C stops them, the last to be started first, each once it has finished what it does; a
    second one stops them at once.
    """
    if as_json and not detach:
        raise UsageError("--json has a meaning with --detach only")
    if stale and not in_image:
        raise UsageError("--stale has a meaning with --image only")
    if wait is not None:
        parse_seconds(wait)
    found = project.find(Path.cwd(), os.environ)
    kept = ledger_of(found)
    chosen = _idle(_choose(found, names), kept, output, named=bool(names))
    options = _Options(dev, _image(stale=stale) if in_image else "", wait)
    locked = _locked(found)
    services = [kinds.plan(_request(found, one, kept, locked, options)) for one in chosen]
    _refuse_one_address(services)
    if not all(one.in_container for one in services):
        running.ready_project(output)
    planned = [
        _granted(found, config, service, options, output)
        for config, service in zip(chosen, services, strict=True)
    ]
    if detach:
        return serving.leave_behind(planned, kept, output, as_json=as_json)
    return serving.attend(planned, kept, output)


def _choose(found: Project, names: Sequence[str]) -> list[ServiceConfig]:
    """Return the services of a project that are named, or all, in their order.

    Raises:
        UsageError: there is none, or none of such a name.
    """
    services = {one.name: one for one in found.config.services}
    prefix = "tool.envkit." if found.settings_file.name == "pyproject.toml" else ""
    if not services:
        raise UsageError(
            f"{found.settings_file.name} has no services",
            f'As in [{prefix}services.web] with kind = "flask".',
        )
    return picked(services, names)


def _idle(
    chosen: Sequence[ServiceConfig], kept: Ledger, output: Output, *, named: bool
) -> list[ServiceConfig]:
    """Return the services that do not run.

    Raises:
        UsageError: one that was named runs already, or all do.
    """
    running = [one for one in chosen if kept.is_supervised(one.name)]
    if running and (named or len(running) == len(chosen)):
        name = running[0].name
        hint = f"`envkit services` shows it; `envkit stop {name}` stops it."
        raise UsageError(f"{name} is running already", hint)
    for one in running:
        output.say(f"{one.name} is running already")
    return [one for one in chosen if one not in running]


def _request(
    found: Project,
    config: ServiceConfig,
    kept: Ledger,
    locked: Mapping[str, str],
    options: _Options,
) -> Request:
    return Request(
        config=config,
        project=found,
        folder=kept.folder(config.name),
        environ=os.environ,
        locked=locked,
        label=kept.label(config.name),
        dev=options.dev and config.kind == "flask",
        image=options.image if config.kind == "flask" else "",
    )


def _locked(found: Project) -> Mapping[str, str]:
    """Return what the environment has, as the locks say: name -> version."""
    known = stamp.read(str(found.environment)) or {}
    groups = map(found.group, known.get("group", found.config.groups))
    locks = [lock.read(group.lock) for group in groups if group.lock.is_file()]
    return {pin.name: pin.version for one in locks for pin in one.pins}


def _refuse_one_address(services: Sequence[Service]) -> None:
    addresses = [one.address for one in services]
    for address in addresses:
        if addresses.count(address) > 1:
            raise UsageError(
                f"Two services are to listen on {address}", "Give one of them another `port`."
            )


def _image(*, stale: bool) -> str:
    """Return the id of the project's image."""
    from envkit.cli.building import request_here
    from envkit.cli.container import usable
    from envkit.image import freshness

    return usable(freshness.of(request_here()), stale=stale, mount=False).id


def _granted(
    found: Project,
    config: ServiceConfig,
    service: Service,
    options: _Options,
    output: Output,
) -> Planned:
    """Return a service with the GPUs that it gets."""
    asked = GpuOptions(count=config.gpus, wait=options.wait if config.gpus else None)
    environ = {**os.environ, **config.environment}
    if not (found.config.gpu.is_set or asked.is_explicit):
        return Planned(config, service, Grant(environ))
    holder = Holder.this(("envkit", "serve", config.name), str(found.root))
    granting = Granting(found, asked, environ, output)
    if service.in_container:
        where = endpoint.find(os.environ)
        container = Container(os.urandom(8).hex(), where.address)
        granted = granting.grant_container(holder._replace(container=container))
        if granted.gpus:
            where.refuse_remote(
                "whose GPUs are meant",
                f"Set gpus = 0 for {config.name}, or use an engine of this machine.",
            )
        named = granted.holder and granted.holder.container
        grant = Grant(environ, granted.gpus, named.label if named else "")
    else:
        granted = granting.grant(holder)
        descriptors = granted.lease.descriptors if granted.lease else ()
        grant = Grant(granted.environ, granted.gpus, descriptors=descriptors)
    held = _Held(granted)
    return Planned(
        config,
        service,
        grant,
        gpus=tuple(gpu.number for gpu in granted.gpus),
        take_over=held.note,
        let_go=held.let_go,
    )


class _Held:
    """The lease of a service."""

    def __init__(self, granted: Granted) -> None:
        self._lease = granted.lease
        self._holder = granted.holder

    def note(self) -> None:
        """Write down that this process has it, which may be another one than took it."""
        if self._lease and self._lease.is_own and self._holder:
            self._lease.rewrite(self._holder.handed_on())

    def let_go(self) -> None:
        """Let go of it, once."""
        if self._lease:
            self._lease.release()
        self._lease = None
