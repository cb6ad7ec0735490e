"""Leases: a GPU is one command's for as long as any process of it lives.

Each GPU has a file, named by its UUID, to which whoever has the GPU has a claim. Processes inherit
it, so that the kernel ends a lease when the last of them ends, and nothing else does. What is taken
is taken by one process at a time, all or nothing, and who came earlier comes first.

Who has GPUs can give parts of them to what it starts, in the same way: those claim another place of
the same files.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from envkit import procfs
from envkit.gpu import claims, holders
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Container, Holder
from envkit.gpu.queue import Queue, Waiting

# Returns whether a container still runs.
IsRunning = Callable[[Container], bool]

# Returns who computes on a GPU, given by its UUID, of which nobody has a lease; empty if nobody.
UserOf = Callable[[str], str]

Reason = Literal["held", "busy", "kept"]

# Nobody divides a lease so many times.
_DEEPEST = 100

_UUID = re.compile(r"(GPU|MIG)-[\w/-]{1,100}", re.ASCII)


class Hindrance(NamedTuple):
    """Why a GPU cannot be had.

    Attributes:
        uuid: which.
        reason: it is "held" by a lease, "busy" with work that has none, or "kept" for somebody who
            came earlier.
        holder: who has it, or for whom it is kept; None where that is not known.
        user: who computes there, where it is busy.
    """

    uuid: str
    reason: Reason
    holder: Holder | None = None
    user: str = ""


class Lease(NamedTuple):
    """GPUs that this process has, and those that it becomes or starts.

    Attributes:
        uuids: which, in the order that was wished for.
        descriptors: the open files by which they are held.
        depth: 0, or for a part of another lease one more than that has.
    """

    uuids: tuple[str, ...]
    descriptors: tuple[int, ...]
    depth: int = 0

    def hand_on(self) -> None:
        """Let the programs inherit the lease that this process becomes or starts from now on."""
        for descriptor in self.descriptors:
            os.set_inheritable(descriptor, True)

    def rewrite(self, holder: Holder) -> None:
        """Write down that somebody else has it, by what others can tell.

        Raises:
            OSError: the disk refuses.
        """
        line = holder.encoded()
        for descriptor in self.descriptors:
            holders.write(descriptor, line, self.depth * holders.SIZE)

    def release(self) -> None:
        """Let go of the GPUs, as far as this process is concerned."""
        _close(self.descriptors)


class Refusal(NamedTuple):
    """That there were not enough GPUs.

    Attributes:
        hindrances: what stands in the way, GPU by GPU.
        ahead: who came earlier and waits for some of the same GPUs.
    """

    hindrances: tuple[Hindrance, ...]
    ahead: tuple[Waiting, ...]


class Wish(NamedTuple):
    """What somebody wants.

    Attributes:
        holder: who.
        wanted: how many GPUs.
        candidates: the UUIDs of those that would do, the best first.
    """

    holder: Holder
    wanted: int
    candidates: Sequence[str]


class Leases:
    """The leases of a machine, of which this process takes some."""

    def __init__(
        self,
        folder: Folder,
        *,
        user_of: UserOf,
        is_running: IsRunning,
        within: Sequence[str] = (),
        depth: int = 0,
    ) -> None:
        """Open them.

        Args:
            folder: where they are kept.
            user_of: asked of GPUs that nobody has a lease of, before one is given away.
            is_running: asked of containers that outlived the command that started them.
            within: the UUIDs of the lease of which parts are taken; none if whole GPUs are.
            depth: that of what is taken.

        Raises:
            EnvkitError: leases cannot be kept there.
        """
        folder.prepare()
        self._folder = folder
        self._user_of = user_of
        self._is_running = is_running
        self._depth = depth
        self._queue = Queue(folder, f"queue-{file_name(within[0])}") if within else Queue(folder)

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the queue, if this process is in it; leases that were taken stay."""
        self._queue.close()

    def enter_queue(self, wish: Wish) -> None:
        """Wait from now on, in front of those who come later; asking again is up to the caller.

        Raises:
            RefusedError: too many wait.
        """
        self._queue.enter(wish.holder, wish.wanted, wish.candidates)

    def take(self, wish: Wish) -> Lease | Refusal:
        """Take as many GPUs as are wanted, or none.

        Raises:
            RefusedError: a file cannot be opened, so that it is not known whose a GPU is.
            OSError: the disk refuses.
        """
        with self._queue.alone():
            self._queue.stay()
            before = self._queue.before()
            taken: dict[str, int] = {}
            hindrances = []
            try:
                kept = self._kept(before)
                for uuid in wish.candidates:
                    if len(taken) == wish.wanted:
                        break
                    if uuid in kept:
                        hindrances.append(Hindrance(uuid, "kept", kept[uuid]))
                        continue
                    found = self._try(uuid)
                    if isinstance(found, Hindrance):
                        hindrances.append(found)
                    else:
                        taken[uuid] = found
                if len(taken) == wish.wanted:
                    lease = Lease(tuple(taken), tuple(taken.values()), self._depth)
                    lease.rewrite(wish.holder._replace(since=time.time()))
                    return lease
            except BaseException:
                _close(taken.values())
                raise
            _close(taken.values())
        ahead = tuple(one for one in before if {*one.candidates} & {*wish.candidates})
        return Refusal(tuple(hindrances), ahead)

    def _kept(self, before: Sequence[Waiting]) -> dict[str, Holder]:
        """Return the free GPUs that are kept for those who came earlier, each with that one.

        Who can have what it wants gets no more than that; for who cannot yet, all that would do is
        kept, or others would take one after another of it for ever.
        """
        kept: dict[str, Holder] = {}
        for one in before:
            wished = [uuid for uuid in one.candidates if _UUID.fullmatch(uuid)]
            free = [uuid for uuid in wished if uuid not in kept and self._is_free(uuid)]
            enough = len(free) >= one.wanted
            kept |= dict.fromkeys(free[: one.wanted] if enough else free, one.holder)
        return kept

    def _is_free(self, uuid: str) -> bool:
        found = self._try(uuid)
        if isinstance(found, Hindrance):
            return False
        os.close(found)
        return True

    def _try(self, uuid: str) -> int | Hindrance:
        """Claim a GPU, or return why it cannot be had."""
        descriptor = self._folder.open(file_name(uuid))
        assert descriptor is not None
        try:
            hindrance = self._hindrance(uuid, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if hindrance:
            os.close(descriptor)
            return hindrance
        return descriptor

    def _hindrance(self, uuid: str, descriptor: int) -> Hindrance | None:
        known = holders.parse(holders.read(descriptor, self._depth * holders.SIZE))
        # A part of a lease outlasts it where who has that does.
        parts = claims.is_claimed(descriptor, self._depth + 1, _DEEPEST)
        if parts or not claims.claim(descriptor, self._depth) or _outlives(known, self._is_running):
            return Hindrance(uuid, "held", known)
        user = self._user_of(uuid)
        return Hindrance(uuid, "busy", user=user) if user else None


def holder_of(
    folder: Folder, uuid: str, is_running: IsRunning
) -> Holder | Literal["unknown"] | None:
    """Return who has a GPU, if somebody has; "unknown" if that is not written down.

    Raises:
        RefusedError: its file cannot be opened.
    """
    descriptor = folder.open(file_name(uuid), writing=False)
    if descriptor is None:
        return None
    try:
        known = holders.parse(holders.read(descriptor))
        if claims.is_claimed(descriptor, 0, _DEEPEST):
            return known or "unknown"
        return known if _outlives(known, is_running) else None
    finally:
        os.close(descriptor)


def are_ours(folder: Folder, uuids: Sequence[str], depth: int = 0) -> bool:
    """Return whether this process works under leases of GPUs, having inherited them.

    That variables say so proves nothing: they reach further, into a terminal multiplexer's windows
    say, and stay when the lease has ended. Programs that start others without their open files
    still have the lease themselves.

    Raises:
        RefusedError: a file cannot be opened.
    """
    return all(_UUID.fullmatch(uuid) and _is_ours(folder, uuid, depth) for uuid in uuids)


def _is_ours(folder: Folder, uuid: str, depth: int) -> bool:
    descriptor = folder.open(file_name(uuid), writing=False)
    if descriptor is None:
        return False
    try:
        if not claims.is_claimed(descriptor, depth):
            return False
        known = holders.parse(holders.read(descriptor, depth * holders.SIZE))
        first = known.process if known else None
        started = first is not None and first.pid in procfs.ancestry(os.getpid())
        return started or _has_open(os.fstat(descriptor), but=descriptor)
    finally:
        os.close(descriptor)


def _has_open(status: os.stat_result, *, but: int) -> bool:
    """Return whether this process has a file open by another descriptor (proc(5), PID/fd)."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) != but and os.path.samestat(os.fstat(int(name)), status):
                return True
    return False


def _outlives(known: Holder | None, is_running: IsRunning) -> bool:
    """Return whether the last holder was a container, and still runs."""
    return bool(known and known.container and is_running(known.container))


def file_name(uuid: str) -> str:
    """Return the name of the file of a GPU; older drivers have slashes in UUIDs of instances."""
    return uuid.replace("/", "_")


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
