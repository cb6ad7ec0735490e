"""Large files in the store: whole, read-only, each under its sha256.

Each bears a time that no other file has, so that one which was written to is seen without reading
it; such a one is read again before it is used.
"""

from __future__ import annotations

import os
from pathlib import Path

from envkit.errors import EnvkitError
from envkit.store import digest
from envkit.store.layout import Store

# A time in the past, in ns since the epoch, that nobody's file has by chance.
_MARK = 946_684_800_123_456_789


def path(store: Store, sha256: str) -> Path:
    """Return where a file is, once it is there."""
    return store.assets / sha256


def has(store: Store, sha256: str) -> bool:
    """Return whether the store has a file; one that was altered is set aside, and counts as none.

    Raises:
        EnvkitError: the filesystem refuses.
    """
    place = path(store, sha256)
    try:
        status = place.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise EnvkitError(f"{place}: cannot be looked at: {error.strerror}") from None
    if status.st_mtime_ns == _MARK:
        return True
    if digest.sha256(place) == sha256:
        _mark(place)
        return True
    store.put_aside(str(place))
    return False


def publish(draft: Path, store: Store, sha256: str) -> None:
    """Let a file that was checked, and is on the disk, appear in the store by one rename.

    Raises:
        OSError: the disk refuses.
    """
    draft.chmod(0o444)
    _mark(draft)
    draft.rename(path(store, sha256))


def _mark(place: Path) -> None:
    os.utime(place, ns=(_MARK, _MARK))
