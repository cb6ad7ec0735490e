"""Other processes of this machine, as the kernel tells of them.

Source: proc(5): /proc/PID/cmdline, /proc/PID/stat.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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
        ticks: when it started, in ticks of the clock since the machine did.
    """

    pid: int
    uid: int
    parent: int
    words: tuple[str, ...]
    ticks: int

    @property
    def identity(self) -> str:
        """What no other process has since the machine was started.

        Ids are used again, and each container has its own (pid_namespaces(7)). When it started is
        counted in ticks, which no clock that is set changes.

        Raises:
            OSError: the kernel does not tell of namespaces.
        """
        return f"{os.readlink('/proc/self/ns/pid')} {self.pid} {self.ticks}"

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
        return Running(pid, uid, int(fields[1]), tuple(words), int(fields[19]))
    except (OSError, ValueError, LookupError):
        return None


def identity(pid: int) -> str:
    """Return the identity of a process; empty if there is none, or it cannot be told."""
    found = find(pid)
    try:
        return found.identity if found else ""
    except OSError:
        return ""


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
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - found.ticks / os.sysconf("SC_CLK_TCK")
    since = time.strftime("%H:%M:%S", time.localtime(time.time() - age))
    return f"pid {pid}, `{found.command}`, since {since}"


def user_name(uid: int) -> str:
    """Return the name of a user; the number if there is no name for it."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
