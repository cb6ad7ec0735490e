"""The progress of BuildKit as `buildx build --progress=plain` prints it, for older buildx."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from envkit.engines.progress import Event, Finished, Line, Started, Transfer

# What buildx says of itself has the number 0.
_NUMBERED = re.compile(r"^#(?P<step>\d+) (?P<rest>.*)$")
_DONE = re.compile(r"^DONE(?: (?P<seconds>[\d.]+)s)?$")
_PRINTED = re.compile(r"^\d+\.\d+ (?P<text>.*)$")
_SIZE = r"(?P<{0}>[\d.]+)(?P<{0}_unit>[kKMGT]?i?B)"
_MOVED = re.compile(
    rf"^(?P<item>transferring \w+:|sha256:\w+) {_SIZE.format('current')}"
    rf"(?: / {_SIZE.format('total')})?(?: |$)"
)
_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Reader:
    """Reads what is printed, line by line.

    Attributes:
        other: the lines that belong to no step: warnings, and the error in the end.
    """

    def __init__(self, locate: Callable[[str], int | None]) -> None:
        """Begin.

        Args:
            locate: returns the Dockerfile's line of a step, by its name.
        """
        self.other: list[str] = []
        self._locate = locate
        self._known: set[str] = set()

    def heard(self, line: str) -> Iterator[Event]:
        """Yield the events that a line means."""
        match = _NUMBERED.match(line)
        if not match:
            if line.strip():
                self.other.append(line)
            return
        step, rest = match["step"], match["rest"]
        if step == "0":
            return
        if step not in self._known:
            self._known.add(step)
            yield Started(step, rest, self._locate(rest))
        else:
            yield from _event(step, rest)


def _event(step: str, rest: str) -> Iterator[Event]:
    done = _DONE.match(rest)
    moved = _MOVED.match(rest)
    printed = _PRINTED.match(rest)
    if done:
        yield Finished(step, "done", float(done["seconds"] or 0))
    elif rest == "CACHED":
        yield Finished(step, "cached")
    elif rest == "CANCELED":
        yield Finished(step, "canceled")
    elif rest.startswith("ERROR: "):
        yield Finished(step, "failed", error=rest.removeprefix("ERROR: "))
    elif moved:
        total = _bytes(moved["total"], moved["total_unit"]) if moved["total"] else 0
        current = _bytes(moved["current"], moved["current_unit"])
        yield Transfer(step, moved["item"], current, total)
    elif printed:
        yield Line(step, printed["text"].rpartition("\r")[2])


def _bytes(number: str, unit: str) -> int:
    try:
        return int(float(number) * _UNITS[unit.rstrip("B").rstrip("i")])
    except ValueError:
        return 0
