"""The streams that go to an engine and come from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from envkit.errors import ToolError

Message = Mapping[str, Any]

# So many bytes are sent at once, as each piece costs a system call and some lines of Python.
_PIECE = 1 << 18


class Sending:
    """Bytes that are sent; keeps what their source raised, which the libraries would wrap.

    Attributes:
        failure: that; None if it raised nothing.
    """

    def __init__(self, data: Iterable[bytes]) -> None:
        self._data = data
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        waiting: list[bytes] = []
        size = 0
        try:
            for chunk in self._data:
                waiting.append(chunk)
                size += len(chunk)
                if size >= _PIECE:
                    yield b"".join(waiting)
                    waiting, size = [], 0
        except Exception as error:
            self.failure = error
            raise
        # An empty one would end the request.
        if size:
            yield b"".join(waiting)


def parsed(chunks: Iterable[bytes]) -> Iterator[Message]:
    """Yield the messages of an engine's answer, a line of JSON each.

    Raises:
        ToolError: one is something else.
    """
    waiting = b""
    for chunk in chunks:
        *lines, waiting = (waiting + chunk).split(b"\n")
        yield from (_message(line) for line in lines if line.strip())
    if waiting.strip():
        yield _message(waiting)


def failure_in(message: Message) -> str:
    """Return the failure that a message of an engine tells of; "" if of none."""
    detail = message.get("errorDetail")
    told = detail.get("message") if isinstance(detail, dict) else None
    return str(told or message.get("error") or "")


def _message(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        text = line[:200].decode("utf-8", "backslashreplace")
        raise ToolError(f"The Docker Engine answered what is not understood: {text}")
    return message
