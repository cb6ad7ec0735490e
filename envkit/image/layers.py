"""The layers that an environment comes in: which distributions each has, and its bytes.

A layer is made anew when something in it changes, and an engine unpacks those above it anew as
well. So what is large has a layer of its own, at the bottom, and what is small is dealt out by name
to a fixed number of layers: which layer a distribution is in depends on nothing but its name and
the order of magnitude of its size. The bytes depend on the lock alone, the same on every machine.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from envkit import tar
from envkit.environment.parts import Distribution
from envkit.environment.tree import Layout, Leaf, Pointed, Tree, Written
from envkit.errors import AlteredError
from envkit.store.digest import sha256_of_json

# Where an image has its environment.
ROOT = "opt/venv"

# The time of everything, in seconds since the epoch: 2020-01-01, as in the Dockerfile.
TIME = 1577836800

# Raised when the bytes of a layer change for another reason than what it is made from.
_FORM = 1

# An engine takes about as long to unpack one more file as that many bytes.
_FILE = 100_000

# A distribution of this weight, in bytes, has a layer of its own, unless that would be too many
# layers: some engines take no more than 127 in all.
_LARGE = 64 << 20
_MOST_LARGE = 40

# Those of so much or more are dealt out to so many layers. What is light is at the top: it is what
# people bump most often, and above it there is little to be unpacked again. Of the ways that were
# tried, with what each bump of a lock of 104 distributions costs, this was the cheapest.
_SHELVES = ((16 << 20, 3), (8 << 20, 3), (4 << 20, 2), (0, 1))

# So many distributions of a layer are named.
_NAMED = 3

_CHUNK = 1 << 20

# What opening a file answers that is not there any more, or for which there is a link now.
_ALTERED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class Item(NamedTuple):
    """A file of a layer: its path in the image, without a slash in front, and what it holds."""

    path: str
    leaf: Leaf


class Layer(NamedTuple):
    """A layer.

    Attributes:
        title: what it has, for people.
        key: the digest, in hex, of all that its bytes depend on.
        items: its files, in no order.
        size: the bytes of its files.
    """

    title: str
    key: str
    items: tuple[Item, ...]
    size: int


class _Share(NamedTuple):
    """What a distribution has in an image: its files, and the paths that a later one has."""

    part: Distribution
    items: list[Item]
    lost: list[str]
    size: int

    @property
    def weight(self) -> int:
        return self.size + _FILE * len(self.items)


def plan(
    skeleton: Sequence[Item], parts: Sequence[Distribution], layout: Layout
) -> tuple[Layer, ...]:
    """Return the layers of an environment, the lowest first.

    Args:
        skeleton: what makes a folder an environment.
        parts: its distributions; where two have one path, the later one's file stands.
        layout: where they have things.
    """
    shares = _shares(parts, layout)
    large = _LARGE
    while sum(share.weight >= large for share in shares) > _MOST_LARGE:
        large *= 2
    groups: dict[tuple[int, str], list[_Share]] = {}
    for share in shares:
        groups.setdefault(_place(share, large), []).append(share)
    bottom = [[_FORM], *([item.path, _text(item.leaf)] for item in skeleton)]
    found = [Layer("environment", sha256_of_json(bottom), tuple(skeleton), 0)]
    for place in sorted(groups):
        found.append(_layer(groups[place], layout))
    return tuple(found)


def stream(layer: Layer) -> Iterator[bytes]:
    """Yield a layer as a tar archive, each file compared with its digest as it is read.

    Raises:
        AlteredError: a file of the store is not what it was.
    """
    folders: set[str] = set()
    for item in sorted(layer.items):
        yield from _parents(item.path, folders)
        yield from _member(item)
    yield tar.END


def size(layer: Layer) -> int:
    """Return how many bytes `stream` yields."""
    folders: set[str] = set()
    total = len(tar.END)
    for item in layer.items:
        total += sum(map(len, _parents(item.path, folders)))
        if isinstance(item.leaf, Pointed):
            total += len(_header(item.path, kind=tar.LINK, link=item.leaf.target))
        else:
            length = _length(item.leaf)
            total += len(_header(item.path, size=length)) + length + len(tar.padding(length))
    return total


def _shares(parts: Sequence[Distribution], layout: Layout) -> list[_Share]:
    tree = Tree()
    owners: dict[str, dict[str, int]] = {}
    lost: list[list[str]] = [[] for _ in parts]
    for number, part in enumerate(parts):
        for folder, leaves in part.leaves(layout):
            owned = owners.setdefault(folder, {})
            for name in leaves.keys() & tree.files.get(folder, {}).keys():
                lost[owned[name]].append(f"{folder}/{name}")
            tree.add(folder, leaves)
            owned.update(dict.fromkeys(leaves, number))
    tree.check()
    items: list[list[Item]] = [[] for _ in parts]
    for folder, files in tree.files.items():
        prefix = f"{ROOT}/{folder}/" if folder else f"{ROOT}/"
        owned = owners.get(folder, {})
        for name, leaf in files.items():
            items[owned[name]].append(Item(prefix + name, leaf))
    return [
        _Share(part, have, gone, sum(_length(item.leaf) for item in have))
        for part, have, gone in zip(parts, items, lost, strict=True)
    ]


def _place(share: _Share, large: int) -> tuple[int, str]:
    """Return what a distribution's layer is sorted by; those with the same share a layer."""
    if share.weight >= large:
        # By magnitude, so that another version, which is hardly larger, stays where it was.
        return -share.weight.bit_length(), share.part.name
    for shelf, (least, layers) in enumerate(_SHELVES):
        if share.weight >= least:
            number = hashlib.sha256(share.part.name.encode()).digest()[0] % layers
            return shelf, f"{number:02}"
    raise AssertionError(share.weight)


def _layer(shares: Sequence[_Share], layout: Layout) -> Layer:
    parts = [share.part for share in shares]
    states = [
        [one.part.name, one.part.source, one.part.compiled, one.part.python, sorted(one.lost)]
        for one in shares
    ]
    names = [f"{part.name} {part.version}" for part in parts]
    return Layer(
        title=", ".join(names[:_NAMED])
        + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""),
        key=sha256_of_json([_FORM, ROOT, TIME, *layout, states]),
        items=tuple(item for share in shares for item in share.items),
        size=sum(share.size for share in shares),
    )


def _parents(path: str, folders: set[str]) -> Iterator[bytes]:
    """Yield the headers of the folders that a path is in, each once."""
    parent = path.rpartition("/")[0]
    if parent and parent not in folders:
        yield from _parents(parent, folders)
        folders.add(parent)
        yield _header(parent, kind=tar.FOLDER, mode=0o755)


def _member(item: Item) -> Iterator[bytes]:
    leaf = item.leaf
    if isinstance(leaf, Pointed):
        yield _header(item.path, kind=tar.LINK, mode=0o777, link=leaf.target)
    elif isinstance(leaf, Written):
        mode = 0o755 if leaf.executable else 0o644
        yield _header(item.path, size=len(leaf.content), mode=mode)
        yield leaf.content + tar.padding(len(leaf.content))
    else:
        yield from _stored(item.path, leaf.source, leaf.size, leaf.sha256)


def _stored(path: str, source: str, length: int, sha256: str) -> Iterator[bytes]:
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _ALTERED:
            raise AlteredError(source) from None
        raise
    try:
        status = os.fstat(descriptor)
        if status.st_size != length:
            raise AlteredError(source)
        mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        yield _header(path, size=length, mode=mode)
        found = hashlib.sha256()
        left = length
        while left:
            chunk = os.read(descriptor, min(left, _CHUNK))
            if not chunk:
                raise AlteredError(source)
            found.update(chunk)
            left -= len(chunk)
            yield chunk
    finally:
        os.close(descriptor)
    if found.hexdigest() != sha256:
        raise AlteredError(source)
    yield tar.padding(length)


def _header(
    path: str, *, size: int = 0, mode: int = 0o644, kind: bytes = tar.FILE, link: str = ""
) -> bytes:
    return tar.header(
        os.fsencode(path), size=size, mode=mode, mtime=TIME, kind=kind, link=os.fsencode(link)
    )


def _length(leaf: Leaf) -> int:
    if isinstance(leaf, Written):
        return len(leaf.content)
    return 0 if isinstance(leaf, Pointed) else leaf.size


def _text(leaf: Leaf) -> str:
    if isinstance(leaf, Written):
        return leaf.content.decode()
    return leaf.target if isinstance(leaf, Pointed) else leaf.sha256
