"""Leases: a GPU is one command's for as long as any process of it lives.

Each GPU has a file, named by its UUID, to which whoever has the GPU has a claim. Processes inherit
it, so that the kernel ends a lease when the last of them ends, and nothing else does. What is taken
is taken by one process at a time, all or nothing, and who came earlier comes first.

Who has GPUs can give parts of them to what it starts, in the same way: those claim another place of
the same files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from envkit.errors import MissingError
from envkit.gpu import holders, occupancy
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Container, Holder
from envkit.gpu.occupancy import IsRunning, Seen
from envkit.gpu.queue import Queue, Waiting

# Returns who computes on a GPU, given by its UUID, of which nobody has a lease; empty if nobody.
UserOf = Callable[[str], str]

Reason = Literal["held", "busy", "kept", "unknown"]

# How often it is asked anew who computes, where GPUs become free in the meantime.
_TRIES = 3


class Hindrance(NamedTuple):
    """Why a GPU cannot be had.

    Attributes:
        uuid: which.
        reason: it is "held" by a lease, "busy" with work that has none, "kept" for somebody who
            came earlier, or has become free so lately that it is "unknown" who uses it.
        holder: who has it or had it last, or for whom it is kept; None where that is not known.
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
        is_own: whether this process has taken it, rather than joined in.
    """

    uuids: tuple[str, ...]
    descriptors: tuple[int, ...]
    depth: int = 0
    is_own: bool = True

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

    def begin(self, holder: Holder) -> None:
        """Write down who has it from now on, and that nobody has parts of it yet.

        Raises:
            OSError: the disk refuses.
        """
        for descriptor in self.descriptors:
            os.ftruncate(descriptor, self.depth * holders.SIZE)
        self.rewrite(holder)

    def end_container(self, container: Container) -> None:
        """Write down that a container has ended, if that is still what has it.

        Raises:
            OSError: the disk refuses.
        """
        place = self.depth * holders.SIZE
        for descriptor in self.descriptors:
            known = holders.parse(holders.read(descriptor, place))
            if known and known.container == container:
                holders.write(descriptor, known._replace(container=None).encoded(), place)

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


class _Answer(NamedTuple):
    """What is known of a GPU that nobody has a claim to.

    Attributes:
        seen: who had it last.
        hindrance: why it cannot be had all the same; None if it can.
    """

    seen: Seen
    hindrance: Hindrance | None


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
        self._within = within
        self._depth = depth
        self._queue = Queue(folder, depth)

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
            BusyQueueError: somebody else does not come to an end.
        """
        self._queue.enter(wish.holder, wish.wanted, wish.candidates)

    def take(self, wish: Wish) -> Lease | Refusal:
        """Take as many GPUs as are wanted, or none.

        Raises:
            MissingError: the lease of which this was to be a part has ended.
            RefusedError: a file cannot be opened, so that it is not known whose a GPU is.
            BusyQueueError: somebody else does not come to an end.
            OSError: the disk refuses.
        """
        for _ in range(_TRIES):
            outcome = self._attempt(wish, self._ask(wish))
            if isinstance(outcome, Lease):
                break
            if all(one.reason != "unknown" for one in outcome.hindrances):
                break
        return outcome

    def join(self, container: Container) -> tuple[Lease, Holder]:
        """Let a container have the GPUs of the lease that this process is within, beside others.

        Several that do have one label, by which any of them keeps the lease.

        Args:
            container: the container, with a label for it if it is the first.

        Returns:
            The lease, and who has it by now, with the container and its label.

        Raises:
            MissingError: the lease has ended.
            RefusedError: a file cannot be opened.
            BusyQueueError: somebody else does not come to an end.
            OSError: the disk refuses.
        """
        with self._queue.alone():
            self._refuse_without_lease()
            known = occupancy.look(self._folder, self._within[0], self._depth - 1).holder
            if known is None:
                raise MissingError("It is not written down whose this lease is")
            if not (known.container and known.container.engine == container.engine):
                known = known._replace(container=container)
            names = [occupancy.file_name(uuid) for uuid in self._within]
            opened = [self._folder.open(name) for name in names]
            descriptors = tuple(one for one in opened if one is not None)
            lease = Lease(tuple(self._within), descriptors, self._depth - 1, is_own=False)
            lease.rewrite(known)
            return lease, known

    def _ask(self, wish: Wish) -> Mapping[str, _Answer]:
        """Ask of the GPUs that nobody has a claim to whether they can be had.

        The driver and the engines may take their time; nobody else has to wait for them.
        """
        uuids = dict.fromkeys(wish.candidates)
        for one in self._queue.before():
            uuids.update(dict.fromkeys(filter(occupancy.is_uuid, one.candidates)))
        answers = {}
        for uuid in uuids:
            seen = occupancy.look(self._folder, uuid, self._depth)
            if not seen.is_claimed:
                answers[uuid] = _Answer(seen, self._hindrance(uuid, seen))
        return answers

    def _hindrance(self, uuid: str, seen: Seen) -> Hindrance | None:
        """Return why a GPU cannot be had though nobody has a claim to it; None if it can."""
        if holder := seen.outlived_by(self._is_running):
            return Hindrance(uuid, "held", holder)
        user = self._user_of(uuid)
        return Hindrance(uuid, "busy", user=user) if user else None

    def _attempt(self, wish: Wish, answers: Mapping[str, _Answer]) -> Lease | Refusal:
        """Take what is wanted, or nothing, while nobody else does."""
        with self._queue.alone():
            self._refuse_without_lease()
            self._queue.stay(wish.wanted, wish.candidates)
            before = self._queue.before()
            kept = _kept(before, self._free(answers)) if before else {}
            taken: dict[str, int] = {}
            hindrances = []
            try:
                for uuid in wish.candidates:
                    if len(taken) == wish.wanted:
                        break
                    if uuid in kept:
                        hindrances.append(Hindrance(uuid, "kept", kept[uuid]))
                        continue
                    found = self._try(uuid, answers.get(uuid))
                    if isinstance(found, Hindrance):
                        hindrances.append(found)
                    else:
                        taken[uuid] = found
                if len(taken) == wish.wanted:
                    lease = Lease(tuple(taken), tuple(taken.values()), self._depth)
                    lease.begin(wish.holder._replace(since=time.time()))
                    return lease
            except BaseException:
                _close(taken.values())
                raise
            _close(taken.values())
        ahead = tuple(one for one in before if {*one.candidates} & {*wish.candidates})
        return Refusal(tuple(hindrances), ahead)

    def _refuse_without_lease(self) -> None:
        """Refuse to go on if the lease of which parts are taken has ended."""
        outer = self._depth - 1
        if self._within and not occupancy.are_ours(self._folder, self._within, outer):
            raise MissingError("The lease that this was to be a part of has ended")

    def _free(self, answers: Mapping[str, _Answer]) -> set[str]:
        """Return the GPUs that could be had, and still can."""
        return {
            uuid
            for uuid, answer in answers.items()
            if not answer.hindrance
            and not occupancy.look(self._folder, uuid, self._depth).is_claimed
        }

    def _try(self, uuid: str, answer: _Answer | None) -> int | Hindrance:
        """Claim a GPU, or return why it cannot be had."""
        descriptor, seen = occupancy.claim(self._folder, uuid, self._depth)
        if descriptor is None:
            return Hindrance(uuid, "held", seen.holder)
        is_known = answer is not None and answer.seen == seen
        if answer and is_known and not answer.hindrance:
            return descriptor
        os.close(descriptor)
        if answer and is_known and answer.hindrance:
            return answer.hindrance
        return Hindrance(uuid, "unknown", seen.holder)


def _kept(before: Sequence[Waiting], free: set[str]) -> dict[str, Holder]:
    """Return the free GPUs that are kept for those who came earlier, each with that one.

    Who can have what it wants gets no more than that; for who cannot yet, all that would do is
    kept, or others would take one after another of it for ever.
    """
    kept: dict[str, Holder] = {}
    for one in before:
        wished = [uuid for uuid in one.candidates if uuid in free and uuid not in kept]
        enough = len(wished) >= one.wanted
        kept |= dict.fromkeys(wished[: one.wanted] if enough else wished, one.holder)
    return kept


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
