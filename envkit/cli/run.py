"""`envkit run` and `envkit shell`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from envkit import process, project
from envkit.cli.output import Output
from envkit.environment import activation, stamp
from envkit.errors import MissingError, UsageError
from envkit.project import Project

_PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=_PASS_THROUGH)
@click.option("--image", "in_image", is_flag=True, help="In a container of the image built last.")
@click.option("--stale", is_flag=True, help="Even if that is older than the lock or the code.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(output: Output, in_image: bool, stale: bool, command: tuple[str, ...]) -> None:
    """Run a command in the environment: `envkit run -- python train.py`.

    The command takes this one's place: its exit code, its signals and the terminal are its own.
    """
    if in_image:
        from envkit.cli import container

        container.run(command, stale=stale)
    if stale:
        raise UsageError("--stale has a meaning with --image only")
    found = _ready_project(output)
    environ = activation.environment(str(found.environment), os.environ)
    if command[0].endswith(".py") and Path(command[0]).is_file():
        command = ("python", *command)
    process.replace(command, environ)


@click.command()
@click.pass_obj
def shell(output: Output) -> None:
    """Start a shell in the environment; `exit` leaves it."""
    found = _ready_project(output)
    if os.environ.get("VIRTUAL_ENV") == str(found.environment):
        raise UsageError("This shell is in the environment already")
    location = str(found.environment)
    command, environ = activation.shell(location, os.environ)
    output.say(f"A shell in {location}; `exit` leaves it")
    process.replace(command, environ)


def _ready_project(output: Output) -> Project:
    """Return the project, if its environment can be used; say so if it is not the lock's."""
    found = project.find(Path.cwd(), os.environ)
    location = str(found.environment)
    known = stamp.read(location)
    if known is None:
        if os.path.exists(f"{location}/bin/python"):
            output.warn(f"{location} was not made by envkit, or is not finished")
        else:
            raise MissingError("There is no environment yet", "Run `envkit install`.")
    # Other groups and settings than the configured ones were a choice, and no reason to warn.
    elif not stamp.is_current(
        location, {**known, "configured": ["yes"], "variables": [stamp.variables()]}
    ):
        output.warn("The environment is not what the lock says: run `envkit install`")
    return found
