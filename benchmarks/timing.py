"""Timed commands as values: what to run, what it took, how several runs compare."""

from __future__ import annotations

import fcntl
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STOPWATCH = Path(__file__).with_name("stopwatch.py")
_TAIL = 6  # lines of a failed command's output that are kept


@dataclass(frozen=True, kw_only=True)
class Command:
    """One process: ``argv[0]`` is an absolute path, ``env`` its whole environment."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one command took: seconds of wall clock and processor, its largest process in KiB."""

    seconds: float
    cpu: float
    peak_kib: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A sequence of commands, as far as it got.

    ``timings`` holds one entry for each command that succeeded. ``error`` is None when all did,
    else what failed with the last lines that it printed. The ``behind`` figures are of processes
    that outlived the commands: their seconds run from the end of the last command; ``behind_error``
    says that they had to be ended.
    """

    timings: tuple[Timing, ...]
    behind_seconds: float
    behind_cpu: float
    behind_peak_kib: int
    behind_error: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many seconds one command may take, and how many to wait for what it leaves running."""

    command: float
    calm: float


def run(commands: Sequence[Command], *, log: Path, limits: Limits) -> Outcome:
    """Run ``commands`` one after another under the stopwatch, their output going to ``log``.

    Dirty pages are written out first, so that one tool does not pay for what the one before it
    wrote.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    steps = [
        {"argv": list(c.argv), "cwd": str(c.cwd), "env": dict(c.env), "log": str(log)}
        for c in commands
    ]
    request = {"steps": steps, "limit": limits.command, "calm": limits.calm}
    os.sync()
    watch = subprocess.run(
        [sys.executable, "-I", "-S", str(_STOPWATCH)],
        check=False,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=limits.command * len(steps) + limits.calm + 60,
    )
    if watch.returncode != 0:
        raise RuntimeError(f"the stopwatch failed:\n{watch.stderr}")
    answer = json.loads(watch.stdout)
    timings, error = [], None
    for command, step in zip(commands, answer["steps"], strict=False):
        if step["timed_out"] or step["code"] != 0:
            how = "timed out" if step["timed_out"] else f"exit status {step['code']}"
            error = f"{_words(command.argv)}: {how}: {_last_lines(log)}"
            break
        timings.append(Timing(seconds=step["seconds"], cpu=step["cpu"], peak_kib=step["peak_kib"]))
    behind = answer["behind"]
    overdue = f"what it left running did not end in {limits.calm:.0f} s"
    return Outcome(
        timings=tuple(timings),
        behind_seconds=behind["seconds"],
        behind_cpu=behind["cpu"],
        behind_peak_kib=behind["peak_kib"],
        behind_error=overdue if behind["timed_out"] else None,
        error=error,
    )


def wait_for_lock(path: Path, limit: float) -> bool:
    """Wait till nobody holds a flock(2) on ``path``; False after ``limit`` seconds."""
    end = time.monotonic() + limit
    while True:
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return True
        except FileNotFoundError:
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median, least and greatest of some numbers."""

    median: float
    least: float
    greatest: float


def spread(values: Sequence[float]) -> Spread:
    """Summarize ``values``, of which there is at least one."""
    return Spread(median=statistics.median(values), least=min(values), greatest=max(values))


def ratios(values: Mapping[int, float], reference: Mapping[int, float]) -> Spread | None:
    """How ``values`` relate to ``reference``, round by round: None when they share no round.

    Two numbers of one round were measured within minutes of each other, so that what slows the
    machine for a while hits both; the spread of their quotients is narrower, and says more, than
    the quotient of two medians.
    """
    quotients = [value / reference[n] for n, value in values.items() if n in reference]
    return spread(quotients) if quotients else None


def _words(argv: Sequence[str]) -> str:
    shown = [Path(argv[0]).name, *argv[1:4]]
    return " ".join(shown) + (" …" if len(argv) > 4 else "")


def _last_lines(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return " / ".join([line for line in lines if line][-_TAIL:]) or "it printed nothing"
