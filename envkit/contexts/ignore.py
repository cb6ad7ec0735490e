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
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import refusals
from envkit.contexts.patterns import Group, PatternError
from envkit.errors import UsageError

# What Go takes for white space (unicode.IsSpace), which is less than Python does.
_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_BOM = b"\xef\xbb\xbf"

# For each group of rules, whether one of it matched a folder or one above it.
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

    def __init__(self, groups: Sequence[Group] = ()) -> None:
        """Take the rules: those that follow one another and say the same are one group."""
        self._groups = tuple(groups)
        self.start: State = (False,) * len(self._groups)

    def judge(self, path: str, above: State) -> Verdict:
        """Return what the rules say of a path, given what they said of the folder it is in.

        Args:
            path: relative to the top folder, with slashes.
            above: the state of the folder that it is in; `start` for the top folder.
        """
        ignored = False
        state = []
        for group, matched in zip(self._groups, above, strict=True):
            # As in Docker, a rule that would change nothing is not tried, so that it does not
            # count for what is below either.
            hit = matched or (group.exception == ignored and group.matches(path))
            if hit:
                ignored = not group.exception
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
        return any(
            group.exception and group.may_match_in(folder) for group in self._groups[last + 1 :]
        )


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
    groups: list[Group] = []
    lines = content.removeprefix(_BOM).decode("utf-8", "surrogateescape").split("\n")
    for number, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip(_SPACE):
            continue
        pattern = _cleaned(line.strip(_SPACE))
        exception = pattern.startswith("!")
        if not groups or groups[-1].exception != exception:
            groups.append(Group(exception))
        try:
            groups[-1].add(pattern[exception:])
        except PatternError as error:
            raise UsageError(
                f"{where}: line {number}: {error} {line.strip(_SPACE)!r}", error.hint
            ) from None
    for group in groups:
        group.finish()
    return Rules(groups)


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
