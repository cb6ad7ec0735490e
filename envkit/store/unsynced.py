"""Notes of what came into the store and is not on the disk for certain.

Nothing is written to the disk while somebody waits. So a note is made before an entry appears, and
taken away when all has been synced behind the installation; a note of an earlier start of the
machine tells of a power loss in between.

A note is a symbolic link, `unsynced/START/ENTRY+UNIQUE` -> `BUCKET`. So short a link has no content
apart from its inode, and a journal brings inodes and names to the disk in the order in which they
were changed: where an entry is there, its note is.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import boot

FOLDER = "unsynced"


class Note(NamedTuple):
    """A note: its path, and the bucket and the name of the entry that it speaks of."""

    path: str
    bucket: str
    name: str


def note(entry: Path) -> None:
    """Note that an entry, which is about to appear, is not on the disk for certain.

    All of it has to be written by now. Then whoever sees the note before he syncs can take it
    away after that, though the entry should appear only later. A note is of its own for each
    entry that ever has a name, so that nobody takes away the next one's.

    Raises:
        OSError: the disk refuses.
    """
    if not boot.identity():
        return
    bucket = entry.parent
    folder = f"{bucket.parent}/{FOLDER}/{boot.identity()}"
    path = f"{folder}/{entry.name}+{os.getpid()}-{time.monotonic_ns()}"
    while True:
        try:
            os.symlink(bucket.name, path)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
        else:
            return


def of_this_start(root: Path) -> list[Note]:
    """Return the notes of a store that were made since the machine was started."""
    return list(_notes(f"{root}/{FOLDER}/{boot.identity()}"))


def of_earlier_starts(root: Path) -> list[Note]:
    """Return the notes of a store that were made before the machine was last started."""
    try:
        starts = os.listdir(f"{root}/{FOLDER}")
    except OSError:
        return []
    over = filter(boot.is_over, starts)
    return [note for start in over for note in _notes(f"{root}/{FOLDER}/{start}")]


def _notes(folder: str) -> Iterator[Note]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                bucket = os.readlink(entry.path)
                yield Note(entry.path, bucket, entry.name.rpartition("+")[0])


def clear(notes: Sequence[Note], folders: Iterable[str]) -> None:
    """Bring all that some folders' filesystems have to the disk, then take notes away.

    Raises:
        OSError: something could not be written; the notes stay.
    """
    for folder in {os.stat(one).st_dev: one for one in folders}.values():
        _sync(folder)
    for one in notes:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(one.path)
    for start in {os.path.dirname(one.path) for one in notes}:
        with contextlib.suppress(OSError):
            os.rmdir(start)


def _sync(folder: str) -> None:
    """Bring all that a folder's filesystem has to the disk. Source: syncfs(2)."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if library.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(descriptor)
