"""What is going on in a build or a transfer, in one form whoever does it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

# How many of a step's last lines are kept.
KEPT_LINES = 200


class Started(NamedTuple):
    """A step began, or will.

    Attributes:
        step: what tells it from others.
        name: as people are told of it: "[deps 2/3] RUN pip install ...".
        line: the Dockerfile's line that it is about; None if of none, or if that is not known.
    """

    step: str
    name: str
    line: int | None = None


class Finished(NamedTuple):
    """A step ended.

    Attributes:
        step: which one.
        outcome: whether it was done, was there already, failed, or was called off.
        seconds: how long it took, where the builder says it.
        error: why it failed, in the builder's words.
    """

    step: str
    outcome: Literal["done", "cached", "failed", "canceled"]
    seconds: float | None = None
    error: str = ""


class Line(NamedTuple):
    """A step printed a line."""

    step: str
    text: str


class Transfer(NamedTuple):
    """How far a step's transfer is.

    Attributes:
        step: which one.
        item: what is transferred: a layer's id, or "transferring context".
        current: bytes that were.
        total: how many there are; 0 where nobody knows.
    """

    step: str
    item: str
    current: int
    total: int


Event = Started | Finished | Line | Transfer
Report = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Take no notice of an event."""


class Step:
    """What is known of a step.

    Attributes:
        name: as people are told of it.
        line: the Dockerfile's line that it is about, if one is.
        state: "running", or how it ended.
        seconds: how long it took, where the builder says it.
        error: why it failed.
        lines: the last of what it printed.
        transfers: item -> (bytes transferred, bytes in all or 0).
    """

    def __init__(self, name: str, *, line: int | None = None) -> None:
        self.name = name
        self.line = line
        self.state = "running"
        self.seconds: float | None = None
        self.error = ""
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.transfers: dict[str, tuple[int, int]] = {}

    @property
    def transferred(self) -> tuple[int, int]:
        """How many bytes were transferred, and of how many; 0 where nobody knows."""
        done = sum(current for current, _ in self.transfers.values())
        known = all(total for _, total in self.transfers.values())
        return done, sum(total for _, total in self.transfers.values()) if known else 0


class Progress:
    """What goes on, kept from events.

    Attributes:
        steps: each step that was heard of, in that order.
    """

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def __call__(self, event: Event) -> None:
        """Take notice of an event."""
        if isinstance(event, Started):
            step = self.steps.setdefault(event.step, Step(event.name))
            step.name, step.line, step.state = event.name, event.line, "running"
            return
        step = self.steps.setdefault(event.step, Step(event.step))
        if isinstance(event, Finished):
            step.state, step.seconds = event.outcome, event.seconds
            step.error = event.error
        elif isinstance(event, Line):
            step.lines.append(event.text)
        else:
            step.transfers[event.item] = (event.current, event.total)

    @property
    def failed(self) -> Step | None:
        """The step that failed first, if one did."""
        return next((step for step in self.steps.values() if step.state == "failed"), None)
