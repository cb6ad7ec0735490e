"""An installation as a person sees it; without click, so that a plain `install` starts quickly."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from envkit import project
from envkit.cli.output import Meter, Output
from envkit.environment.settings import Reader
from envkit.errors import EXIT_DONE
from envkit.installation import execution
from envkit.installation import plan as plans
from envkit.installation.execution import Outcome
from envkit.installation.request import Request
from envkit.project import Group, Project
from envkit.quantities import count, seconds_text
from envkit.store import layout
from envkit.store.layout import Store

if TYPE_CHECKING:
    from envkit.assets.transfer import Progress as FilesProgress
    from envkit.fetching.progress import Progress


def install_here(*, offline: bool) -> int:
    """Do what `envkit install` does in this folder without options, or with `--offline` alone."""
    reader = Reader()
    found = project.find(Path.cwd(), os.environ, reader.read)
    request = request_for(found, found.choose(), offline=offline)
    perform(request, Output.for_terminal(verbose=False, quiet=False))
    reader.keep()
    return EXIT_DONE


def install_project(found: Project, output: Output, *, groups: tuple[Group, ...]) -> Outcome:
    """Install groups of a project, of which it has been said what they lock."""
    return perform(request_for(found, groups), output, listed=True)


def request_for(
    found: Project,
    groups: tuple[Group, ...],
    *,
    offline: bool = False,
    overridden: bool = False,
    replace: bool = False,
    revision: str = "",
) -> Request:
    """Return the request for groups of a project, with this process's environment."""
    return Request.of(found, groups, os.environ, offline=offline)._replace(
        overridden=overridden, replace=replace, revision=revision
    )


def store_here() -> Store:
    """Return the store of the project in this folder, or the user's where there is none."""
    return layout.locate(project.settings(Path.cwd(), os.environ).store, os.environ)


def perform(request: Request, output: Output, *, listed: bool = False) -> Outcome:
    """Plan and apply a request, saying what is done.

    Args:
        request: what is to be installed.
        output: where it is said.
        listed: whether the user has seen the distributions listed already.
    """
    started = time.monotonic()
    meter = Meter(output, "Fetching")

    def report(progress: Progress) -> None:
        meter.update(
            done=progress.done,
            total=progress.total,
            fetched=progress.fetched,
            started=progress.started,
        )

    with request.store.in_use(output.say):
        plan = plans.make(request, output.say)
        output.detail(f"Python {plan.interpreter.version}: {plan.interpreter.executable}")
        outcome = execution.apply(
            plan, report=report, report_files=files_reporter(output), say=output.say
        )
    if not listed:
        output.changes(outcome.changes)
    files = outcome.files
    for path in files.placed:
        output.say(f"  + {path}")
    for path in files.dropped:
        output.say(f"  - {path}")
    for path in files.left:
        output.warn(f"{path} is not declared any more; it was changed, and is left where it is")
    took = seconds_text(time.monotonic() - started)
    has = count(outcome.distributions, "distribution")
    has += f", Python {plan.interpreter.version}"
    if files.placed:
        has += f", {count(len(files.placed), 'large file')} put into place"
    if not (outcome.touched or files.placed or files.dropped):
        output.say(f"Already up to date: {has}")
    else:
        output.say(f"Installed in {took}: {has}, {outcome.fetched} fetched")
    if outcome.compiling:
        output.detail("Byte-code is being compiled in the background")
    return outcome


def files_reporter(output: Output) -> Callable[[FilesProgress], None]:
    """Return what draws how far the fetching of large files is."""
    meter = Meter(output, "Fetching")
    return lambda progress: meter.update_files(**progress._asdict())
