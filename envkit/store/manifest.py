"""What an entry of the store holds: each file with its size, time, inode and sha256."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# The folders below an entry's tree, by the place in an environment that their files go to.
SITE = "site"  # site-packages
DATA = "data"  # the environment's own root
HEADERS = "headers"  # include/site/pythonX.Y/NAME
SCRIPTS = "scripts"  # bin, after `#!python` has been replaced

MANIFEST = "manifest.json"
TREE = "tree"


class File(NamedTuple):
    """A regular file of an entry.

    Attributes:
        name: its name in its folder.
        executable: whether it may be executed.
        size: in bytes.
        mtime: in nanoseconds since the epoch, as when the entry was made.
        inode: its number on the store's filesystem, as when the entry was made.
        sha256: in hex.
    """

    name: str
    executable: bool
    size: int
    mtime: int
    inode: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of one entry: an unpacked wheel, or byte-code for one.

    Attributes:
        path: the entry's folder.
        name: the distribution's name as its metadata writes it.
        version: its version.
        dist_info: the name of its `.dist-info` folder.
        console_scripts: entry points that become scripts: name -> "module:attribute".
        gui_scripts: those that do so without a terminal; the same on POSIX.
        requires: the `Requires-Dist` lines.
        requires_python: the `Requires-Python` line; empty if there is none.
        source: the file name of the wheel.
        folders: folder below the tree -> its files, in the order of their names.
    """

    path: str
    name: str
    version: str
    dist_info: str = ""
    console_scripts: Mapping[str, str] = field(default_factory=dict)
    gui_scripts: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    source: str = ""
    folders: Mapping[str, tuple[File, ...]] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, File]]:
        """Yield each file with the folder it is in."""
        for folder, files in self.folders.items():
            for file in files:
                yield folder, file

    @property
    def size(self) -> int:
        """The sum of the files' sizes in bytes."""
        return sum(file.size for _, file in self.files())

    def write(self, folder: str) -> None:
        """Write the manifest into the folder of an entry that is being made."""
        values = {**vars(self)}
        del values["path"]
        path = os.path.join(folder, MANIFEST)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(values, file, ensure_ascii=False, separators=(",", ":"))
        os.chmod(path, 0o444)


def read(entry: str) -> Manifest | None:
    """Return the manifest of an entry; None if there is no such entry."""
    try:
        with open(os.path.join(entry, MANIFEST), encoding="utf-8") as file:
            values: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    values["requires"] = tuple(values["requires"])
    values["folders"] = {
        folder: tuple(map(File._make, files)) for folder, files in values["folders"].items()
    }
    return Manifest(path=entry, **values)
