"""What was chosen among several entries of the store, remembered under what it was chosen by."""

from __future__ import annotations

import os

from envkit.store.layout import Store, refuse_shared


def find(store: Store, key: str) -> str | None:
    """Return the folder of the entry that was chosen; None if none was, or it has gone.

    Args:
        store: the store.
        key: what the choice was made by, as a file's name.

    Raises:
        UsageError: the entry is another user's, or can be written by others.
    """
    folder = store.selections
    try:
        target = os.readlink(f"{folder}/{key}")
    except OSError:
        return None
    entry = os.path.normpath(f"{folder}/{target}")
    try:
        refuse_shared(entry)
    except FileNotFoundError:
        return None
    return entry


def remember(store: Store, key: str, entry: str) -> None:
    """Remember the entry that was chosen, as a relative symbolic link."""
    folder = store.selections
    os.makedirs(folder, exist_ok=True)
    draft = f"{folder}/{key}.{os.getpid()}"
    if os.path.lexists(draft):
        os.unlink(draft)
    os.symlink(os.path.relpath(entry, folder), draft)
    os.replace(draft, f"{folder}/{key}")
