"""The machine that a benchmark runs on: its programs and what it is; how a benchmark is used."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def machine() -> str:
    """Say in a line what it has: its processors and its system."""
    return f"{os.cpu_count()} cores ({_processor()}), {_system()}"


def program(name: str, given: str | None) -> str | None:
    """Find a tool: its absolute path or None; `FileNotFoundError` if ``given`` is no program."""
    if given:
        found = shutil.which(given)
        if found is None:
            raise FileNotFoundError(f"there is no program {given}")
        return str(Path(found).absolute())
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    return shutil.which(name) if name == "uv" else None


def output(argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Return what a command prints; `FileNotFoundError` if it fails."""
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, timeout=60, env=env and dict(env)
    )
    if done.returncode != 0:
        raise FileNotFoundError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def environment(**more: str) -> dict[str, str]:
    """Return this process's variables and ``more``, byte-code being kept, as for most people."""
    kept = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **more}


def known(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """Read an option's list of ``names``; `argparse.ArgumentTypeError` if one is none of them."""
    chosen = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(names)}")
    return chosen


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark has whose samples can be kept."""
    add = parser.add_argument
    add("--envkit", metavar="PATH", help="default: the envkit beside this Python")
    add("--limit", type=float, default=900.0, metavar="S", help="seconds a command may take")
    add("--json", type=Path, metavar="FILE", help="save every sample")
    add(
        "--from",
        dest="reuse",
        type=Path,
        action="append",
        metavar="FILE",
        help="show saved samples",
    )
    add("--write", action="store_true", help="update the tables in benchmarks/README.md")


def say(line: str) -> None:
    """Tell of progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """Return the folder of the user's caches."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _system() -> str:
    return f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    names = [
        line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()
