"""`envkit gpu`."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from envkit import config, process, project, render
from envkit.cli import gpu_list
from envkit.cli.output import Output, answer, cut
from envkit.errors import EXIT_DONE, EnvkitError, Interrupted, UsageError
from envkit.gpu import folder as folders
from envkit.gpu import survey as surveys
from envkit.gpu.devices import Driver, NoDriverError
from envkit.gpu.folder import Folder
from envkit.gpu.leases import Leases
from envkit.gpu.queue import Waiting
from envkit.gpu.survey import Entry

# How often the list is made anew while it is watched, in seconds.
_PERIOD = 1.0


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
                found = gpu_list.document(entries, _waiting(leases), driver.version)
                click.echo(render.as_json(found))
            else:
                click.echo("\n".join(gpu_list.lines(entries, _waiting(leases))))
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


def _waiting(leases: Leases | None) -> Sequence[Waiting]:
    return leases.waiting() if leases else ()


def _watch(driver: Driver, leases: Leases | None) -> None:
    """Show the list, and what becomes of it, on the terminal's other screen.

    Source: ECMA-48 (CUP, EL, ED); XTerm Control Sequences, "private mode 1049" and "25".
    """
    if not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal", "Programs use --json.")
    sys.stdout.write("\x1b[?1049h\x1b[?25l")
    try:
        while True:
            size = shutil.get_terminal_size()
            shown = gpu_list.lines(_entries(driver, leases), _waiting(leases))
            # The last line stays empty, so that nothing scrolls.
            rows = [cut(line, size.columns) for line in shown[: size.lines - 1]]
            sys.stdout.write("\x1b[H" + "".join(f"{row}\x1b[K\r\n" for row in rows) + "\x1b[J")
            sys.stdout.flush()
            time.sleep(_PERIOD)
    except Interrupted:
        return
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
