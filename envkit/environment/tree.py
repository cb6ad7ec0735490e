"""A tree of files as it should be, and the making of a folder so, by difference."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from envkit import process, refusals
from envkit.errors import AlteredError, EnvkitError
from envkit.store.layout import remove_tree

# What `link` answers where a copy will do: another filesystem, too many links to one file, a
# file of somebody else's (fs.protected_hardlinks), a filesystem without links.
_COPY_INSTEAD = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP}

# Below this many files to make, a process more costs more than it saves; above this many
# processes, the filesystem is what they wait for.
_WORTH_A_PROCESS = 3000
_MOST_PROCESSES = 4

_CHUNK = 1 << 20


class Linked(NamedTuple):
    """A file of the store, to be linked: its path, and inode, size (bytes), mtime (ns), sha256."""

    source: str
    inode: int
    size: int
    mtime: int
    sha256: str


class Copied(NamedTuple):
    """A file of the store, to be copied with its mtime: its path, size (bytes), mtime, sha256."""

    source: str
    size: int
    mtime: int
    sha256: str


class Written(NamedTuple):
    """A file of its own content."""

    content: bytes
    executable: bool


class Pointed(NamedTuple):
    """A symbolic link."""

    target: str


Leaf = Linked | Copied | Written | Pointed


class Layout(NamedTuple):
    """Where an environment has things; folders are relative to its root.

    Attributes:
        site: site-packages, as in "lib/python3.12/site-packages".
        headers: what the headers of distributions are below, as in "include/site/python3.12".
    """

    site: str
    headers: str

    @classmethod
    def of(cls, short_version: str) -> Layout:
        """Return the layout for a version, as sysconfig's scheme "venv" has it on POSIX."""
        python = f"python{short_version}"
        return cls(f"lib/{python}/site-packages", f"include/site/{python}")

    @property
    def containers(self) -> tuple[str, ...]:
        """The folders that all distributions share; what is in them is a top."""
        return ("", "bin", "lib", self.site.rpartition("/")[0], self.site)

    def top(self, folder: str) -> str:
        """Return the top that a folder is or is in: the part below the innermost container."""
        for container in reversed(self.containers):
            prefix = f"{container}/" if container else ""
            if folder.startswith(prefix):
                return prefix + folder[len(prefix) :].partition("/")[0]
        raise AssertionError(folder)

    def tops(self, folder: str, names: Iterable[str]) -> set[str]:
        """Return the tops that files of these names in a folder belong to."""
        if folder in self.containers:
            return {f"{folder}/{name}" if folder else name for name in names}
        return {self.top(folder)}


class Tree:
    """Files by folder; where two parts have one path, the later one's file stands."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Leaf]] = {}
        self.folders: dict[str, set[str]] = {}

    def add(self, folder: str, leaves: Mapping[str, Leaf]) -> None:
        """Put files into a folder.

        Raises:
            EnvkitError: what is a file here is a folder to another part.
        """
        if folder not in self.files:
            self._enter(folder)
        here = self.files[folder]
        for name in leaves.keys() & here.keys():
            self._drop_bytecode(folder, name)
        here.update(leaves)

    def check(self) -> None:
        """Raise an EnvkitError if a name is both a file and a folder."""
        for folder, names in self.folders.items():
            for name in names & self.files[folder].keys():
                raise EnvkitError(
                    f"{folder}/{name} is a file of one distribution and a folder of another",
                    "They cannot be installed together.",
                )

    def walk(self, top: str) -> Iterator[str]:
        """Yield a folder and those below it, parents first; nothing if the top is a file."""
        if top in self.files:
            yield top
            for name in sorted(self.folders[top]):
                yield from self.walk(f"{top}/{name}" if top else name)

    def _drop_bytecode(self, folder: str, name: str) -> None:
        """Take away the byte-code of a source that another one replaces."""
        cache = self.files.get(f"{folder}/__pycache__", {})
        stem = name.removesuffix("py")
        if stem != name:
            for compiled in [one for one in cache if one.startswith(stem)]:
                del cache[compiled]

    def _enter(self, folder: str) -> None:
        while folder not in self.files:
            self.files[folder] = {}
            self.folders[folder] = set()
            parent, _, name = folder.rpartition("/")
            if not folder:
                return
            if parent in self.folders:
                self.folders[parent].add(name)
                return
            self._enter(parent)
            self.folders[parent].add(name)


def apply(root: str, tree: Tree, tops: Iterable[str]) -> None:
    """Make the named tops below a root what a tree says, leaving what is right as it is.

    Args:
        root: the folder of the environment; its containers are made if they are not there.
        tree: what should be; a top that is not in it is taken away.
        tops: paths relative to the root.

    Raises:
        AlteredError: a file to be linked is not what it was in the store.
        OSError: the disk refuses.
    """
    shares = _shares(tree, tops)
    process.side_by_side([partial(_apply_tops, root, tree, share) for share in shares])


def _shares(tree: Tree, tops: Iterable[str]) -> list[list[str]]:
    """Divide tops among the processors, by the number of their files, if it is worth a process."""
    sizes = {top: 1 + sum(len(tree.files[folder]) for folder in tree.walk(top)) for top in tops}
    count = min(os.cpu_count() or 1, _MOST_PROCESSES, 1 + sum(sizes.values()) // _WORTH_A_PROCESS)
    shares: list[tuple[int, list[str]]] = [(0, []) for _ in range(count)]
    for top in sorted(sizes, key=lambda top: (-sizes[top], top)):
        size, share = heapq.heappop(shares)
        share.append(top)
        heapq.heappush(shares, (size + sizes[top], share))
    return [share for _, share in shares]


def _apply_tops(root: str, tree: Tree, tops: Iterable[str]) -> None:
    for top in tops:
        folder, _, name = top.rpartition("/")
        path = os.path.join(root, top)
        if top in tree.files:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _apply_folder(root, top, tree)
        elif name in tree.files.get(folder, ()):
            leaf = tree.files[folder][name]
            if not _is_right(path, leaf):
                remove(path)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                make(path, leaf)
        else:
            remove(path)


def differences(root: str, folder: str, tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield what is not as it should be directly in one folder: its path and the kind.

    Files are told apart by their inodes, or where they are copies by what they hold.

    Args:
        root: the folder of the environment.
        folder: a folder of the tree, relative to the root.
        tree: what should be.

    Yields:
        Path relative to the root, and "missing", "altered", "added"; or "byte-code" for what is
        not the store's, as interpreters write it when they run.
    """
    files, folders = tree.files[folder], tree.folders[folder]
    prefix = f"{folder}/" if folder else ""
    seen = set()
    try:
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                seen.add(entry.name)
                leaf = files.get(entry.name)
                if leaf is not None:
                    if not _is_same(entry, leaf):
                        yield prefix + entry.name, "altered"
                elif entry.name in folders:
                    if not entry.is_dir(follow_symlinks=False):
                        yield prefix + entry.name, "altered"
                else:
                    yield prefix + entry.name, "byte-code" if _is_cache(entry.name) else "added"
    except (FileNotFoundError, NotADirectoryError):
        yield folder, "missing"
        return
    for name in sorted(files.keys() - seen):
        yield prefix + name, "missing"


def _is_cache(name: str) -> bool:
    return name == "__pycache__" or name.endswith(".pyc")


def folders_of(root: str, top: str) -> Iterator[str]:
    """Yield a top and the folders in it, relative to the root; nothing if it is no folder."""
    if not os.path.isdir(f"{root}/{top}") or os.path.islink(f"{root}/{top}"):
        return
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        yield folder
        with os.scandir(f"{root}/{folder}") as entries:
            waiting += [
                f"{folder}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)
            ]


def remove(path: str) -> None:
    """Take away whatever is at a path, or nothing."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        remove_tree(path)
    else:
        os.unlink(path)


def _apply_folder(root: str, folder: str, tree: Tree) -> None:
    path = f"{root}/{folder}"
    files, folders = tree.files[folder], tree.folders[folder]
    try:
        os.mkdir(path)
    except FileExistsError:
        files = _clear(path, files, folders)
    for name, leaf in files.items():
        make(f"{path}/{name}", leaf)
    for name in folders:
        _apply_folder(root, f"{folder}/{name}", tree)


def _clear(path: str, files: dict[str, Leaf], folders: set[str]) -> dict[str, Leaf]:
    """Take away what does not belong in a folder that exists; return the files still to make."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        os.mkdir(path)
        return files
    lacking = dict(files)
    with os.scandir(path) as entries:
        for entry in entries:
            leaf = files.get(entry.name)
            if leaf is not None and _is_same(entry, leaf):
                del lacking[entry.name]
            elif entry.name not in folders or not entry.is_dir(follow_symlinks=False):
                remove(entry.path)
    return lacking


def _is_same(entry: os.DirEntry[str], leaf: Leaf) -> bool:
    if type(leaf) is Linked and entry.inode() == leaf.inode:
        return True
    return _is_right(entry.path, leaf)


def _is_right(path: str, leaf: Leaf) -> bool:
    try:
        status = os.lstat(path)
        if isinstance(leaf, Linked) and status.st_ino == leaf.inode:
            return True
        if isinstance(leaf, Pointed):
            return stat.S_ISLNK(status.st_mode) and os.readlink(path) == leaf.target
        if not stat.S_ISREG(status.st_mode):
            return False
        if isinstance(leaf, (Linked, Copied)):
            # What could not be linked was copied.
            same = (status.st_size, status.st_mtime_ns) == (leaf.size, leaf.mtime)
            return same and _has_content_of(path, leaf.source)
        with open(path, "rb") as file:
            same = file.read() == leaf.content
        return same and bool(status.st_mode & stat.S_IXUSR) == leaf.executable
    except FileNotFoundError:
        return False


def _has_content_of(path: str, source: str) -> bool:
    """Return whether a copy is whole, which its size and time do not say after a power loss."""
    with open(path, "rb") as one, open(source, "rb") as other:
        while chunk := other.read(_CHUNK):
            if one.read(_CHUNK) != chunk:
                return False
        return not one.read(1)


def make(path: str, leaf: Leaf) -> None:
    """Make a file where there is none.

    Raises:
        AlteredError: the file to be linked or copied is not what it was in the store.
        OSError: the disk refuses.
    """
    if type(leaf) is Linked:
        _refuse_altered(leaf)
        link(leaf.source, path)
    elif isinstance(leaf, Copied):
        _refuse_altered(leaf)
        _copy(leaf.source, path, stat.S_IWUSR)
    elif isinstance(leaf, Written):
        mode = 0o777 if leaf.executable else 0o666
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with refusals.naming(path), open(descriptor, "wb") as file:
            file.write(leaf.content)
    elif isinstance(leaf, Pointed):
        os.symlink(leaf.target, path)


def link(source: str, path: str) -> None:
    """Let a file be at a path as well; where that cannot be, a copy of it.

    Raises:
        OSError: the disk refuses.
    """
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in _COPY_INSTEAD:
            raise
        _copy(source, path, 0)


def _refuse_altered(leaf: Linked | Copied) -> None:
    try:
        status = os.stat(leaf.source)
    except FileNotFoundError:
        # Somebody has set the entry aside meanwhile.
        raise AlteredError(leaf.source) from None
    if status.st_size != leaf.size or status.st_mtime_ns != leaf.mtime:
        raise AlteredError(leaf.source)


def _copy(source: str, path: str, added: int) -> None:
    """Copy a file, with its mode and what is added to that; its mtime comes last, as its stamp."""
    import shutil

    status = os.stat(source)
    with refusals.naming(path):
        shutil.copyfile(source, path)
        os.chmod(path, stat.S_IMODE(status.st_mode) | added)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
