"""The mark of a finished environment, read before anything heavy is imported.

It says which files the environment was made from, so that "is there anything to do?" costs a few
calls of stat. As in git's index, a file counts as unchanged while its size, times and inode are;
one that was changed just before it was looked at is marked so that it never counts as unchanged.
"""

import os
import time

# Below the environment: everything that envkit itself keeps there.
STATE = ".envkit"
STAMP = f"{STATE}/stamp"
FOLDERS = f"{STATE}/folders"
SETTLED = f"{STATE}/settled"

_FORM = "envkit-stamp 2"

# Settings that the environment variables make, and that change what `install` does.
VARIABLES = ("ENVKIT_PYTHON", "ENVKIT_STORE", "ENVKIT_LINK", "ENVKIT_COMPILE")

# Two changes within this many nanoseconds can bear the same time (the kernel's clock tick).
_TICK = 20_000_000

Stamp = dict[str, list[str]]


def state_of(path: str) -> str:
    """Return what a file's being unchanged is told by: a short text, also if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return "absent"
    if time.time_ns() - status.st_mtime_ns < _TICK:
        return f"{status.st_size} {status.st_mtime_ns} too recent to tell"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def variables() -> str:
    """Return the settings that the environment variables make, in one line."""
    return " ".join(f"{name}={os.environ.get(name, '')!r}" for name in VARIABLES)


def content_digest(paths: list[str]) -> str:
    """Return the digest, in hex, of what files hold; one that is not there counts as such."""
    import hashlib

    digest = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            content = b"absent"
        digest.update(f"{path}\n{len(content)}\n".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest()


def read(environment: str) -> Stamp | None:
    """Return the stamp of an environment: key -> values; None if it is not finished or not ours."""
    try:
        with open(f"{environment}/{STAMP}", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError:
        return None
    if lines[0] != _FORM:
        return None
    values: Stamp = {}
    for line in lines[1:]:
        key, _, value = line.partition("\t")
        values.setdefault(key, []).append(value)
    return values


def write(environment: str, values: Stamp) -> None:
    """Write the stamp of an environment, by rename, so that it is whole or not there."""
    lines = [f"{key}\t{value}" for key, listed in values.items() for value in listed]
    replace(f"{environment}/{STAMP}", "\n".join([_FORM, *lines, ""]))


def replace(path: str, text: str) -> None:
    """Write a new file in the place of one that may be there, by rename."""
    draft = f"{path}.{os.getpid()}"
    _write(draft, text)
    os.replace(draft, path)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        error.filename = path  # as that of a write does not say
        raise


def is_current(environment: str, stamp: Stamp) -> bool:
    """Return whether nothing that the environment was made from, or depends on, has changed."""
    return (
        is_usable(environment, stamp)
        and all(map(_is_unchanged, stamp["input"]))
        and not changed_folders(environment, stamp["container"])
    )


def is_usable(environment: str, stamp: Stamp) -> bool:
    """Return whether an environment is one for this path, these settings and this interpreter."""
    return (
        stamp["location"] == [environment]
        and stamp["variables"] == [variables()]
        and stamp["configured"] == ["yes"]
        and all(map(_is_unchanged, stamp["interpreter"]))
    )


def _is_unchanged(line: str) -> bool:
    path, _, state = line.partition("\t")
    return state_of(path) == state


def changed_folders(environment: str, lines: list[str]) -> list[str]:
    """Return the folders whose mtime is not what it was, or that are not there any more.

    Args:
        environment: the root.
        lines: as `folder_line` makes them.
    """
    changed = []
    stat = os.stat
    for line in lines:
        top, mtime, rest = line.split("\t")
        try:
            path = f"{environment}/{top}{rest}"
            if stat(path, follow_symlinks=False).st_mtime_ns == int(mtime):
                continue
        except OSError:
            pass
        changed.append(top + rest)
    return changed


def folder_line(environment: str, folder: str, top: str = "") -> str:
    """Return the line for a folder as it is now: its top, its mtime in ns, what is behind the top.

    Args:
        environment: the root.
        folder: relative to the root.
        top: the part of it that is the top it belongs to; empty for a folder that has tops in it.
    """
    mtime = os.stat(f"{environment}/{folder}").st_mtime_ns
    return f"{top}\t{mtime}\t{folder[len(top) :]}"


def read_folders(environment: str) -> list[str]:
    """Return the lines for every folder of an environment, as they were when it was finished."""
    with open(f"{environment}/{FOLDERS}", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().split("\n")[:-1]


def write_folders(environment: str, lines: list[str]) -> None:
    """Write the lines for every folder of an environment."""
    _write(f"{environment}/{FOLDERS}", "".join(f"{line}\n" for line in lines))


def settle(environment: str) -> None:
    """Note that every folder of an environment was looked at and is as it was when it was finished.

    For one that nobody uses, so that the next to need it has only its top to look at. The note
    speaks of the stamp that there is now: stamped anew, as it is before it is used again, an
    environment counts as not looked at.
    """
    replace(f"{environment}/{SETTLED}", _identity(environment))


def is_settled(environment: str) -> bool:
    """Return whether every folder of an environment was looked at since it was stamped."""
    try:
        with open(f"{environment}/{SETTLED}", encoding="utf-8") as file:
            return file.read() == _identity(environment)
    except OSError:
        return False


def _identity(environment: str) -> str:
    status = os.stat(f"{environment}/{STAMP}")
    return f"{status.st_ino} {status.st_mtime_ns}"
