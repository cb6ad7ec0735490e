"""`envkit status`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from envkit import project, render
from envkit import status as inspection
from envkit.cli.output import answer, printable, styled
from envkit.errors import EXIT_DIFFERENCE, EXIT_DONE
from envkit.installation import plan as plans
from envkit.installation.request import Request
from envkit.status import Status

# What to do about a large file that is not as it should be.
_FILE_HINTS = {
    **dict.fromkeys(("missing", "outdated", "unknown"), "Run `envkit install`."),
    "changed": "Restore it with `envkit verify --fix`, or move it away.",
    "superfluous": "It is not declared: `envkit install` takes it away.",
}

# More paths than this are summed up.
_FEW = 20


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what is found as JSON.")
def status(as_json: bool) -> int:
    """Say whether locks and environment are as they should be; exit 1 if not.

    Are the locks what their inputs say, is the environment what the locks say, and did somebody
    change it by hand?
    """
    found = project.find(Path.cwd(), os.environ)
    request = Request.of(found, plans.installed_groups(found), os.environ, offline=True)
    result = inspection.inspect(request)
    if as_json:
        click.echo(render.as_json({"good": result.good, **result._asdict()}))
    else:
        _show(result)
    return EXIT_DONE if result.good else EXIT_DIFFERENCE


def _show(result: Status) -> None:
    for one in result.locks:
        _line(f"lock {one.group}", one.state, one.state == "fresh", one.file, one.reason)
    right = result.environment == "current"
    python = f"Python {result.python}" if result.python else ""
    _line("environment", result.environment, right, python, result.reason)
    for line in render.change_lines(result.changes)[:_FEW]:
        answer(f"  {line}")
    if len(result.changes) > _FEW:
        answer(f"  … {render.change_summary(result.changes)} in all")
    for path, kind in result.drift[:_FEW]:
        answer(f"  {kind}: {path}")
    if len(result.drift) > _FEW:
        answer(f"  … {len(result.drift)} paths in all")
    for path, state in result.files:
        _line("large file", state, state == "there", path, _FILE_HINTS.get(state, ""))
    if result.image:
        hints = {"stale": "older than {}: `envkit build`", "missing": "{}", "unknown": "{}"}
        hint = hints.get(result.image.state, "").format(" and ".join(result.image.reasons))
        right = result.image.state == "current"
        _line("image", result.image.state, right, result.image.name, hint)


def _line(what: str, state: str, good: bool, detail: str, hint: str) -> None:
    mark = styled("ok", "green") if good else styled(state, "yellow")
    texts = (f"{what + ':':<18} {mark}", printable(detail), printable(hint))
    click.echo("  ".join(text for text in texts if text))
