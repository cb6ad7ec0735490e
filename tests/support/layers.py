"""Layers of images: archives in which times are fixed, and names sorted."""

import io
import os
import re
import stat
import tarfile
from pathlib import Path

_TIME = 1_700_000_000

# Nothing in them is asked for, or only what is already known of packages.
_LEFT_OUT = re.compile(
    "usr/share/(doc|man|info|locale|lintian|bash-completion|zoneinfo/(right|posix))/."
    "|usr/lib/[^/]+/gconv/.|(proc|sys|dev|run|tmp)/."
)


class Tree:
    """What is in a layer: files below a root folder, and such as are written here."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[str, Path] = {}
        self._written: dict[str, tuple[bytes, int]] = {}
        self._links: dict[str, str] = {}
        self._folders: dict[str, int] = {}

    def add(self, path: Path, name: str = "") -> None:
        """Add a file, folder or link, by default under the name that it has below the root."""
        # What is below a link goes to where that leads.
        name = name or str((path.parent.resolve() / path.name).relative_to(self._root))
        if name and not _LEFT_OUT.match(name) and os.path.lexists(path):
            self._found[name] = path

    def write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file with a content."""
        self._written[name] = (content, mode)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._links[name] = target

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Add a folder."""
        self._folders[name] = mode

    def layer(self) -> bytes:
        """Return it as an archive."""
        names = {*self._found, *self._written, *self._links, *self._folders}
        names |= {str(above) for name in names for above in Path(name).parents} - {"."}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name in sorted(names):
                self._pack(archive, name)
        return packed.getvalue()

    def _pack(self, archive: tarfile.TarFile, name: str) -> None:
        if name in self._written:
            content, mode = self._written[name]
            archive.addfile(member(name, size=len(content), mode=mode), io.BytesIO(content))
        elif name in self._links:
            archive.addfile(_link(name, self._links[name]))
        elif name in self._folders or name not in self._found:
            archive.addfile(_folder(name, self._folders.get(name, 0o755)))
        else:
            _pack_found(archive, name, self._found[name])


def _pack_found(archive: tarfile.TarFile, name: str, path: Path) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        archive.addfile(_link(name, os.readlink(path)))
    elif stat.S_ISDIR(status.st_mode):
        archive.addfile(_folder(name, stat.S_IMODE(status.st_mode)))
    elif stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
        described = member(name, size=len(content), mode=stat.S_IMODE(status.st_mode))
        archive.addfile(described, io.BytesIO(content))


def member(name: str, *, size: int = 0, mode: int = 0o644) -> tarfile.TarInfo:
    """Return what an archive says of a file."""
    made = tarfile.TarInfo(name)
    made.size, made.mode, made.mtime = size, mode, _TIME
    return made


def _folder(name: str, mode: int) -> tarfile.TarInfo:
    made = member(name, mode=mode)
    made.type = tarfile.DIRTYPE
    return made


def _link(name: str, target: str) -> tarfile.TarInfo:
    made = member(name, mode=0o777)
    made.type, made.linkname = tarfile.SYMTYPE, target
    return made
