"""`envkit run` and `envkit shell`."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from envkit import project
from envkit.cli import running
from envkit.cli.output import Output
from envkit.config import GpuOptions
from envkit.errors import EXIT_DONE, UsageError

_PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _of_gpus(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which GPUs it gets."""
    options = (
        click.option("--gpus", metavar="N", help="Take so many GPUs on lease, or `all`."),
        click.option("--devices", metavar="LIST", help="These GPUs, as in 0,2 or GPU-8932f937."),
        click.option("--wait", metavar="TIME", help="Wait so long for GPUs, as in 2h."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(context_settings=_PASS_THROUGH)
@_of_gpus
@click.option("--image", "in_image", is_flag=True, help="In a container of the image built last.")
@click.option("--stale", is_flag=True, help="Even if that is older than the lock or the code.")
@click.option("--mount", is_flag=True, help="With the project's folder in it, as it is now.")
@click.option("--on", type=click.Choice(["slurm"]), help="On a node of a cluster.")
@click.option("--detach", is_flag=True, help="Submit it there, and do not wait for it.")
@click.option(
    "--slurm-option",
    multiple=True,
    metavar="OPTION",
    help="One more option for Slurm, as in --partition=long.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(output: Output, /, command: tuple[str, ...], **options: Any) -> int:
    """Run a command in the environment: `envkit run -- python train.py`.

    The command takes this one's place: its exit code, its signals and the terminal are its own.
    """
    if command[0].startswith("-"):
        _refuse_unknown(command[0])
    _refuse_meaningless(options)
    asked = _asked(options)
    if options["in_image"]:
        from envkit.cli import container

        stale, mount = options["stale"], options["mount"]
        return container.run(command, asked, output, stale=stale, mount=mount)
    if options["on"] is None:
        return running.run_here(asked, command, output)
    from envkit.cli import cluster

    found = project.find(Path.cwd(), os.environ)
    extra = options["slurm_option"]
    cluster.run(command, found, asked, output, options=extra, detach=options["detach"])
    return EXIT_DONE


@click.command()
@_of_gpus
@click.pass_obj
def shell(output: Output, /, **options: Any) -> int:
    """Start a shell in the environment; `exit` leaves it.

    With --gpus it has them on lease for as long as it runs.
    """
    return running.shell_here(_asked(options), output)


def _asked(options: dict[str, Any]) -> GpuOptions:
    """Return what the options say of GPUs."""
    return GpuOptions.parse(*(options[name] for name in ("gpus", "devices", "wait")))


def _refuse_unknown(word: str) -> None:
    """Refuse an option that is none, where a command should begin; after `--` it is one."""
    *_, before = ["", *sys.argv[: sys.argv.index(word)]] if word in sys.argv else [""]
    if before != "--":
        name = word.partition("=")[0]
        known = [option for parameter in run.params for option in parameter.opts]
        raise click.NoSuchOption(name, possibilities=difflib.get_close_matches(name, known))


def _refuse_meaningless(options: dict[str, Any]) -> None:
    """Refuse options that say something only beside another one, and what is no option of Slurm."""
    for name, needed, is_there in (
        ("stale", "--image", options["in_image"]),
        ("mount", "--image", options["in_image"]),
        ("detach", "--on", options["on"]),
        ("slurm_option", "--on", options["on"]),
    ):
        if options[name] and not is_there:
            word = name.replace("_", "-")
            raise UsageError(f"--{word} has a meaning with {needed} only")
    for word in options["slurm_option"]:
        if not word.startswith("-"):
            # Slurm would take it for the command, after having waited for a node.
            raise UsageError(
                f"--slurm-option={word}: not an option", "As in --slurm-option=--partition=long."
            )
    if options["in_image"] and options["on"]:
        raise UsageError("--image and --on do not go together")
