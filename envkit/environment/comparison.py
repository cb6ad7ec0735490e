"""A folder compared with the tree that it should be, file by file."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

from envkit import process
from envkit.environment.stamp import STATE
from envkit.environment.tree import Copied, Linked, Tree, differences
from envkit.store import digest

# Each looks at all that the one before it does.
Depth = Literal["names", "times", "hashes"]
DEPTHS: tuple[Depth, ...] = ("names", "times", "hashes")

# Fewer folders than this are looked at sooner than another process begins.
_WORTH_A_PROCESS = 500

# One number for each process, in a piece of memory that they share.
_COUNTER = 8

# Called with how many bytes have been read, and how many there are in all.
Report = Callable[[int, int], None]


class Expected(NamedTuple):
    """A regular file as it should be: its path, size (bytes), mtime (ns), sha256 (hex)."""

    path: str
    size: int
    mtime: int
    sha256: str


class Comparison(NamedTuple):
    """What is not as it should be.

    Attributes:
        differences: path relative to the root, and "missing", "altered" or "added"; sorted.
        files: how many files were looked at.
        unknown: byte-code that interpreters wrote, of which nothing is known.
    """

    differences: tuple[tuple[str, str], ...]
    files: int
    unknown: tuple[str, ...]


def compare(root: str, tree: Tree, depth: Depth, report: Report) -> Comparison:
    """Compare a folder with a tree.

    Args:
        root: the folder.
        tree: what should be, all of it.
        depth: "names" looks for each name, the inode of linked files, and the content of those
            that are the environment's own; "times" also at size and mtime of each file, "hashes"
            also at its content.
        report: called while contents are read.
    """
    found = _differences(root, tree)
    bad = {path for path, _ in found}
    if depth != "names":
        files = [file for file in expected(tree) if file.path not in bad]
        found += [(path, "altered") for path in altered(root, files, depth, report)]
    return Comparison(
        differences=tuple(sorted(one for one in found if one[1] != "byte-code")),
        files=sum(map(len, tree.files.values())),
        unknown=tuple(sorted(path for path, kind in found if kind == "byte-code")),
    )


def expected(tree: Tree) -> Iterator[Expected]:
    """Yield the files of a tree whose content is the store's."""
    for folder, leaves in tree.files.items():
        prefix = f"{folder}/" if folder else ""
        for name, leaf in leaves.items():
            if isinstance(leaf, (Linked, Copied)):
                yield Expected(prefix + name, leaf.size, leaf.mtime, leaf.sha256)


def altered(root: str, files: Sequence[Expected], depth: Depth, report: Report) -> list[str]:
    """Return the paths of files that are there, but not as they should be.

    Args:
        root: the folder that their paths are relative to.
        files: what should be; what is missing counts as altered.
        depth: "times" or "hashes".
        report: called while contents are read.
    """
    if depth == "times":
        return [file.path for file in files if not _has_times(root, file)]
    shares = _shares(files, os.cpu_count() or 1)
    total = sum(file.size for file in files)
    with mmap.mmap(-1, _COUNTER * len(shares)) as counters:

        def read(number: int) -> list[str]:
            def count(size: int) -> None:
                place = slice(number * _COUNTER, (number + 1) * _COUNTER)
                so_far = int.from_bytes(counters[place], "little") + size
                counters[place] = so_far.to_bytes(_COUNTER, "little")
                if number == 0:
                    # The one that runs in this very process speaks for all.
                    report(_sum(counters, len(shares)), total)

            return [file.path for file in shares[number] if not _has_hash(root, file, count)]

        results = process.side_by_side([partial(read, number) for number in range(len(shares))])
        report(total, total)
    return [path for result in results for path in result]


def _differences(root: str, tree: Tree) -> list[tuple[str, str]]:
    """Return the differences in names and inodes, on several processors if it is much to do."""
    folders = sorted(tree.files)
    count = min(os.cpu_count() or 1, 1 + len(folders) // _WORTH_A_PROCESS)

    def look(start: int) -> list[tuple[str, str]]:
        return [
            one
            for folder in folders[start::count]
            for one in differences(root, folder, tree)
            # Directly in the root envkit keeps a folder of its own.
            if one[0] != STATE
        ]

    results = process.side_by_side([partial(look, start) for start in range(count)])
    return [one for found in results for one in found]


def _shares(files: Sequence[Expected], count: int) -> list[list[Expected]]:
    """Divide files so that each share has about as many bytes and as many files."""
    ordered = sorted(files, key=lambda file: -file.size)
    return [ordered[start::count] for start in range(count) if ordered[start::count]] or [[]]


def _sum(counters: mmap.mmap, count: int) -> int:
    return sum(
        int.from_bytes(counters[number * _COUNTER : (number + 1) * _COUNTER], "little")
        for number in range(count)
    )


def _has_times(root: str, file: Expected) -> bool:
    try:
        status = os.lstat(f"{root}/{file.path}")
    except OSError:
        return False
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size == file.size
        and status.st_mtime_ns == file.mtime
    )


def _has_hash(root: str, file: Expected, count: Callable[[int], None]) -> bool:
    if not _has_times(root, file):
        return False
    try:
        return digest.sha256(f"{root}/{file.path}", count) == file.sha256
    except OSError:
        return False
