"""What is on the disk for certain, noted when somebody has seen to it."""

from __future__ import annotations

import os

from envkit import boot
from envkit.environment import stamp
from envkit.environment.home import Home
from envkit.store import unsynced
from envkit.store.layout import Store


def sync(store: Store, home: Home) -> None:
    """Bring a store and both halves of an environment to the disk, and note that they are there.

    What somebody else changes meanwhile stays noted as it is.

    Raises:
        OSError: something could not be written.
    """
    if not boot.identity():
        return
    notes = unsynced.of_this_start(store.root)
    before = {half: stamp.identity(half, stamp.STAMP) for half in (home.live, home.spare)}
    unsynced.clear(notes, [str(store.root), os.path.dirname(home.live)])
    with home.locked():
        for half, known in before.items():
            stamp.confirm(half, known)
