"""Where the two halves of a project are, and who may work on them."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envkit import refusals
from envkit.store.layout import Store


class Home:
    """The places of one project's environment.

    Attributes:
        live: the path of `.venv`.
        spare: the path of the other half.
        mutex: the file on which a lock is held while the halves are worked on.
        background: the file on which a lock is held while byte-code is compiled.
        shelves: the folder of ready trees.
        copies: whether the store is on another filesystem, so that nothing can be linked from it.
    """

    def __init__(self, root: Path, store: Store) -> None:
        name = f"{root.name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
        folder = store.spares / name
        self.live = f"{root}/.venv"
        self.mutex = f"{folder}/lock"
        self.background = f"{store.root}/background.lock"
        self.shelves = str(store.ready)
        self.copies = os.stat(root).st_dev != os.stat(store.root).st_dev
        # An exchange needs both halves on one filesystem.
        self.spare = f"{root}/.envkit/spare" if self.copies else f"{folder}/spare"

    @contextmanager
    def locked(self, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Hold the halves alone; the kernel lets go when the process ends, however it ends.

        Args:
            say: called with a line if somebody else holds them and has to be waited for.
        """
        for path in (self.mutex, self.spare):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        if self.copies:
            Path(self.spare).with_name(".gitignore").write_text("*\n", encoding="utf-8")
        descriptor = os.open(self.mutex, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            with refusals.naming(self.mutex):
                _acquire(descriptor, say)
            yield
        finally:
            os.close(descriptor)


def _acquire(descriptor: int, say: Callable[[str], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
        say(f"Waiting for another envkit in this project ({holder or 'unknown'})")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"pid {os.getpid()}".encode(), 0)
