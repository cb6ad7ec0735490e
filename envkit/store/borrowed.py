"""Entries of stores that are somebody else's to write: an administrator's, or an image's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from envkit.errors import IntegrityError
from envkit.store import manifest, selections
from envkit.store.layout import Store, publish, refuse_shared
from envkit.store.manifest import TREE, File

VARIABLE = "ENVKIT_STORE_READONLY"

_CHUNK = 1 << 20


def stores(environ: Mapping[str, str]) -> tuple[Store, ...]:
    """Return the stores that are read from and never written to, in the order of their search.

    Args:
        environ: the environment, whose variable names their folders, separated by colons.
    """
    folders = environ.get(VARIABLE, "").split(os.pathsep)
    return tuple(Store(root=Path(os.path.abspath(folder))) for folder in folders if folder)


def find(store: Store, key: str) -> str | None:
    """Return the folder of the entry that was chosen under a key in such a store; None without it.

    Raises:
        UsageError: the store or the entry is neither this user's nor root's, or can be written
            by others.
    """
    try:
        refuse_shared(str(store.root))
        refuse_shared(str(store.selections))
        entry = selections.find(store, key)
        if entry:
            refuse_shared(os.path.dirname(entry))
    except FileNotFoundError:
        return None
    return entry


def copy(entry: str, theirs: Store, ours: Store, draft: Path) -> str:
    """Copy an entry into a store of one's own, comparing each file with the entry's manifest.

    Args:
        entry: the folder of the entry.
        theirs: the store that it is in.
        ours: the store that it comes to.
        draft: a path on our store's filesystem to make it at.

    Returns:
        The folder that it has in our store.

    Raises:
        IntegrityError: a file is not what the manifest says.
        OSError: the disk refuses.
    """
    target = ours.root / Path(entry).relative_to(theirs.root)
    about = manifest.read(entry)
    if not target.is_dir():
        folders = {
            folder: tuple(_copied(f"{entry}/{TREE}/{folder}", f"{draft}/{TREE}/{folder}", files))
            for folder, files in manifest.folders(entry).items()
        }
        manifest.write(str(draft), about, folders)
        publish(draft, target)
    return str(target)


def _copied(source: str, target: str, files: tuple[File, ...]) -> Iterator[File]:
    """Copy the files of one folder, and yield each as it is in its new place."""
    os.makedirs(target, exist_ok=True)
    for file in files:
        path = f"{source}/{file.name}"
        digest = hashlib.sha256()
        mode = 0o555 if file.executable else 0o444
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with (
            open(path, "rb") as read,
            open(os.open(f"{target}/{file.name}", flags, mode), "wb") as written,
        ):
            while chunk := read.read(_CHUNK):
                digest.update(chunk)
                written.write(chunk)
            written.flush()
            status = os.fstat(written.fileno())
        if digest.hexdigest() != file.sha256:
            raise IntegrityError(f"{path}: is not what its manifest says")
        yield file._replace(size=status.st_size, mtime=status.st_mtime_ns, inode=status.st_ino)
