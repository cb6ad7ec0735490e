"""`envkit services`, `envkit stop` and `envkit logs`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from envkit import project, render
from envkit.cli.output import Output, answer, coloured, styled
from envkit.environment.home import Home
from envkit.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EnvkitError,
    Interrupted,
    ToolError,
    UsageError,
)
from envkit.project import Project
from envkit.quantities import age_text, count
from envkit.services.ledger import Entry, Followed, Ledger
from envkit.store import layout
from envkit.supervised import kill_marked

T = TypeVar("T")

_HEADINGS = ("name", "kind", "address", "state", "GPU", "since")

_COLOURS = {"ready": "green", "starting": "yellow", "stopping": "yellow"}
_BAD = {"failed": "red", "killed": "red"}

# ECMA-48, "select graphic rendition": what tells the logs of services from one another.
_PREFIXES = (36, 35, 32, 33, 34, 31)

# How often it is looked whether there is more of a log, or a service has ended, in seconds.
_PERIOD = 0.1

# What a service may take beyond the time that it has to stop, in seconds.
_MARGIN = 10.0


def complete_names(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of services that begin with what was typed."""
    try:
        services = project.find(Path.cwd(), os.environ).config.services
    except EnvkitError:
        return []
    return [one.name for one in services if one.name.startswith(incomplete)]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def services(as_json: bool) -> int:
    """List the services of the project and how they are."""
    found = project.find(Path.cwd(), os.environ)
    entries = _entries(found, ledger_of(found))
    if as_json:
        click.echo(render.as_json([one.document() for one in entries]))
    elif not entries:
        answer("No services are declared")
    else:
        for line in table(entries):
            click.echo(line)
        for one in entries:
            if one.reason and one.state in _BAD:
                answer(f"{one.name}: {one.reason}")
    return EXIT_DONE


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
@click.pass_obj
def stop(output: Output, names: tuple[str, ...]) -> int:
    """Stop the services that run, or those named, each once it has finished what it does."""
    found = project.find(Path.cwd(), os.environ)
    kept = ledger_of(found)
    entries = _chosen(_entries(found, kept), names)
    running = [one for one in entries if one.is_running]
    for one in running:
        kept.request_stop(one.name)
    limits = {one.name: one.stop_timeout for one in found.config.services}
    for one in running:
        _await_end(one, kept, output, sum(limits.values()) + _MARGIN)
        ended = kept.read(one.name)
        if ended and ended.state == "killed":
            _clear_away(ended, kept, output)
        else:
            output.say(f"{one.name} {ended.reason if ended and ended.reason else 'stopped'}")
    for one in entries:
        if one.state == "killed":
            _clear_away(one, kept, output)
    if not any(one.is_running or one.state == "killed" for one in entries):
        output.say("Nothing is running")
    return EXIT_DONE


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
@click.option("-f", "--follow", is_flag=True, help="Go on until the services have ended.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="So many lines of each.",
)
def logs(names: tuple[str, ...], follow: bool, lines: int) -> int:
    """Show what the services have printed since they were started last."""
    found = project.find(Path.cwd(), os.environ)
    kept = ledger_of(found)
    chosen = [one.name for one in _chosen(_entries(found, kept), names)]
    width = max(map(len, chosen), default=0)
    prefixes = {
        name: styled_prefix(name, number, width) if len(chosen) > 1 else ""
        for number, name in enumerate(chosen)
    }
    followed = {name: Followed(kept.log(name)) for name in chosen}
    for name, log in followed.items():
        for line in log.last(lines):
            answer_line(prefixes[name], line)
    try:
        if follow:
            _follow(followed, kept, prefixes)
    except Interrupted:
        return EXIT_INTERRUPTED
    finally:
        for log in followed.values():
            log.close()
    return EXIT_DONE


def _follow(followed: dict[str, Followed], kept: Ledger, prefixes: Mapping[str, str]) -> None:
    """Show what comes of logs, until their services have ended."""
    while followed:
        alive = [name for name in followed if kept.is_supervised(name)]
        for name, one in followed.items():
            for line in one.more():
                answer_line(prefixes[name], line)
        followed = {name: followed[name] for name in alive}
        time.sleep(_PERIOD)


def picked(services: Mapping[str, T], names: Sequence[str]) -> list[T]:
    """Return the services that are named, or all, in their order.

    Args:
        services: name -> what is returned.
        names: what was asked for; nothing means all.

    Raises:
        UsageError: there is none of such a name.
    """
    for name in names:
        if name not in services:
            hint = f"Services: {', '.join(services)}." if services else ""
            raise UsageError(f"There is no service {name}", hint)
    return [one for name, one in services.items() if not names or name in names]


def ledger_of(found: Project) -> Ledger:
    """Return what is known of the services of a project."""
    store = layout.locate(found.config.store, os.environ)
    store.prepare()
    return Ledger(Path(Home(found.root, store).services))


def table(entries: Sequence[Entry]) -> list[str]:
    """Return a table of services: its headings, and a line for each."""
    rows = [_HEADINGS, *map(_cells, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        colour = {**_COLOURS, **_BAD}.get(entries[number - 1].state) if number else None
        if colour:
            cells[3] = styled(cells[3], colour)
        lines.append("  ".join(cells).rstrip())
    return lines


def styled_prefix(name: str, number: int, width: int) -> str:
    """Return what stands before each line of a service's log.

    Args:
        name: the service's.
        number: its place among those that are shown.
        width: that of the longest name.
    """
    text = f"{name:<{width}} | "
    if not has_colours():
        return text
    return f"\x1b[{_PREFIXES[number % len(_PREFIXES)]}m{text}\x1b[0m"


def has_colours() -> bool:
    """Return whether standard output is a terminal that is to have colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def answer_line(prefix: str, text: str) -> None:
    """Show a line of a log on standard output."""
    print(f"{prefix}{coloured(text, allowed=has_colours())}", flush=True)


def _cells(entry: Entry) -> tuple[str, ...]:
    since = age_text(time.time() - entry.since) if entry.since and entry.is_running else ""
    gpus = ",".join(map(str, entry.gpus)) if entry.is_running else ""
    return (entry.name, entry.kind, entry.address or "-", entry.state, gpus or "-", since or "-")


def _entries(found: Project, kept: Ledger) -> list[Entry]:
    """Return what is known of each declared service, and of others that still run."""
    known = {name: one for name in kept.names() if (one := kept.read(name))}
    declared = {one.name: Entry(one.name, one.kind) for one in found.config.services}
    others = {name: one for name, one in known.items() if one.is_running or one.state == "killed"}
    return [known.get(name, one) for name, one in {**declared, **others}.items()]


def _chosen(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    return picked({one.name: one for one in entries}, names)


def _await_end(entry: Entry, kept: Ledger, output: Output, limit: float) -> None:
    """Wait until a service has ended.

    Raises:
        ToolError: that takes too long.
    """
    until = time.monotonic() + limit
    while (found := kept.read(entry.name)) and found.is_running:
        output.draw(f"Stopping {entry.name}")
        if time.monotonic() > until:
            raise ToolError(
                f"{entry.name} has not stopped within {limit:.0f} s",
                f"Its supervisor is process {found.supervisor}.",
            )
        time.sleep(_PERIOD)
    output.clear()


def _clear_away(entry: Entry, kept: Ledger, output: Output) -> None:
    """End and remove what a service whose supervisor was killed may have left."""
    from envkit.engines.running import remove_strays

    label = kept.label(entry.name)
    ended = kill_marked(label)
    left = f"; {count(ended, 'process', 'processes')} ended" if ended else ""
    try:
        if remove_strays(os.environ, label):
            left = "; its container was still there, and is removed"
    except EnvkitError as error:
        if entry.process.startswith("container"):
            output.warn(f"{entry.name} may have left its {entry.process}: {error.message}")
            return
    kept.write(entry._replace(state="stopped", reason="", process="", supervisor=0))
    output.say(f"{entry.name} was killed{left}")
