"""`envkit install`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from envkit import downloads, installation, project
from envkit.cli.output import Meter, Output, human_bytes, human_seconds
from envkit.project import Group, Project
from envkit.store import layout


@click.command()
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Also install this group.")
@click.option("--no-default", is_flag=True, help="Leave the group `default` out.")
@click.option("--python", metavar="PYTHON", help="A version or a path, for this time.")
@click.option("--offline", is_flag=True, help="Use what the store has; ask no index.")
@click.option("--copy", is_flag=True, help="Copy files from the store instead of linking them.")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if anything would be changed.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would be.")
@click.option("--replace", is_flag=True, help="Take the place of a .venv that is not envkit's.")
@click.pass_obj
def install(
    output: Output,
    groups: tuple[str, ...],
    no_default: bool,
    python: str | None,
    offline: bool,
    copy: bool,
    check: bool,
    dry_run: bool,
    replace: bool,
) -> int:
    """Make the environment what the lock says."""
    found = project.find(Path.cwd(), os.environ)
    if python:
        found = project.with_option(found, "python", python, "--python")
    if copy:
        found = project.with_option(found, "link", "copy", "--copy")
    chosen = found.choose(added=groups, default=not no_default)
    install_project(found, output, groups=chosen, offline=offline, replace=replace)
    return 0


def install_project(
    found: Project,
    output: Output,
    *,
    groups: tuple[Group, ...],
    offline: bool = False,
    replace: bool = False,
) -> None:
    """Install groups of a project, saying what is done."""
    started = time.monotonic()
    request = installation.Request(
        project=found,
        groups=groups,
        store=layout.locate(found.config.store.value, os.environ),
        environ=os.environ,
        offline=offline,
        replace=replace,
    )
    meter = Meter(output, "Fetching")

    def report(progress: downloads.Progress) -> None:
        meter.update(progress.fetched, 0, f"{progress.done}/{progress.total}")

    outcome = installation.apply(installation.plan(request), report=report, say=output.say)
    output.say(f"{outcome} {human_seconds(time.monotonic() - started)}")
