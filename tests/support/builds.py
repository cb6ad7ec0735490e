"""Builds that tests ask for, and what is told of them."""

import io
import re
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from envkit.builders.build import Build
from envkit.dockerfile import parse
from envkit.engines.progress import Event, Progress

# What was recorded of builds of the Dockerfile that is among it; a name says by which engine, and
# how it ended.
RECORDED = Path(__file__).parents[1] / "image" / "recorded"
DOCKERFILE = (RECORDED / "Dockerfile").read_text(encoding="utf-8")
RECORDED_BASE = "python:3.11-slim"

# How the Dockerfile's last step is made to fail.
FAILING = {"CODE": "7"}

# In seconds.
_PATIENCE = 30


class Told(NamedTuple):
    """What was told of a step: its name, its line, how it ended, and what it printed, sorted."""

    name: str
    line: int | None
    state: str
    printed: list[str]


def pack(root: Path, extra: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield a tar archive of a folder's files, with some more or others in it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(root.iterdir()):
            if path.name not in extra:
                archive.add(path, path.name)
        for name, content in extra.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    yield written.getvalue()


def build(dockerfile: str, root: Path, **more: Any) -> Build:
    """Return a build of a Dockerfile in a folder."""
    return Build(
        **{
            "dockerfile": parse(dockerfile),
            "root": root,
            "pack": lambda extra: pack(root, extra),
            **more,
        }
    )


def wait_for(done: Callable[[], object]) -> None:
    """Wait until something is so; a failure if it never is."""
    until = time.monotonic() + _PATIENCE
    while not done():
        assert time.monotonic() < until
        time.sleep(0.02)


def told(events: Iterable[Event], base: str = RECORDED_BASE) -> list[Told]:
    """Return what events tell of a Dockerfile's steps, whichever builder tells it.

    Args:
        events: the events.
        base: the base image, which is written as the recorded one.
    """
    progress = Progress()
    for event in events:
        progress(event)
    return sorted(
        Told(
            re.sub(r"\s+", " ", step.name).replace(base, RECORDED_BASE),
            step.line,
            step.state,
            sorted(step.lines),
        )
        for step in progress.steps.values()
        if step.line
    )
