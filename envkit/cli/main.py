"""The `envkit` command: its subcommands, and the translation of errors into exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from types import FrameType

import click

from envkit import __version__
from envkit.cli.output import Output, printable, styled
from envkit.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, EnvkitError, Interrupted

# Where each subcommand lives, so that only the one that runs is imported: name -> module, help.
_COMMANDS = {
    "init": ("init", "Make this repository a project: files, lock, environment."),
    "lock": ("lock", "Compile the requirements into hash-locked files."),
    "install": ("install", "Make the environment what the lock says."),
    "run": ("run", "Run a command in the environment."),
    "shell": ("run", "Start a shell in the environment."),
    "status": ("status", "Say whether locks and environment are as they should be."),
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
    return guarded(lambda: envkit.main(list(arguments), "envkit", standalone_mode=False))


def guarded(work: Callable[[], object]) -> int:
    """Do some work of the command line and return the exit code that its outcome means."""
    _raise_on_signals()
    try:
        code = work()
        sys.stdout.flush()
    except EnvkitError as error:
        report(error)
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code if isinstance(error, click.UsageError) else EXIT_USAGE
    except (KeyboardInterrupt, Interrupted, click.Abort):
        _stop_children()
        click.echo("\nInterrupted; nothing was changed half-way.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone, as in `envkit status | head`: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        _stop_children()
        return _report_bug(error)
    return code if isinstance(code, int) else 0


def report(error: EnvkitError) -> None:
    """Print an error as the user is to see it."""
    click.echo(f"{styled('error:', 'red')} {printable(error.message)}", err=True)
    if error.hint:
        click.echo(f"{styled('hint:', 'cyan')} {printable(error.hint)}", err=True)


def _raise_on_signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def _stop_children() -> None:
    if "envkit.process" in sys.modules:
        from envkit import process

        process.stop_all()


def _report_bug(error: Exception) -> int:
    descriptor, name = tempfile.mkstemp(prefix="envkit-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"envkit {__version__}, Python {sys.version}\n\n")
        file.writelines(traceback.format_exception(error))
    click.echo(
        f"{styled('error:', 'red')} this is a bug in envkit: "
        f"{printable(type(error).__name__)}: {printable(str(error))[:300]}\n"
        f"{styled('hint:', 'cyan')} What is needed to mend it is in {name}.",
        err=True,
    )
    return EXIT_BUG
