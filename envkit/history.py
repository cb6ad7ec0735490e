"""Which environments and locks a project had, and which of them it can go back to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from envkit import git
from envkit.changes import Change, between
from envkit.environment import halves
from envkit.environment.halves import Half
from envkit.errors import EnvkitError
from envkit.git import Commit
from envkit.installation import choice, editable, rollback
from envkit.installation import plan as plans
from envkit.installation.request import Request
from envkit.interpreter import Interpreter
from envkit.locks import lock
from envkit.locks.lock import Pin
from envkit.project import Group

Place = Literal["installed", "previous", ""]


class Environment(NamedTuple):
    """One of the two environments that a project has: its Python, and how many distributions."""

    python: str
    distributions: int


class Locked(NamedTuple):
    """The locks of one commit.

    Attributes:
        revision: the commit's hash; empty for what is not committed.
        date: the commit's, as YYYY-MM-DD.
        subject: the first line of its message.
        changes: what the locks changed, compared with those before.
        place: whether this is the environment that is installed, or the previous one.
        lacking: how many distributions would have to be fetched; None if it cannot be told.
        reason: why it cannot be installed; empty if it can.
    """

    revision: str
    date: str
    subject: str
    changes: tuple[Change, ...]
    place: Place
    lacking: int | None
    reason: str = ""


class History(NamedTuple):
    """What a project had.

    Attributes:
        installed: the environment; None without one.
        previous: what `envkit rollback` would bring back; None if there is nothing.
        back: what a rollback would change.
        locks: the locks in git's history, the newest first.
    """

    installed: Environment | None
    previous: Environment | None
    back: tuple[Change, ...]
    locks: tuple[Locked, ...]


def inspect(request: Request, limit: int) -> History:
    """Return which environments and locks a project had.

    Args:
        request: the project, and the groups whose locks are meant.
        limit: how many commits at most.
    """
    project = request.project
    live = Half(str(project.environment))
    before = rollback.previous(project, request.store)
    return History(
        installed=_environment(live),
        previous=_environment(before) if before else None,
        back=between(halves.versions(live), halves.versions(before)) if before else (),
        locks=tuple(_locks(request, live, before, limit)),
    )


def _environment(half: Half) -> Environment | None:
    if half.record is None:
        return None
    return Environment(half.record.interpreter.version, len(halves.versions(half)))


def _locks(request: Request, live: Half, before: Half | None, limit: int) -> Iterator[Locked]:
    root, groups = request.project.root, request.groups
    names = [group.lock.name for group in groups]
    # One more than is shown, to tell what the last one changed.
    commits = list(git.log(root, names, limit + 1))
    texts = [_texts(root, commit.revision, groups) for commit in commits]
    now = {group.lock.name: _read(group) for group in groups}
    if any(now.values()) and (not texts or now != texts[0]):
        commits.insert(0, Commit("", "", "(not committed)"))
        texts.insert(0, now)
    python = _python(request)
    places: list[tuple[Mapping[str, str], Place]] = [
        (halves.versions(live), "installed"),
        (halves.versions(before), "previous"),
    ]
    chosen = [_pins(one, python) for one in texts]
    for number, commit in enumerate(commits[:limit]):
        pins, reason = chosen[number]
        older = lock.versions(chosen[number + 1][0]) if number + 1 < len(chosen) else {}
        wanted = lock.versions(pins)
        yield Locked(
            revision=commit.revision,
            date=commit.date,
            subject=commit.subject,
            changes=between(older, wanted),
            place=_place(wanted, places),
            lacking=_lacking(request, pins, python),
            reason=reason,
        )


def _texts(root: Path, commit: str, groups: Sequence[Group]) -> dict[str, str]:
    """Return what the locks held in a commit: name -> text, empty where there was none."""
    return {group.lock.name: git.show(root, commit, group.lock.name) or "" for group in groups}


def _read(group: Group) -> str:
    try:
        return group.lock.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _python(request: Request) -> Interpreter | None:
    """Return the interpreter that decides which conditional requirements count."""
    try:
        return plans.find_interpreter(request.project, (), request.store, request.environ)
    except EnvkitError:
        return None


def _pins(texts: Mapping[str, str], python: Interpreter | None) -> tuple[tuple[Pin, ...], str]:
    """Return what locks ask for, and why they cannot be used; one of the two is empty."""
    try:
        locks = [lock.parse(text, Path(name)) for name, text in texts.items() if text]
        if python is None:
            return tuple(pin for one in locks for pin in one.pins), ""
        return lock.select(locks, python.markers), ""
    except EnvkitError as error:
        return (), error.message


def _place(wanted: Mapping[str, str], places: Sequence[tuple[Mapping[str, str], Place]]) -> Place:
    for versions, place in places:
        locked = {name: one for name, one in versions.items() if one != editable.VERSION}
        if wanted and locked == wanted:
            return place
    return ""


def _lacking(request: Request, pins: Sequence[Pin], python: Interpreter | None) -> int | None:
    if python is None:
        return None
    return sum(choice.find(request.store, pin, python) is None for pin in pins)
