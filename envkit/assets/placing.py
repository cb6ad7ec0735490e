"""Files of the store in the places of a project that they were declared for."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from envkit.assets.unpacking import unpack
from envkit.errors import UsageError
from envkit.store import digest

# What `link` answers where a copy will do (as in `environment.tree`).
_COPY_INSTEAD = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP}


class Asset(NamedTuple):
    """A file that a project declares.

    Attributes:
        url: where it comes from.
        sha256: its digest, in hex.
        path: where it goes, relative to the project's folder.
        unpacked: whether it is an archive, of which what is in it goes there.
    """

    url: str
    sha256: str
    path: str
    unpacked: bool


class Placed:
    """What was placed in a project, and how it was then; kept with the project's halves.

    A place counts as right while it is as it was when it was filled: a file by its size, times and
    inode, a folder by being there.
    """

    def __init__(self, root: Path, notes: Path) -> None:
        """Read the notes; without any, nothing was placed.

        Args:
            root: the project's folder.
            notes: the file that they are in.
        """
        self._root = root
        self._notes = notes
        self._known: dict[str, dict[str, str]] = {}
        try:
            found = json.loads(notes.read_bytes())
            self._known = {str(path): dict(one) for path, one in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._known = {}

    def lacking(self, assets: Sequence[Asset]) -> list[Asset]:
        """Return the assets whose places are not as they should be."""
        return [asset for asset in assets if self._known.get(asset.path) != self._state(asset)]

    def place(self, asset: Asset, source: Path) -> None:
        """Put a file of the store into its place, by one rename.

        Raises:
            UsageError: something else is there, or the place leads outside of the project.
            IntegrityError: it is to be unpacked and cannot be.
            OSError: the disk refuses.
        """
        target = self._target(asset)
        self._refuse_strange(asset, target)
        with _draft(target) as draft:
            if asset.unpacked:
                draft.mkdir()
                unpack(source, draft, asset.path)
            else:
                _link(source, draft)
            self._clear(target)
            draft.rename(target)
        self._known[asset.path] = self._state(asset)
        self._write()

    def _target(self, asset: Asset) -> Path:
        """Return where an asset goes, and make the folders above it, which are all inside."""
        target = self._root / asset.path
        there = next(folder for folder in target.parents if os.path.lexists(folder))
        inside = os.path.realpath(self._root) + os.sep
        if not (os.path.realpath(there) + os.sep).startswith(inside):
            raise UsageError(f"{asset.path} leads outside of the project, over a symbolic link")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _refuse_strange(self, asset: Asset, target: Path) -> None:
        """Refuse to take the place of what was not placed there, or was changed since."""
        if not os.path.lexists(target):
            return
        known = self._known.get(asset.path)
        if known and known["state"] == _state_of(target):
            return
        same = target.is_file() and not asset.unpacked and digest.sha256(target) == asset.sha256
        if not same:
            raise UsageError(
                f"{asset.path} is there already, and is not what was declared",
                "Move it away, or declare another path.",
            )

    def _clear(self, target: Path) -> None:
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        elif os.path.lexists(target):
            target.unlink()

    def _state(self, asset: Asset) -> dict[str, str]:
        kind = "unpacked" if asset.unpacked else "file"
        state = _state_of(self._root / asset.path)
        return {"sha256": asset.sha256, "kind": kind, "state": state}

    def _write(self) -> None:
        self._notes.parent.mkdir(parents=True, exist_ok=True)
        draft = self._notes.with_name(f"{self._notes.name}.{os.getpid()}")
        draft.write_text(json.dumps(self._known), encoding="utf-8")
        draft.replace(self._notes)


def _state_of(path: Path) -> str:
    """Return what a place is told by: empty if nothing is there."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISDIR(status.st_mode):
        return f"folder {status.st_ino}"
    return f"file {status.st_size} {status.st_mtime_ns} {status.st_ino}"


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Lend a place beside another, of which nothing is left."""
    draft = target.with_name(f".{target.name}.envkit-{secrets.token_hex(4)}")
    try:
        yield draft
    finally:
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _COPY_INSTEAD:
            raise
        shutil.copy2(source, target)
