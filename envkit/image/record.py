"""What was built last of a project on this machine: what it came to, and what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from envkit.store.layout import write_whole


class Record(NamedTuple):
    """A build.

    Attributes:
        image: the image's id.
        tags: the names that it was given.
        size: in bytes, as the engine counts them.
        layers: the digests of its layers unpacked, the lowest first.
        inputs: the digest of all that it was made from; the same ones make the same image.
        dependencies: the name of the image with its distributions; empty if it has none.
        intermediate: names of images that were made for it and the builds before, newest first.
    """

    image: str
    tags: tuple[str, ...]
    size: int
    layers: tuple[str, ...]
    inputs: str
    dependencies: str
    intermediate: tuple[str, ...]


def read(path: Path) -> Record | None:
    """Return what was written; None if there is none, or it cannot be understood."""
    try:
        values = json.loads(path.read_bytes())
        lists = {name: tuple(values[name]) for name in ("tags", "layers", "intermediate")}
        return Record(**{**values, **lists})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write(path: Path, record: Record) -> None:
    """Write a record, in the place of the one before.

    Raises:
        OSError: the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record._asdict()))
