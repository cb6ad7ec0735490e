"""Requirement files as people write them: their lines, and those of them that cannot be locked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envkit.errors import UsageError
from envkit.project import Group, Project

# An option and its value, as pip reads them: `-r file`, `-rfile`, `--requirement=file`.
_NESTED = re.compile(r"(?:(?:-r|-c)\s*|(?:--requirement|--constraint)(?:\s+|=))(?P<path>\S.*)")
_EDITABLE = re.compile(r"(?:-e\s*|--editable(?:\s+|=))(?P<what>\S.*)")
_SCHEME = re.compile(r"(?:^|@\s*)(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):")
_ARCHIVE = re.compile(r"\.(whl|zip|tar|tar\.(gz|bz2|xz)|tgz|tbz|txz)$", re.IGNORECASE)
# The options that may stand behind a requirement, each with a dash and a blank before it.
_OPTIONS = re.compile(r"\s--?[a-z].*$")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line that means something, continuation lines joined, its comment cut off.

    Attributes:
        file: the name to show: the file's path from the project's folder.
        number: its first line in the file, from 1; 0 for an entry of `pyproject.toml`.
        text: what it says.
    """

    file: str
    number: int
    text: str

    @property
    def where(self) -> str:
        """Where it stands, for a message."""
        return f"{self.file}:{self.number}" if self.number else f"{self.file}: project.dependencies"

    @property
    def is_option(self) -> bool:
        """Whether it is an option, and no requirement."""
        return self.text.startswith("-") and not _EDITABLE.match(self.text)


def split(text: str, file: str) -> Iterator[Line]:
    """Yield the lines of a requirements file that mean something.

    Comments and continuation lines are as pip has them: `#` begins a comment at the start of a
    line or behind a blank, and a backslash at the end of a line joins it with the next.
    """
    pending, first = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        first = first if pending else number
        if raw.lstrip().startswith("#"):
            continue
        pending += raw.strip()
        if pending.endswith("\\"):
            pending = f"{pending[:-1].rstrip()} "
            continue
        meaning = re.sub(r"(^|\s)#.*$", "", pending).strip()
        if meaning:
            yield Line(file=file, number=first, text=meaning)
        pending = ""
    if pending.strip():
        yield Line(file=file, number=first, text=pending.strip())


def of_group(
    project: Project, group: Group, files: Iterable[Path], *, coming: Path | None = None
) -> tuple[Line, ...]:
    """Return the lines that a group is compiled from.

    Args:
        project: the project.
        group: one of its groups.
        files: its requirement files, those that are named by others included.
        coming: a file that may be named although it is not there yet.

    Raises:
        UsageError: a file cannot be read, or names one that is not there.
    """
    lines: list[Line] = []
    for path in files:
        for line in split(read(path), shown(path, project.root)):
            _refuse_missing(line, path, coming)
            lines.append(line)
    if any(path.name == "pyproject.toml" for path in group.inputs):
        lines += [
            Line(file="pyproject.toml", number=0, text=text) for text in project.static_dependencies
        ]
    return tuple(lines)


def read(path: Path) -> str:
    """Return the text of a requirements file.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def shown(path: Path, root: Path) -> str:
    """Return a path as it is shown: from the project's folder, with slashes."""
    return Path(os.path.relpath(path, root)).as_posix()


def input_names(project: Project, group: Group) -> str:
    """Return the names of a group's inputs, as a person would list them."""
    names = [shown(path, project.root) for path in group.inputs if path.is_file()]
    return " and ".join(names) or group.inputs[0].name


def check(lines: Sequence[Line]) -> None:
    """Refuse what no lock can hold, before anything is asked of an index.

    Raises:
        UsageError: a requirement that cannot be understood (PEP 508), that cannot be vouched for
            by a hash, that holds only on this machine, or that would put a secret into the lock.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for line in lines:
        if line.is_option:
            continue
        _refuse_unlockable(line)
        text = _OPTIONS.sub("", line.text)
        if "${" in text or _is_bare_url(text):
            continue  # pip fills in the variable, and reads the name from the file
        try:
            Requirement(text)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"{line.where}: not a requirement: {text[:80]!r}: {reason}",
                "Write it like `name`, `name>=1.2`, `name[extra]~=3.0`.",
            ) from None


def _refuse_missing(line: Line, path: Path, coming: Path | None) -> None:
    """Refuse a line of `path` that names a file (`-r`, `-c`) which is not there."""
    nested = _NESTED.fullmatch(line.text)
    if not nested or "://" in nested["path"] or "${" in nested["path"]:
        return
    named = Path(os.path.normpath(path.parent / nested["path"].strip()))
    if named != coming and not named.is_file():
        raise UsageError(f"{line.where}: {nested['path'].strip()} does not exist")


def _refuse_unlockable(line: Line) -> None:
    editable = _EDITABLE.match(line.text)
    if editable:
        raise UsageError(
            f"{line.where}: an editable requirement cannot be locked, as no hash vouches for it",
            "The project itself is installed editable by `envkit install`; for another one, "
            "publish it to an index or name a built archive by its https address.",
        )
    text = line.text.partition(";")[0].strip()
    scheme = _SCHEME.search(text)
    if scheme and "+" in scheme["scheme"]:
        raise UsageError(
            f"{line.where}: {scheme['scheme']} is version control, for which there is no hash",
            "Name an archive of that commit instead (`name @ https://.../archive/COMMIT.tar.gz`), "
            "or publish it to an index.",
        )
    if (scheme and scheme["scheme"] == "file") or (not scheme and _is_local(text)):
        raise UsageError(
            f"{line.where}: a path of this machine cannot be locked for others",
            "Put the built archive into a folder, name that with `--find-links`, and ask for it "
            "by name and version.",
        )
    if scheme and (re.search(r"://[^/\s]*@", text) or "${" in text):
        raise UsageError(
            f"{line.where}: the address holds a secret, which would be written into the lock",
            "Keep the credentials in netrc or a keyring and leave them out of the address.",
        )


def _is_local(text: str) -> bool:
    name = _OPTIONS.sub("", text).partition("[")[0].strip()
    return name in (".", "..") or "/" in name or os.sep in name or bool(_ARCHIVE.search(name))


def _is_bare_url(text: str) -> bool:
    return bool(re.match(r"https?://", text))
