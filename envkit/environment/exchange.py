"""Two folders change places in one step."""

from __future__ import annotations

import errno
import os
import sys

# linux/fs.h and fcntl.h; sys/stdio.h of macOS.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2

# The kernel, the filesystem, or a mount point in the way cannot exchange.
UNAVAILABLE = {errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EBUSY, errno.ENOTSUP}


class ExchangeUnavailableError(Exception):
    """These two folders cannot change places in one step."""


def exchange(one: str, other: str) -> None:
    """Let two paths, both of which exist, change places in one step.

    Sources: renameat2(2) with RENAME_EXCHANGE; renamex_np(2) with RENAME_SWAP on macOS.

    Raises:
        ExchangeUnavailableError: the system cannot do this here; nothing was changed.
        OSError: it refused for another reason; nothing was changed.
    """
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        result = library.renamex_np(first, second, ctypes.c_uint(_RENAME_SWAP))
    elif hasattr(library, "renameat2"):
        result = library.renameat2(
            _AT_FDCWD, first, _AT_FDCWD, second, ctypes.c_uint(_RENAME_EXCHANGE)
        )
    else:
        raise ExchangeUnavailableError
    if result == 0:
        return
    number = ctypes.get_errno()
    if number in UNAVAILABLE:
        raise ExchangeUnavailableError
    raise OSError(number, os.strerror(number), one, None, other)
