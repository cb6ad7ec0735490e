"""`envkit install`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from envkit import git, project, render
from envkit.assets import installation as assets
from envkit.cli.installer import perform, request_for
from envkit.cli.output import Output, answer
from envkit.errors import EXIT_DIFFERENCE, EXIT_DONE
from envkit.installation import plan as plans
from envkit.installation.plan import Plan


@click.command()
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Also install this group.")
@click.option("--no-default", is_flag=True, help="Leave the group `default` out.")
@click.option("--python", metavar="PYTHON", help="A version or a path, for this time.")
@click.option("--offline", is_flag=True, help="Use what the store has; ask no index.")
@click.option("--lock", "revision", metavar="REV", help="Install the lock of a commit in git.")
@click.option("--copy", is_flag=True, help="Copy files from the store instead of linking them.")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if anything would be changed.")
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing; print what would be.")
@click.option("--replace", is_flag=True, help="Take the place of a .venv that is not envkit's.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def install(
    output: Output,
    groups: tuple[str, ...],
    no_default: bool,
    python: str | None,
    offline: bool,
    revision: str | None,
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
    request = request_for(
        found,
        chosen,
        offline=offline,
        overridden=bool(python or copy or revision) or chosen != found.choose(),
        replace=replace,
        revision=git.resolve(found.root, revision) if revision is not None else "",
    )
    if check or dry_run:
        plan = plans.make(request)
        assets.check(plan.files, found, request.store)
        _show_plan(output, plan, as_json=as_json)
        return EXIT_DIFFERENCE if check and plan.changed else EXIT_DONE
    outcome = perform(request, output)
    if as_json:
        click.echo(render.as_json(outcome))
    return EXIT_DONE


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
                    "files": {
                        "place": [one.document() for one in plan.files.lacking],
                        "fetch": [one.path for one in plan.files.fetch],
                        "remove": plan.files.superfluous,
                    },
                }
            )
        )
        return
    for line in render.change_lines(plan.changes):
        answer(line)
    for asset in plan.files.lacking:
        answer(f"+ {asset.path}")
    for path in plan.files.superfluous:
        answer(f"- {path}")
    if not plan.changed:
        output.say("Nothing would be changed")
    else:
        fetched = len(plan.lacking) + len(plan.files.fetch)
        output.say(f"Would be: {render.change_summary(plan.changes)}; {fetched} to be fetched")
