"""Who has something, or waits for it: what a process writes of itself, for others to read."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from envkit import running

# More than this many bytes are not read: who wrote them was no envkit.
_MOST = 1 << 16


class Container(NamedTuple):
    """A container that has a GPU for as long as it runs.

    Attributes:
        label: the value of its label, by which it is known.
        engine: the address of the engine that runs it.
    """

    label: str
    engine: str


class Holder(NamedTuple):
    """A command that has GPUs, or waits for them.

    Attributes:
        uid: whose it is.
        pid: the id of its first process; those that it started may have outlived that.
        program: the program and what it runs, without options, which may hold secrets.
        project: the folder of the project; empty outside of one.
        since: since when, in seconds since 1970.
        container: the container in which it works, if it is one.
    """

    uid: int
    pid: int
    program: str
    project: str
    since: float
    container: Container | None = None

    @classmethod
    def this(cls, command: Sequence[str], project: str) -> Holder:
        """Return this process, which is about to become a command."""
        return cls(os.getuid(), os.getpid(), program(command), project, time.time())

    @property
    def user(self) -> str:
        """The name of the user whose it is."""
        return running.user_name(self.uid)

    @property
    def command(self) -> str:
        """What it runs: its whole command where it still runs, or else the program."""
        found = running.find(self.pid)
        # A process of the same id that started later is another one.
        if found and found.uid == self.uid and found.since <= self.since + 1:
            return found.command
        return self.program

    def text(self) -> str:
        """Return who it is, in a few words: "alice (train.py, 3 h)"."""
        from envkit.quantities import age_text

        return f"{self.user} ({self.command}, {age_text(time.time() - self.since)})"

    def encoded(self, **more: object) -> bytes:
        """Return a line that says all this, and more."""
        return json.dumps({**self._asdict(), **more}).encode() + b"\n"


def program(command: Sequence[str]) -> str:
    """Return a command without options: "python train.py"."""
    name = os.path.basename(command[0])
    script = command[1] if len(command) > 1 and not command[1].startswith("-") else ""
    is_script = script and "=" not in script and name.startswith(("python", "sh", "bash"))
    return f"{name} {os.path.basename(script)}" if is_script else name


def write(descriptor: int, line: bytes, place: int = 0) -> None:
    """Write a line at a place of an open file.

    Raises:
        OSError: the disk refuses.
    """
    os.pwrite(descriptor, line, place)


def read(descriptor: int, place: int = 0, most: int = _MOST) -> dict[str, Any]:
    """Return what the line at a place of an open file says; nothing if it is damaged."""
    line, end, _ = os.pread(descriptor, most, place).partition(b"\n")
    try:
        values = json.loads(line) if end else {}
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def parse(values: dict[str, Any]) -> Holder | None:
    """Return who a line tells of; None if it tells of nobody, whoever wrote it."""
    try:
        container = values["container"]
        found = Holder(
            uid=int(values["uid"]),
            pid=int(values["pid"]),
            program=str(values["program"]),
            project=str(values["project"]),
            since=float(values["since"]),
            container=Container(*map(str, container)) if container else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found.since) else None
