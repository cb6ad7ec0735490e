"""What a lock names and the store lacks: borrowed, waited for where others bring it, or fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from envkit.errors import IntegrityError, ToolError
from envkit.fetching.progress import Report
from envkit.installation import choice, downloads
from envkit.installation.plan import Plan
from envkit.locks.lock import Pin
from envkit.mutex import Claims
from envkit.quantities import few
from envkit.store import borrowed, bytecode
from envkit.store.layout import Store

Say = Callable[[str], None]


def supply(chosen: Plan, *, report: Report, say: Say) -> int:
    """Bring into the store what it lacks for a plan; each file is fetched by one process only.

    Args:
        chosen: the plan.
        report: called with the progress as it changes, from any thread.
        say: called with a line where others are waited for.

    Returns:
        How many distributions were fetched by this process.

    Raises:
        ToolError: something cannot be brought, or no index is to be asked.
        IntegrityError: a file is not what the lock names, or is no sound wheel.
        UsageError: a store to borrow from could be written by others.
    """
    store, python = chosen.request.store, chosen.interpreter
    fetched = 0
    with Claims(f"{store.root}/fetching.lock") as claims:
        left = _borrow(chosen, say)
        if left and chosen.request.offline:
            raise _offline(left)
        while left:
            claimed = {key: pin for pin in left if claims.claim(key := choice.key(pin, python))}
            # Who had it before may have brought it just now.
            mine = _lacking(chosen, list(claimed.values()))
            if mine:
                downloads.fetch(
                    chosen.request,
                    mine,
                    python,
                    report=report,
                    stored=lambda pin: claims.release(choice.key(pin, python)),
                )
                fetched += len(mine)
            for key in claimed:
                claims.release(key)
            left = _lacking(chosen, left)
            if left and not mine:
                key = choice.key(left[0], python)
                claims.wait(key, what=f"{left[0]}, which another envkit fetches", say=say)
                claims.release(key)
    return fetched


def _lacking(chosen: Plan, pins: Sequence[Pin]) -> list[Pin]:
    """Return those of some pins that the store has nothing for."""
    store, python = chosen.request.store, chosen.interpreter
    return [pin for pin in pins if choice.find(store, pin, python) is None]


def _borrow(chosen: Plan, say: Say) -> list[Pin]:
    """Copy what read-only stores have, and return the pins that they have not."""
    left = list(chosen.lacking)
    for theirs in borrowed.stores(chosen.request.environ) if left else ():
        with chosen.request.store.temporary() as folder, ThreadPoolExecutor() as pool:
            tasks = [
                pool.submit(_copy, chosen, pin, theirs, folder / str(number))
                for number, pin in enumerate(left)
            ]
            for task in tasks:
                try:
                    task.result()
                except IntegrityError as error:
                    say(f"Passed over in a read-only store: {error.message}")
        left = _lacking(chosen, left)
    return left


def _copy(chosen: Plan, pin: Pin, theirs: Store, draft: Path) -> None:
    """Copy what a store has for a pin, byte-code included, if it has anything."""
    ours, python = chosen.request.store, chosen.interpreter
    entry = borrowed.find(theirs, choice.key(pin, python))
    if entry:
        place = borrowed.copy(entry, theirs, ours, draft / "wheel")
        compiled = bytecode.find(theirs, entry, python.bytecode_kind)
        if compiled:
            borrowed.copy(compiled, theirs, ours, draft / "bytecode")
        choice.remember(ours, pin, python, place)


def _offline(left: Sequence[Pin]) -> ToolError:
    return ToolError(f"The store lacks {few(left)}", "Run it once without --offline.")
