"""Measures `envkit verify` in a project that has an environment, beside coreutils on its files.

One command: ``python benchmarks/verify.py PROJECT``. The environment has to be as its lock says.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.machine import environment

# What does the same work without knowing what should be: naming each file with its inode, its
# size and time as well, hashing it.
_PEERS = {
    "names": "find .venv -type f -printf '%i %p\\n'",
    "times": "find .venv -type f -printf '%i %s %T@ %p\\n'",
    "hashes": "find .venv -type f -print0 | xargs -0 -n 500 -P {processors} sha256sum",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table; the exit status is 1 if a command failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path, help="a folder with an environment")
    parser.add_argument("--envkit", default=str(Path(sys.executable).with_name("envkit")))
    parser.add_argument("--repeats", type=int, default=7, metavar="N")
    options = parser.parse_args(argv)
    files = sum(len(names) for _, _, names in os.walk(options.project / ".venv"))
    print(f"{files} files, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n")
    print("| depth | envkit, s (range) | coreutils, s | envkit / coreutils (range) |")
    print("| --- | ---: | ---: | ---: |")
    for depth, peer in _PEERS.items():
        ours = [options.envkit, "--quiet", "verify", "--depth", depth]
        theirs = [_shell(), "-c", peer.format(processors=os.cpu_count())]
        try:
            rounds = _rounds(options.project, ours, theirs, options.repeats)
        except subprocess.CalledProcessError as error:
            print(error, file=sys.stderr)
            return 1
        print(_row(depth, rounds))
    return 0


def _rounds(
    folder: Path, ours: Sequence[str], theirs: Sequence[str], repeats: int
) -> list[tuple[float, float]]:
    """Return the seconds of both commands, taken in turn, the first time left out."""
    environ = environment()
    found = [
        (_seconds(ours, folder, environ), _seconds(theirs, folder, environ))
        for _ in range(repeats + 1)
    ]
    return found[1:]


def _seconds(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def _row(depth: str, rounds: Sequence[tuple[float, float]]) -> str:
    ours, theirs = ([pair[which] for pair in rounds] for which in (0, 1))
    ratios = [mine / other for mine, other in rounds]
    return (
        f"| {depth} | {statistics.median(ours):.3f} ({min(ours):.3f} to {max(ours):.3f}) "
        f"| {statistics.median(theirs):.3f} "
        f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )


def _shell() -> str:
    return shutil.which("sh") or "/bin/sh"


if __name__ == "__main__":
    sys.exit(main())
