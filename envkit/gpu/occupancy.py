"""Who has a GPU: whoever has a claim to its file, or was a container that still runs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from envkit import boot, procfs
from envkit.gpu import claims, holders
from envkit.gpu.folder import Folder
from envkit.gpu.holders import Container, Holder

# Returns whether a container still runs.
IsRunning = Callable[[Container], bool]

# Nobody divides a lease so many times.
DEEPEST = 100

_UUID = re.compile(r"(GPU|MIG)-[\w/-]{1,100}", re.ASCII)


class Seen(NamedTuple):
    """What a look at a GPU's file finds, without changing anything.

    Attributes:
        is_claimed: whether somebody has a claim to it, or to a part of that.
        holder: who has it, or had it last, as that has written down.
        parts: who had parts of it, likewise.
    """

    is_claimed: bool
    holder: Holder | None
    parts: tuple[Holder, ...] = ()

    def outlived_by(self, is_running: IsRunning) -> Holder | None:
        """Return who has it still though it lets go of everything: a container that runs.

        None does that was there before the machine was started anew.
        """
        for one in (self.holder, *self.parts):
            if one and one.container and not boot.is_over(one.boot) and is_running(one.container):
                return one
        return None


def is_uuid(text: str) -> bool:
    """Return whether a GPU, or an instance of one, can have such a UUID."""
    return _UUID.fullmatch(text) is not None


def file_name(uuid: str) -> str:
    """Return the name of the file of a GPU; older drivers have slashes in UUIDs of instances."""
    return uuid.replace("/", "_")


def look(folder: Folder, uuid: str, depth: int = 0) -> Seen:
    """Return who has a claim to a GPU, and who had it last.

    A part of a lease outlasts it where who has that does, and counts as well.

    Raises:
        RefusedError: its file cannot be opened.
    """
    descriptor = folder.open(file_name(uuid), writing=False)
    if descriptor is None:
        return Seen(False, None)
    try:
        return Seen(claims.is_claimed(descriptor, depth, DEEPEST), *_written(descriptor, depth))
    finally:
        os.close(descriptor)


def claim(folder: Folder, uuid: str, depth: int = 0) -> tuple[int | None, Seen]:
    """Claim a GPU.

    Returns:
        A descriptor by which it is held, None if somebody else has a claim; and what a look found
        before.

    Raises:
        RefusedError: its file cannot be opened.
    """
    descriptor = folder.open(file_name(uuid))
    assert descriptor is not None
    try:
        written = _written(descriptor, depth)
        parts = claims.is_claimed(descriptor, depth + 1, DEEPEST)
        if not parts and claims.claim(descriptor, depth):
            return descriptor, Seen(False, *written)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None, Seen(True, *written)


def holder_of(
    folder: Folder, uuid: str, is_running: IsRunning
) -> Holder | Literal["unknown"] | None:
    """Return who has a GPU, if somebody has; "unknown" if that is not written down.

    Raises:
        RefusedError: its file cannot be opened.
    """
    seen = look(folder, uuid)
    if seen.is_claimed:
        return seen.holder or "unknown"
    return seen.outlived_by(is_running)


def are_ours(folder: Folder, uuids: Sequence[str], depth: int = 0) -> bool:
    """Return whether this process works under leases of GPUs, having inherited them.

    That variables say so proves nothing: they reach further, into a terminal multiplexer's windows
    say, and stay when the lease has ended. Programs that start others without their open files
    still have the lease themselves.

    Raises:
        RefusedError: a file cannot be opened.
    """
    return all(is_uuid(uuid) and _is_ours(folder, uuid, depth) for uuid in uuids)


def _is_ours(folder: Folder, uuid: str, depth: int) -> bool:
    descriptor = folder.open(file_name(uuid), writing=False)
    if descriptor is None:
        return False
    try:
        if not claims.is_claimed(descriptor, depth):
            return False
        known, _ = _written(descriptor, depth)
        first = known.process if known else None
        started = first is not None and first.pid in procfs.ancestry(os.getpid())
        return started or _has_open(os.fstat(descriptor), but=descriptor)
    finally:
        os.close(descriptor)


def _has_open(status: os.stat_result, *, but: int) -> bool:
    """Return whether this process has a file open by another descriptor (proc(5), PID/fd)."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return False
    for name in names:
        with contextlib.suppress(OSError):
            if int(name) != but and os.path.samestat(os.fstat(int(name)), status):
                return True
    return False


def _written(descriptor: int, depth: int) -> tuple[Holder | None, tuple[Holder, ...]]:
    """Return who has a GPU, or had it last, and who parts of that."""
    length = os.fstat(descriptor).st_size
    parts = []
    for deeper in range(depth + 1, min(length // holders.SIZE + 1, DEEPEST)):
        found = holders.parse(holders.read(descriptor, deeper * holders.SIZE))
        if found:
            parts.append(found)
    return holders.parse(holders.read(descriptor, depth * holders.SIZE)), tuple(parts)
