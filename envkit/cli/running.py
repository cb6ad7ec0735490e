"""Commands in the environment; without click, so that they start quickly."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from envkit import foreground, project
from envkit.cli.output import Output
from envkit.config import GpuOptions
from envkit.environment import activation, quick, stamp
from envkit.environment.settings import Reader
from envkit.errors import MissingError, UsageError
from envkit.gpu.marks import PLACE
from envkit.project import Project

# The options that `plainly` knows, and the parameter of `GpuOptions.parse` that each is.
_OPTIONS = {"--gpus": "count", "--devices": "devices", "--wait": "wait"}


def plainly(arguments: Sequence[str]) -> Callable[[], NoReturn] | None:
    """Return what does what arguments of `run` say; None if click is needed to understand them.

    Args:
        arguments: what stands behind `run`: options of GPUs, perhaps, and a command.
    """
    said: dict[str, str | None] = dict.fromkeys(_OPTIONS.values())
    rest = list(arguments)
    while rest and rest[0].startswith("--") and rest[0] != "--":
        name, given, value = rest.pop(0).partition("=")
        if name not in _OPTIONS or not (given or rest):
            return None
        said[_OPTIONS[name]] = value if given else rest.pop(0)
    if rest[:1] == ["--"]:
        del rest[0]
    elif rest and rest[0].startswith("-"):
        return None
    output = Output.for_terminal(verbose=False, quiet=False)
    command = tuple(rest)
    return (lambda: run_here(GpuOptions.parse(**said), command, output)) if command else None


def run_here(asked: GpuOptions, command: tuple[str, ...], output: Output) -> NoReturn:
    """Become a command in the environment of the project in this folder.

    Args:
        asked: what GPUs are asked for.
        command: the command.
        output: where it is said what is not as it should be, and what is waited for.

    Raises:
        MissingError: there is no environment, no such command, or no GPU for it.
    """
    found = ready_project(output)
    environ = activation.environment(str(found.environment), os.environ)
    words = activation.command(command)
    foreground.replace(words, granted(found, asked, environ, words, output))


def shell_here(asked: GpuOptions, output: Output) -> NoReturn:
    """Become a shell in the environment of the project in this folder.

    Args:
        asked: what GPUs are asked for; if none are, it has none on lease.
        output: as for `run_here`.

    Raises:
        UsageError: this is one already.
        MissingError: there is no environment, or no GPU for it.
    """
    found = ready_project(output)
    location = str(found.environment)
    if os.environ.get("VIRTUAL_ENV") == location:
        raise UsageError("This shell is in the environment already")
    if asked.wait is not None and asked.count is None:
        raise UsageError("--wait has a meaning with --gpus only")
    environ = granted(found, asked, os.environ, ("shell",), output, leasing=asked.is_explicit)
    command, environ = activation.shell(location, environ)
    output.say(f"A shell in {location}; `exit` leaves it")
    foreground.replace(command, environ)


def ready_project(output: Output) -> Project:
    """Return the project, if its environment can be used; say so if it is not the lock's.

    Raises:
        MissingError: there is no environment.
    """
    found = project.find(Path.cwd(), os.environ, Reader().read)
    location = str(found.environment)
    known = stamp.read(location)
    if known is None:
        if os.path.exists(f"{location}/bin/python"):
            output.warn(f"{location} was not made by envkit, or is not finished")
        else:
            raise MissingError("There is no environment yet", "Run `envkit install`.")
    elif not quick.is_current(location, known) and _differs(found):
        output.warn("The environment is not what lock and settings say: run `envkit install`")
    return found


def _differs(found: Project) -> bool:
    """Return whether an installation would change anything, now that its files have changed.

    To find that out takes longer than most commands, so it is asked only where it may be so.
    """
    from envkit.cli.installer import request_for
    from envkit.errors import EnvkitError
    from envkit.installation import plan

    try:
        return plan.make(request_for(found, plan.installed_groups(found))).changed
    except EnvkitError:
        return True


def granted(
    found: Project,
    asked: GpuOptions,
    environ: Mapping[str, str],
    command: Sequence[str],
    output: Output,
    *,
    leasing: bool = True,
) -> Mapping[str, str]:
    """Return the variables of a command with the GPUs that it gets; a lease is handed on.

    Args:
        found: the project.
        asked: what the command line says of GPUs.
        environ: the variables that the command would have otherwise.
        command: the command, as others are told of it.
        output: where it is said what is waited for.
        leasing: whether it takes the GPUs that the settings say; if not, it sees what all see that
            have no lease.

    Raises:
        MissingError: there are no such GPUs, or they are not to be had in time.
        UsageError: what is said of them makes no sense here.
    """
    settings = found.config.gpu
    decided = PLACE in environ
    if not (settings.is_set or asked.is_explicit or asked.wait or decided):
        return environ
    from envkit.cli.granting import Granting
    from envkit.gpu.holders import Holder

    granting = Granting(found, asked, environ, output)
    if not leasing:
        return granting.grant_nothing().environ
    given = granting.grant(Holder.this(command, str(found.root)))
    if given.lease:
        given.lease.hand_on()
    return given.environ
