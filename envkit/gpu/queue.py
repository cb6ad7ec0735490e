"""Who waits for GPUs, in the order in which they came.

One file has a record for each who waits, which its process claims for as long as it waits: who is
killed waits no longer. Record 0 is for whoever changes something, GPUs included, one at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from envkit.errors import RefusedError
from envkit.gpu import claims, holders
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Holder

_NAME = "queue"

# The bytes of a record: room for a holder, and the UUIDs of some 60 GPUs.
_SIZE = 4096

# More cannot wait at once.
_MOST = 1000


class Waiting(NamedTuple):
    """Somebody who waits.

    Attributes:
        holder: who it is.
        number: a smaller one was here before.
        wanted: how many GPUs are waited for.
        candidates: the UUIDs of those that would do.
    """

    holder: Holder
    number: int
    wanted: int
    candidates: frozenset[str]


class Queue:
    """The queue, as one process sees it."""

    def __init__(self, folder: Folder) -> None:
        """Open it.

        Raises:
            RefusedError: this user may not.
        """
        descriptor = folder.open(_NAME)
        assert descriptor is not None
        self._descriptor = descriptor
        self._place = 0
        self._number = 0

    def close(self) -> None:
        """Leave the queue, if this process is in it; done twice, it does nothing more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who changes something."""
        claims.wait(self._descriptor)
        try:
            yield
        finally:
            claims.release(self._descriptor)

    def enter(self, holder: Holder, wanted: int, candidates: Sequence[str]) -> None:
        """Join the queue at its end, where one is until the process ends or `close` is called.

        Args:
            holder: who waits.
            wanted: how many GPUs are waited for.
            candidates: the UUIDs of those that would do.

        Raises:
            RefusedError: there is no more room in it.
            OSError: the disk refuses.
        """
        with self.alone():
            waiting = dict(self._records())
            place = next(one for one in range(1, _MOST + 1) if one not in waiting)
            number = max((one.number for one in waiting.values() if one), default=0) + 1
            line = holder.encoded(number=number, wanted=wanted, candidates=list(candidates))
            if len(line) > _SIZE or place == _MOST:
                raise RefusedError("The queue for GPUs is full", "Try it later.")
            holders.write(self._descriptor, line, place * _SIZE)
            claims.claim(self._descriptor, place)
            self._place, self._number = place, number

    def before(self) -> list[Waiting]:
        """Return those who came earlier, in their order; all, if this process does not wait."""
        found = [one for _, one in self._records() if one]
        earlier = [one for one in found if not self._number or one.number < self._number]
        return sorted(earlier, key=lambda one: one.number)

    def _records(self) -> Iterator[tuple[int, Waiting | None]]:
        """Yield each record that somebody else has: its place, and who it is, if that is told."""
        for place in range(1, os.fstat(self._descriptor).st_size // _SIZE + 2):
            if place != self._place and claims.is_claimed(self._descriptor, place):
                yield place, _parsed(holders.read(self._descriptor, place * _SIZE, _SIZE))


def _parsed(values: dict[str, Any]) -> Waiting | None:
    holder = holders.parse(values)
    try:
        return holder and Waiting(
            holder, int(values["number"]), int(values["wanted"]), frozenset(values["candidates"])
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
