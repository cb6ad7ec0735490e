"""`envkit rollback`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from envkit import project, render
from envkit.cli.output import Output
from envkit.errors import EXIT_DONE
from envkit.installation import rollback as way_back
from envkit.store import layout


@click.command()
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing; print what would be changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def rollback(output: Output, dry_run: bool, as_json: bool) -> int:
    """Bring the environment of before back, in one step; done twice, it is as it was.

    The lock stays as it is: the next `envkit install` makes what it says.
    """
    found = project.find(Path.cwd(), os.environ)
    store = layout.locate(found.config.store, os.environ)
    half, changes = way_back.roll_back(found, store, dry_run=dry_run, say=output.say)
    assert half.record
    if as_json:
        python = half.record.interpreter.version
        click.echo(render.as_json({"python": python, "changes": changes}))
        return EXIT_DONE
    output.changes(changes)
    summary = half.stamp["summary"][0] if half.stamp else ""
    output.say(f"{'Would go' if dry_run else 'Went'} back to what was before: {summary}")
    if half.changed_folders():
        output.warn("Something in it was changed by hand: `envkit verify` says what")
    return EXIT_DONE
