"""Which line of a Dockerfile a builder means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from envkit.errors import UsageError

# "[linux/arm64 deps  2/13] RUN ..."; a Dockerfile of one stage has no stage's name there.
_NAMED = re.compile(r"^\[(?:\S+/\S+ +)?(?:(?P<stage>[^\s\]]+) +)?(?P<step>\d+)/\d+\] (?P<text>.*)$")
_HEREDOC = re.compile(r"<<-?(?P<quote>[\"']?)(?P<end>[A-Za-z_][\w.]*)(?P=quote)")
_DIRECTIVE = re.compile(r"^#\s*(\w+)\s*=\s*(.+)$")

# "$NAME", "${NAME}", "${NAME:-default}".
_VARIABLE = re.compile(r"\$(?:(?P<bare>\w+)|\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})")

# What BuildKit counts as a step, beside a base that is no stage of the same file.
_COUNTED = {"ADD", "COPY", "RUN", "WORKDIR"}


class Instruction(NamedTuple):
    """An instruction of a Dockerfile.

    Attributes:
        line: where it begins, from 1.
        stage: the name of its stage, or its number as "stage-1"; "" before the first one.
        step: its number in the stage as BuildKit counts; 0 where it does not.
        text: all of it on one line, each run of white space as one space.
    """

    line: int
    stage: str
    step: int
    text: str


def parse(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile, as far as is needed to find one again.

    Source: "Dockerfile reference"; what is wrong in it the builder says.
    """
    found: list[Instruction] = []
    stage, step, names = "", 0, set[str]()
    number = -1
    for line, whole in _joined(text):
        keyword, _, rest = whole.partition(" ")
        keyword = keyword.upper()
        counted = 0
        if keyword == "FROM":
            number += 1
            words = [word for word in rest.split() if not word.startswith("--")]
            named = len(words) > 2 and words[1].upper() == "AS"
            stage = words[2].lower() if named else f"stage-{number}"
            base = words[0].lower() if words else ""
            step = counted = 0 if base in {*names, "scratch"} else 1
            names |= {stage}
        elif keyword in _COUNTED:
            step += 1
            counted = step
        found.append(Instruction(line, stage, counted, f"{keyword} {rest}".strip()))
    return found


def check(text: str, name: str) -> None:
    """Refuse a Dockerfile that builds nothing: BuildKit 0.8 and 0.12 end with all of the engine.

    Args:
        text: what is in it; where it names a frontend it may be in any language.
        name: what messages call it.

    Raises:
        UsageError: there is no FROM in it.
    """
    if _directives(text.splitlines()).get("syntax") is None and not any(
        one.text.startswith("FROM") for one in parse(text)
    ):
        raise UsageError(f"{name}: there is no FROM in it, with which an image begins")


def line_of(name: str, instructions: Sequence[Instruction]) -> int | None:
    """Return the line that a step of BuildKit is about, by its name; None if that is not known.

    The name has variables replaced, so that where no text is the same, its number decides.
    """
    match = _NAMED.match(name)
    if not match:
        return None
    last = instructions[-1].stage if instructions else ""
    stage = (match["stage"] or last).lower()
    own = [one for one in instructions if one.stage == stage]
    text = " ".join(match["text"].split())
    step = int(match["step"])
    same = [one.line for one in own if one.text == text]
    if len(same) == 1:
        return same[0]
    return next((one.line for one in own if one.step == step), None)


def bases(instructions: Sequence[Instruction], arguments: Mapping[str, str]) -> dict[str, int]:
    """Return the images that a Dockerfile begins with, and the line that names each.

    Args:
        instructions: what `parse` returned.
        arguments: the build's; those before the first FROM have defaults.
    """
    known: dict[str, str] = {}
    found: dict[str, int] = {}
    stages = {one.stage for one in instructions}
    for one in instructions:
        keyword, _, rest = one.text.partition(" ")
        if keyword == "ARG" and not one.stage:
            name, _, default = rest.partition("=")
            known[name] = arguments.get(name, default.strip("\"'"))
        elif keyword == "FROM":
            words = [word for word in rest.split() if not word.startswith("--")]
            image = _VARIABLE.sub(lambda match: _value(match, known), words[0]) if words else ""
            if image and image.lower() not in {*stages, "scratch"}:
                found.setdefault(image, one.line)
    return found


def _value(match: re.Match[str], known: Mapping[str, str]) -> str:
    return known.get(match["name"] or match["bare"], "") or match["default"] or ""


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Yield each instruction with its first line, on one line."""
    lines = text.removeprefix("\ufeff").splitlines()
    escape = "`" if _directives(lines).get("escape") == "`" else "\\"
    at = 0
    while at < len(lines):
        first, parts = at + 1, list[str]()
        goes_on = True
        while goes_on and at < len(lines):
            line, at = lines[at], at + 1
            if line.lstrip().startswith("#") or not line.strip():
                goes_on = bool(parts)
                continue
            bare = line.rstrip()
            goes_on = bare.endswith(escape)
            parts.append(bare[:-1] if goes_on else bare)
        whole = " ".join(" ".join(parts).split())
        if whole.split(" ")[0].upper() in {"RUN", "COPY", "ADD"}:
            at = _after_heredocs(whole, lines, at)
        if whole:
            yield first, whole


def _after_heredocs(whole: str, lines: Sequence[str], at: int) -> int:
    for match in _HEREDOC.finditer(whole):
        ends = (place for place in range(at, len(lines)) if lines[place].strip() == match["end"])
        at = next(ends, at - 1) + 1
    return at


def _directives(lines: Sequence[str]) -> dict[str, str]:
    """Return the parser directives, which stand before everything else."""
    found: dict[str, str] = {}
    for line in lines:
        match = _DIRECTIVE.match(line.removeprefix("\ufeff").strip())
        if not match:
            break
        found[match[1].lower()] = match[2]
    return found
