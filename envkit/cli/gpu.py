"""`envkit gpu`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from envkit import process, project, render
from envkit.cli.gpu_list import Listing
from envkit.cli.output import Output, answer, cut
from envkit.errors import EXIT_DONE, EnvkitError, Interrupted, MissingError, UsageError
from envkit.gpu import folder as folders
from envkit.gpu import queue
from envkit.gpu import survey as surveys
from envkit.gpu.devices import Driver, NoDriverError
from envkit.gpu.occupancy import file_name, holder_of

# What a group can be called (groupadd(8)).
_GROUP = r"[a-z_][a-z0-9_-]{0,31}"

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
        with Driver() as driver:
            if watch:
                _watch(driver)
                return EXIT_DONE
            found = _look(driver)
            if as_json:
                click.echo(render.as_json(found.document(driver.version)))
            else:
                click.echo("\n".join(found.lines()))
            if found.trouble:
                output.warn(found.trouble)
            elif not found.is_shared:
                output.say("Leases are among your own processes, until `envkit gpu setup` was run")
    except NoDriverError as error:
        if as_json:
            lists: dict[str, object] = {"gpus": [], "waiting": []}
            click.echo(render.as_json({"driver": None, "reason": error.message, **lists}))
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
    if not re.fullmatch(_GROUP, group):
        raise UsageError(f"{group!r} cannot name a group", "Small letters, digits, '_' and '-'.")
    where = _leases() or folders.MACHINE
    if not str(where).isprintable():
        raise UsageError(f"{str(where)!r}: no path for a folder that others are to use")
    commands = folders.setup_commands(where, group, [folders.QUEUE, *_names()])
    if dry_run or os.geteuid() != 0:
        for command in commands:
            answer(process.quoted(command))
    else:
        for command in commands:
            process.check(command, what=f"{command[0]} failed")
        output.say(f"{where} is the group {group}'s: its members share the GPUs of this machine")
    output.say(f"A user joins it with `usermod -aG {group} USER`, and a new login")


def _names() -> list[str]:
    """Return the names of the files of this machine's GPUs."""
    try:
        with Driver() as driver:
            return [file_name(gpu.uuid) for gpu in driver.gpus() if gpu.is_usable]
    except NoDriverError:
        return []


def _leases() -> Path | None:
    """Return the folder of leases that the settings name here, if they name one."""
    return project.settings(Path.cwd(), os.environ).gpu.leases


def _look(driver: Driver) -> Listing:
    """Return how things stand; where nothing can be known of leases, why not."""
    from envkit.gpu.containers import is_running

    try:
        place = folders.locate(_leases(), os.environ)
        if not place.check() and place.is_shared:
            raise MissingError(f"{place.path}: there is no such folder")
        entries = surveys.survey(driver, lambda uuid: holder_of(place, uuid, is_running))
        trouble = next((one.trouble for one in entries if one.trouble), "")
        return Listing(entries, queue.waiting(place), place.is_for_others, trouble)
    except EnvkitError as error:
        hint = f" ({error.hint})" if error.hint else ""
        trouble = f"Nothing is known of leases: {error.message}{hint}"
        return Listing(surveys.survey(driver, None), [], True, trouble)


def _watch(driver: Driver) -> None:
    """Show the list, and what becomes of it, on the terminal's other screen.

    Source: ECMA-48 (CUP, EL, ED).
    """
    if not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal", "Programs use --json.")
    with _other_screen(), contextlib.suppress(Interrupted):
        while True:
            size = shutil.get_terminal_size()
            found = _look(driver)
            shown = [*found.lines(), *([found.trouble] if found.trouble else [])]
            # The last line stays empty, so that nothing scrolls.
            rows = [cut(line, size.columns) for line in shown[: size.lines - 1]]
            _draw("\x1b[H" + "".join(f"{row}\x1b[K\r\n" for row in rows) + "\x1b[J")
            time.sleep(_PERIOD)


@contextlib.contextmanager
def _other_screen() -> Iterator[None]:
    """Have the terminal's other screen, without a cursor, except while this process is stopped.

    Source: XTerm Control Sequences, "private mode 1049" and "25".
    """
    enter, leave = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"

    def stop(_number: int, _frame: FrameType | None) -> None:
        _draw(leave)
        signal.raise_signal(signal.SIGSTOP)
        _draw(enter)

    before = signal.signal(signal.SIGTSTP, stop)
    _draw(enter)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
        _draw(leave)


def _draw(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
