"""`envkit completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    bash: `eval "$(envkit completion bash)"` in ~/.bashrc; zsh: the same in ~/.zshrc;
    fish: `envkit completion fish > ~/.config/fish/completions/envkit.fish`.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "envkit", "_ENVKIT_COMPLETE").source())
