"""Who waits for GPUs, in the order in which they came.

One file has a record for each who waits, which its process claims for as long as it waits: who is
killed waits no longer. Who waits says so again and again; who does not, having been stopped say, is
passed over until it does. Record 0 is for whoever changes something, GPUs included, one at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from envkit.errors import RefusedError
from envkit.gpu import claims, holders
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Holder

_NAME = "queue"

# More cannot wait at once.
_MOST = 1000

# Who has not said for so many seconds that it waits is passed over.
_SILENCE = 10.0

# A change takes a millisecond; whoever takes this many seconds for one has been stopped in it.
_PATIENCE = 10.0


class Waiting(NamedTuple):
    """Somebody who waits.

    Attributes:
        holder: who it is.
        number: a smaller one was here before.
        wanted: how many GPUs are waited for.
        candidates: the UUIDs of those that would do, the best first.
        seen: when it last said that it waits, in seconds since the machine was started.
    """

    holder: Holder
    number: int
    wanted: int
    candidates: tuple[str, ...]
    seen: float


class Queue:
    """The queue, as one process sees it."""

    def __init__(self, folder: Folder, name: str = _NAME) -> None:
        """Open it.

        Args:
            folder: where it is.
            name: the file; those who share a lease have one of their own.

        Raises:
            RefusedError: this user may not.
        """
        descriptor = folder.open(name)
        assert descriptor is not None
        self._descriptor = descriptor
        self._place = 0
        self._own: Waiting | None = None

    def close(self) -> None:
        """Leave the queue, if this process is in it; done twice, it does nothing more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who changes something.

        Raises:
            RefusedError: somebody else does not let go of it.
        """
        until = time.monotonic() + _PATIENCE
        while not claims.claim(self._descriptor):
            if time.monotonic() > until:
                raise RefusedError(
                    f"The queue for GPUs has been held for {_PATIENCE:.0f} s",
                    "A process that takes GPUs has been stopped: let it go on, or end it.",
                )
            time.sleep(0.0005)
        try:
            yield
        finally:
            claims.release(self._descriptor)

    def enter(self, holder: Holder, wanted: int, candidates: Sequence[str]) -> None:
        """Join the queue at its end, where one is until the process ends or `close` is called.

        Args:
            holder: who waits.
            wanted: how many GPUs are waited for.
            candidates: the UUIDs of those that would do, the best first.

        Raises:
            RefusedError: there is no more room in it.
            OSError: the disk refuses.
        """
        with self.alone():
            waiting = dict(_records(self._descriptor))
            places = (one for one in range(1, _MOST + 1) if one not in waiting)
            number = max((one.number for one in waiting.values() if one), default=0) + 1
            self._own = Waiting(holder, number, wanted, tuple(candidates), 0.0)
            self._place = next(places, 0)
            if not self._place or not self.stay():
                raise RefusedError("The queue for GPUs is full", "Try it later.")
            claims.claim(self._descriptor, self._place)

    def stay(self) -> bool:
        """Say that this process, which is in the queue, still waits; return whether that fits in.

        Raises:
            OSError: the disk refuses.
        """
        own = self._own
        if own is None:
            return False
        line = own.holder.encoded(
            number=own.number,
            wanted=own.wanted,
            candidates=own.candidates,
            seen=time.monotonic(),
        )
        if len(line) > holders.SIZE:
            return False
        holders.write(self._descriptor, line, self._place * holders.SIZE)
        return True

    def before(self) -> list[Waiting]:
        """Return those who came earlier and still wait, in their order.

        All, if this process does not wait itself.
        """
        found = [one for place, one in _records(self._descriptor) if place != self._place]
        now = time.monotonic()
        return sorted(
            (
                one
                for one in found
                if one
                and now - one.seen < _SILENCE
                and (self._own is None or one.number < self._own.number)
            ),
            key=lambda one: one.number,
        )


def waiting(folder: Folder) -> list[Waiting]:
    """Return who waits, in their order; nothing is changed.

    Raises:
        RefusedError: this user may not look.
    """
    descriptor = folder.open(_NAME, writing=False)
    if descriptor is None:
        return []
    try:
        found = [one for _, one in _records(descriptor) if one]
    finally:
        os.close(descriptor)
    return sorted(found, key=lambda one: one.number)


def _records(descriptor: int) -> Iterator[tuple[int, Waiting | None]]:
    """Yield each record that somebody else has: its place, and who it is, if that is told."""
    for place in range(1, min(os.fstat(descriptor).st_size // holders.SIZE + 1, _MOST) + 1):
        if claims.is_claimed(descriptor, place):
            yield place, _parsed(holders.read(descriptor, place * holders.SIZE))


def _parsed(values: dict[str, Any]) -> Waiting | None:
    holder = holders.parse(values)
    try:
        return holder and Waiting(
            holder,
            int(values["number"]),
            int(values["wanted"]),
            tuple(map(str, values["candidates"])),
            float(values["seen"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
