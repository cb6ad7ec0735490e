"""Other processes of this machine, as the kernel tells of them.

Source: proc(5): /proc/PID/cmdline, /proc/PID/stat, /proc/stat.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

# What is shown of a command, in characters.
_COMMAND = 58


class Running(NamedTuple):
    """A process that runs.

    Attributes:
        pid: its id.
        uid: whose it is.
        parent: the id of the process that started it, or took it over.
        words: its command.
        since: when it started, in seconds since 1970.
    """

    pid: int
    uid: int
    parent: int
    words: tuple[str, ...]
    since: float

    @property
    def user(self) -> str:
        """The name of the user whose it is."""
        return user_name(self.uid)

    @property
    def command(self) -> str:
        """Its command in a line, without the interpreter that runs envkit."""
        words = self.words
        if len(words) > 1 and os.path.basename(words[0]).startswith("python"):
            if len(words) > 2 and words[1] == "-m" and words[2].startswith("envkit."):
                return "envkit in the background"
            if os.path.basename(words[1]) == "envkit":
                words = words[1:]
        text = one_line(" ".join([os.path.basename(words[0]), *words[1:]]))
        return f"{text[: _COMMAND - 1]}…" if len(text) > _COMMAND else text


def one_line(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())


def numbers() -> Iterator[int]:
    """Yield the ids of all processes, where the kernel tells of them."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    yield from (int(name) for name in names if name.isdecimal())


def environ(pid: int) -> bytes:
    """Return the variables with which a process was started; none if they may not be seen."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def find(pid: int) -> Running | None:
    """Return a process; None if there is none of this id, or it may not be looked at."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode("utf-8", "replace").rstrip("\0").split("\0")
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name of the program, in parentheses, can hold anything; what stands behind it is
            # numbered from 3 on (4: ppid, 22: starttime).
            fields = file.read().rpartition(")")[2].split()
        uid = os.stat(f"/proc/{pid}").st_uid
        since = _started() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return Running(pid, uid, int(fields[1]), tuple(words), since)
    except (OSError, ValueError, LookupError, StopIteration):
        return None


@cache
def _started() -> int:
    """Return when the machine was started, in seconds since 1970."""
    with open("/proc/stat", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("btime "))


def ancestry(pid: int) -> Iterator[int]:
    """Yield the id of a process, of the one that started it, and so on."""
    while pid > 0:
        yield pid
        found = find(pid)
        pid = found.parent if found else 0


def text(pid: int) -> str:
    """Return a process as a user is told of it: its id, its command, since when it runs."""
    import time

    found = find(pid)
    if found is None:
        return f"pid {pid}"
    since = time.strftime("%H:%M:%S", time.localtime(found.since))
    return f"pid {pid}, `{found.command}`, since {since}"


def user_name(uid: int) -> str:
    """Return the name of a user; the number if there is no name for it."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
