"""`envkit install`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from envkit import downloads, installation, project, render
from envkit.cli.output import Meter, Output
from envkit.errors import EXIT_DIFFERENCE, EXIT_DONE
from envkit.installation import Outcome, Plan, Request
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
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
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
    as_json: bool,
) -> int:
    """Make the environment what the lock says.

    The new environment is made beside the old one, and then takes its place in one step; a
    command that fails or is stopped leaves the old one as it was.
    """
    found = project.find(Path.cwd(), os.environ)
    if python:
        found = project.with_option(found, "python", python, "--python")
    if copy:
        found = project.with_option(found, "link", "copy", "--copy")
    chosen = found.choose(added=groups, default=not no_default)
    request = _request(found, chosen, offline=offline, replace=replace)
    if check or dry_run:
        plan = installation.plan(request)
        _show_plan(output, plan, as_json=as_json)
        return EXIT_DIFFERENCE if check and plan.changed else EXIT_DONE
    outcome = _install(request, output)
    if as_json:
        click.echo(render.as_json(outcome))
    return EXIT_DONE


def install_project(found: Project, output: Output, *, groups: tuple[Group, ...]) -> Outcome:
    """Install groups of a project, saying what is done."""
    return _install(_request(found, groups), output)


def _request(
    found: Project, groups: tuple[Group, ...], *, offline: bool = False, replace: bool = False
) -> Request:
    return Request(
        project=found,
        groups=groups,
        store=layout.locate(found.config.store.value, os.environ),
        environ=os.environ,
        offline=offline,
        replace=replace,
    )


def _install(request: Request, output: Output) -> Outcome:
    started = time.monotonic()
    meter = Meter(output, "Fetching")

    def report(progress: downloads.Progress) -> None:
        meter.update(
            done=progress.done,
            total=progress.total,
            fetched=progress.fetched,
            started=progress.started,
        )

    plan = installation.plan(request)
    output.detail(f"Python {plan.interpreter.version}: {plan.interpreter.executable}")
    outcome = installation.apply(plan, report=report, say=output.say)
    output.changes(outcome.changes)
    took = render.seconds_text(time.monotonic() - started)
    has = render.count(outcome.distributions, "distribution")
    has += f", Python {plan.interpreter.version}"
    if not outcome.touched:
        output.say(f"Already up to date: {has}")
    else:
        output.say(f"Installed in {took}: {has}, {outcome.fetched} fetched")
    if outcome.compiling:
        output.detail("Byte-code is being compiled in the background")
    return outcome


def _show_plan(output: Output, plan: Plan, *, as_json: bool) -> None:
    if as_json:
        click.echo(
            render.as_json(
                {
                    "python": plan.interpreter.version,
                    "executable": plan.interpreter.executable,
                    "changed": plan.changed,
                    "changes": plan.changes,
                    "fetch": [str(pin) for pin in plan.lacking],
                }
            )
        )
        return
    for line in render.change_lines(plan.changes):
        click.echo(line)
    if not plan.changed:
        output.say("Nothing would be changed")
    else:
        output.say(
            f"Would be: {render.change_summary(plan.changes)}; {len(plan.lacking)} to be fetched"
        )
