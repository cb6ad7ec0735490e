"""What of a Dockerfile envkit has to know: its stages, what they stand on, its arguments.

Source: the Dockerfile reference (docs.docker.com). All else is left to the builder, errors too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

# Parser directives stand before everything else.
_DIRECTIVE = re.compile(r"^#\s*(\w+)\s*=\s*(.+)$")
_VARIABLE = re.compile(
    r"\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-+])(?P<word>[^{}]*))?\})"
)
_HEREDOC = re.compile(r"<<-?(?P<quote>[\"']?)(?P<end>[A-Za-z_][\w.]*)(?P=quote)")

# Instructions whose text can go on in here-documents.
_WITH_HEREDOCS = {"RUN", "COPY", "ADD"}

_REMOTE = re.compile(r"(https?://|git@|git://|ssh://)", re.IGNORECASE)


class Instruction(NamedTuple):
    """One instruction: its keyword in capitals, what follows it on one line, and where it begins.

    Attributes:
        keyword: as in "RUN".
        rest: what follows, each run of white space as one space.
        line: the line that it begins on, counted from 1.
    """

    keyword: str
    rest: str
    line: int

    @property
    def flags(self) -> Mapping[str, str]:
        """Its `--name=value` options."""
        found = {}
        for word in self.rest.split():
            if not word.startswith("--"):
                break
            name, _, value = word[2:].partition("=")
            found[name] = value
        return found

    @property
    def words(self) -> list[str]:
        """What follows its options."""
        return self.rest.split()[len(self.flags) :]


class Stage(NamedTuple):
    """What begins with a FROM.

    Attributes:
        name: its name in small letters; empty if it has none.
        number: its number, counted from 0.
        parent: the stage or image that it begins with, as it is written.
        begin: its FROM.
        instructions: what follows that.
    """

    name: str
    number: int
    parent: str
    begin: Instruction
    instructions: tuple[Instruction, ...]

    @property
    def sources(self) -> Iterator[str]:
        """What it copies from: stages, their numbers, images."""
        for one in self.instructions:
            if "from" in one.flags:
                yield one.flags["from"]
            for part in one.flags.get("mount", "").split(","):
                if part.startswith("from="):
                    yield part.removeprefix("from=")

    @property
    def reads_context(self) -> bool:
        """Whether it takes anything from the build context, or may."""
        return any(
            (one.keyword in {"COPY", "ADD"} and "from" not in one.flags)
            or (one.keyword == "RUN" and "mount" in one.flags)
            or one.keyword == "ONBUILD"
            for one in self.instructions
        )


class Dockerfile(NamedTuple):
    """A Dockerfile.

    Attributes:
        text: all of it.
        directives: its parser directives.
        arguments: the arguments before the first stage: name -> default, None without one.
        stages: its stages, in their order.
        declared: the line on which each argument is declared first, wherever that is.
        preamble: the instructions before the first stage.
    """

    text: str
    directives: Mapping[str, str]
    arguments: Mapping[str, str | None]
    stages: tuple[Stage, ...]
    declared: Mapping[str, int]
    preamble: tuple[Instruction, ...]

    def stage(self, name: str) -> Stage | None:
        """Return the stage of a name, the last of several, or of a number; None without one."""
        named = [one for one in self.stages if name and one.name == name.lower()]
        numbered = [one for one in self.stages if str(one.number) == name]
        found = named or numbered
        return found[-1] if found else None

    def values(self, handed_in: Mapping[str, str]) -> dict[str, str]:
        """Return what the arguments before the first stage stand for.

        Args:
            handed_in: the build arguments; those that are not declared have no meaning.
        """
        values: dict[str, str] = {}
        for name, default in self.arguments.items():
            if name in handed_in:
                values[name] = handed_in[name]
            elif default is not None:
                values[name] = substitute(default, values)
        return values

    def beneath(self, name: str) -> tuple[Stage, ...]:
        """Return a stage and those that it is made from, in the order of the file."""
        waiting, found = [name], set()
        while waiting:
            stage = self.stage(waiting.pop())
            if stage and stage not in found:
                found.add(stage)
                waiting += [stage.parent, *stage.sources]
        return tuple(stage for stage in self.stages if stage in found)

    def bases(self, handed_in: Mapping[str, str]) -> dict[str, int]:
        """Return the images that its stages begin with, and the line that names each first.

        Args:
            handed_in: the build arguments.
        """
        values = self.values(handed_in)
        found: dict[str, int] = {}
        for stage in self.stages:
            image = substitute(stage.parent, values)
            if self._is_image(image):
                found.setdefault(image, stage.begin.line)
        return found

    def images(self, handed_in: Mapping[str, str]) -> tuple[str, ...]:
        """Return the images that its stages begin with or copy from.

        Args:
            handed_in: the build arguments.
        """
        values = self.values(handed_in)
        sources = (substitute(one, values) for stage in self.stages for one in stage.sources)
        return tuple(sorted({*self.bases(handed_in), *filter(self._is_image, sources)}))

    def _is_image(self, name: str) -> bool:
        return name.lower() not in {"", "scratch"} and self.stage(name) is None

    @property
    def reads_network(self) -> bool:
        """Whether a stage adds something from the network, which can change with no file."""
        return any(
            one.keyword == "ADD" and any(_REMOTE.match(word) for word in one.words)
            for stage in self.stages
            for one in stage.instructions
        )


def parse(text: str) -> Dockerfile:
    """Return what a Dockerfile says; what is not a Dockerfile is one without stages."""
    lines = text.removeprefix("\ufeff").splitlines()
    arguments: dict[str, str | None] = {}
    declared: dict[str, int] = {}
    preamble: list[Instruction] = []
    begun: list[tuple[Instruction, list[Instruction]]] = []
    directives = _directives(lines)
    for one in _instructions(lines, directives):
        if one.keyword == "FROM":
            begun.append((one, []))
            continue
        (begun[-1][1] if begun else preamble).append(one)
        if one.keyword == "ARG":
            for name, default in _declarations(one.rest):
                declared.setdefault(name, one.line)
                if not begun:
                    arguments[name] = default
    stages = [_stage(begin, number, rest) for number, (begin, rest) in enumerate(begun)]
    return Dockerfile(text, directives, arguments, tuple(stages), declared, tuple(preamble))


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


def _stage(begin: Instruction, number: int, rest: Sequence[Instruction]) -> Stage:
    words = begin.words
    named = len(words) > 2 and words[1].upper() == "AS"
    return Stage(
        name=words[2].lower() if named else "",
        number=number,
        parent=words[0] if words else "",
        begin=begin,
        instructions=tuple(rest),
    )


def _declarations(rest: str) -> Iterator[tuple[str, str | None]]:
    try:
        words = shlex.split(rest)
    except ValueError:
        words = rest.split()
    for word in words:
        name, equals, default = word.partition("=")
        yield name, default if equals else None


def _instructions(lines: Sequence[str], directives: Mapping[str, str]) -> Iterator[Instruction]:
    """Yield the instructions: lines that go on are put together, comments and blanks left out."""
    escape = "`" if directives.get("escape") == "`" else "\\"
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
        keyword, _, rest = " ".join(" ".join(parts).split()).partition(" ")
        if keyword.upper() in _WITH_HEREDOCS:
            at = _after_heredocs(rest, lines, at)
        if keyword:
            yield Instruction(keyword.upper(), rest, first)


def _after_heredocs(rest: str, lines: Sequence[str], at: int) -> int:
    for match in _HEREDOC.finditer(rest):
        ends = (place for place in range(at, len(lines)) if lines[place].strip() == match["end"])
        at = next(ends, at - 1) + 1
    return at


def _directives(lines: Sequence[str]) -> dict[str, str]:
    """Return the parser directives, which stand before everything else."""
    found: dict[str, str] = {}
    for line in lines:
        match = _DIRECTIVE.match(line.strip())
        if not match:
            break
        found[match[1].lower()] = match[2].strip()
    return found
