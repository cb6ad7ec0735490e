"""`envkit config`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from envkit import project, render
from envkit.cli.output import answer
from envkit.store import layout


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON.")
def config(as_json: bool) -> None:
    """Show each setting and where it came from."""
    found = project.find(Path.cwd(), os.environ)
    settings: dict[str, dict[str, object]] = {
        name: {"value": value, "source": source} for name, value, source in found.config.items()
    }
    if settings["store"]["value"] is None:
        settings["store"]["value"] = layout.locate(None, os.environ).root
    if as_json:
        click.echo(render.as_json(settings))
        return
    rows = [(name, _text(row["value"]), str(row["source"])) for name, row in settings.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, source in rows:
        answer(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
