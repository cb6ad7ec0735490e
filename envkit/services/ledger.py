"""What is known of a project's services, for other commands than the one that supervises them.

Who supervises a service holds a lock for as long as it lives, so that what is written of one never
says that it runs when it does not.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, get_args

from envkit import mutex
from envkit.store.layout import write_whole

State = Literal["starting", "ready", "stopping", "stopped", "failed", "killed"]

# A line has about so many bytes at most; longer ones make the last lines fewer.
_USUAL = 2000

# A log of more bytes than this is put aside, in the place of the one before.
_LARGE = 10_000_000


class Entry(NamedTuple):
    """What is known of a service.

    Attributes:
        name: what it is called.
        kind: its kind.
        address: where it is reached.
        state: how it is; "killed" is one whose supervisor was.
        gpus: the GPUs that it has, as nvidia-smi counts them.
        since: since when it is so, in seconds since the epoch.
        process: what it runs as; empty if it does not.
        supervisor: the id of the process that supervises it.
        reason: why it failed, or how it was stopped; may be empty.
        example: a command that asks it for something; may be empty.
    """

    name: str
    kind: str
    address: str = ""
    state: State = "stopped"
    gpus: tuple[int, ...] = ()
    since: float = 0.0
    process: str = ""
    supervisor: int = 0
    reason: str = ""
    example: str = ""

    def document(self) -> dict[str, Any]:
        """Return it for programs: what is not known is None."""
        values = self._asdict()
        unknown = ("address", "since", "process", "supervisor", "reason", "example")
        return {**values, **{key: values[key] or None for key in unknown}}

    @property
    def is_sound(self) -> bool:
        """Whether every value is of the kind that it should be."""
        texts = (self.name, self.kind, self.address, self.process, self.reason, self.example)
        return (
            all(isinstance(one, str) for one in texts)
            and self.state in get_args(State)
            and all(isinstance(one, int) for one in (*self.gpus, self.supervisor))
            and isinstance(self.since, (int, float))
        )

    @property
    def is_running(self) -> bool:
        """Whether it runs, or is about to."""
        return self.state in ("starting", "ready", "stopping")


class Ledger:
    """The files of a project's services."""

    def __init__(self, folder: Path) -> None:
        """Begin.

        Args:
            folder: where they are; made when it is needed.
        """
        self._folder = folder

    def label(self, name: str) -> str:
        """Return what tells a service from all others of the machine."""
        # The folder's name ends in a digest of the project's path.
        return f"{self._folder.parent.name[-16:]}/{name}"

    def names(self) -> list[str]:
        """Return the names of the services of which anything is known."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def folder(self, name: str) -> Path:
        """Return a folder for a service's own files, which is there."""
        place = self._folder / name
        place.mkdir(parents=True, exist_ok=True)
        return place

    def log(self, name: str) -> Path:
        """Return the file of what a service prints."""
        return self._folder / f"{name}.log"

    @contextmanager
    def supervising(self, name: str) -> Iterator[bool]:
        """Hold a service, and lend whether nobody else does."""
        with mutex.try_hold(str(self._folder / f"{name}.lock")) as alone:
            yield alone

    def is_supervised(self, name: str) -> bool:
        """Return whether a process lives that supervises a service."""
        return mutex.is_held(str(self._folder / f"{name}.lock"))

    def read(self, name: str) -> Entry | None:
        """Return what is known of a service; None if nothing is, or nothing that makes sense."""
        try:
            found: Any = json.loads((self._folder / f"{name}.json").read_bytes())
            entry = Entry(**{**found, "gpus": tuple(found["gpus"])})
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        if entry.name != name or not entry.is_sound:
            return None
        if entry.is_running and not self.is_supervised(name):
            return entry._replace(state="killed", reason="its supervisor was killed")
        return entry

    def write(self, entry: Entry) -> None:
        """Write what is known of a service, by whom supervises it.

        Raises:
            OSError: the disk refuses.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / f"{entry.name}.json", json.dumps(entry._asdict()))

    def request_stop(self, name: str) -> None:
        """Ask whoever supervises a service to stop it."""
        (self._folder / f"{name}.stop").touch()

    def is_stop_requested(self, name: str) -> bool:
        """Return whether somebody wants a service stopped."""
        return (self._folder / f"{name}.stop").exists()

    def begin(self, name: str) -> None:
        """Forget what was wanted of, and printed by, a service that is about to be started."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{name}.stop").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.replace(self.log(name), f"{self.log(name)}.1")


class Log:
    """The log of a service, while it is written; the service is worth more than it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._open()

    def write(self, line: bytes) -> None:
        """Write a line; where the disk refuses, nothing is written."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.write(line + b"\n")
            if self._file.tell() > _LARGE:
                self.close()
                with contextlib.suppress(OSError):
                    os.replace(self._path, f"{self._path}.1")
                self._open()

    def close(self) -> None:
        """Close it."""
        if self._file:
            self._file.close()
        self._file = None

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            self._file = self._path.open("ab", buffering=0)


class Followed:
    """A log that is read, and read on where another file takes its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""

    def last(self, lines: int) -> Sequence[str]:
        """Return the last lines that there are, as text; what comes is read from there on."""
        if not self._opened():
            return []
        assert self._file
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - lines * _USUAL))
        found = list(self._read())
        return found[-lines:] if lines else []

    def more(self) -> Iterator[str]:
        """Yield the lines that have come."""
        yield from self._read()
        if self._file is None or self._has_been_replaced():
            # What the one before got last is read first.
            yield from self._read()
            self.close()
            if self._opened():
                yield from self._read()

    def close(self) -> None:
        """Close it."""
        if self._file:
            self._file.close()
        self._file = None

    def _read(self) -> Iterator[str]:
        if self._file is None:
            return
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)

    def _opened(self) -> bool:
        with contextlib.suppress(OSError):
            self._file = self._path.open("rb")
        return self._file is not None

    def _has_been_replaced(self) -> bool:
        assert self._file
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except OSError:
            return False
