"""Reading what is in a folder that others may change meanwhile, or may not let us read."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator

from envkit import refusals
from envkit.errors import EnvkitError, UsageError

# In bytes: as much is read at once.
CHUNK = 1 << 20

# What opening or reading gives if something is no longer there, or is something else now.
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EAGAIN}

# If something else has taken a file's place, it is neither followed nor waited for.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_file(path: bytes) -> int:
    """Return a descriptor of a file.

    Raises:
        OSError: the system refuses, or there is no file.
    """
    return os.open(path, _FLAGS)


def chunks(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield what is in a file, up to one byte more than there should be."""
    left = size + 1
    while left and (chunk := os.read(descriptor, min(left, CHUNK))):
        left -= len(chunk)
        yield chunk


def has_gone(error: OSError) -> bool:
    """Return whether what was seen before is no longer there, or is something else now."""
    return error.errno in _GONE


def refused(error: OSError, path: bytes, name: bytes = b"") -> EnvkitError:
    """Return the error of something that cannot be read.

    Args:
        error: what was raised.
        path: its path.
        name: its path in the context; empty if it is not in one.
    """
    what = f"{os.fsdecode(path)}: cannot be read"
    hint = ""
    if isinstance(error, PermissionError):
        hint = f"Let it be read (`chmod u+r {shlex.quote(os.fsdecode(path))}`)"
        hint += f", or add {os.fsdecode(name)} to .dockerignore." if name else "."
    return refusals.explained(error, what=what, hint=hint, left="") or UsageError(
        f"{what}: {error.strerror}"
    )
