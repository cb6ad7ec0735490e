"""What the system can refuse: a full disk, lacking rights, limits; as a user is told of it.

None of this is a bug: a disk fails, and other processes and administrators do as they like.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from envkit.errors import RefusedError

_AS_BEFORE = "What was there before is as it was."


class _Refusal(NamedTuple):
    """What an error number means, and what to do.

    `{path}` is a path that is there, `{disk}` the mount point above it.
    """

    what: str
    hint: str


_FULL = "Make room on it (`df -h {disk}`; `df -i {disk}` counts files), then run it again."
_LIMIT = "Raise the limit (`ulimit -a` shows it), or end what uses it up, then run it again."
_RIGHTS = "See whose it is (`ls -ld {path}`) and who may write there, then run it again."
_BROKEN = "The disk, or the network that it is on, fails: see the system's log (`dmesg`)."
_ELSEWHERE = "Choose another folder for the project, or for the store ($ENVKIT_STORE)."
_AGAIN = "Run it again when nothing else uses {path}."

# By name, as not every system has all of them.
_REFUSALS = {
    "ENOSPC": _Refusal("the disk is full", _FULL),
    "EDQUOT": _Refusal("the disk quota is used up", _FULL),
    "EROFS": _Refusal("the filesystem is read-only", "Make it writable. " + _ELSEWHERE),
    "EACCES": _Refusal("no permission", _RIGHTS),
    "EPERM": _Refusal("not permitted", _RIGHTS),
    "EIO": _Refusal("input/output error", _BROKEN),
    "ENXIO": _Refusal("the device has gone", _BROKEN),
    "ENODEV": _Refusal("the device has gone", _BROKEN),
    "EREMOTEIO": _Refusal("input/output error on another machine", _BROKEN),
    "ESTALE": _Refusal("the server of the filesystem has lost it", _BROKEN),
    "ETIMEDOUT": _Refusal("the filesystem does not answer", _BROKEN),
    "ENOTCONN": _Refusal("the filesystem is not connected", _BROKEN),
    "EHOSTDOWN": _Refusal("the server of the filesystem is down", _BROKEN),
    "EMFILE": _Refusal("too many open files", _LIMIT),
    "ENFILE": _Refusal("too many open files in the system", _LIMIT),
    "EFBIG": _Refusal("the file would be too large", _LIMIT),
    "EAGAIN": _Refusal("too many processes or threads", _LIMIT),
    "ENOMEM": _Refusal("no memory is left", "End what uses it up, then run it again."),
    "ENAMETOOLONG": _Refusal("the path is too long", _ELSEWHERE),
    "EMLINK": _Refusal("too many folders or links", _ELSEWHERE),
    "ENOLCK": _Refusal("the filesystem has no locks", _ELSEWHERE),
    "ENOTSUP": _Refusal("the filesystem cannot do this", _ELSEWHERE),
    "ELOOP": _Refusal("symbolic links lead in a circle", "Take one of them away: `ls -ld {path}`."),
    "EBUSY": _Refusal("something else uses it", _AGAIN),
    "ETXTBSY": _Refusal("something else runs it", _AGAIN),
    "ENOTEMPTY": _Refusal("something else wrote there meanwhile", _AGAIN),
}
_BY_NUMBER = {
    getattr(errno, name): refusal for name, refusal in _REFUSALS.items() if hasattr(errno, name)
}

# Limits that a process meets when it is to be started.
_WHEN_STARTING = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}

# What means the same in whatever a program prints; the others may be about its own affairs.
_WHEN_PRINTED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS),
    *(errno.ENOMEM, errno.EMFILE, errno.ENFILE),
)


def explained(
    error: Exception, *, what: str = "", hint: str = "", left: str | None = None
) -> RefusedError | None:
    """Return the error of a system that refuses something; None if it means something else.

    Args:
        error: what was raised.
        what: what was being done, as in "/project/lock: cannot be written"; the path by default.
        hint: what to do, where there is something better than what holds everywhere.
        left: how things are now; that all is as it was by default.
    """
    import shlex

    number = _number(error)
    if number not in _BY_NUMBER:
        return None
    refusal = _BY_NUMBER[number]
    path = _path(error)
    message = ": ".join(filter(None, (what or path, refusal.what)))
    there = _existing(path)
    names = {"path": shlex.quote(there), "disk": shlex.quote(_mount_point(there))}
    advice = hint or refusal.hint.format_map(names)
    left = _AS_BEFORE if left is None else left
    return RefusedError(message[0].upper() + message[1:], f"{advice} {left}".rstrip())


def is_known(error: Exception) -> bool:
    """Return whether an error is one of a system that refuses something."""
    return _number(error) in _BY_NUMBER


def is_limit(error: OSError) -> bool:
    """Return whether a process could not be started for want of something, whatever it was."""
    return error.errno in _WHEN_STARTING


def printed(text: str, what: str) -> RefusedError | None:
    """Return the error that a program met, by what it printed of it; None if of no such one.

    Args:
        text: what it printed, in no other language than C's.
        what: what was being done.
    """
    import re

    for number in _WHEN_PRINTED:
        reason = os.strerror(number)
        if reason in text:
            path = re.search(rf"{re.escape(reason)}: ['\"]([^'\"\n]+)", text)
            return explained(OSError(number, reason, path and path[1]), what=what)
    return None


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have an error name the file that it is about, as one of `write` does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def to_json(error: OSError | MemoryError) -> list[object]:
    """Return an error as it can be told to another process."""
    if isinstance(error, MemoryError):
        return [errno.ENOMEM, os.strerror(errno.ENOMEM), None]
    return [error.errno, error.strerror, error.filename]


def from_json(values: Sequence[object]) -> OSError:
    """Return the error that another process told of."""
    return OSError(*values)


def _number(error: Exception) -> int | None:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return errno.EAGAIN
    return error.errno if isinstance(error, OSError) else None


def _path(error: Exception) -> str:
    """Return where something was refused; of two paths the one that was to come about."""
    for path in (getattr(error, "filename2", None), getattr(error, "filename", None)):
        if isinstance(path, (str, bytes, os.PathLike)):
            return os.fsdecode(path)
    return ""


def _existing(path: str) -> str:
    """Return a path, or the nearest folder above it that is there."""
    while path and not os.path.lexists(path):
        path = os.path.dirname(path) if path != os.path.dirname(path) else ""
    return path or "."


def _mount_point(path: str) -> str:
    while os.path.isabs(path) and not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
