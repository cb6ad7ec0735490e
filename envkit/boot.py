"""Which start of which machine this is: what was not on its disk before it may have been lost."""

import os
from functools import lru_cache


@lru_cache
def identity() -> str:
    """Return a name for this start of this machine; empty where the kernel has none (macOS).

    Sources: random(4), /proc/sys/kernel/random/boot_id; machine-id(5).
    """
    start = _read("/proc/sys/kernel/random/boot_id")
    machine = _read("/etc/machine-id") or os.uname().nodename
    return f"{start}.{machine}" if start else ""


def is_over(other: str) -> bool:
    """Return whether a start is an earlier one of this machine.

    Another machine that works on the same files, as over a network, is none of them: it may well
    be running.
    """
    this = identity()
    return this not in ("", other) and this.partition(".")[2] == other.partition(".")[2]


def _read(path: str) -> str:
    """Return the line in a small file; empty if there is none, as in a container."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
