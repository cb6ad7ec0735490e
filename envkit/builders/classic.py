"""The progress of the engine's classic builder, which tells it as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from envkit.builders.solve import shown
from envkit.builders.steps import Step
from envkit.engines.progress import Event, Finished, Line, Started, Transfer

_STEP = re.compile(r"^Step (?P<step>\d+)/(?P<total>\d+) : (?P<text>.*)$")
_OWN = re.compile(
    r"^(?: ---> (?:\[Warning\].*|Running in \w+|Removed intermediate container \w+|[0-9a-f]{12})"
    r"|Removing intermediate container \w+|Successfully (?:built|tagged) .*)$"
)
_CACHED = " ---> Using cache"

# With which a message of the builder's own begins, even after a line that a step did not end.
_BEGINNINGS = ("Step ", " ---> ", "Removing intermediate container ", "Successfully ")

# What a step says on its standard error is made red.
_RED = re.compile("\x1b\\[91m|\x1b\\[0m")
_BUILT = re.compile(r"^Successfully built ([0-9a-f]+)$")


class Reader:
    """Reads the messages of a build.

    Attributes:
        built: the id of the image that was built; "" until there is one.
    """

    def __init__(self, instructions: Sequence[Step]) -> None:
        """Begin.

        Args:
            instructions: those of the Dockerfile, all of which the classic builder counts.
        """
        self.built = ""
        self._instructions = instructions
        self._step = ""
        self._cached = False
        self._waiting = ""

    def heard(self, message: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events that a message means, which is no failure."""
        extra = message.get("aux")
        if isinstance(extra, dict) and extra.get("ID"):
            self.built = str(extra["ID"])
        text = message.get("stream")
        if isinstance(text, str):
            if self._waiting and text.startswith(_BEGINNINGS):
                text = f"\n{text}"
            *lines, self._waiting = (self._waiting + _RED.sub("", text)).split("\n")
            for line in lines:
                yield from self._line(line)
        elif message.get("progressDetail") and message.get("id"):
            detail = message["progressDetail"]
            current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
            yield Transfer(self._step, str(message["id"]), current, total)

    def ended(self, error: str = "") -> Iterator[Event]:
        """Yield how the last step ended.

        Args:
            error: why it failed, if it did.
        """
        if self._waiting:
            yield from self._line(self._waiting)
        yield from self._finished(error)

    def _line(self, line: str) -> Iterator[Event]:
        step = _STEP.match(line)
        built = _BUILT.match(line)
        if step:
            yield from self._finished()
            self._step, self._cached = step["step"], False
            yield Started(self._step, self._name(step), self._place(int(step["step"])))
        elif line == _CACHED:
            self._cached = True
        elif built:
            self.built = self.built or built[1]
        elif line.strip() and not _OWN.match(line):
            yield Line(self._step, shown(line.encode("utf-8", "surrogatepass")))

    def _finished(self, error: str = "") -> Iterator[Event]:
        outcome: Literal["done", "cached", "failed"] = "cached" if self._cached else "done"
        if self._step:
            yield Finished(self._step, "failed" if error else outcome, error=error)
        self._step = ""

    def _name(self, step: re.Match[str]) -> str:
        return f"[{step['step']}/{step['total']}] {step['text']}"

    def _place(self, step: int) -> int | None:
        return self._instructions[step - 1].line if step <= len(self._instructions) else None
