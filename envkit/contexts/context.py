"""The build context: what of a project's folder an image is made from, and the archive of it."""

from __future__ import annotations

import hashlib
import heapq
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from envkit import tar
from envkit.contexts import digests, ignore, reading
from envkit.contexts.walk import NEVER, walk
from envkit.errors import UsageError

# At the top: the environment under its names, and what envkit keeps beside it.
_BESIDE = ("", ".previous", ".discard")
_OWN = b".envkit"

_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.FOLDER,
    stat.S_IFLNK: tar.LINK,
}

# In bytes: as much is handed on at once.
_PIECE = 1 << 20

_LARGEST = 5


class Member(NamedTuple):
    """A file, folder or symbolic link of a context.

    Attributes:
        name: its path below the root, as the filesystem has it.
        kind: what it is, as in `tar`.
        mode: its permission bits.
        size: the bytes of a file.
        mtime: in whole seconds since the epoch.
        link: the target of a symbolic link.
        sha256: the digest of a file's content.
    """

    name: bytes
    kind: bytes
    mode: int
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    sha256: bytes = b""


class Context(NamedTuple):
    """A folder as an image may see it.

    Attributes:
        root: the folder.
        members: what is in it, in the order of the bytes of the names, parents first.
        digest: the sha256, in hex, of names, kinds, contents, targets, and who may be executed;
            not of times, owners and other permissions, which differ between checkouts.
    """

    root: Path
    members: Sequence[Member]
    digest: str

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(member.size for member in self.members)

    @property
    def largest(self) -> list[Member]:
        """The few largest files, the largest first."""
        files = (member for member in self.members if member.kind == tar.FILE)
        return heapq.nlargest(_LARGEST, files, key=lambda member: member.size)


def scan(
    root: Path,
    *,
    environment: str,
    dockerfile: str = "Dockerfile",
    memory: Path | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> Context:
    """Return what of a folder an image is made from.

    What is left out is not entered. Links are taken as they are, wherever they lead; a hard link is
    a file of its own. Sockets and named pipes are passed over: Docker's old builder does so with
    sockets, BuildKit with pipes.

    Args:
        root: the folder.
        environment: the path of its environment, relative to it.
        dockerfile: the path of the Dockerfile, relative to it.
        memory: a file in which it is kept what the files were, so that only those are read again
            that may have changed.
        clock: returns the time, in nanoseconds since the epoch.

    Raises:
        UsageError: there is something that cannot be packed, or a line of `.dockerignore` that is
            no pattern.
        RefusedError: the system refuses.
    """
    never = {os.fsencode(os.path.normpath(environment) + suffix) for suffix in _BESIDE}
    place = os.fsencode(root)
    known = digests.Digests(place, memory, clock())
    found = walk(place, ignore.read(root, dockerfile), {*never, _OWN})
    members = list(_members(place, found, known))
    known.save()
    return Context(root=root, members=members, digest=_digest(members))


def rules(root: Path, *, environment: str, dockerfile: str = "Dockerfile") -> str:
    """Return the text of a `.dockerignore` for a builder that reads the folder itself.

    It leaves out what `scan` does: what always is comes last, so that nothing takes it back.

    Args:
        root: the folder.
        environment: the path of its environment, relative to it.
        dockerfile: the path of the Dockerfile, relative to it.

    Raises:
        UsageError: what is left out cannot be read.
    """
    always = [f"**/{os.fsdecode(name)}" for name in sorted(NEVER)]
    always += [environment.strip("/") + suffix for suffix in _BESIDE]
    written = ignore.text(root, dockerfile)
    return "\n".join([written, *always, os.fsdecode(_OWN), ""])


def _members(
    root: bytes, found: Sequence[tuple[bytes, os.stat_result]], known: digests.Digests
) -> Iterator[Member]:
    """Yield what was found and can be packed, except for what has gone since."""
    for name, status in found:
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            raise UsageError(
                f"{os.fsdecode(os.path.join(root, name))}: a device cannot be packed",
                f"Add {os.fsdecode(name)} to .dockerignore.",
            )
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            continue
        size, link, sha256 = 0, b"", b""
        try:
            if kind == tar.FILE:
                sha256, size = known.of(name, status)
            elif kind == tar.LINK:
                link = os.readlink(os.path.join(root, name))
        except OSError as error:
            if reading.has_gone(error):
                continue
            raise reading.refused(error, os.path.join(root, name), name) from None
        mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime_ns // 10**9
        yield Member(name, kind, mode, size, mtime, link, sha256)


def _digest(members: Sequence[Member]) -> str:
    """Return the digest of a context.

    What can be of any length comes with its length, so that no two contexts look the same.
    """
    parts: list[bytes] = []
    for member in members:
        executable = b"x" if member.kind == tar.FILE and member.mode & stat.S_IXUSR else b"-"
        content = member.sha256 or member.link
        length = b"%d %d " % (len(member.name), len(content))
        parts += (member.kind, executable, length, member.name, content)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def stream(
    context: Context, extra: Mapping[str, bytes | Path] = {}, *, latest: int | None = None
) -> Iterator[bytes]:
    """Yield a tar archive of a context, in pieces of about a mebibyte.

    Each file is compared with what it was when the folder was scanned: an archive that ends is
    one of just what the context's digest says.

    Args:
        context: the context.
        extra: what is put in beside, or instead of, what the folder has: name -> content, or the
            file that has it.
        latest: a time, in seconds since the epoch, which is given to what is younger
            ($SOURCE_DATE_EPOCH, reproducible-builds.org).

    Raises:
        UsageError: a file is not what it was; what there is of an archive cannot be read as one.
        RefusedError: the system refuses.
    """
    held = b""
    pieces: list[bytes] = []
    size = 0
    for piece in _pieces(context, extra, latest):
        pieces.append(piece)
        size += len(piece)
        if size >= _PIECE:
            # An archive that breaks off between two members passes for a whole one. If there is no
            # next piece, the last byte of this one is missing.
            whole = held + b"".join(pieces)
            held = whole[-1:]
            yield whole[:-1]
            pieces, size = [], 0
    yield held + b"".join((*pieces, tar.END))


def _pieces(
    context: Context, extra: Mapping[str, bytes | Path], latest: int | None
) -> Iterator[bytes]:
    """Yield the members of an archive, in pieces that may be small."""
    for name, content in sorted(extra.items()):
        yield from _extra(os.fsencode(name), content)
    replaced = {os.fsencode(name) for name in extra}
    root = os.fsencode(context.root)
    for member in context.members:
        if member.name in replaced:
            continue
        yield tar.header(
            member.name,
            kind=member.kind,
            mode=member.mode,
            size=member.size,
            mtime=member.mtime if latest is None else min(member.mtime, latest),
            link=member.link,
        )
        if member.kind == tar.FILE:
            path = os.path.join(root, member.name)
            yield from _content(path, member.size, member.name, member.sha256)


def _extra(name: bytes, content: bytes | Path) -> Iterator[bytes]:
    """Yield a member that is not in the folder; it is as old as the epoch."""
    if isinstance(content, bytes):
        yield tar.header(name, size=len(content)) + content + tar.padding(len(content))
        return
    path = os.fsencode(content)
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise reading.refused(error, path) from None
    yield tar.header(name, size=size)
    yield from _content(path, size)


def _content(path: bytes, size: int, name: bytes = b"", sha256: bytes = b"") -> Iterator[bytes]:
    """Yield the content of a file and what fills its last block.

    Raises:
        UsageError: it has another size or digest than it should.
        RefusedError: the system refuses.
    """
    digest = hashlib.sha256()
    found = 0
    try:
        descriptor = reading.open_file(path)
        try:
            for chunk in reading.chunks(descriptor, size):
                found += len(chunk)
                digest.update(chunk)
                if found <= size:
                    yield chunk
        finally:
            os.close(descriptor)
    except OSError as error:
        if not reading.has_gone(error):
            raise reading.refused(error, path, name) from None
        found = -1
    if found != size or (sha256 and digest.digest() != sha256):
        raise UsageError(f"{os.fsdecode(path)} changed while it was packed", "Run it again.")
    yield tar.padding(size)
