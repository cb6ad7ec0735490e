"""What an environment has, as it was written down when it was finished."""

from __future__ import annotations

import json
from typing import NamedTuple

from envkit import interpreter
from envkit.environment import stamp
from envkit.environment.parts import Part
from envkit.interpreter import Interpreter


class Recorded(NamedTuple):
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


class Record(NamedTuple):
    """What an environment has.

    Attributes:
        location: the path that its scripts name.
        interpreter: its Python.
        parts: in their order, of which a later one's file stands where two have one path.
    """

    location: str
    interpreter: Interpreter
    parts: tuple[Recorded, ...]


def identity(part: Part | Recorded) -> str:
    """Return what two parts with the same files have in common."""
    return f"{part.source} {part.compiled}"


def entries(record: Record) -> set[str]:
    """Return the names of the store's entries that an environment has files of."""
    found = set()
    for part in record.parts:
        # A distribution's source begins with its entry, the skeleton's has it behind its name.
        found.update(part.source.split(" ")[:2])
        found.add(part.compiled)
    return found


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
    values = {
        "location": record.location,
        "interpreter": record.interpreter._asdict(),
        "parts": record.parts,
    }
    stamp.replace(f"{path}/{stamp.RECORD}", json.dumps(values, separators=(",", ":")))


def _recorded(source: str, compiled: str, name: str, version: str, tops: list[str]) -> Recorded:
    """Return a part as it was written down; a TypeError if it is something else."""
    found = Recorded(source, compiled, name, version, tuple(tops))
    if not all(isinstance(text, str) for text in (*found[:-1], *tops)):
        raise TypeError
    return found


def read(path: str) -> Record | None:
    """Return the record of an environment; None if it has none that can be read."""
    try:
        with open(f"{path}/{stamp.RECORD}", encoding="utf-8", errors="surrogateescape") as file:
            values = json.load(file)
        return Record(
            location=values["location"],
            interpreter=interpreter.from_json(values["interpreter"]),
            parts=tuple(_recorded(*part) for part in values["parts"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
