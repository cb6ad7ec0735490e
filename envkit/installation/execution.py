"""Carrying a plan out: `.venv` becomes what the locks say, in one step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envkit import refusals
from envkit.changes import Change
from envkit.environment import halves, patch
from envkit.environment.halves import Half, Wanted
from envkit.environment.home import Home
from envkit.environment.tree import AlteredError
from envkit.errors import EnvkitError, Interrupted
from envkit.installation import background, composition
from envkit.installation import plan as plans
from envkit.installation.plan import Plan
from envkit.quantities import count
from envkit.store.layout import Store

if TYPE_CHECKING:
    from envkit.fetching.progress import Report


class Outcome(NamedTuple):
    """What an installation did.

    Attributes:
        changes: what is different to a user.
        touched: whether `.venv` is another one than before.
        distributions: how many the environment has.
        fetched: how many of them were brought into the store.
        compiling: whether byte-code is still being made, behind the user's back.
    """

    changes: tuple[Change, ...]
    touched: bool
    distributions: int
    fetched: int
    compiling: bool


def apply(chosen: Plan, *, report: Report, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Make the project's environment what its locks say.

    Until the very end `.venv` is as it was; then it is wholly the new one.

    Args:
        chosen: what `plan.make` returned.
        report: called with the progress of fetching.
        say: called with a line at each step that can take time.

    Raises:
        EnvkitError: something cannot be fetched, is not what the lock names, or `.venv` is not
            envkit's to replace. The environment is as it was.
    """
    while True:
        try:
            return _apply(chosen, report, say)
        except AlteredError as altered:
            # Each time there is one entry less that could be altered.
            entry = _set_aside(chosen.request.store, altered)
            say(f"{entry} was altered in the store; it is set aside and made anew")
            chosen = plans.make(chosen.request)


def _apply(chosen: Plan, report: Report, say: Callable[[str], None]) -> Outcome:
    request, store = chosen.request, chosen.request.store
    config = request.project.config
    store.prepare()
    home = Home(request.project.root, store)
    if not request.replace:
        halves.refuse_foreign(home.live)
    if chosen.lacking:
        say(f"Fetching {count(len(chosen.lacking), 'distribution')}")
        _fetch(chosen, home, report)
    wanted = composition.compose(chosen, home, say)
    with home.locked(say):
        live = chosen.live.refreshed()
        changes = halves.changes(live, {part.name: part.version for part in wanted.parts})
        touched = not live.has(wanted) or live.is_drifted(chosen.interpreter)
        if touched:
            live = _turn(live, Half(home.spare), wanted)
        elif config.compile == "now" and live.lacks_bytecode(wanted):
            patch.add_bytecode(live, wanted)
        else:
            halves.restamp(live, wanted)
        compiling = wanted.completed and live.lacks_bytecode(wanted)
    if compiling or (touched and wanted.completed):
        background.start(request)
    return Outcome(
        changes=changes,
        touched=touched,
        distributions=len(chosen.pins),
        fetched=len(chosen.lacking),
        compiling=compiling,
    )


def _fetch(chosen: Plan, home: Home, report: Report) -> None:
    """Fetch what the store lacks, and meanwhile make what does not depend on it."""
    from concurrent.futures import ThreadPoolExecutor

    from envkit.installation import downloads

    request = chosen.request
    with ThreadPoolExecutor(1) as beside:
        prepared = beside.submit(
            composition.prepare,
            chosen.interpreter,
            store=request.store,
            home=home,
            prompt=request.project.name,
        )
        downloads.fetch(
            request.store,
            chosen.lacking,
            chosen.interpreter,
            root=request.project.root,
            environ=request.environ,
            offline=request.offline,
            report=report,
        )
        prepared.result()


def _turn(live: Half, spare: Half, wanted: Wanted) -> Half:
    """Bring the spare to what is wanted and let it become `.venv`; return the half that is that."""
    if spare.has(wanted) and not spare.changed_folders():
        halves.restamp(spare, wanted)
    else:
        patch.patch(spare, wanted)
    if halves.swap(live, spare):
        return spare
    left = f"{live.path} is unfinished: `envkit install` completes it"
    try:
        patch.patch(live, wanted)
    except Interrupted:
        raise Interrupted(left) from None
    except OSError as error:
        refused = refusals.explained(error, left=f"{left}.")
        if refused is None:
            raise
        raise refused from None
    return live


def _set_aside(store: Store, altered: AlteredError) -> str:
    """Take an entry that is not what it was out of use, and return its path."""
    bucket_and_name = Path(altered.source).relative_to(store.root).parts[:2]
    entry = store.root.joinpath(*bucket_and_name)
    aside = store.root / "set-aside"
    aside.mkdir(exist_ok=True)
    try:
        entry.rename(aside / f"{entry.name}-{os.getpid()}")
    except OSError as error:
        raise EnvkitError(f"{entry} was altered and cannot be set aside: {error}") from None
    return str(entry)
