"""Archives unpacked into a folder, of which nothing leads outside.

Sources: zipfile and tarfile modules; PEP 706 for what a member of a tar archive may be.
"""

from __future__ import annotations

import errno
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from envkit import refusals
from envkit.errors import IntegrityError

_CHUNK = 1 << 20

# What the modules raise for an archive that they cannot read.
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, ValueError, NotImplementedError, RuntimeError, OverflowError),
)


class _Member(NamedTuple):
    """A file of an archive: its path, whether it is executable, its bytes; None for a folder."""

    name: str
    executable: bool
    size: int
    content: IO[bytes] | None


def unpack(archive: Path, folder: Path, title: str) -> None:
    """Unpack an archive, zip or tar in any of its compressions, into a folder.

    Args:
        archive: the file.
        folder: an empty folder.
        title: what the archive is called in messages.

    Raises:
        IntegrityError: it is no archive, is damaged, or has a member that is refused.
        OSError: the disk refuses.
    """
    try:
        with _members(archive, title) as members:
            _write(members, folder, title)
    except (FileExistsError, NotADirectoryError):
        raise IntegrityError(f"{title}: a file of it is a folder as well") from None
    except OSError as error:
        if error.filename is not None:
            raise
        # What a damaged archive says is where no file can be read.
        raise IntegrityError(f"{title}: cannot be unpacked: {error.strerror or error}") from None


def differences(archive: Path, folder: Path, title: str) -> Iterator[tuple[str, str]]:
    """Yield in what a folder is not what an archive says, with every byte of both read.

    Args:
        archive: the file, one that can be unpacked.
        folder: where it was unpacked.
        title: what the archive is called in messages.

    Returns:
        Path relative to the folder, and "altered", "added" or "missing".

    Raises:
        IntegrityError: as for `unpack`.
    """
    known: set[str] = set()
    with _members(archive, title) as members:
        for member in members:
            name = _inside(member.name, title)
            known.update((name, *map(str, PurePosixPath(name).parents)))
            path = folder / name
            if not os.path.lexists(path):
                yield name, "missing"
            elif not _is_same(member, path):
                yield name, "altered"
    for place, folders, files in os.walk(folder):
        for one in (*folders, *files):
            name = os.path.relpath(os.path.join(place, one), folder)
            if name not in known:
                yield name, "added"


def _is_same(member: _Member, path: Path) -> bool:
    """Return whether what is at a path is what an archive has for it."""
    status = path.lstat()
    if member.content is None:
        return stat.S_ISDIR(status.st_mode)
    if not stat.S_ISREG(status.st_mode) or status.st_size != member.size:
        return False
    if member.executable != bool(status.st_mode & stat.S_IXUSR):
        return False
    with path.open("rb") as file:
        return all(
            ours == theirs for ours, theirs in zip_longest(_pieces(file), _pieces(member.content))
        )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    return iter(partial(file.read, _CHUNK), b"")


@contextmanager
def _members(archive: Path, title: str) -> Iterator[Iterator[_Member]]:
    """Lend the files and folders of an archive.

    Raises:
        IntegrityError: it is no archive, or is damaged.
    """
    try:
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as found:
                yield _of_zip(found, title)
        else:
            with tarfile.open(archive) as packed:
                yield _of_tar(packed, title)
    except _DAMAGED as error:
        raise IntegrityError(f"{title}: cannot be unpacked: {error}") from None


def _is_zip(archive: Path) -> bool:
    """Return whether a file begins as a zip archive does (APPNOTE, 4.3.7 and 4.3.16).

    What ends in one may be a tar archive, whose last member it is.
    """
    with archive.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6")


def _of_zip(archive: zipfile.ZipFile, title: str) -> Iterator[_Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise IntegrityError(f"{title}: {info.filename!r} is neither a file nor a folder")
        executable = bool(mode & stat.S_IXUSR)
        if info.is_dir():
            yield _Member(info.filename, False, 0, None)
        else:
            with archive.open(info) as content:
                yield _Member(info.filename, executable, info.file_size, content)


def _of_tar(archive: tarfile.TarFile, title: str) -> Iterator[_Member]:
    for info in archive:
        if info.isdir():
            yield _Member(info.name, False, 0, None)
        elif info.isreg():
            content = archive.extractfile(info)
            yield _Member(info.name, bool(info.mode & stat.S_IXUSR), info.size, content)
        else:
            # Links could lead outside, or to what comes later; devices and pipes have no place.
            raise IntegrityError(f"{title}: {info.name!r} is neither a file nor a folder")


def _write(members: Iterator[_Member], folder: Path, title: str) -> None:
    written: set[str] = set()
    room = _Room(folder)
    for member in members:
        name = _inside(member.name, title)
        if not name:
            continue
        path = f"{folder}/{name}"
        if member.content is None:
            os.makedirs(path, exist_ok=True)
            continue
        if name in written:
            raise IntegrityError(f"{title}: {member.name!r} is in it twice")
        above = os.path.dirname(path)
        if not os.path.isdir(above):
            os.makedirs(above, exist_ok=True)
        written.add(name)
        room.take(member.size, path)
        _fill(path, member, member.content, title)


class _Room:
    """What is left on a disk, asked for now and then: a file that is too large is refused early."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left = 0

    def take(self, size: int, path: str) -> None:
        """Count the bytes of a file that is about to be written.

        Raises:
            OSError: there is no room for them.
        """
        self._left -= size
        if self._left < 0:
            free = shutil.disk_usage(self._folder).free
            if size > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            self._left = free // 2


def _fill(path: str, member: _Member, content: IO[bytes], title: str) -> None:
    size = 0
    with open(path, "xb", buffering=0) as file, refusals.naming(path):
        while chunk := content.read(_CHUNK):
            size += len(chunk)
            if size > member.size:
                raise IntegrityError(f"{title}: {member.name!r} is larger than the archive says")
            _write_all(file, chunk)
        os.fchmod(file.fileno(), 0o755 if member.executable else 0o644)


def _write_all(file: FileIO, chunk: bytes) -> None:
    """Write all bytes; one call can write fewer of them (write(2))."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _inside(name: str, title: str) -> str:
    """Return a member's path in one form; empty for the folder itself."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or re.match("[A-Za-z]:", name):
        raise IntegrityError(f"{title}: {name!r} leads outside of the folder it is unpacked into")
    return "/".join(parts)
