"""Where the two halves of a project are, and who may work on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envkit import mutex
from envkit.environment import placed, stamp
from envkit.store.layout import Store

# The file of a project's folder in the store that has the project's own path in it.
PROJECT = "project"

# The folder in it of what is known of the project's services.
SERVICES = "services"


class Home:
    """The places of one project's environment.

    Attributes:
        live: the path of `.venv`.
        spare: the path of the other half.
        mutex: the file on which a lock is held while the halves are worked on.
        background: the file on which a lock is held while byte-code is compiled.
        shelves: the folder of ready trees.
        context: the file in which it is kept what the files of the build context were.
        image: the file in which it is kept what image was built last.
        placed: the file in which it is kept what was put into the project beside its environment.
        services: the folder of what is known of the project's services.
        rubbish: a folder that is emptied behind installations; maybe on another filesystem.
        copies: whether the store is on another filesystem, so that nothing can be linked from it.
    """

    def __init__(self, root: Path, store: Store) -> None:
        name = f"{root.name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
        folder = store.spares / name
        self._root = str(root)
        self._registration = f"{folder}/{PROJECT}"
        self.live = f"{root}/.venv"
        self.mutex = f"{folder}/lock"
        self.background = f"{store.root}/background.lock"
        self.shelves = str(store.ready)
        self.context = f"{folder}/context"
        self.image = f"{folder}/image.json"
        self.placed = f"{folder}/{placed.NOTES}"
        self.services = f"{folder}/{SERVICES}"
        self.rubbish = str(store.scratch)
        self.copies = os.stat(root).st_dev != os.stat(store.root).st_dev
        # An exchange needs both halves on one filesystem.
        self.spare = f"{root}/.envkit/spare" if self.copies else f"{folder}/spare"

    @contextmanager
    def locked(self, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Hold the halves alone; the kernel lets go when the process ends, however it ends.

        Args:
            say: called with a line if somebody else holds them and has to be waited for.
        """
        with mutex.hold(self.mutex, what="another command in this project", say=say):
            self.register()
            yield

    def register(self) -> None:
        """Let the store know of the project, so that what it uses is kept."""
        if os.path.exists(self._registration):
            return
        if self.copies:
            folder = os.path.dirname(self.spare)
            os.makedirs(folder, exist_ok=True)
            stamp.replace(f"{folder}/.gitignore", "*\n")
        os.makedirs(os.path.dirname(self._registration), exist_ok=True)
        stamp.replace(self._registration, self._root)
