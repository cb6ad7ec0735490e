"""What the projects of a store use of it, as their environments' records have it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from envkit import mutex
from envkit.environment import placed, ready, stamp
from envkit.environment import record as records
from envkit.environment.home import PROJECT, SERVICES
from envkit.environment.record import Record
from envkit.environment.tree import Layout, remove
from envkit.store.layout import Store


class User(NamedTuple):
    """A project that the store knows of.

    Attributes:
        folder: its folder in the store.
        root: the project's own folder; empty if it is not known.
        places: where its environments can be.
        entries: the names of the entries that its environment or its spare has files of, and of the
            large files that are in it.
        shelves: the names of the shelves that would serve it.
    """

    folder: Path
    root: str
    places: tuple[str, ...]
    entries: frozenset[str]
    shelves: frozenset[str]

    @property
    def is_gone(self) -> bool:
        """Whether the project's folder is not there any more, and no service of it runs."""
        if not self.root or os.path.isdir(self.root):
            return False
        # As one whose folder was moved while they run.
        return not any(mutex.is_held(str(path)) for path in self.folder.glob(f"{SERVICES}/*.lock"))


def users(store: Store) -> Iterator[User]:
    """Yield the projects that have, or had, an environment out of a store."""
    if not store.spares.is_dir():
        return
    for folder in sorted(store.spares.iterdir()):
        root = _root(folder)
        places = (f"{folder}/spare", f"{root}/.venv", f"{root}/.envkit/spare") if root else ()
        found = [record for place in places if (record := records.read(place))]
        yield User(
            folder=folder,
            root=root,
            places=places,
            entries=frozenset(entry for record in found for entry in records.entries(record))
            | placed.digests(f"{folder}/{placed.NOTES}"),
            shelves=frozenset(shelf for record in found for shelf in _shelves(record)),
        )


def set_aside(store: Store, path: str) -> tuple[Path, list[str]]:
    """Take the entry that a file belongs to, and that is not what it was, out of use.

    The environments that have files of it count as unfinished from then on: the next installation
    looks at every file of them, and links anew what is not the store's any more.

    Returns:
        Where the entry was, and the folders of the projects that this concerns.

    Raises:
        EnvkitError: the filesystem refuses.
    """
    entry = store.put_aside(path)
    concerned = [user for user in users(store) if entry.name in user.entries]
    for user in concerned:
        for place in user.places:
            remove(f"{place}/{stamp.STAMP}")
    return entry, [user.root for user in concerned]


def _root(folder: Path) -> str:
    try:
        return os.fsdecode((folder / PROJECT).read_bytes())
    except OSError:
        return ""


def _shelves(record: Record) -> Iterator[str]:
    layout = Layout.of(record.interpreter.short_version)
    for part in record.parts:
        yield ready.key(records.identity(part), layout)
