"""BuildKit's status of a build, in whatever form it came, as events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from envkit.engines.progress import Event, Finished, Line, Started, Transfer

# Longer lines are cut up: nobody reads them, and they would pile up.
_LONGEST = 1 << 16


class Vertex(NamedTuple):
    """A step of a build, as it is now. Times are seconds since 1970; None where it is not there.

    Source: `moby.buildkit.v1.Vertex` (moby/buildkit, api/services/control/control.proto).
    """

    digest: str
    name: str
    cached: bool = False
    started: float | None = None
    completed: float | None = None
    error: str = ""


class Status(NamedTuple):
    """How far something is that a step does (`moby.buildkit.v1.VertexStatus`)."""

    vertex: str
    id: str
    current: int
    total: int


class Log(NamedTuple):
    """What a step printed (`moby.buildkit.v1.VertexLog`)."""

    vertex: str
    data: bytes


Told = Vertex | Status | Log


class Solving:
    """A build of BuildKit that goes on."""

    def __init__(self, locate: Callable[[str], int | None]) -> None:
        """Begin.

        Args:
            locate: returns the Dockerfile's line of a step, by its name.
        """
        self._locate = locate
        self._started: dict[str, float] = {}
        self._waiting: dict[str, bytes] = {}

    def heard(self, told: Told) -> Iterator[Event]:
        """Yield the events that BuildKit's word means."""
        if isinstance(told, Vertex):
            yield from self._vertex(told)
        elif isinstance(told, Status):
            if told.current or told.total:
                yield Transfer(told.vertex, told.id, told.current, told.total)
        else:
            yield from self._log(told)

    def ended(self) -> Iterator[Event]:
        """Yield what was printed last, without an end of line."""
        for vertex in list(self._waiting):
            yield from self._rest(vertex)

    def _vertex(self, told: Vertex) -> Iterator[Event]:
        if told.started is None:
            return
        if self._started.get(told.digest) != told.started:
            self._started[told.digest] = told.started
            yield Started(told.digest, told.name, self._locate(told.name))
        if told.completed is not None:
            yield from self._rest(told.digest)
            seconds = max(0.0, told.completed - told.started)
            yield Finished(told.digest, _outcome(told), seconds, told.error)

    def _log(self, told: Log) -> Iterator[Event]:
        *lines, rest = (self._waiting.pop(told.vertex, b"") + told.data).split(b"\n")
        for line in lines:
            yield Line(told.vertex, shown(line))
        while len(rest) > _LONGEST:
            yield Line(told.vertex, shown(rest[:_LONGEST]))
            rest = rest[_LONGEST:]
        if rest:
            self._waiting[told.vertex] = rest

    def _rest(self, vertex: str) -> Iterator[Event]:
        rest = self._waiting.pop(vertex, b"")
        if rest:
            yield Line(vertex, shown(rest))


def shown(line: bytes) -> str:
    """Return a line as it stands on a terminal in the end: what follows the last return."""
    text = line.decode("utf-8", "backslashreplace").rstrip("\r")
    return text.rpartition("\r")[2]


def _outcome(told: Vertex) -> Literal["done", "cached", "failed", "canceled"]:
    if told.error:
        return "canceled" if told.error.endswith("context canceled") else "failed"
    return "cached" if told.cached else "done"
