"""Who waits for GPUs, in the order in which they came.

One file has a record for each who waits, which its process claims for as long as it waits: who is
killed waits no longer. Who waits says so again and again; who does not, having been stopped say, is
passed over until it does. Record 0 is for whoever changes something, GPUs included, one at a time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from envkit import procfs
from envkit.errors import RefusedError
from envkit.gpu import claims, holders
from envkit.gpu.folder import QUEUE, Folder
from envkit.gpu.holders import Holder

# More cannot wait at once.
_MOST = 1000

# Who has not said for so many seconds that it waits is passed over.
_SILENCE = 10.0

# A change takes a millisecond; whoever takes this many seconds for one has been stopped in it.
_PATIENCE = 10.0

# How long it is waited, in seconds, between two looks whether somebody else has come to an end.
_LEAST, _LONGEST = 0.0005, 0.01

# What a terminal stops processes with (signal(7)): not in the middle of a change.
_STOPPING = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)

# Numbers in the queue are less.
_NUMBERS = 1 << 62


class BusyQueueError(RefusedError):
    """Somebody else changes something, and does not come to an end."""


class Waiting(NamedTuple):
    """Somebody who waits.

    Attributes:
        holder: who it is.
        number: a smaller one was here before.
        depth: that of the leases of which it waits for a part; 0 for whole GPUs.
        wanted: how many GPUs are waited for.
        candidates: the UUIDs of those that would do, the best first.
        seen: when it last said that it waits, in seconds since the machine was started.
    """

    holder: Holder
    number: int
    depth: int
    wanted: int
    candidates: tuple[str, ...]
    seen: float


class Queue:
    """The queue, as one process sees it."""

    def __init__(self, folder: Folder, depth: int) -> None:
        """Open it.

        Args:
            folder: where it is.
            depth: that of what is waited for; whoever waits for others is passed over.

        Raises:
            RefusedError: this user may not.
        """
        descriptor = folder.open(QUEUE)
        assert descriptor is not None
        self._descriptor = descriptor
        self._depth = depth
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
            BusyQueueError: somebody else does not come to an end.
        """
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            self._claim()
            try:
                holders.write(self._descriptor, b"%d\n" % os.getpid())
                yield
            finally:
                claims.release(self._descriptor)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _claim(self) -> None:
        until = time.monotonic() + _PATIENCE
        pause = _LEAST
        while not claims.claim(self._descriptor):
            if time.monotonic() > until:
                raise BusyQueueError(
                    f"The queue for GPUs has been held for {_PATIENCE:.0f} s by {self._busy()}",
                    "If it has been stopped, let it go on, or end it.",
                )
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST)

    def _busy(self) -> str:
        """Return who changes something, as that has written down."""
        try:
            return procfs.text(int(os.pread(self._descriptor, 20, 0)))
        except ValueError:
            return "somebody"

    def enter(self, holder: Holder, wanted: int, candidates: Sequence[str]) -> None:
        """Join the queue at its end, where one is until the process ends or `close` is called.

        Who is in it stays where it is.

        Args:
            holder: who waits.
            wanted: how many GPUs are waited for.
            candidates: the UUIDs of those that would do, the best first.

        Raises:
            RefusedError: there is no more room in it.
            OSError: the disk refuses.
        """
        if self._own:
            return
        with self.alone():
            waiting = dict(_records(self._descriptor))
            places = (one for one in range(1, _MOST + 1) if one not in waiting)
            number = max((one.number for one in waiting.values() if one), default=0) + 1
            self._own = Waiting(holder, number, self._depth, wanted, tuple(candidates), 0.0)
            self._place = next(places, 0)
            if not self._place or not self.stay(wanted, candidates):
                self._own = None
                raise RefusedError("The queue for GPUs is full", "Try it later.")
            claims.claim(self._descriptor, self._place)

    def stay(self, wanted: int, candidates: Sequence[str]) -> bool:
        """Say that this process, if it is in the queue, still waits; return whether that fits in.

        Args:
            wanted: how many GPUs it waits for by now.
            candidates: the UUIDs of those that would do, the best first.

        Raises:
            OSError: the disk refuses.
        """
        if self._own is None:
            return False
        own = self._own._replace(wanted=wanted, candidates=tuple(candidates), seen=time.monotonic())
        self._own = own
        line = own.holder.encoded(
            number=own.number,
            depth=own.depth,
            wanted=own.wanted,
            candidates=own.candidates,
            seen=own.seen,
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
                and one.depth == self._depth
                and 0 <= now - one.seen < _SILENCE
                and (self._own is None or one.number < self._own.number)
            ),
            key=lambda one: one.number,
        )


def waiting(folder: Folder) -> list[Waiting]:
    """Return who waits for whole GPUs, in their order; nothing is changed.

    Raises:
        RefusedError: this user may not look.
    """
    descriptor = folder.open(QUEUE, writing=False)
    if descriptor is None:
        return []
    try:
        found = [one for _, one in _records(descriptor) if one and not one.depth]
    finally:
        os.close(descriptor)
    return sorted(found, key=lambda one: one.number)


def _records(descriptor: int) -> Iterator[tuple[int, Waiting | None]]:
    """Yield each record that somebody else has: its place, and who it is, if that is told."""
    for place in range(1, min(os.fstat(descriptor).st_size // holders.SIZE + 1, _MOST) + 1):
        if claims.is_claimed(descriptor, place):
            yield place, _parsed(holders.read(descriptor, place * holders.SIZE))


def _parsed(values: dict[str, Any]) -> Waiting | None:
    """Return who a record tells of; None if it makes no sense, whoever wrote it."""
    holder = holders.parse(values)
    try:
        candidates = tuple(map(str, values["candidates"]))
        number, depth, wanted = (int(values[name]) for name in ("number", "depth", "wanted"))
        seen = float(values["seen"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if holder is None or not (0 < number < _NUMBERS and 1 <= wanted <= len(candidates)):
        return None
    return Waiting(holder, number, depth, wanted, candidates, seen)
