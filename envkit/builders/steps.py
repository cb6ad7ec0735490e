"""Which line of a Dockerfile a builder means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from envkit.dockerfile import Dockerfile, Instruction, Stage
from envkit.errors import UsageError

# "[linux/arm64 deps  2/13] RUN ..."; a Dockerfile of one stage has no stage's name there.
_NAMED = re.compile(r"^\[(?:\S+/\S+ +)?(?:(?P<stage>[^\s\]]+) +)?(?P<step>\d+)/\d+\] (?P<text>.*)$")

# What BuildKit counts as a step, beside a base that is no stage of the same file.
_COUNTED = {"ADD", "COPY", "RUN", "WORKDIR"}


class Step(NamedTuple):
    """An instruction as a builder tells of it.

    Attributes:
        line: where it begins, counted from 1.
        stage: the name of its stage, or its number as "stage-1"; empty before the first one.
        number: its number in the stage as BuildKit counts; 0 where it does not.
        text: all of it on one line, each run of white space as one space.
    """

    line: int
    stage: str
    number: int
    text: str


def of(file: Dockerfile) -> list[Step]:
    """Return the steps of a Dockerfile."""
    found = [_step(one, "", 0) for one in file.preamble]
    for stage in file.stages:
        found += _of_stage(file, stage)
    return found


def check(file: Dockerfile, name: str) -> None:
    """Refuse a Dockerfile that builds nothing: BuildKit 0.8 and 0.12 end with all of the engine.

    Args:
        file: the Dockerfile; where it names a frontend it may be in any language.
        name: what messages call it.

    Raises:
        UsageError: there is no FROM in it.
    """
    if not file.stages and "syntax" not in file.directives:
        raise UsageError(f"{name}: there is no FROM in it, with which an image begins")


def line_of(name: str, steps: Sequence[Step]) -> int | None:
    """Return the line that a step of BuildKit is about, by its name; None if that is not known.

    The name has variables replaced, so that where no text is the same, its number decides.
    """
    match = _NAMED.match(name)
    if not match:
        return None
    last = steps[-1].stage if steps else ""
    stage = (match["stage"] or last).lower()
    own = [one for one in steps if one.stage == stage]
    text = " ".join(match["text"].split())
    number = int(match["step"])
    same = [one.line for one in own if one.text == text]
    if len(same) == 1:
        return same[0]
    return next((one.line for one in own if one.number == number), None)


def _of_stage(file: Dockerfile, stage: Stage) -> Iterator[Step]:
    name = stage.name or f"stage-{stage.number}"
    above = {one.name for one in file.stages[: stage.number]}
    number = 0 if stage.parent.lower() in {*above, "scratch"} else 1
    yield _step(stage.begin, name, number)
    for one in stage.instructions:
        number += one.keyword in _COUNTED
        yield _step(one, name, number if one.keyword in _COUNTED else 0)


def _step(one: Instruction, stage: str, number: int) -> Step:
    return Step(one.line, stage, number, f"{one.keyword} {one.rest}".strip())
