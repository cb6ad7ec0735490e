"""Programs that are supervised: read while they run, and ended in bounds.

Each is in a session of its own, so that what a terminal sends goes to who supervises it alone. On
Linux the kernel ends it should that process be killed (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from envkit import procfs, refusals
from envkit.errors import MissingError
from envkit.foreground import missing

if TYPE_CHECKING:
    from types import FrameType

# Becomes a program that ends with its parent, given by its id; 1 is PR_SET_PDEATHSIG.
_LAUNCH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(128 + signal.SIGTERM)
os.execvp(sys.argv[2], sys.argv[2:])
"""

_CHUNK = 1 << 16

# The variable by which all that belongs to a service is known.
MARK = "ENVKIT_SERVICE"

# A process that is killed goes on until its turn comes. So long is waited for that, and so long
# between two looks, in seconds.
_DYING, _PERIOD = 2.0, 0.005

# No process has descriptors with so high a number, unless somebody raised its limit.
_MOST_DESCRIPTORS = 1 << 16


class Supervised:
    """A program that runs."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        mark: str,
        inherited: Sequence[int] = (),
    ) -> None:
        """Start it.

        Args:
            command: the program and its arguments; no shell is involved.
            cwd: the folder to run in.
            env: its whole environment.
            mark: what tells it, and all that it starts, from everything else.
            inherited: the descriptors that it gets, such as those of a lease.

        Raises:
            MissingError: the program is not there.
        """
        if shutil.which(command[0], path=env.get("PATH")) is None:
            raise MissingError(f"{command[0]}: no such command")
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]
        try:
            self._popen = subprocess.Popen(
                launch,
                cwd=cwd,
                env={**env, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
                pass_fds=tuple(inherited),
            )
        except OSError as error:
            if refusals.is_limit(error):
                raise
            raise missing(command[0], error) from None
        self._mark = mark

    @property
    def identity(self) -> str:
        """What others know it by."""
        return f"process {self._popen.pid}"

    def chunks(self) -> Iterator[bytes]:
        """Yield what it prints, to its end; for one thread."""
        assert self._popen.stdout
        # Where it is closed meanwhile, nothing more is wanted.
        with contextlib.suppress(OSError, ValueError):
            while chunk := self._popen.stdout.read(_CHUNK):
                yield chunk

    def poll(self) -> int | None:
        """Return its exit code, minus the signal that ended it; None while it runs."""
        code = self._popen.poll()
        return None if code is None else int(code)

    def terminate(self) -> None:
        """Ask it to end."""
        self._popen.terminate()

    def kill(self) -> None:
        """End it, and all that is left of what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        kill_marked(self._mark)
        self._popen.wait()

    def close(self) -> None:
        """Let nothing of it be left, now that it has ended."""
        self.kill()
        if self._popen.stdout:
            self._popen.stdout.close()


def kill_marked(mark: str) -> int:
    """End all processes of this user that have a mark, and see them gone; return how many.

    Those in sessions of their own as well, which no signal to a group reaches.
    """
    ended: set[int] = set()
    until = time.monotonic() + _DYING
    while (alive := _marked(mark)) and time.monotonic() < until:
        for number in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        ended.update(alive)
        time.sleep(_PERIOD)
    return len(ended)


def _marked(mark: str) -> list[int]:
    """Return the other processes that have a mark (proc(5), /proc/PID/environ)."""
    wanted = f"\0{MARK}={mark}\0".encode()
    return [
        number
        for number in procfs.numbers()
        if number != os.getpid() and wanted in b"\0" + procfs.environ(number)
    ]


class Stops:
    """Counts, while it is entered, how often this process was asked to stop."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Stops:
        for number in self._SIGNALS:
            # Who starts a command with nohup means it to go on.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def leave_behind(work: Callable[[], int], *, keep: Sequence[int] = ()) -> int:
    """Do some work in a fork of this process that outlives it, and return the fork's id.

    It has no terminal, and nothing that it prints is seen. No thread may be running.

    Args:
        work: the work; what it returns is the exit code.
        keep: the descriptors that it needs; it gets no others.
    """
    process = os.fork()
    if process == 0:
        _go(work, keep)
    return process


def _go(work: Callable[[], int], keep: Sequence[int]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nowhere, descriptor)
        first = 3
        for descriptor in (*sorted({one for one in keep if one > 2}), _MOST_DESCRIPTORS):
            os.closerange(first, descriptor)
            first = descriptor + 1
        code = work()
    finally:
        os._exit(code)
