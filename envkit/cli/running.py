"""Commands in the environment; without click, so that they start quickly."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envkit import foreground, project
from envkit.cli.output import Output
from envkit.config import GpuOptions
from envkit.environment import activation, quick, stamp
from envkit.environment.settings import Reader
from envkit.errors import MissingError, UsageError
from envkit.gpu.marks import PLACE
from envkit.project import Project

if TYPE_CHECKING:
    from envkit.gpu.leases import Lease

# Shells that close whatever files they have inherited, and a lease with them.
_CLOSING = {"csh", "tcsh"}

# The options that `plainly` knows, and the parameter of `GpuOptions.parse` that each is.
_OPTIONS = {"--gpus": "count", "--devices": "devices", "--wait": "wait"}


def plainly(arguments: Sequence[str]) -> Callable[[], int] | None:
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


def run_here(asked: GpuOptions, command: tuple[str, ...], output: Output) -> int:
    """Become a command in the environment of the project in this folder.

    Args:
        asked: what GPUs are asked for.
        command: the command.
        output: where it is said what is not as it should be, and what is waited for.

    Returns:
        Its exit code, where this process cannot become it.

    Raises:
        MissingError: there is no environment, no such command, or no GPU for it.
    """
    found = ready_project(output)
    environ = activation.environment(str(found.environment), os.environ)
    words = activation.command(command)
    foreground.check(words, environ)
    return _become(words, *granted(found, asked, environ, words, output))


def shell_here(asked: GpuOptions, output: Output) -> int:
    """Become a shell in the environment of the project in this folder.

    Args:
        asked: what GPUs are asked for; if none are, it has none on lease.
        output: as for `run_here`.

    Returns:
        As `run_here`.

    Raises:
        UsageError: this is one already.
        MissingError: there is no environment, or no GPU for it.
    """
    found = ready_project(output)
    location = str(found.environment)
    if os.environ.get("VIRTUAL_ENV") == location:
        raise UsageError(
            "This shell is in the environment already",
            "`envkit run --gpus N` takes GPUs for a command; `deactivate` leaves the environment.",
        )
    leasing = asked.is_explicit
    environ, lease = granted(found, asked, os.environ, ("shell",), output, leasing=leasing)
    command, environ = activation.shell(location, environ)
    output.say(f"A shell in {location}; `exit` leaves it")
    return _become(command, environ, lease)


def _become(command: Sequence[str], environ: Mapping[str, str], lease: Lease | None) -> int:
    """Become a command; wait for one that would not have its lease itself."""
    if lease:
        lease.hand_on()
        if os.path.basename(command[0]) in _CLOSING:
            return foreground.attend(command, environ)
    return foreground.replace(command, environ)


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
) -> tuple[Mapping[str, str], Lease | None]:
    """Return the variables of a command with the GPUs that it gets, and its lease of these, if any.

    Args:
        found: the project.
        asked: what the command line says of GPUs.
        environ: the variables that the command would have otherwise.
        command: the command, as others are told of it.
        output: where it is said what is waited for.
        leasing: whether it takes the GPUs that the settings say; if not, it sees what all see that
            have no lease.

    Raises:
        MissingError: there are no such GPUs, or they are not to be had in time; or no such command.
        UsageError: what is said of them makes no sense here.
    """
    settings = found.config.gpu
    decided = PLACE in environ
    if not (settings.is_set or asked.is_explicit or asked.wait or decided):
        return environ, None
    from envkit.cli.granting import Granting
    from envkit.gpu.holders import Holder

    granting = Granting(found, asked, environ, output)
    if not leasing:
        return granting.grant_nothing().environ, None
    given = granting.grant(Holder.this(command, str(found.root)))
    return given.environ, given.lease
