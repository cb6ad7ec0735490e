"""Run commands one after another and report what each of them took.

Started as ``python -I -S stopwatch.py`` with one JSON object on standard input::

    {"steps": [{"argv": [...], "cwd": "...", "env": {...}, "log": "..."}],
     "limit": 900.0, "calm": 600.0}

``limit`` is what one step may take and ``calm`` how long to wait, after the last step, for
processes that the steps left running; both in seconds. Every ``argv[0]`` is an absolute path;
output goes to the end of ``log``. The answer is one JSON object on standard output (see `main`). A
step that fails or runs into its limit is the last one.

It stays this small on purpose. Linux keeps the high-water mark of a process's resident set across
execve(2), and posix_spawn(3) starts from the caller's, so whatever starts a command puts a floor
under the peak measured for it. Here that is a bare interpreter, about 10 MiB.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

GRACE = 5.0  # seconds between SIGTERM and SIGKILL
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
KIB = (
    1024 if sys.platform == "darwin" else 1
)  # getrusage(2): ru_maxrss is in KiB on Linux, in bytes on macOS


class Deadline:
    """Terminates a process group, then kills it, when the time is up.

    ``targets`` is asked at that moment which groups or processes to signal: ``(id, is_group)``.
    """

    def __init__(self) -> None:
        self.targets: list[tuple[int, bool]] = []
        self.passed = False
        for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ring)

    def start(self, seconds: float, targets: list[tuple[int, bool]]) -> None:
        """Signal ``targets``, or all children if that is empty, in ``seconds`` from now."""
        self.targets, self.passed = targets, False
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def stop(self) -> None:
        """Call it off; `passed` tells whether it was too late."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        number = signal.SIGKILL if self.passed else signal.SIGTERM
        self.passed = True
        for target, is_group in self.targets or [(child, False) for child in children()]:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if is_group else os.kill)(target, number)
        signal.setitimer(signal.ITIMER_REAL, GRACE)


def children() -> list[int]:
    """List this process's children, inherited ones too; none where /proc does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def adopt_orphans() -> bool:
    """Become the parent of what the steps leave behind (prctl(2)); False where that can't be."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def run(step: dict[str, Any], limit: float, deadline: Deadline) -> dict[str, Any]:
    """Run one step to its end; seconds of wall clock and processor, exit code, peak."""
    os.chdir(step["cwd"])
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    start = time.perf_counter()
    pid = os.posix_spawn(
        step["argv"][0],
        step["argv"],
        step["env"],
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, step["log"], append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setpgroup=0,
    )
    deadline.start(limit, [(pid, True)])
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    deadline.stop()
    return {
        "seconds": seconds,
        "code": os.waitstatus_to_exitcode(status),
        "timed_out": deadline.passed,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_kib": usage.ru_maxrss // KIB,
    }


def calm_down(limit: float, deadline: Deadline) -> dict[str, Any]:
    """Wait for every adopted process to end: how long that took, and what they used in all."""
    start = time.perf_counter()
    count, cpu, peak = 0, 0.0, 0
    deadline.start(limit, [])
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        count += 1
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss // KIB)
    deadline.stop()
    return {
        "seconds": time.perf_counter() - start if count else 0.0,
        "count": count,
        "cpu": cpu,
        "peak_kib": peak,
        "timed_out": deadline.passed,
    }


def main() -> None:
    """Answer with ``{"steps": [one object a step started], "behind": {what outlived them}}``."""
    request = json.load(sys.stdin)
    deadline = Deadline()
    adopted = adopt_orphans()
    steps = []
    for step in request["steps"]:
        steps.append(run(step, request["limit"], deadline))
        if steps[-1]["code"] != 0 or steps[-1]["timed_out"]:
            break
    behind = calm_down(request["calm"], deadline)
    json.dump({"steps": steps, "behind": behind, "adopted": adopted}, sys.stdout)


if __name__ == "__main__":
    main()
