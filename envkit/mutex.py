"""Locks that the kernel holds: let go of when a process ends, however it ends.

Sources: flock(2); fcntl(2), "Advisory record locking"; proc(5), /proc/locks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]

# Claims are told apart by so many bits of their name, as a place in a file.
_PLACES = 62


def _silent(_: str) -> None:
    return


@contextmanager
def hold(path: str, *, shared: bool = False, what: str = "", say: Say = _silent) -> Iterator[None]:
    """Hold a file, alone or together with others who share it.

    Args:
        path: the file, made if it is not there.
        shared: whether others may hold it so as well.
        what: what is waited for, should somebody else hold it.
        say: called with a line in that case, which names who that is.
    """
    descriptor = _open(path)
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Waiting for {what}: {_holders(descriptor)}")
            fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def try_hold(path: str) -> Iterator[bool]:
    """Hold a file alone if nobody else holds it, and lend whether this is so."""
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def is_held(path: str) -> bool:
    """Return whether somebody holds a file alone; others who look are not disturbed by it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Claims:
    """Claims of this process to some of many things, each of which one process has at a time.

    Each thing is a byte of one file, so that hundreds of claims need one descriptor. A process
    opens the file once only: closing another descriptor of it would drop them all (fcntl(2)).
    """

    def __init__(self, path: str) -> None:
        self._descriptor = _open(path)

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all."""
        os.close(self._descriptor)

    def claim(self, name: str) -> bool:
        """Claim a thing by its name, in hex, and return whether nobody else has it."""
        try:
            self._lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def wait(self, name: str, *, what: str, say: Say) -> None:
        """Claim a thing, waiting for whoever has it; `say` is called with a line that names them.

        Who waits must have no claim of its own that anybody else could wait for.
        """
        if not self.claim(name):
            say(f"Waiting for {what}: {_holders(self._descriptor, _place(name))}")
            self._lock(name, fcntl.LOCK_EX)

    def release(self, name: str) -> None:
        """Let go of a thing."""
        self._lock(name, fcntl.LOCK_UN)

    def _lock(self, name: str, operation: int) -> None:
        fcntl.lockf(self._descriptor, operation, 1, _place(name))


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _place(name: str) -> int:
    return int(name[:16], 16) % (1 << _PLACES)


def _holders(descriptor: int, place: int | None = None) -> str:
    """Return who holds a file, or the byte of it at a place, as far as the kernel tells."""
    from envkit import procfs

    kind = "FLOCK" if place is None else "POSIX"
    inode = os.fstat(descriptor).st_ino
    found: list[str] = []
    try:
        with open("/proc/locks", encoding="ascii") as file:
            lines = [line.split() for line in file if " -> " not in line]
    except OSError:
        lines = []
    for _, form, _, _, pid, where, start, *_ in lines:
        if form == kind and where.endswith(f":{inode}") and (place is None or int(start) == place):
            found.append(procfs.text(int(pid)))
    return "; ".join(found) or "another process"
