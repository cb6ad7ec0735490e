"""Who has something, or waits for it: what a process writes of itself, for others to read.

Whoever shares a folder of leases can write anything into it, so that nothing that is read is relied
on for more than to be shown.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from envkit import boot, procfs
from envkit.quantities import age_text

# The bytes of a line at most; where a file has several, so far apart they stand.
SIZE = 1 << 14

# More characters of a path are not written down.
_PATH = 500

# Programs that run a file, whose name says more than theirs.
_RUNNERS = re.compile(r"python[\d.]*|(ba|da|z|k|c|tc)?sh|fish")


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
        started: what tells that process from all others that have its id, before, after or in a
            container (`procfs.identity`).
        boot: since which start of which machine it has it (`boot.identity`).
        program: the program and what it runs, without options, which may hold secrets.
        project: the folder of the project; empty outside of one.
        since: since when, in seconds since 1970.
        container: the container in which it works, if it is one.
    """

    uid: int
    pid: int
    started: str
    boot: str
    program: str
    project: str
    since: float
    container: Container | None = None

    @classmethod
    def this(cls, command: Sequence[str], project: str) -> Holder:
        """Return this process, which is about to become a command."""
        place = project if len(project) <= _PATH else f"…{project[-_PATH:]}"
        pid = os.getpid()
        return cls(
            uid=os.getuid(),
            pid=pid,
            started=procfs.identity(pid),
            boot=boot.identity(),
            program=program(command),
            project=place,
            since=time.time(),
        )

    def handed_on(self) -> Holder:
        """Return it with this process for its first one, from now on."""
        pid = os.getpid()
        return self._replace(pid=pid, started=procfs.identity(pid), since=time.time())

    @property
    def user(self) -> str:
        """The name of the user whose it is."""
        return procfs.user_name(self.uid)

    @property
    def process(self) -> procfs.Running | None:
        """Its first process; None if that has ended, whichever has its id by now."""
        if not self.started or self.boot != boot.identity():
            return None
        found = procfs.find(self.pid)
        try:
            return found if found and found.identity == self.started else None
        except OSError:
            return None

    @property
    def command(self) -> str:
        """What it runs: its whole command where it still runs, or else the program."""
        found = self.process
        return (found.command if found else "") or self.program

    def text(self) -> str:
        """Return who it is, in a few words: "alice (train.py, 3 h)"."""
        return f"{self.user} ({self.command}, {age_text(time.time() - self.since)})"

    def encoded(self, **more: object) -> bytes:
        """Return a line that says all this, and more."""
        text = json.dumps({**self._asdict(), **more}, ensure_ascii=False)
        return text.encode("utf-8", "replace") + b"\n"


def program(command: Sequence[str]) -> str:
    """Return a command without options: "python train.py"."""
    name = os.path.basename(command[0])
    script = command[1] if len(command) > 1 else ""
    is_script = script and not script.startswith("-") and "=" not in script
    shown = f"{name} {os.path.basename(script)}" if is_script and _RUNNERS.fullmatch(name) else name
    return procfs.one_line(shown)


def write(descriptor: int, line: bytes, place: int = 0) -> None:
    """Write a line at a place of an open file.

    Raises:
        OSError: the disk refuses.
    """
    os.pwrite(descriptor, line, place)


def read(descriptor: int, place: int = 0) -> dict[str, Any]:
    """Return what the line at a place of an open file says; nothing if it is damaged."""
    line, end, _ = os.pread(descriptor, SIZE, place).partition(b"\n")
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
            started=_text(values["started"]),
            boot=_text(values["boot"]),
            program=_text(values["program"]),
            project=_text(values["project"]),
            since=float(values["since"]),
            container=Container(*map(_text, container)) if container else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found.since) else None


def _text(value: object) -> str:
    """Return a text that every terminal and every JSON can have."""
    return procfs.one_line(str(value)).encode("utf-8", "replace").decode()
