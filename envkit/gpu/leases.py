"""Leases: a GPU is one command's for as long as any process of it lives.

Each GPU has a file, named by its UUID, to which whoever has the GPU has a claim. Processes inherit
it, so that the kernel ends a lease when the last of them ends, and nothing else does. What is taken
is taken by one process at a time, all or nothing, and who came earlier comes first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from envkit import running
from envkit.gpu import claims, holders
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Container, Holder
from envkit.gpu.queue import Queue, Waiting

# Returns whether a container still runs.
IsRunning = Callable[[Container], bool]

# Returns whether somebody computes on a GPU, given by its UUID, who has no lease of it.
IsBusy = Callable[[str], bool]

Reason = Literal["held", "busy", "kept"]


class Hindrance(NamedTuple):
    """Why a GPU cannot be had.

    Attributes:
        uuid: which.
        reason: it is "held" by a lease, "busy" with work that has none, or "kept" for somebody who
            came earlier.
        holder: who has it, or for whom it is kept; None where that is not known.
    """

    uuid: str
    reason: Reason
    holder: Holder | None


class Lease(NamedTuple):
    """GPUs that this process has, and those that it becomes or starts.

    Attributes:
        uuids: which, in the order that was wished for.
        descriptors: the open files by which they are held.
    """

    uuids: tuple[str, ...]
    descriptors: tuple[int, ...]

    def hand_on(self) -> None:
        """Let the programs inherit the lease that this process becomes or starts from now on."""
        for descriptor in self.descriptors:
            os.set_inheritable(descriptor, True)

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
    """The leases of a machine."""

    def __init__(self, folder: Folder, *, is_busy: IsBusy, is_running: IsRunning) -> None:
        """Open them.

        Args:
            folder: where they are kept.
            is_busy: asked of GPUs that nobody has a lease of, before one is given away.
            is_running: asked of containers that outlived the command that started them.

        Raises:
            EnvkitError: leases cannot be kept there.
        """
        folder.prepare()
        self._folder = folder
        self._is_busy = is_busy
        self._is_running = is_running
        self._queue = Queue(folder)

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
            ahead = tuple(
                one for one in self._queue.before() if one.candidates & set(wish.candidates)
            )
            taken: dict[str, int] = {}
            hindrances = []
            try:
                for uuid in wish.candidates:
                    if len(taken) == wish.wanted:
                        break
                    found = self._try(uuid, ahead)
                    if isinstance(found, Hindrance):
                        hindrances.append(found)
                    else:
                        taken[uuid] = found
                if len(taken) == wish.wanted:
                    line = wish.holder.encoded()
                    for descriptor in taken.values():
                        holders.write(descriptor, line)
                    return Lease(tuple(taken), tuple(taken.values()))
            except BaseException:
                _close(taken.values())
                raise
            _close(taken.values())
        return Refusal(tuple(hindrances), ahead)

    def holder(self, uuid: str) -> Holder | Literal["unknown"] | None:
        """Return who has a GPU, if somebody has; "unknown" if that is not written down.

        Raises:
            RefusedError: its file cannot be opened.
        """
        descriptor = self._folder.open(file_name(uuid), writing=False)
        if descriptor is None:
            return None
        try:
            known = holders.parse(holders.read(descriptor))
            if claims.is_claimed(descriptor):
                return known or "unknown"
            return known if self._outlives(known) else None
        finally:
            os.close(descriptor)

    def waiting(self) -> Sequence[Waiting]:
        """Return who waits, in their order."""
        return self._queue.before()

    def _try(self, uuid: str, ahead: Sequence[Waiting]) -> int | Hindrance:
        """Claim a GPU, or return why it cannot be had."""
        for one in ahead:
            if uuid in one.candidates:
                return Hindrance(uuid, "kept", one.holder)
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
        known = holders.parse(holders.read(descriptor))
        if not claims.claim(descriptor) or self._outlives(known):
            return Hindrance(uuid, "held", known)
        return Hindrance(uuid, "busy", None) if self._is_busy(uuid) else None

    def _outlives(self, known: Holder | None) -> bool:
        """Return whether the last holder was a container, and still runs."""
        return bool(known and known.container and self._is_running(known.container))


def are_ours(folder: Folder, uuids: Sequence[str]) -> bool:
    """Return whether this process works under leases of GPUs, having inherited them.

    That variables say so proves nothing: they reach further, into a terminal multiplexer's windows
    say, and stay when the lease has ended. Programs that start others without their open files
    still have the lease themselves.

    Raises:
        RefusedError: a file cannot be opened.
    """
    return all(_is_ours(folder, uuid) for uuid in uuids)


def _is_ours(folder: Folder, uuid: str) -> bool:
    descriptor = folder.open(file_name(uuid), writing=False)
    if descriptor is None:
        return False
    try:
        if not claims.is_claimed(descriptor):
            return False
        known = holders.parse(holders.read(descriptor))
        started = known is not None and known.pid in running.ancestry(os.getpid())
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


def file_name(uuid: str) -> str:
    """Return the name of the file of a GPU; older drivers have slashes in UUIDs of instances."""
    return uuid.replace("/", "_")


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
