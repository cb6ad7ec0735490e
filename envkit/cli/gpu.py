"""`envkit gpu`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envkit import config, process, project, render
from envkit.cli.output import Output, answer, printable
from envkit.errors import EXIT_DONE, EnvkitError, UsageError
from envkit.gpu import folder as folders
from envkit.gpu import survey as surveys
from envkit.gpu.devices import Driver, NoDriverError
from envkit.gpu.folder import Folder
from envkit.gpu.leases import Leases
from envkit.gpu.survey import Entry
from envkit.quantities import age_text, bytes_text, count

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# How often the list is made anew while it is watched, in seconds.
_PERIOD = 1.0

_COLOURS = {
    "free": "green",
    "held but idle": "yellow",
    "used without a lease": "red",
    "lost": "red",
}


@click.group(invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Keep showing it until it is interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print what is found as JSON.")
@click.pass_context
def gpu(ctx: click.Context, watch: bool, as_json: bool) -> int:
    """List the GPUs: what they do, who has them on lease, who uses them without one."""
    if ctx.invoked_subcommand:
        return EXIT_DONE
    if watch and as_json:
        raise UsageError("--watch is for people, and --json for programs", "Use one of them.")
    output: Output = ctx.obj
    try:
        with Driver() as driver, _leases() as (leases, trouble):
            if watch:
                _watch(driver, leases)
                return EXIT_DONE
            entries = _entries(driver, leases)
            if as_json:
                click.echo(render.as_json(_document(entries, leases, driver.version)))
            else:
                _print(entries, leases)
            if trouble:
                output.warn(f"Nothing is known of leases: {trouble.message}")
    except NoDriverError as error:
        if as_json:
            click.echo(render.as_json({"driver": None, "reason": error.message, "gpus": []}))
        else:
            answer(f"No GPUs: {error.message}")
    return EXIT_DONE


@gpu.command()
@click.option("--group", default="envkit", help="Who may share GPUs: a group of users.")
@click.option("--dry-run", is_flag=True, help="Print the commands only.")
@click.pass_obj
def setup(output: Output, group: str, dry_run: bool) -> None:
    """Make the folder in which the users of this machine keep their leases.

    That takes root; anybody else is shown the commands for an administrator.
    """
    where = _settings().leases or folders.MACHINE
    commands = folders.setup_commands(where, group)
    if dry_run or os.geteuid() != 0:
        for command in commands:
            answer(process.quoted(command))
    else:
        for command in commands:
            process.check(command, what=f"{command[0]} failed")
        output.say(f"{where} is the group {group}'s: its members share the GPUs of this machine")
    output.say(f"A user joins it with `usermod -aG {group} USER`, and a new login")


def leases_folder() -> Folder:
    """Return the folder of leases for the project in this folder, or for none."""
    return folders.locate(_settings().leases, os.environ)


def _settings() -> config.GpuConfig:
    here = Path.cwd()
    found = project.nearest(here, os.environ)
    if found:
        return found.config.gpu
    return config.load({}, file=here / "envkit.toml", environ=os.environ).gpu


@contextmanager
def _leases() -> Iterator[tuple[Leases | None, EnvkitError | None]]:
    """Lend the leases, or why nothing is known of them."""
    from envkit.gpu.containers import is_running

    try:
        opened = Leases(leases_folder(), is_busy=lambda _: False, is_running=is_running)
    except EnvkitError as error:
        yield None, error
        return
    with opened:
        yield opened, None


def _entries(driver: Driver, leases: Leases | None) -> tuple[Entry, ...]:
    return surveys.survey(driver, leases.holder if leases else lambda _: None)


def _document(entries: tuple[Entry, ...], leases: Leases | None, version: str) -> dict[str, object]:
    """Return the list for programs: memory in bytes, times in seconds since 1970."""
    return {
        "driver": version,
        "gpus": [
            {
                "index": one.gpu.index,
                "uuid": one.gpu.uuid,
                "name": one.gpu.name,
                "instance": one.gpu.is_instance,
                "state": one.state,
                "fault": one.gpu.fault,
                **vars(one.load),
                "holder": one.holder
                and {
                    **one.holder._asdict(),
                    "user": one.holder.user,
                    "command": one.holder.command,
                },
                "processes": None if one.users is None else [vars(user) for user in one.users],
            }
            for one in entries
        ],
        "waiting": [
            {**one.holder._asdict(), "user": one.holder.user, "wanted": one.wanted}
            for one in (leases.waiting() if leases else ())
        ],
    }


def _print(entries: tuple[Entry, ...], leases: Leases | None) -> None:
    from rich.console import Console

    # Into a pipe nothing is cut.
    console = Console(width=None if os.isatty(1) else 240, highlight=False)
    console.print(_view(entries, leases))


def _watch(driver: Driver, leases: Leases | None) -> None:
    """Show the list, and what becomes of it, on the terminal's other screen."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    if not console.is_terminal:
        raise UsageError("--watch needs a terminal", "Programs use --json.")
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_view(_entries(driver, leases), leases), refresh=True)
            time.sleep(_PERIOD)


def _view(entries: tuple[Entry, ...], leases: Leases | None) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    lines: list[RenderableType] = (
        [_table(entries)] if entries else [Text("The driver tells of no GPUs.")]
    )
    now = time.time()
    for number, one in enumerate(leases.waiting() if leases else (), 1):
        who = f"{one.holder.user}, {one.holder.command}"
        since = age_text(now - one.holder.since)
        text = f"{number}. in the queue: {who}: waits for {count(one.wanted, 'GPU')}, {since}"
        lines.append(Text(printable(text)))
    return Group(*lines)


def _table(entries: tuple[Entry, ...]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name, justify in (
        ("GPU", "right"),
        ("name", "left"),
        ("UUID", "left"),
        ("memory", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("used", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("who", overflow="ellipsis")
    for one in entries:
        index = "MIG" if one.gpu.is_instance else str(one.gpu.index)
        load = one.load
        memory = (
            f"{bytes_text(load.memory_used or 0)} of {bytes_text(load.memory_total)}"
            if load.memory_total
            else "-"
        )
        used = "-" if load.utilisation is None else f"{load.utilisation} %"
        state = Text(one.gpu.fault or one.state, style=_COLOURS.get(one.state, ""))
        uuid = one.gpu.uuid[:12] or "-"
        who = Text(printable("\n".join(_who(one))))
        table.add_row(index, one.gpu.name or "-", uuid, memory, used, state, who)
    return table


def _who(entry: Entry) -> list[str]:
    """Return a line for the holder of a GPU, and for each process there that is not its own."""
    lines = []
    if entry.holder:
        holder = entry.holder
        place = f" in {holder.project}" if holder.project else ""
        age = age_text(time.time() - holder.since)
        lines.append(f"{holder.user}: {holder.command}{place}, {age}")
    for user in entry.users or ():
        if not user.is_leased:
            who = f"{user.user}: {user.command}" if user.user else "a process"
            memory = f", {bytes_text(user.memory)}" if user.memory else ""
            lines.append(f"{who} (pid {user.pid}{memory}), no lease")
    return lines
