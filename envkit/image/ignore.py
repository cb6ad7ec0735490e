r"""`.dockerignore`: which paths of a folder its image is not told of.

The rules are those that Docker documents ("Build context", ".dockerignore files") and that its
builders obey: a line is a pattern from the top folder; `*`, `?` and `[a-z]` stand for no slash,
`**` for any number of folders; a pattern that matches a folder matches what is in it; `!` takes
back; the last line that matches decides.

Where the two builders differ, BuildKit is followed: a `!` with wildcards also reaches into folders
that are left out, and the folders above what it takes back are there. Where both take a pattern
otherwise than it is documented (they make one of Go's regular expressions of it, in which `\d`, `|`
and others mean something), it is refused rather than left to chance.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import refusals
from envkit.errors import UsageError

# What Go takes for white space (unicode.IsSpace), which is less than Python does.
_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_BOM = b"\xef\xbb\xbf"

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

# For each run of rules, whether one of it matched a folder or one above it.
State = tuple[bool, ...]


class Verdict(NamedTuple):
    """What the rules say of a path.

    Attributes:
        ignored: whether it is left out.
        state: what they have to be told when they are asked of something in it.
    """

    ignored: bool
    state: State


class Rules:
    """The rules of one file."""

    def __init__(self, runs: Sequence[_Run] = ()) -> None:
        """Take the rules: those that follow one another and say the same are one run."""
        self._runs = tuple(runs)
        self.start: State = (False,) * len(self._runs)

    def judge(self, path: str, above: State) -> Verdict:
        """Return what the rules say of a path, given what they said of the folder it is in.

        Args:
            path: relative to the top folder, with slashes.
            above: the state of the folder that it is in; `start` for the top folder.
        """
        ignored = False
        state = []
        for run, matched in zip(self._runs, above, strict=True):
            # As in Docker, a rule that would change nothing is not tried, so that it does not
            # count for what is below either.
            hit = matched or (run.exception == ignored and run.matches(path))
            if hit:
                ignored = not run.exception
            state.append(hit)
        return Verdict(ignored, tuple(state))

    def ignored(self, path: str) -> bool:
        """Return whether a path is left out."""
        verdict = Verdict(False, self.start)
        end = -1
        while end != len(path):
            end = path.find("/", end + 1)
            end = len(path) if end < 0 else end
            verdict = self.judge(path[:end], verdict.state)
        return verdict.ignored

    def may_take_back(self, folder: str, state: State) -> bool:
        """Return whether something in a folder that is left out may not be.

        Only what stands below the last rule that leaves the folder out can take back.
        """
        last = max((at for at, hit in enumerate(state) if hit), default=0)
        return any(run.exception and run.may_match_in(folder) for run in self._runs[last + 1 :])


def read(root: Path, dockerfile: str) -> Rules:
    """Return the rules of a folder: those for one Dockerfile, if there are, else the common ones.

    Args:
        root: the folder.
        dockerfile: the Dockerfile's path, relative to it.

    Raises:
        UsageError: a line is no pattern.
        RefusedError: the system refuses.
    """
    content, path = _content(root, dockerfile)
    return parse(content, str(path))


def text(root: Path, dockerfile: str) -> str:
    """Return the rules of a folder as they are written.

    Args:
        root: the folder.
        dockerfile: the Dockerfile's path, relative to it.

    Raises:
        UsageError: they cannot be read.
    """
    return _content(root, dockerfile)[0].decode("utf-8-sig", "surrogateescape")


def _content(root: Path, dockerfile: str) -> tuple[bytes, Path]:
    """Return what the file with the rules holds, and its path; nothing if there is none."""
    for path in (root / f"{dockerfile}.dockerignore", root / ".dockerignore"):
        try:
            return path.read_bytes(), path
        except FileNotFoundError:
            continue
        except OSError as error:
            raise refusals.explained(error, what=f"{path}: cannot be read", left="") or UsageError(
                f"{path}: cannot be read: {error.strerror}"
            ) from None
    return b"", root / ".dockerignore"


def parse(content: bytes, where: str) -> Rules:
    """Return the rules of a file.

    Args:
        content: what is in it.
        where: what messages call it.

    Raises:
        UsageError: a line is no pattern.
    """
    runs: list[_Run] = []
    lines = content.removeprefix(_BOM).decode("utf-8", "surrogateescape").split("\n")
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip(_SPACE):
            continue
        pattern = _cleaned(line.strip(_SPACE))
        exception = pattern.startswith("!")
        if not runs or runs[-1].exception != exception:
            runs.append(_Run(exception))
        try:
            runs[-1].add(pattern[exception:])
        except _PatternError as error:
            raise UsageError(
                f"{where}: line {number}: {error} {line.strip(_SPACE)!r}", error.hint
            ) from None
    for run in runs:
        run.finish()
    return Rules(runs)


def _cleaned(line: str) -> str:
    """Return a pattern as Docker's two steps leave it: one reads the file, one the patterns."""
    mark = line[: line.startswith("!")]
    pattern = line[len(mark) :].strip(_SPACE)
    if pattern:
        pattern = _clean(pattern)
    if len(pattern) > 1:
        pattern = pattern.removeprefix("/")
    return _clean((mark + pattern).strip(_SPACE))


def _clean(path: str) -> str:
    """Return the shortest path that means the same (Go's `filepath.Clean`)."""
    cleaned = posixpath.normpath(path)
    # Two slashes at the beginning are kept by POSIX's rules.
    return f"/{cleaned.lstrip('/')}" if cleaned.startswith("/") else cleaned


class _PatternError(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class _Run:
    """Rules that follow one another and say the same, so that any of them will do.

    Most patterns need no regular expression, which matters with tens of thousands of paths.
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
        """Add a rule.

        Raises:
            _PatternError: it is none.
        """
        tokens = _tokens(pattern)
        regular = any(token[0] in "*?\\[]" for token in tokens)
        first, last = tokens[0].startswith("**"), tokens[-1] == "**"
        wild = sum(token[0] in "*?\\[]" for token in tokens)
        if not regular:
            self._paths.add(pattern)
        elif wild == 1 and first:
            self._add_ending(pattern[2:])
        elif wild == 1 and last:
            self._beginnings += (pattern[:-2],)
        elif tokens[0] == "**/":
            self._anywhere.append(_expression(tokens[1:]))
        else:
            self._expressions.append(_expression(tokens))
        self._reaches.append(_reach(pattern))

    def _add_ending(self, ending: str) -> None:
        """Add the rule of `**` and something that means itself."""
        name = ending[1:]
        if ending.startswith("/") and "/" not in name:
            self._names.add(name)
            return
        self._endings += (ending,)
        if ending.startswith("/"):
            self._paths.add(name)

    def finish(self) -> None:
        """Prepare for matching, when all rules are there."""
        choices = list(self._expressions)
        if self._anywhere:
            choices.append(f"(?:.*/)?(?:{'|'.join(self._anywhere)})")
        if choices:
            self._expression = re.compile(rf"(?:{'|'.join(choices)})\Z")

    def matches(self, path: str) -> bool:
        """Return whether a rule matches a path itself."""
        return (
            path in self._paths
            or path.rpartition("/")[2] in self._names
            or path.startswith(self._beginnings)
            or path.endswith(self._endings)
            or (self._expression is not None and self._expression.match(path) is not None)
        )

    def may_match_in(self, folder: str) -> bool:
        """Return whether a rule may match something in a folder."""
        parts = folder.split("/")
        return any(
            (further or len(parts) < len(reach))
            and all(one.fullmatch(part) for one, part in zip(reach, parts, strict=False))
            for reach, further in self._reaches
        )


def _tokens(pattern: str) -> list[str]:
    """Return the parts of a pattern: wildcards, escaped characters, classes, and others."""
    if not pattern:
        raise _PatternError("nothing follows the", "Put a pattern behind the !, or take it away.")
    tokens = []
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if not found:
            hint = "Close the [, and put a \\ in front of what means itself."
            raise _PatternError("this is no pattern:", hint)
        tokens.append(found[0])
        at = found.end()
    if any(token[0] in "*?\\[]" for token in tokens):
        _refuse_strange(tokens)
    return tokens


def _refuse_strange(tokens: Sequence[str]) -> None:
    """Refuse what Docker takes otherwise than it says."""
    text = "".join(token if len(token) == 1 else "*" for token in tokens)
    strange = _STRANGE_TEXT.search(text) or next(
        filter(None, (_STRANGE_ESCAPE.search(token) for token in tokens)), None
    )
    strange = strange or next(
        filter(None, (_STRANGE_CLASS.match(token, 1) for token in tokens if token[0] == "[")), None
    )
    if strange:
        hint = "Write / between folders, and ? or a pattern of its own instead of what is unusual."
        raise _PatternError(f"Docker takes {strange[0]!r} otherwise than it documents, in", hint)


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
            raise _PatternError("a range ends before it begins, in", "Turn it round.")
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
