"""What of a Dockerfile envkit has to know: its stages, what they stand on, its arguments.

Source: the Dockerfile reference (docs.docker.com). All else is left to the builder, errors too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# Parser directives stand before everything else.
_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(\S+)\s*")
_VARIABLE = re.compile(
    r"\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-+])(?P<word>[^{}]*))?\})"
)
_HEREDOC = re.compile(r"<<-?(['\"]?)([A-Za-z_]\w*)\1")

# Instructions whose text can go on in here-documents.
_WITH_HEREDOCS = {"RUN", "COPY", "ADD"}

_REMOTE = re.compile(r"(https?://|git@|git://|ssh://)", re.IGNORECASE)


class Instruction(NamedTuple):
    """One instruction: its keyword in capitals, what follows it, and the line it begins on."""

    keyword: str
    rest: str
    line: int

    @property
    def flags(self) -> Mapping[str, str]:
        """Its `--name=value` options."""
        words = self.rest.split()
        found = {}
        while words and words[0].startswith("--"):
            name, _, value = words.pop(0)[2:].partition("=")
            found[name] = value
        return found


class Stage(NamedTuple):
    """What begins with a FROM.

    Attributes:
        name: its name in small letters; its number if it has none.
        parent: the stage or image that it begins with, as it is written.
        line: the line of its FROM, counted from 1.
        instructions: what follows the FROM.
    """

    name: str
    parent: str
    line: int
    instructions: tuple[Instruction, ...]


class Dockerfile(NamedTuple):
    """A Dockerfile.

    Attributes:
        text: all of it.
        arguments: the arguments before the first stage: name -> default, None without one.
        stages: its stages, in their order.
        declared: the line on which each argument is declared first, wherever that is.
    """

    text: str
    arguments: Mapping[str, str | None]
    stages: tuple[Stage, ...]
    declared: Mapping[str, int]

    def stage(self, name: str) -> Stage | None:
        """Return the stage of a name, the last of several, or of a number; None without one."""
        found = [one for one in self.stages if one.name == name.lower()]
        numbered = dict(zip(map(str, range(len(self.stages))), self.stages, strict=True))
        return found[-1] if found else numbered.get(name)

    def values(self, handed_in: Mapping[str, str]) -> dict[str, str]:
        """Return what the arguments before the first stage stand for.

        Args:
            handed_in: the build arguments; those that are not declared have no meaning.
        """
        values: dict[str, str] = {}
        for name, default in self.arguments.items():
            value = handed_in.get(name, default)
            if value is not None:
                values[name] = value if name in handed_in else substitute(value, values)
        return values

    def beneath(self, name: str) -> tuple[Stage, ...]:
        """Return a stage and those that it is made from, in the order of the file."""
        waiting, found = [name.lower()], set()
        while waiting:
            stage = self.stage(waiting.pop())
            if stage and stage not in found:
                found.add(stage)
                waiting += [stage.parent.lower(), *(one.lower() for one in _sources(stage))]
        return tuple(stage for stage in self.stages if stage in found)

    def images(self, handed_in: Mapping[str, str]) -> tuple[str, ...]:
        """Return the images that its stages begin with or copy from, `scratch` left out.

        Args:
            handed_in: the build arguments.
        """
        values = self.values(handed_in)
        found = {
            substitute(text, values)
            for stage in self.stages
            for text in (stage.parent, *_sources(stage))
        }
        return tuple(sorted(one for one in found - {"scratch", ""} if not self.stage(one)))

    @property
    def reads_network(self) -> bool:
        """Whether a stage adds something from the network, which can change with no file."""
        return any(
            one.keyword == "ADD" and any(_REMOTE.match(word) for word in one.rest.split())
            for stage in self.stages
            for one in stage.instructions
        )


def reads_context(stage: Stage) -> bool:
    """Return whether a stage takes anything from the build context."""
    return any(
        (one.keyword in {"COPY", "ADD"} and "from" not in one.flags)
        or (one.keyword == "RUN" and "--mount" in one.rest)
        or one.keyword == "ONBUILD"
        for one in stage.instructions
    )


def parse(text: str) -> Dockerfile:
    """Return what a Dockerfile says; what is not a Dockerfile is one without stages."""
    arguments: dict[str, str | None] = {}
    declared: dict[str, int] = {}
    stages: list[Stage] = []
    for one in _instructions(text):
        if one.keyword == "FROM":
            stages.append(_stage(one, len(stages)))
            continue
        if one.keyword == "ARG":
            for name, default in _declarations(one.rest):
                declared.setdefault(name, one.line)
                if not stages:
                    arguments[name] = default
        if stages:
            last = stages[-1]
            stages[-1] = last._replace(instructions=(*last.instructions, one))
    return Dockerfile(text, arguments, tuple(stages), declared)


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its variables replaced; those that are not set are replaced by nothing.

    Args:
        text: with `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}` or the same without colons.
        values: what the variables stand for.
    """

    def value(match: re.Match[str]) -> str:
        name, how = match["plain"] or match["name"], match["how"] or ""
        found = values.get(name)
        given = bool(found) if how.startswith(":") else found is not None
        if how.endswith("-"):
            return (found or "") if given else substitute(match["word"], values)
        if how.endswith("+"):
            return substitute(match["word"], values) if given else ""
        return found or ""

    return _VARIABLE.sub(value, text)


def _stage(begin: Instruction, number: int) -> Stage:
    words = [word for word in begin.rest.split() if not word.startswith("--")]
    named = len(words) == 3 and words[1].upper() == "AS"
    return Stage(
        name=words[2].lower() if named else str(number),
        parent=words[0] if words else "",
        line=begin.line,
        instructions=(),
    )


def _sources(stage: Stage) -> Iterator[str]:
    """Yield the stages and images that a stage copies from."""
    for one in stage.instructions:
        if "from" in one.flags:
            yield one.flags["from"]
        for part in one.flags.get("mount", "").split(","):
            if part.startswith("from="):
                yield part.removeprefix("from=")


def _declarations(rest: str) -> Iterator[tuple[str, str | None]]:
    try:
        words = shlex.split(rest)
    except ValueError:
        words = rest.split()
    for word in words:
        name, equals, default = word.partition("=")
        yield name, default if equals else None


def _instructions(text: str) -> Iterator[Instruction]:
    """Yield the instructions: lines that go on are put together, comments and blanks left out."""
    lines = text.removeprefix("\ufeff").splitlines()
    escape = _escape(lines)
    number = 0
    while number < len(lines):
        begin = number
        parts: list[str] = []
        goes_on = True
        while goes_on and number < len(lines):
            line = lines[number].strip()
            number += 1
            if line.startswith("#") or (not line and parts):
                continue
            goes_on = line.endswith(escape)
            parts.append(line.removesuffix(escape) if goes_on else line)
            if not parts[0]:
                break
        keyword, _, rest = " ".join(parts).strip().partition(" ")
        if not keyword:
            continue
        if keyword.upper() in _WITH_HEREDOCS:
            for match in _HEREDOC.finditer(rest):
                while number < len(lines) and lines[number].strip() != match[2]:
                    number += 1
                number += 1
        while begin < len(lines) and lines[begin].strip().startswith("#"):
            begin += 1
        yield Instruction(keyword.upper(), rest.strip(), begin + 1)


def _escape(lines: list[str]) -> str:
    """Return the character that lets a line go on."""
    for line in lines:
        match = _DIRECTIVE.fullmatch(line.strip())
        if not match:
            break
        if match[1].lower() == "escape":
            return match[2]
    return "\\"
