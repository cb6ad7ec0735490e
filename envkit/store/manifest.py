"""What an entry of the store holds: each file with its size, time, inode and sha256."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from envkit import refusals
from envkit.errors import AlteredError

# The folders below an entry's tree, by the place in an environment that their files go to.
SITE = "site"  # site-packages
DATA = "data"  # the environment's own root
HEADERS = "headers"  # include/site/pythonX.Y/NAME
SCRIPTS = "scripts"  # bin, after `#!python` has been replaced

TREE = "tree"

# Two files, as the first is all that is needed of an entry whose files are in place already.
MANIFEST = "manifest.json"
FILES = "files.json"


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


class Manifest(NamedTuple):
    """One entry: an unpacked wheel, or byte-code for one.

    Attributes:
        path: the entry's folder.
        name: the distribution's name as its metadata writes it.
        version: its version.
        dist_info: the name of its `.dist-info` folder; empty for byte-code.
        requires: its `Requires-Dist` lines (core metadata specification, PyPA).
        console_scripts: entry points that become scripts: name -> "module:attribute".
        gui_scripts: those that do so without a terminal; the same on POSIX.
        scripts: the names of its scripts that begin with `#!python`.
        has_headers: whether there is anything below `HEADERS`.
    """

    path: str
    name: str
    version: str
    dist_info: str = ""
    requires: tuple[str, ...] = ()
    console_scripts: Mapping[str, str] = {}
    gui_scripts: Mapping[str, str] = {}
    scripts: tuple[str, ...] = ()
    has_headers: bool = False


Folders = Mapping[str, tuple[File, ...]]


def write(draft: str, manifest: Manifest, folders: Folders) -> None:
    """Write what an entry holds into its folder while it is being made.

    Args:
        draft: the folder.
        manifest: the entry; its path is not written, as an entry can be moved.
        folders: folder below the tree -> its files, in the order of their names.
    """
    values = manifest._asdict()
    del values["path"]
    for name, content in ((FILES, folders), (MANIFEST, values)):
        path = os.path.join(draft, name)
        with refusals.naming(path), open(path, "w", encoding="utf-8") as file:
            # In one piece, since writing it bit by bit takes four times as long.
            file.write(json.dumps(content, ensure_ascii=False, separators=(",", ":")))
        os.chmod(path, 0o444)


def read(entry: str) -> Manifest:
    """Return what an entry is.

    Raises:
        AlteredError: there is no such entry, or its manifest is not what was written.
    """
    values = _load(entry, MANIFEST)
    try:
        lists = {key: tuple(values[key]) for key in ("requires", "scripts")}
        found = Manifest(path=entry, **{**values, **lists})
        commands = (*found.console_scripts.items(), *found.gui_scripts.items())
    except (AttributeError, KeyError, TypeError):
        raise AlteredError(f"{entry}/{MANIFEST}") from None
    texts = (found.name, found.version, found.dist_info, *found.requires, *found.scripts)
    if not all(
        isinstance(text, str) for text in (*texts, *(one for pair in commands for one in pair))
    ):
        raise AlteredError(f"{entry}/{MANIFEST}")
    return found


def title(entry: str) -> str:
    """Return what an entry is to a person; what the folder is called if it is damaged."""
    try:
        about = read(entry)
    except AlteredError:
        return os.path.basename(entry)
    return f"{about.name} {about.version}" + ("" if about.dist_info else " (byte-code)")


def folders(entry: str) -> Folders:
    """Return the files of an entry: folder below the tree -> its files.

    Raises:
        AlteredError: there is no such entry, or its list is not what was written.
    """
    try:
        return {
            folder: tuple(map(File._make, files)) for folder, files in _load(entry, FILES).items()
        }
    except TypeError:
        raise AlteredError(f"{entry}/{FILES}") from None


def files(folders: Folders) -> Iterator[tuple[str, File]]:
    """Yield each file with the folder it is in."""
    for folder, listed in folders.items():
        for file in listed:
            yield folder, file


def _load(entry: str, name: str) -> dict[str, Any]:
    try:
        with open(f"{entry}/{name}", encoding="utf-8") as file:
            values = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise AlteredError(f"{entry}/{name}")
    return values
