"""The mark of a finished environment, read before anything heavy is imported.

It says which files the environment was made from, so that "is there anything to do?" costs a few
calls of stat. As in git's index, a file counts as unchanged while its size, times and inode are;
one that was changed just before it was looked at is marked so that it never counts as unchanged.
"""

import os
import time

from envkit import overrides

# Below the environment: everything that envkit itself keeps there.
STATE = ".envkit"
STAMP = f"{STATE}/stamp"
FOLDERS = f"{STATE}/folders"
SETTLED = f"{STATE}/settled"

# What the environment has, part by part. Every change of its files writes it anew.
RECORD = f"{STATE}/record"

_FORM = "envkit-stamp 5"

# What is said of GPUs where a command that is run is given nothing, or that has to be thought of;
# otherwise it is variables, as in "NAME=VALUE NAME=VALUE".
NO_GPUS, GPUS_TO_THINK_OF = "nothing", "thought"

# What may be lost with the power.
_UNSYNCED = "unsynced"
_NOTHING = ["nothing"]

# What every stamp has once, and what it has at least once.
_SINGLE = (
    *("location", "variables", "configured", "spare", "mutex"),
    *("lacking", "summary", "gpu", "files", "content", "record", _UNSYNCED),
)
_SEVERAL = ("input", "overrides", "interpreter", "container")

# Settings that the environment variables make, and that change what `install` does.
VARIABLES = ("ENVKIT_PYTHON", "ENVKIT_STORE", "ENVKIT_LINK", "ENVKIT_COMPILE")

# Two changes within this many nanoseconds can bear the same time (the kernel's clock tick).
_TICK = 20_000_000
_TOO_RECENT = "too recent to tell"

Stamp = dict[str, list[str]]


def state_of(path: str) -> str:
    """Return what a file's being unchanged is told by: a short text, also if it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: no file can have such a name
        return "absent"
    if time.time_ns() - status.st_mtime_ns < _TICK:
        return f"{status.st_size} {status.st_mtime_ns} {_TOO_RECENT}"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def are_unchanged(states: dict[str, str]) -> bool:
    """Return whether files have the sizes and mtimes that their states, path -> state, tell of."""
    return all(
        state_of(path).split(" ")[:2] == state.split(" ")[:2] for path, state in states.items()
    )


def is_telling(state: str) -> bool:
    """Return whether a file that has this state again has not been changed meanwhile."""
    return not state.endswith(_TOO_RECENT)


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
    """Return the stamp of an environment: key -> values; None if it is not finished or not ours.

    One in which a power loss may have left files without their content counts as unfinished.
    """
    try:
        with open(f"{environment}/{STAMP}", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError:
        return None
    if lines[0] != _FORM or lines[-1]:
        return None
    values: Stamp = {}
    for line in lines[1:-1]:
        key, _, value = line.partition("\t")
        values.setdefault(key, []).append(value)
    whole = (
        all(len(values.get(key, ())) == 1 for key in _SINGLE)
        and all(values.get(key) for key in _SEVERAL)
        and all(map(is_folder_line, values["container"]))
    )
    return values if whole and not _may_be_damaged(values) else None


def _may_be_damaged(values: Stamp) -> bool:
    """Return whether the machine has been started anew since, and not all was on the disk."""
    if values[_UNSYNCED] == _NOTHING:
        return False
    from envkit import boot

    return boot.is_over(values[_UNSYNCED][0])


def write(environment: str, values: Stamp) -> None:
    """Write the stamp of an environment, by rename, so that it is whole or not there.

    Args:
        environment: the root.
        values: what it says; `unsynced` comes last.
    """
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
        has_record(environment, stamp)
        and is_usable(environment, stamp)
        and all(map(_is_unchanged, stamp["input"]))
        and not changed_folders(environment, stamp["container"])
    )


def has_overrides(stamp: Stamp) -> bool:
    """Return whether the files that stand above the settings are those of then, and unchanged."""
    known = [line.partition("\t")[0] for line in stamp["overrides"]]
    return known == [*overrides.files(os.environ)] and all(map(_is_unchanged, stamp["overrides"]))


def is_usable(environment: str, stamp: Stamp) -> bool:
    """Return whether a half is one for this path, these settings and this interpreter."""
    return (
        stamp["location"] == [environment]
        and stamp["variables"] == [variables()]
        and stamp["configured"] == ["yes"]
        and has_overrides(stamp)
        and all(map(_is_unchanged, stamp["interpreter"]))
    )


def has_record(half: str, stamp: Stamp) -> bool:
    """Return whether a half has the record that it was stamped with, without which it is none."""
    return [identity(half, RECORD)] == stamp["record"]


def override_lines() -> list[str]:
    """Return the lines for the files that stand above the settings, as they are now."""
    return [f"{path}\t{state_of(path)}" for path in overrides.files(os.environ)]


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
        except (OSError, ValueError):
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


def is_folder_line(line: str) -> bool:
    """Return whether a line is one that `folder_line` can have made."""
    parts = line.split("\t")
    return len(parts) == 3 and parts[1].isdecimal() and "\0" not in line


def read_folders(environment: str) -> list[str]:
    """Return the lines for every folder of an environment, as they were when it was finished.

    Raises:
        OSError: there are none.
        ValueError: they are not what was written.
    """
    with open(f"{environment}/{FOLDERS}", encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().split("\n")
    if lines.pop() or not all(map(is_folder_line, lines)):
        raise ValueError(f"{environment}/{FOLDERS} is damaged")
    return lines


def write_folders(environment: str, lines: list[str]) -> None:
    """Write the lines for every folder of an environment."""
    _write(f"{environment}/{FOLDERS}", "\n".join([*lines, ""]))


def unsynced() -> Stamp:
    """Return what the stamp of an environment says that was changed just now."""
    from envkit import boot

    return {_UNSYNCED: [boot.identity()] if boot.identity() else _NOTHING}


def unsync(environment: str, values: Stamp) -> None:
    """Stamp an environment as one that is about to be changed, and not on the disk any more."""
    write(environment, {**values, **unsynced()})


def confirm(environment: str, before: str) -> None:
    """Stamp an environment as being on the disk, if its stamp is the one from before the sync.

    Args:
        environment: the root.
        before: what `identity` returned for the stamp before.
    """
    values = read(environment)
    if values and values[_UNSYNCED] != _NOTHING and identity(environment, STAMP) == before:
        write(environment, {**values, _UNSYNCED: _NOTHING})


def settle(environment: str) -> None:
    """Note that every folder of an environment was looked at and is as it was when it was finished.

    For one that nobody uses, so that the next to need it has only its top to look at. The note
    speaks of the stamp that there is now: stamped anew, as it is before it is used again, an
    environment counts as not looked at.
    """
    replace(f"{environment}/{SETTLED}", identity(environment, STAMP))


def is_settled(environment: str) -> bool:
    """Return whether every folder of an environment was looked at since it was stamped."""
    try:
        with open(f"{environment}/{SETTLED}", encoding="utf-8") as file:
            return file.read() == identity(environment, STAMP)
    except (OSError, ValueError):
        return False


def identity(environment: str, name: str) -> str:
    """Return what tells a file of an environment from a later one; empty if it is not there."""
    try:
        status = os.stat(f"{environment}/{name}")
    except OSError:
        return ""
    return f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"
