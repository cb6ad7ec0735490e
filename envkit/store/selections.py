"""Which entry of the store a pin means: the choice that pip made, remembered."""

from __future__ import annotations

import os
from pathlib import Path

from envkit.store.layout import Store
from envkit.store.manifest import MANIFEST


def find(store: Store, key: str) -> Path | None:
    """Return the entry that was chosen; None if none was, or it is not there any more.

    Args:
        store: the store.
        key: what the choice was made from, as a file's name.
    """
    try:
        target = os.readlink(store.selections / key)
    except OSError:
        return None
    entry = os.path.normpath(store.selections / target)
    return Path(entry) if os.path.exists(f"{entry}/{MANIFEST}") else None


def remember(store: Store, key: str, entry: Path) -> None:
    """Remember the entry that was chosen, as a relative symbolic link."""
    store.selections.mkdir(parents=True, exist_ok=True)
    draft = store.selections / f"{key}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(os.path.relpath(entry, store.selections))
    draft.replace(store.selections / key)
