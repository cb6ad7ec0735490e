"""`envkit history`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from envkit import history as past
from envkit import project, render
from envkit.changes import Change
from envkit.cli.installer import request_for
from envkit.cli.output import answer
from envkit.errors import EXIT_DONE
from envkit.history import Environment, History, Locked
from envkit.installation import plan as plans
from envkit.quantities import count

# More changes of one lock than this are summed up.
_FEW = 3

_MARKS = {"installed": "*", "previous": "-", "": " "}


@click.command()
@click.option("-n", "--limit", default=10, show_default=True, help="How many commits at most.")
@click.option("--json", "as_json", is_flag=True, help="Print what is found as JSON.")
def history(limit: int, as_json: bool) -> int:
    """List the locks and environments to go back to.

    `envkit rollback` brings the previous environment back, `envkit install --lock REV` the lock
    of a commit.
    """
    found = project.find(Path.cwd(), os.environ)
    request = request_for(found, plans.installed_groups(found), offline=True)
    result = past.inspect(request, max(limit, 0))
    if as_json:
        click.echo(render.as_json(result))
    else:
        _show(result)
    return EXIT_DONE


def _show(result: History) -> None:
    answer(f"* installed  {_environment(result.installed)}")
    if result.previous:
        changes = _changes(result.back) or "the same distributions"
        answer(f"- previous   {_environment(result.previous)}: {changes}  (envkit rollback)")
    if result.locks:
        answer("\nLocks in git (envkit install --lock REV):")
    for one in result.locks:
        answer(f"{_MARKS[one.place]} {_line(one)}")


def _environment(one: Environment | None) -> str:
    return f"{count(one.distributions, 'distribution')}, Python {one.python}" if one else "nothing"


def _line(one: Locked) -> str:
    state = one.reason
    if not state and one.lacking:
        state = f"{one.lacking} to be fetched"
    changes = _changes(one.changes)
    texts = [one.revision[:10].ljust(10), one.date.ljust(10), one.subject, changes, state]
    return "  ".join(text for text in texts if text)


def _changes(changes: tuple[Change, ...]) -> str:
    if len(changes) > _FEW:
        return render.change_summary(changes)
    return ", ".join(render.change_lines(changes))
