"""What runs on this machine, and who started it. Source: proc(5)."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path


def children(parent: int) -> list[int]:
    """Return the ids of a process's children; those that have ended, unnoticed, are left out."""
    return [number for number, started_by in _alive() if started_by == parent]


def below(top: int) -> list[int]:
    """Return the ids of all that descend from a process."""
    pairs = list(_alive())
    found = [top]
    for one in found:
        found += [number for number, started_by in pairs if started_by == one]
    return found[1:]


def command(number: int) -> Sequence[str]:
    """Return the words of a process's command line; none if it has ended."""
    try:
        text = Path(f"/proc/{number}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return text.split("\0")[:-1]


def _alive() -> Iterator[tuple[int, int]]:
    """Yield the id of each process, and that of the one that started it."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name of the program, in brackets, may hold anything.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                yield int(path.parent.name), int(fields[1])
