"""Ready trees: the folders of a distribution, linked ahead of time, to be moved in as they are.

To link a distribution takes a system call a file; to move a folder takes one for all that is in
it. So after an installation, when nobody waits, what it has is linked once more and put on a
shelf of the store. Whoever needs the same moves the folders out, which empties the shelf.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from envkit.environment import stamp
from envkit.environment.parts import Distribution
from envkit.environment.record import identity
from envkit.environment.tree import Layout, Tree, apply, folders_of, make
from envkit.errors import AlteredError
from envkit.store.layout import Store, publish

_ABOUT = "about.json"
_TREE = "tree"


class Shelf(NamedTuple):
    """What is, or was, on a distribution's shelf.

    Attributes:
        path: the folder of the shelf.
        made: when it was filled, in ns since the epoch.
        ready: the tops on it: path relative to an environment -> the lines of its folders.
        loose: other tops with files of the store, which are linked as ever.
        own: tops in which an environment has files of its own alone.
    """

    path: str
    made: int
    ready: Mapping[str, list[str]]
    loose: tuple[str, ...]
    own: tuple[str, ...]

    @property
    def stored(self) -> set[str]:
        """The tops that have files of the store."""
        return {*self.ready, *self.loose}

    @property
    def tops(self) -> tuple[str, ...]:
        """All tops of the distribution."""
        return tuple(sorted({*self.ready, *self.loose, *self.own}))

    def is_full(self) -> bool:
        """Return whether nothing was taken off it."""
        return all(os.path.isdir(f"{self.path}/{_TREE}/{top}") for top in self.ready)


def find(bucket: str, part: Distribution, layout: Layout) -> Shelf | None:
    """Return the shelf of a distribution; None if it has none.

    Args:
        bucket: the folder that has all shelves.
        part: the distribution.
        layout: that of the environment it is needed in.

    Raises:
        AlteredError: what is written down of it is not what was written.
    """
    path = f"{bucket}/{key(identity(part), layout)}"
    try:
        with open(f"{path}/{_ABOUT}", encoding="utf-8") as file:
            values = json.load(file)
        lines = [line for listed in values["ready"].values() for line in listed]
        if not isinstance(values["made"], int) or not all(map(stamp.is_folder_line, lines)):
            raise AlteredError(f"{path}/{_ABOUT}")
        loose, own = tuple(values["loose"]), tuple(values["own"])
        return Shelf(path, values["made"], values["ready"], loose, own)
    except FileNotFoundError:
        return None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise AlteredError(f"{path}/{_ABOUT}") from None


def check(shelf: Shelf, tops: Iterable[str]) -> None:
    """Make sure that nothing on a shelf was changed since it was filled.

    Nothing is said of what somebody else took off it meanwhile.

    Raises:
        AlteredError: a folder or a file was changed.
    """
    root = f"{shelf.path}/{_TREE}"
    for top in tops:
        try:
            if stamp.changed_folders(root, shelf.ready[top]) and os.path.isdir(f"{root}/{top}"):
                raise AlteredError(f"{root}/{top}")
            for line in shelf.ready[top]:
                _, _, rest = line.split("\t")
                _check_files(f"{root}/{top}{rest}", shelf.made)
        except FileNotFoundError:
            continue


def _check_files(folder: str, made: int) -> None:
    # By the open folder, since to follow a whole path takes a fifth longer for each file.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                # A folder's own time was looked at; a file's tells of a change to its content.
                if entry.is_file(follow_symlinks=False) and (
                    entry.stat(follow_symlinks=False).st_mtime_ns > made
                ):
                    raise AlteredError(f"{folder}/{entry.name}")
    finally:
        os.close(descriptor)


def take(
    root: str, shelf: Shelf, part: Distribution, tops: Iterable[str], layout: Layout
) -> dict[str, list[str]]:
    """Move tops from a shelf into an environment that has nothing in their places.

    Args:
        root: the folder of the environment.
        shelf: the distribution's shelf, which was checked.
        part: the distribution, as this environment has it.
        tops: what to move.
        layout: the environment's.

    Returns:
        The tops that were moved and are now whole, each with the lines of its folders; what
        somebody else took meanwhile, or cannot be moved there, is not among them.
    """
    moved = {}
    for top in tops:
        os.makedirs(f"{root}/{top.rpartition('/')[0]}", exist_ok=True)
        try:
            os.rename(f"{shelf.path}/{_TREE}/{top}", f"{root}/{top}")
        except FileNotFoundError:
            continue
        except OSError as error:
            # Behind a mount point nothing can be moved; there it is copied.
            if error.errno != errno.EXDEV:
                raise
            continue
        moved[top] = shelf.ready[top]
    for folder, leaves in part.own_leaves(layout):
        top = layout.top(folder) if folder not in layout.containers else ""
        if top in moved:
            for name, leaf in leaves.items():
                make(f"{root}/{folder}/{name}", leaf)
            moved[top] = [stamp.folder_line(root, one, top) for one in folders_of(root, top)]
    return moved


def fill(store: Store, part: Distribution, layout: Layout) -> None:
    """Fill the shelf of a distribution, if it is not full, or is damaged.

    Raises:
        AlteredError: a file of the store is not what it was.
        OSError: the disk refuses.
    """
    try:
        found = find(str(store.ready), part, layout)
    except AlteredError:
        found = None
    if found and found.is_full():
        return
    own = dict(part.own_leaves(layout))
    tree = Tree()
    loose: set[str] = set()
    for folder, leaves in part.stored_leaves(layout):
        kept = {name: leaf for name, leaf in leaves.items() if name not in own.get(folder, ())}
        tree.add(folder, kept)
        loose |= layout.tops(folder, leaves)
    # The byte-code of modules that are no package's lies in one folder for all distributions.
    shared = f"{layout.site}/__pycache__"
    tops = {top for top in loose if top in tree.files and top != shared}
    own_tops = {top for one, leaves in own.items() for top in layout.tops(one, leaves)}
    with store.temporary() as place:
        draft = place / "shelf"
        root = str(draft / _TREE)
        apply(root, tree, tops)
        about = {
            "made": time.time_ns(),
            "ready": {
                top: [stamp.folder_line(root, one, top) for one in folders_of(root, top)]
                for top in sorted(tops)
            },
            "loose": sorted(loose - tops),
            "own": sorted(own_tops - loose),
        }
        (draft / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        shelf = store.ready / key(identity(part), layout)
        if shelf.exists():
            os.rename(shelf, place / "before")
        publish(draft, shelf)


def key(own: str, layout: Layout) -> str:
    """Return the name of a shelf.

    Args:
        own: the identity of the distribution.
        layout: that of the environments it is for.
    """
    text = f"{own} {layout.site}"
    return hashlib.sha256(text.encode()).hexdigest()[:40]
