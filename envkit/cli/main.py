"""The `envkit` command and its subcommands."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from envkit import __version__
from envkit.cli.guard import guarded
from envkit.cli.output import Output
from envkit.errors import EXIT_DONE, EXIT_INTERRUPTED

# Where each subcommand lives, so that only the one that runs is imported: name -> module, help.
_COMMANDS = {
    "init": ("init", "Make this repository a project: files, lock, environment."),
    "lock": ("lock", "Compile the requirements into hash-locked files."),
    "install": ("install", "Make the environment what the lock says."),
    "rollback": ("rollback", "Bring the environment of before back."),
    "history": ("history", "List the locks and environments to go back to."),
    "assets": ("assets", "Declare large files that pip cannot bring."),
    "build": ("build", "Build the image that is deployed, from the same lock."),
    "verify": ("verify", "Compare every file of the environment with the lock."),
    "run": ("run", "Run a command in the environment."),
    "shell": ("run", "Start a shell in the environment."),
    "serve": ("serve", "Start the project's services, and show what they say."),
    "services": ("services", "List the services and how they are."),
    "stop": ("services", "Stop services that run."),
    "logs": ("services", "Show what services have printed."),
    "gpu": ("gpu", "List the GPUs, and who has them."),
    "status": ("status", "Say whether locks and environment are as they should be."),
    "cache": ("cache", "Show or shrink what the store keeps."),
    "config": ("config", "Show each setting and where it came from."),
    "completion": ("completion", "Print the completion script of a shell."),
}


class _Commands(click.Group):
    """Subcommands that are imported when they are run."""

    # ruff: noqa: ARG002 -- click's own signatures

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"envkit.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="envkit", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Say more: each step and each command run.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_context
def envkit(ctx: click.Context, verbose: bool, quiet: bool) -> None:
    """One lock, obeyed everywhere: the environment, the image, the services, the GPUs.

    `envkit init` in a fresh repository, `envkit install` after pulling.
    """
    ctx.obj = Output.for_terminal(verbose=verbose, quiet=quiet)


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; what goes wrong is printed here."""

    def work() -> int:
        try:
            code = envkit.main(list(arguments), "envkit", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except click.Abort:
            return EXIT_INTERRUPTED
        return code if isinstance(code, int) else EXIT_DONE

    return guarded(work)
