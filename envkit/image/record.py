"""What was built last of a project on this machine: what it came to, and what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        ids: the ids of the images that the Dockerfile names.
        beneath: the digest of all that what it stands on was made from.
        dependencies: where its distributions came from, as `Provided` has it.
        handed: the name of the image that has them; empty if there is none.
        intermediate: names of images that were made for it and the builds before, newest first.
        keeps_nameless: whether the engine keeps images that have no name.
    """

    image: str
    tags: tuple[str, ...]
    size: int
    layers: tuple[str, ...]
    inputs: str
    ids: Mapping[str, str]
    beneath: str
    dependencies: str
    handed: str
    intermediate: tuple[str, ...]
    keeps_nameless: bool


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
