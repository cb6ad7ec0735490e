"""What takes the space of a store, and the taking away of what no project uses.

What is collected is first moved out of the way, while nobody uses the store's entries, and then
taken away in peace. Killed at any instant, a collection leaves each entry whole in its place, or
in the folder for passing things, which the next command sweeps.
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import mutex
from envkit.environment import usage
from envkit.environment.usage import User
from envkit.store import manifest
from envkit.store.layout import Store

Say = Callable[[str], None]

# A block of st_blocks, in bytes (stat(2)).
_BLOCK = 512

# How often the store is looked through unasked, in seconds.
_EVERY = 86400


class Unused(NamedTuple):
    """Something in the store that no project uses.

    Attributes:
        path: the folder.
        what: what it is, for a person.
        last_used: when it was last linked or unlinked, in seconds since the epoch.
    """

    path: Path
    what: str
    last_used: float


class Collected(NamedTuple):
    """What a collection took away, or would.

    Attributes:
        items: the folders.
        freed: bytes on the disk that this frees.
        kept: how many unused folders are kept, being too young or within the size.
    """

    items: tuple[Unused, ...]
    freed: int
    kept: int


class Bucket(NamedTuple):
    """A folder of the store: its name, how many entries it has, its bytes on the disk."""

    name: str
    entries: int
    bytes: int


class Share(NamedTuple):
    """What a project uses of the store: bytes that it has alone, bytes shared with others."""

    project: str
    alone: int
    shared: int


class Survey(NamedTuple):
    """What takes the space of a store.

    Attributes:
        store: its folder.
        total: its bytes on the disk; files with several links are counted once.
        buckets: what it consists of.
        projects: what each project uses.
        unused: the bytes of entries that no project uses.
    """

    store: str
    total: int
    buckets: tuple[Bucket, ...]
    projects: tuple[Share, ...]
    unused: int


def survey(store: Store) -> Survey:
    """Return what takes the space of a store."""
    seen: set[int] = set()
    sizes: dict[str, int] = {}
    buckets = []
    # A file with several links is counted where it is kept, not where it is linked to.
    last = (store.ready, store.spares)
    for folder in sorted(_folders(store.root), key=lambda folder: (folder in last, folder)):
        before = sum(sizes.values())
        entries = sorted(folder.iterdir())
        for entry in entries:
            sizes[str(entry)] = _disk_size(entry, seen)
        size = sum(sizes.values()) - before
        buckets.append(Bucket(folder.name, len(entries), size + _own_size(folder)))
    users = list(usage.users(store))
    by_entry = Counter(entry for user in users for entry in user.entries)
    names = {Path(path).name: size for path, size in sizes.items()}
    loose = sum(_own_size(path) for path in store.root.iterdir() if not path.is_dir())
    return Survey(
        store=str(store.root),
        total=sum(bucket.bytes for bucket in buckets) + loose + _own_size(store.root),
        buckets=tuple(buckets),
        projects=tuple(_share(user, by_entry, names) for user in users),
        unused=sum(sizes.get(str(one.path), 0) for one in unused(store, users)),
    )


def collect(
    store: Store,
    *,
    older_than: float = 0,
    max_size: int | None = None,
    dry_run: bool = False,
    say: Say = lambda _: None,
) -> Collected:
    """Take away what no project uses.

    Args:
        store: the store.
        older_than: keep what was used within so many seconds.
        max_size: keep what fits into so many bytes, the store as a whole, oldest first to go;
            None keeps nothing.
        dry_run: take nothing away.
        say: called with a line if somebody who uses entries has to be waited for.
    """
    alone = mutex.hold(store.collection, what="who uses the store", say=say)
    with store.temporary() as trash, alone:
        return _collect(store, trash, older_than, max_size, dry_run=dry_run)


def collect_unasked(store: Store, *, older_than: float, max_size: int) -> None:
    """Keep a store within bounds, once a day and only while nobody uses its entries.

    Args:
        store: the store.
        older_than: what was not used for so many seconds goes.
        max_size: if the store has more bytes than this, the oldest of what is unused goes as well.
    """
    note = store.root / "collected"
    if note.exists() and time.time() - note.stat().st_mtime < _EVERY:
        return
    with store.temporary() as trash, mutex.try_hold(store.collection) as alone:
        if alone:
            note.touch()
            _collect(store, trash, older_than, None)
            _collect(store, trash, 0, max_size)


def unused(store: Store, users: Sequence[User]) -> Iterator[Unused]:
    """Yield what no project uses, in no order."""
    entries = {entry for user in users if not user.is_gone for entry in user.entries}
    shelves = {shelf for user in users if not user.is_gone for shelf in user.shelves}
    for bucket in (store.wheels, store.builds, store.bytecode, store.skeletons):
        for path in _children(bucket):
            if path.name not in entries:
                yield Unused(path, manifest.title(str(path)), _last_used(path))
    for path in _children(store.assets):
        if path.name not in entries:
            yield Unused(path, f"the large file {path.name}", path.stat().st_ctime)
    for path in _children(store.ready):
        if path.name not in shelves:
            yield Unused(path, "folders linked ahead", path.stat().st_mtime)
    for path in _children(store.archives):
        name = next((one.name for one in _children(path)), path.name)
        yield Unused(path, f"{name}, fetched for an image", path.stat().st_mtime)
    for path in _children(store.set_aside):
        yield Unused(path, f"{manifest.title(str(path))}, found altered", path.stat().st_mtime)
    for user in users:
        if user.is_gone:
            yield Unused(user.folder, f"spare of {user.root}", user.folder.stat().st_mtime)


def _collect(
    store: Store, trash: Path, older_than: float, max_size: int | None, *, dry_run: bool = False
) -> Collected:
    found = sorted(unused(store, list(usage.users(store))), key=lambda one: one.last_used)
    limit = time.time() - older_than
    chosen = [one for one in found if not older_than or one.last_used < limit]
    if max_size is not None:
        chosen = _beyond(store, chosen, max_size)
    freed = _freed([one.path for one in chosen])
    if not dry_run:
        for one in chosen:
            one.path.rename(trash / f"{one.path.parent.name}-{one.path.name}")
        _forget_choices(store)
    return Collected(items=tuple(chosen), freed=freed, kept=len(found) - len(chosen))


def _beyond(store: Store, found: Sequence[Unused], max_size: int) -> list[Unused]:
    """Return the first of what was found, as many as bring the store down to a size."""
    total = _disk_size(store.root, set())
    chosen: list[Unused] = []
    for one in found:
        if total <= max_size:
            break
        chosen.append(one)
        total -= _freed([one.path])
    return chosen


def _forget_choices(store: Store) -> None:
    """Take away the notes that lead to entries which are not there any more."""
    for link in _children(store.selections):
        if not link.exists():
            link.unlink()


def _freed(paths: Sequence[Path]) -> int:
    """Return how many bytes on the disk it frees to take folders away."""
    links: Counter[int] = Counter()
    status: dict[int, os.stat_result] = {}
    for path in paths:
        for found in _walk(path):
            links[found.st_ino] += 1
            status[found.st_ino] = found
    return sum(
        one.st_blocks * _BLOCK
        for inode, one in status.items()
        if _is_folder(one) or links[inode] >= one.st_nlink
    )


def _share(user: User, by_entry: Counter[str], sizes: dict[str, int]) -> Share:
    alone = sum(sizes.get(entry, 0) for entry in user.entries if by_entry[entry] == 1)
    shared = sum(sizes.get(entry, 0) for entry in user.entries if by_entry[entry] > 1)
    return Share(user.root or user.folder.name, alone + sizes.get(user.folder.name, 0), shared)


def _last_used(entry: Path) -> float:
    """Return when an entry was last linked or unlinked: the kernel notes it with each file.

    Source: inode(7), "Last status change timestamp".
    """
    for folder, _, names in os.walk(entry / manifest.TREE):
        if names:
            return os.lstat(os.path.join(folder, names[0])).st_ctime
    return entry.stat().st_mtime


def _folders(root: Path) -> Iterator[Path]:
    return (path for path in root.iterdir() if path.is_dir())


def _children(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.iterdir()) if folder.is_dir() else ())


def _disk_size(path: Path, seen: set[int]) -> int:
    """Return the bytes on the disk of what is at a path, each file once."""
    total = 0
    for status in _walk(path):
        if status.st_ino not in seen:
            total += status.st_blocks * _BLOCK
            if status.st_nlink > 1:
                seen.add(status.st_ino)
    return total


def _own_size(path: Path) -> int:
    return path.lstat().st_blocks * _BLOCK


def _is_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)


def _walk(path: str | Path) -> Iterator[os.stat_result]:
    """Yield the status of a path and of everything below it; links are not followed."""
    status = os.lstat(path)
    yield status
    if _is_folder(status):
        with os.scandir(path) as entries:
            for entry in entries:
                yield from _walk(entry.path)
