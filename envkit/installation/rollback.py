"""The way back: the environment that the spare holds takes its place again."""

from __future__ import annotations

from collections.abc import Callable

from envkit.changes import Change
from envkit.environment import halves
from envkit.environment.halves import Half
from envkit.environment.home import Home
from envkit.errors import UsageError
from envkit.installation import composition
from envkit.installation.execution import turn_in_place
from envkit.project import Project
from envkit.store.layout import Store

Say = Callable[[str], None]


def previous(project: Project, store: Store) -> Half | None:
    """Return the environment that a project had before; None if it had none, or has it no more."""
    half = Half(Home(project.root, store).spare)
    return half if half.record and half.record.location == str(project.environment) else None


def roll_back(
    project: Project, store: Store, *, dry_run: bool, say: Say
) -> tuple[Half, tuple[Change, ...]]:
    """Let the environment of before take the place of `.venv`, and the other way round.

    Args:
        project: the project.
        store: the store.
        dry_run: change nothing.
        say: called with a line where somebody else is waited for.

    Returns:
        The environment that it is then, and what is different to a user.

    Raises:
        UsageError: there is none to go back to, or `.venv` is not envkit's.
        MissingError: it has to be made anew, and the store has something of it no more.
    """
    home = Home(project.root, store)
    halves.refuse_foreign(home.live)
    with store.in_use(say), home.locked(say):
        live, spare = Half(home.live), previous(project, store)
        if spare is None:
            raise UsageError(
                "There is no environment to go back to",
                "`envkit history` lists the locks that `envkit install --lock` can go back to.",
            )
        changes = halves.changes(live, halves.versions(spare))
        if dry_run:
            return spare, changes
        if halves.swap(live, spare):
            return Half(home.live), changes
        wanted = composition.recompose(spare, home, store=store, prompt=project.name)
        turn_in_place(live, spare, wanted, project, store)
        return live, changes
