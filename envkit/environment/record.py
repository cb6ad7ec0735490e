"""What an environment has, as it was written down when it was finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from envkit.environment import stamp
from envkit.environment.parts import Part

# Every change of an environment's files writes it anew.
RECORD = f"{stamp.STATE}/record"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A part that an environment has.

    Attributes:
        source: which files, byte-code aside.
        compiled: which byte-code; empty if none.
        name: what people call it.
        version: its version.
        tops: the places it has files in.
    """

    source: str
    compiled: str
    name: str
    version: str
    tops: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What an environment has.

    Attributes:
        location: the path that its scripts name.
        interpreter: what identifies its Python.
        parts: in their order, of which a later one's file stands where two have one path.
    """

    location: str
    interpreter: Mapping[str, object]
    parts: tuple[Recorded, ...]


def identity(part: Part | Recorded) -> str:
    """Return what two parts with the same files have in common."""
    return f"{part.source} {part.compiled}"


def recorded(part: Part, tops: tuple[str, ...]) -> Recorded:
    """Return what is written down of a part."""
    return Recorded(
        source=part.source,
        compiled=part.compiled,
        name=part.name,
        version=part.version,
        tops=tops,
    )


def write(path: str, record: Record) -> None:
    """Write the record of an environment, by rename."""
    stamp.replace(f"{path}/{RECORD}", json.dumps(asdict(record), separators=(",", ":")))


def read(path: str) -> Record | None:
    """Return the record of an environment; None if it has none that can be read."""
    try:
        with open(f"{path}/{RECORD}", encoding="utf-8", errors="surrogateescape") as file:
            values = json.load(file)
        interpreter = values["interpreter"]
        interpreter["modified"] = tuple(interpreter["modified"])
        return Record(
            location=values["location"],
            interpreter=interpreter,
            parts=tuple(
                Recorded(**{**part, "tops": tuple(part["tops"])}) for part in values["parts"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
