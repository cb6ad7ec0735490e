"""After a power loss: what was not on the disk for certain is looked at before it is used.

A filesystem may have the name of a file and not its content: it is then of length zero, or holds
anything.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from envkit.errors import AlteredError
from envkit.quantities import count
from envkit.store import digest, manifest, unsynced
from envkit.store.manifest import TREE

# The buckets whose entries say what they hold. What is in the others is quickly made anew.
_DESCRIBED = {"wheels-v1", "builds-v1", "bytecode-v1"}


def recover(root: Path, put_aside: Callable[[str], object], say: Callable[[str], None]) -> None:
    """Take out of use what an earlier start of the machine may have left damaged.

    Whoever else uses the store meanwhile waits. Stopped at any instant, it is begun again by the
    next.

    Args:
        root: the store's folder, in which there are notes of earlier starts.
        put_aside: takes the entry that has a path out of use.
        say: called with a line, since all that was noted is read.

    Raises:
        EnvkitError: something is damaged and cannot be moved.
        OSError: the disk refuses.
    """
    descriptor = os.open(root / unsynced.FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        notes = unsynced.of_earlier_starts(root)
        entries = {root / note.bucket / note.name for note in notes}
        there = sorted(entry for entry in entries if entry.is_dir())
        if there:
            noted = count(len(there), "folder")
            say(f"The machine went down before all was on the disk; checking {noted} of the store")
        for entry in there:
            if entry.parent.name not in _DESCRIBED:
                _drop(root, entry)
            elif not is_whole(entry):
                put_aside(str(entry))
                say(f"{entry} was damaged; it is set aside and made anew")
        # What was seen to be right need not be on the disk if this machine is a container.
        unsynced.clear(notes, [str(root)])
    finally:
        os.close(descriptor)


def is_whole(entry: Path) -> bool:
    """Return whether an entry holds what its manifest says, having read all of it."""
    try:
        manifest.read(str(entry))
        return all(
            digest.sha256(entry / TREE / folder / file.name) == file.sha256
            for folder, file in manifest.files(manifest.folders(str(entry)))
        )
    except (OSError, AlteredError):
        return False


def _drop(root: Path, entry: Path) -> None:
    """Move an entry to where things that killed commands left are taken away."""
    entry.rename(root / "tmp" / f"dropped-{entry.name}-{time.time_ns()}")
