"""Patterns of `.dockerignore`: what they may look like, and which paths they match."""

from __future__ import annotations

import re
from collections.abc import Sequence

# The grammar of a pattern (Go's `filepath.Match`).
_ITEM = r"(?:\\.|[^\\\]-])"
_CLASS = rf"\[(?:\^|(?!\^))(?:{_ITEM}(?:-{_ITEM})?)+\]"
_TOKEN = re.compile(rf"\*\*/?|\*|\?|\\.|{_CLASS}|[^\\\[]", re.DOTALL)

# What becomes something else when a regular expression is made of a pattern: escaped letters, other
# wildcards in brackets, names of classes, an anchor, an alternative, a number of repetitions.
_STRANGE_ESCAPE = re.compile(r"\\(?:[0-9A-Za-z]|[^\x00-\x7f])", re.DOTALL)
_STRANGE_CLASS = re.compile(r"(?:\\.|[^\\])*?(?:[*?]|\[:)", re.DOTALL)
_STRANGE_TEXT = re.compile(r"[\^|]|\{\d+(?:,\d*)?\}")

_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}

# What stands for more than itself, or for more than one part of a path.
_UNBOUNDED = re.compile(r"\*\*|[\[\\^]")


class PatternError(Exception):
    """A text is no pattern, or one that is not safe to use.

    Attributes:
        hint: what to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Group:
    """Patterns that follow one another and say the same, so that any of them will do.

    Most need no regular expression, which matters with tens of thousands of paths.

    Attributes:
        exception: whether they take back.
    """

    def __init__(self, exception: bool) -> None:
        self.exception = exception
        self._paths: set[str] = set()
        self._names: set[str] = set()
        self._beginnings: tuple[str, ...] = ()
        self._endings: tuple[str, ...] = ()
        self._expressions: list[str] = []
        self._anywhere: list[str] = []  # expressions that may begin in any folder
        self._expression: re.Pattern[str] | None = None
        self._reaches: list[tuple[list[re.Pattern[str]], bool]] = []

    def add(self, pattern: str) -> None:
        """Add a pattern.

        Raises:
            PatternError: it is none.
        """
        tokens = _tokens(pattern)
        wild = sum(token[0] in "*?\\[]" for token in tokens)
        if not wild:
            self._paths.add(pattern)
        elif wild == 1 and tokens[0].startswith("**"):
            self._add_ending(pattern[2:])
        elif wild == 1 and tokens[-1] == "**":
            self._beginnings += (pattern[:-2],)
        else:
            _refuse_strange(tokens)
            if tokens[0] == "**/":
                self._anywhere.append(_expression(tokens[1:]))
            else:
                self._expressions.append(_expression(tokens))
        self._reaches.append(_reach(pattern))

    def _add_ending(self, ending: str) -> None:
        """Add the pattern of `**` and something that means itself."""
        name = ending[1:]
        if ending.startswith("/") and "/" not in name:
            self._names.add(name)
            return
        self._endings += (ending,)
        if ending.startswith("/"):
            self._paths.add(name)

    def finish(self) -> None:
        """Prepare for matching, when all patterns are there."""
        choices = list(self._expressions)
        if self._anywhere:
            choices.append(f"(?:.*/)?(?:{'|'.join(self._anywhere)})")
        if choices:
            self._expression = re.compile(rf"(?:{'|'.join(choices)})\Z")

    def matches(self, path: str) -> bool:
        """Return whether a pattern matches a path itself."""
        return (
            path in self._paths
            or path.rpartition("/")[2] in self._names
            or path.startswith(self._beginnings)
            or path.endswith(self._endings)
            or (self._expression is not None and self._expression.match(path) is not None)
        )

    def may_match_in(self, folder: str) -> bool:
        """Return whether a pattern may match something in a folder."""
        parts = folder.split("/")
        return any(
            (further or len(parts) < len(reach))
            and all(one.fullmatch(part) for one, part in zip(reach, parts, strict=False))
            for reach, further in self._reaches
        )


def _tokens(pattern: str) -> list[str]:
    """Return the parts of a pattern: wildcards, escaped characters, classes, and others."""
    if not pattern:
        raise PatternError("nothing follows the", "Put a pattern behind the !, or take it away.")
    tokens = []
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if not found:
            hint = "Close the [, and put a \\ in front of what means itself."
            raise PatternError("this is no pattern:", hint)
        tokens.append(found[0])
        at = found.end()
    return tokens


def _refuse_strange(tokens: Sequence[str]) -> None:
    """Refuse what Docker takes otherwise than it says."""
    found = [_STRANGE_TEXT.search("".join(one if len(one) == 1 else "*" for one in tokens))]
    found += [_STRANGE_ESCAPE.search(token) for token in tokens]
    found += [_STRANGE_CLASS.match(token, 1) for token in tokens if token[0] == "["]
    for strange in filter(None, found):
        hint = "Write / between folders, and ? or a pattern of its own instead of what is unusual."
        raise PatternError(f"Docker takes {strange[0]!r} otherwise than it documents, in", hint)


def _expression(tokens: Sequence[str]) -> str:
    """Return the regular expression that some tokens mean."""
    made = []
    for at, part in enumerate(tokens):
        if part.startswith("**"):
            made.append(".*" if at == len(tokens) - 1 else "(?:.*/)?")
        elif part in _WILDCARDS:
            made.append(_WILDCARDS[part])
        elif part[0] == "[":
            made.append(_class(part))
        else:
            made.append(re.escape(part[-1]))
    return "".join(made)


def _class(token: str) -> str:
    """Return a class of characters as Python has it."""
    negated = token[1] == "^"
    items = re.findall(rf"({_ITEM})(?:-({_ITEM}))?", token[1 + negated : -1], re.DOTALL)
    made = []
    for first, last in items:
        if last and last[-1] < first[-1]:
            raise PatternError("a range ends before it begins, in", "Turn it round.")
        made.append(re.escape(first[-1]) + (f"-{re.escape(last[-1])}" if last else ""))
    return f"[{'^' if negated else ''}{''.join(made)}]"


def _reach(pattern: str) -> tuple[list[re.Pattern[str]], bool]:
    """Return what the folders above a match look like, and whether more of them may follow."""
    parts = pattern.split("/")
    known = 0
    while known < len(parts) and not _UNBOUNDED.search(parts[known]):
        known += 1
    reach = [re.compile(_expression(list(part))) for part in parts[:known]]
    return reach, known < len(parts)
