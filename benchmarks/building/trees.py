"""The files of an environment, on the disk or in an image, and how two of them compare."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO

from benchmarks.locks import normalized

_BIN = "bin/"


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files of an environment, by their paths in it.

    ``digests`` has the sha256 of each, and for a link where it leads. ``kept`` has the content of
    those that are compared in part: RECORD files, and what is in ``bin``.
    """

    digests: Mapping[str, str]
    kept: Mapping[str, bytes]

    @cached_property
    def records(self) -> dict[str, list[str]]:
        """The paths that each RECORD lists, as they are in the environment."""
        found = {}
        for path, content in self.kept.items():
            if PurePosixPath(path).match("lib/python*/site-packages/*.dist-info/RECORD"):
                site = str(PurePosixPath(path).parent.parent)
                rows = csv.reader(io.StringIO(content.decode()))
                found[path] = [os.path.normpath(os.path.join(site, row[0])) for row in rows if row]
        return found


def on_disk(environment: Path) -> Tree:
    """Read an environment."""
    digests: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    for folder, folders, files in os.walk(environment):
        for name in [*files, *(one for one in folders if Path(folder, one).is_symlink())]:
            path = Path(folder, name)
            inside = path.relative_to(environment).as_posix()
            if path.is_symlink():
                digests[inside] = f"-> {path.readlink()}"
            else:
                _add(inside, path.read_bytes(), digests, kept)
    return Tree(digests=digests, kept=kept)


def in_archive(stream: IO[bytes], root: str) -> Tree:
    """Read the same of a tar archive, below ``root``, which ends in a slash."""
    digests: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            inside = member.name.removeprefix(root)
            if inside == member.name:
                continue
            if member.issym():
                digests[inside] = f"-> {member.linkname}"
            elif member.islnk():
                digests[inside] = digests[member.linkname.removeprefix(root)]
            elif member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                _add(inside, file.read(), digests, kept)
    return Tree(digests=digests, kept=kept)


def _add(path: str, content: bytes, digests: dict[str, str], kept: dict[str, bytes]) -> None:
    digests[path] = hashlib.sha256(content).hexdigest()
    if path.startswith(_BIN) or path.endswith(".dist-info/RECORD"):
        kept[path] = content


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the files of two environments' distributions compare.

    Attributes:
        distributions: how many there are.
        files: how many of their files have the same sha256.
        bytecode: how many of those are byte-code.
        scripts: how many scripts are the same but for the line that names the interpreter.
        records: how many RECORD files are the same but for the lines of such scripts.
        different: the paths of all other files of distributions, in either.
        others: the distributions that were not asked for, and the paths of what belongs to none.
    """

    distributions: int
    files: int
    bytecode: int
    scripts: int
    records: int
    different: tuple[str, ...]
    others: tuple[str, ...]


def compare(one: Tree, other: Tree, names: Iterable[str]) -> Comparison:
    """Compare every file that RECORDs list, the RECORDs, and byte-code of such files.

    The RECORDs are those of the distributions that are named.
    """
    wanted = set(names)
    records = {**one.records, **other.records}
    ours = {path for path in records if _distribution(path) in wanted}
    present = one.digests.keys() | other.digests.keys()
    owned = _owned(one, ours, present) | _owned(other, ours, present)
    foreign = _owned(one, records.keys() - ours, present)
    foreign |= _owned(other, records.keys() - ours, present)
    same, scripts, alike, different = [], 0, 0, []
    for path in sorted(owned):
        if path in one.digests and one.digests[path] == other.digests.get(path):
            same.append(path)
        elif _is_alike_script(one.kept.get(path), other.kept.get(path), path):
            scripts += 1
        elif path in ours and _rows(one, path) == _rows(other, path) != []:
            alike += 1
        else:
            different.append(path)
    return Comparison(
        distributions=len(ours),
        files=len(same),
        bytecode=sum(path.endswith(".pyc") for path in same),
        scripts=scripts,
        records=alike,
        different=tuple(different),
        others=(
            *sorted(map(_distribution, records.keys() - ours)),
            *sorted(present - owned - foreign),
        ),
    )


def _owned(tree: Tree, records: Iterable[str], present: Iterable[str]) -> set[str]:
    """Return the paths of what is of the distributions that some RECORDs are of."""
    listed = {path for record in records for path in tree.records.get(record, [])}
    return listed | set(records) | {path for path in present if _source(path) in listed}


def _distribution(record: str) -> str:
    """Return the name of the distribution that a RECORD is of."""
    name = PurePosixPath(record).parent.name.removesuffix(".dist-info")
    return normalized(name.rpartition("-")[0])


def _source(path: str) -> str:
    """Return the module that byte-code is of (PEP 3147), or an empty text."""
    folder, _, name = path.rpartition("/__pycache__/")
    return f"{folder}/{name.partition('.')[0]}.py" if name.endswith(".pyc") else ""


def _is_alike_script(one: bytes | None, other: bytes | None, path: str) -> bool:
    if one is None or other is None or not path.startswith(_BIN):
        return False
    first, _, rest = one.partition(b"\n")
    theirs, _, their_rest = other.partition(b"\n")
    return first.startswith(b"#!") and theirs.startswith(b"#!") and rest == their_rest


def _rows(tree: Tree, path: str) -> list[bytes]:
    """Return the lines of a RECORD that are not of files in ``bin``."""
    lines = tree.kept.get(path, b"").splitlines()
    return sorted(line for line in lines if not line.startswith(b"../../../bin/"))
