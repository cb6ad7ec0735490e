"""The progress of BuildKit as `buildx build --progress=rawjson` prints it."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from envkit.builders.solve import Log, Status, Told, Vertex

# "2026-11-25T22:02:26.172376766Z": more digits than Python takes.
_TIME = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$")


class Reader:
    """Reads what is printed, line by line: objects on one line each, or indented on many.

    Attributes:
        other: the lines that belong to no object: warnings, and the error in the end.
    """

    def __init__(self) -> None:
        self.other: list[str] = []
        self._open: list[str] = []

    def heard(self, line: str) -> Iterator[Told]:
        """Yield what a line completes."""
        if self._open:
            self._open.append(line)
            if line == "}":
                text, self._open = "\n".join(self._open), []
                yield from self._object(text)
        elif line == "{":
            self._open = [line]
        elif line.startswith("{"):
            yield from self._object(line)
        elif line.strip():
            self.other.append(line)

    def _object(self, text: str) -> Iterator[Told]:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            self.other += text.splitlines()
            return
        if isinstance(message, dict):
            yield from _told(message)


def _told(message: Mapping[str, Any]) -> Iterator[Told]:
    for one in _objects(message, "vertexes"):
        yield Vertex(
            digest=str(one.get("digest", "")),
            name=str(one.get("name", "")),
            cached=bool(one.get("cached")),
            started=_time(one.get("started")),
            completed=_time(one.get("completed")),
            error=str(one.get("error") or ""),
        )
    for one in _objects(message, "statuses"):
        yield Status(
            vertex=str(one.get("vertex", "")),
            id=str(one.get("id", "")),
            current=_number(one.get("current")),
            total=_number(one.get("total")),
        )
    for one in _objects(message, "logs"):
        yield Log(vertex=str(one.get("vertex", "")), data=_bytes(one.get("data")))


def _objects(message: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = message.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _bytes(value: object) -> bytes:
    try:
        return binascii.a2b_base64(value) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _time(value: object) -> float | None:
    match = _TIME.match(value) if isinstance(value, str) else None
    if not match:
        return None
    try:
        whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    except ValueError:
        return None
    return whole.astimezone(timezone.utc).timestamp() + float(match[2] or 0)
