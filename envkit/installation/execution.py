"""Carrying a plan out: `.venv` becomes what the locks say, in one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from envkit import refusals
from envkit.assets import installation as assets
from envkit.changes import Change
from envkit.environment import halves, patch, usage
from envkit.environment.halves import Half, Wanted
from envkit.environment.home import Home
from envkit.errors import AlteredError, Interrupted, MissingError
from envkit.installation import background, composition
from envkit.installation import plan as plans
from envkit.installation.plan import Plan
from envkit.installation.request import Request
from envkit.project import Project
from envkit.quantities import count
from envkit.store.layout import Store

if TYPE_CHECKING:
    from envkit.assets.transfer import Report as FilesReport
    from envkit.fetching.progress import Report


class Outcome(NamedTuple):
    """What an installation did.

    Attributes:
        changes: what is different to a user.
        touched: whether `.venv` is another one than before.
        distributions: how many the environment has.
        fetched: how many of them were fetched by this command.
        compiling: whether byte-code is still being made, behind the user's back.
        files: what was done with large files.
    """

    changes: tuple[Change, ...]
    touched: bool
    distributions: int
    fetched: int
    compiling: bool
    files: assets.Outcome


def apply(
    chosen: Plan,
    *,
    report: Report,
    report_files: FilesReport,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Make the project's environment what its locks say, and put its large files in their places.

    Until the very end `.venv` is as it was; then it is wholly the new one.

    Args:
        chosen: what `plan.make` returned.
        report: called with the progress of fetching distributions.
        report_files: called with that of fetching large files.
        say: called with a line at each step that can take time.

    Raises:
        EnvkitError: something cannot be fetched, is not what the lock names, or `.venv` is not
            envkit's to replace. The environment is as it was.
    """
    _bring_files(chosen, report_files, say)
    while True:
        try:
            return _apply(chosen, report, say)
        except AlteredError as altered:
            # Each time there is one entry less that could be altered.
            entry, _ = usage.set_aside(chosen.request.store, altered.source)
            say(f"{entry} was altered in the store; it is set aside and made anew")
            chosen = plans.make(chosen.request)


def _bring_files(chosen: Plan, report: FilesReport, say: Callable[[str], None]) -> None:
    request, files = chosen.request, chosen.files
    assets.check(files, request.project, request.store)
    if files.fetch and not request.offline:
        say(f"Fetching {count(len(files.fetch), 'large file')}")
    assets.bring(files, request.store, offline=request.offline, report=report)


def _apply(chosen: Plan, report: Report, say: Callable[[str], None]) -> Outcome:
    request, store = chosen.request, chosen.request.store
    config = request.project.config
    home = Home(request.project.root, store)
    if not request.replace:
        halves.refuse_foreign(home.live)
    if home.copies and chosen.live.record is None:
        say(
            f"The store, {store.root}, is on another filesystem: files are copied, not linked. "
            "A [tool.envkit] store beside the project would save time and space"
        )
    fetched = 0
    if chosen.lacking:
        say(f"Fetching {count(len(chosen.lacking), 'distribution')}")
        fetched = _supply(chosen, home, report, say)
    wanted = composition.compose(chosen, home, say)
    with home.locked(say):
        # What cannot be put into its place is found out while the environment is as it was.
        files = assets.place(request.project, store, chosen.content)
        live = chosen.live.refreshed()
        changes = halves.changes(live, {part.name: part.version for part in wanted.parts})
        touched = not live.has(wanted) or live.is_drifted(chosen.interpreter)
        if touched:
            live = _turn(live, Half(home.spare), wanted, request)
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
        fetched=fetched,
        compiling=compiling,
        files=files,
    )


def _supply(chosen: Plan, home: Home, report: Report, say: Callable[[str], None]) -> int:
    """Bring what the store lacks, and meanwhile make what does not depend on it."""
    from concurrent.futures import ThreadPoolExecutor

    request = chosen.request
    with ThreadPoolExecutor(1) as beside:
        prepared = beside.submit(
            composition.prepare,
            chosen.interpreter,
            store=request.store,
            home=home,
            prompt=request.project.name,
        )
        from envkit.installation.supply import supply

        fetched = supply(chosen, report=report, say=say)
        prepared.result()
    return fetched


def _turn(live: Half, spare: Half, wanted: Wanted, request: Request) -> Half:
    """Bring the spare to what is wanted and let it become `.venv`; return the half that is that."""
    if spare.has(wanted) and not spare.changed_folders():
        halves.restamp(spare, wanted)
    else:
        patch.patch(spare, wanted)
    if halves.swap(live, spare):
        return spare
    turn_in_place(live, spare, wanted, request.project, request.store)
    return live


def turn_in_place(live: Half, spare: Half, wanted: Wanted, project: Project, store: Store) -> None:
    """Make `.venv` what is wanted, and the spare what `.venv` was, where they cannot be exchanged.

    Raises:
        Interrupted, EnvkitError, OSError: `.venv` may be unfinished, and the message says so.
    """
    try:
        before = composition.recompose(live, wanted.home, store=store, prompt=project.name)
    except MissingError:
        before = None
    left = f"{live.path} is unfinished: `envkit install` completes it"
    try:
        patch.patch(live, wanted)
    except Interrupted:
        raise Interrupted(left) from None
    except OSError as error:
        # It is unfinished only once its stamp has gone.
        refused = refusals.explained(error, left=None if Half(live.path).stamp else f"{left}.")
        if refused is None:
            raise
        raise refused from None
    if before:
        patch.patch(spare, before)
