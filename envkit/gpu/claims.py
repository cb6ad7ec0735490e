"""Locks that belong to an open file, and so to all processes that have inherited it.

They last until the last of these has closed it or ended, however it ended. Others can ask whether
there is one without taking it, which flock(2) cannot tell them. Source: fcntl(2), "Open file
description locks" (Linux).
"""

from __future__ import annotations

import fcntl
import os
import struct

# struct flock as the 64-bit Linux ABI has it: l_type, l_whence, l_start, l_len, l_pid.
_FORM = "hhqqi0q"


def claim(descriptor: int, place: int = 0) -> bool:
    """Claim a place, one byte, of an open file, and return whether nobody else has it."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_WRLCK, place))
    except BlockingIOError:
        return False
    return True


def release(descriptor: int, place: int = 0) -> None:
    """Let go of a place of an open file."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_UNLCK, place))


def is_claimed(descriptor: int, place: int = 0, count: int = 1) -> bool:
    """Return whether another open file has a claim to a place, or one of so many behind it.

    Nothing is changed.
    """
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK, place, count))
    kind: int = struct.unpack(_FORM, answer)[0]
    return kind != fcntl.F_UNLCK


def _request(kind: int, place: int, count: int = 1) -> bytes:
    return struct.pack(_FORM, kind, os.SEEK_SET, place, count, 0)
