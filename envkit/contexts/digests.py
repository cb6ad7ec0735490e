"""The digests of files, kept so that what has not changed need not be read again.

A file is believed to be unchanged as git believes it of those in its index ("Racy Git" in its
technical documentation): size, both times, inode and device are what they were, and the times were
well past when it was read, so that a later change must have moved them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from envkit import drafts
from envkit.contexts import reading

# The first bytes of a file of digests. Then come the sha256 of what follows, the number of entries,
# the entries, and their names with zeros between: JSON takes seven times as long to write.
_MAGIC = b"envkit files 1\n"
_COUNT = struct.Struct("<Q")

# Digest, size, both times in nanoseconds, inode, device.
_ENTRY = struct.Struct("<32sQQQQQ")
_Entry = tuple[bytes, int, int, int, int, int]

# In nanoseconds: the coarsest clock of a filesystem in use (FAT) counts two seconds.
_GRANULE = 2 * 10**9


class Digests:
    """The sha256 of files, read where they are not known or may have changed."""

    def __init__(self, root: bytes, memory: Path | None, now: int) -> None:
        """Begin with what is known from the last time.

        Args:
            root: the folder that the files are in.
            memory: where it is kept, if anywhere.
            now: the time, in nanoseconds since the epoch, before which nothing has been read.
        """
        self._root = root
        self._memory = memory
        self._known = _load(memory) if memory else {}
        self._kept: dict[bytes, _Entry] = {}
        self._settled = now - _GRANULE

    def of(self, name: bytes, status: os.stat_result) -> tuple[bytes, int]:
        """Return the digest of a file's content, and its size.

        Args:
            name: its path below the root.
            status: what the system said of it just now.

        Raises:
            OSError: the system refuses, or there is no such file any more.
        """
        entry = self._known.get(name)
        if not entry or entry[1:] != _identity(status):
            entry = _read(os.path.join(self._root, name))
        if 0 <= entry[2] < self._settled and 0 <= entry[3] < self._settled:
            self._kept[name] = entry
        return entry[0], entry[1]

    def save(self) -> None:
        """Keep the digests for the next time; where that is not possible, all is read again."""
        if self._memory and self._kept != self._known:
            # A number may be larger than any that a filesystem has been seen to give.
            with contextlib.suppress(OSError, struct.error):
                self._memory.parent.mkdir(parents=True, exist_ok=True)
                drafts.replace({self._memory: _packed(self._kept)})


def _identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


def _read(path: bytes) -> _Entry:
    """Return the entry of a file: its status from before it is read, so that it is never newer."""
    descriptor = reading.open_file(path)
    try:
        status = os.fstat(descriptor)
        digest = hashlib.sha256()
        size = 0
        while chunk := os.read(descriptor, reading.CHUNK):
            digest.update(chunk)
            size += len(chunk)
    finally:
        os.close(descriptor)
    # If it grew meanwhile, this entry fits no status.
    return (digest.digest(), size, *_identity(status)[1:])


def _load(path: Path) -> dict[bytes, _Entry]:
    """Return the entries of a file by name; none if it is not there, damaged, or another's."""
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    start = len(_MAGIC) + 32
    body = content[start:]
    if content[:start] != _MAGIC + hashlib.sha256(body).digest():
        return {}
    (count,) = _COUNT.unpack_from(body)
    names = _COUNT.size + count * _ENTRY.size
    entries = _ENTRY.iter_unpack(body[_COUNT.size : names])
    return dict(zip(body[names:].split(b"\0"), entries, strict=False))


def _packed(entries: Mapping[bytes, _Entry]) -> bytes:
    packed = b"".join(_ENTRY.pack(*entry) for entry in entries.values())
    body = _COUNT.pack(len(entries)) + packed + b"\0".join(entries)
    return _MAGIC + hashlib.sha256(body).digest() + body
