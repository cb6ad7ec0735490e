"""The patching of a half: by difference, from what it is to what is wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from envkit import process
from envkit.environment import ready, stamp, tops
from envkit.environment import record as records
from envkit.environment.halves import Half, Wanted, restamp
from envkit.environment.parts import Distribution
from envkit.environment.ready import Shelf
from envkit.environment.record import Record, identity
from envkit.environment.tree import Layout, Tree, apply, folders_of, make, remove

# Fewer folders than this are looked at sooner than another process begins.
_WORTH_A_PROCESS = 500

Places = Mapping[str, tuple[str, ...]]
Lines = dict[str, list[str]]


def patch(half: Half, wanted: Wanted) -> None:
    """Make a half what is wanted, by difference, and stamp it.

    Until it is stamped it counts as unfinished: whoever comes next looks at every file of it.

    Raises:
        AlteredError: a file of the store is not what it was.
        OSError: the disk refuses.
    """
    layout = wanted.layout
    old = _usable_record(half, wanted)
    lines = half.folder_lines() if old else None
    if lines is None:
        # Nothing is known of it, and all of it is looked at.
        old, lines = None, []
    dirty = half.changed_folders() if old else []
    os.makedirs(f"{half.path}/{stamp.STATE}", exist_ok=True)
    remove(f"{half.path}/{stamp.STAMP}")
    known = tops.known(old)
    shelves = _shelves(wanted, known)
    places = _places(wanted, known, shelves)
    before = tops.owners(old.parts, known) if old else {}
    owned = tops.owners(wanted.parts, places)
    if old and old.location == wanted.home.live:
        touched = tops.differing(before, owned)
        touched |= tops.touched_by(half.path, dirty, owned, old, layout)
    else:
        touched = {*owned, *tops.present(half.path, layout.containers, layout)}
    free = _free(half.path, shelves, owned, before, touched)
    rest = touched - {top for found in free.values() for top in found}

    def link(some: set[str]) -> None:
        apply(half.path, _tree(wanted, places, shelves, some), some)

    _throw_away(half.path, touched - owned.keys(), wanted)
    _check(shelves, free, partial(link, rest))
    moved = _move_in(half.path, wanted, shelves, free)
    taken = touched - rest - moved.keys()
    if taken:
        link(taken)
        rest |= taken
    lines = [line for line in lines if line[0] != "\t" and line.partition("\t")[0] not in touched]
    for found in moved.values():
        lines += found
    _finish(half, wanted, places, lines + _lines(half.path, rest, layout))


def add_bytecode(half: Half, wanted: Wanted) -> bool:
    """Link byte-code that was compiled after a half was finished; its sources stay untouched.

    Returns:
        Whether the half has what is wanted, byte-code aside; if not, nothing was done.
    """
    if not half.stamp or not half.has(wanted):
        return False
    stamp.unsync(half.path, half.stamp)
    layout = wanted.layout
    # With the sources, as one that replaces another's has no use for its byte-code.
    tree = whole_tree(wanted)
    caches = [folder for folder in tree.files if folder.endswith("/__pycache__")]
    apply(half.path, tree, (folder for folder in caches if tree.files[folder]))
    places = {identity(part): tops.of_part(part, layout) for part in wanted.parts}
    owned = tops.owners(wanted.parts, places)
    _finish(half, wanted, places, _lines(half.path, owned, layout))
    return True


def repair(half: Half, wanted: Wanted, tree: Tree, paths: Iterable[str]) -> None:
    """Make some files of a finished half what they should be, each in one step.

    Args:
        half: the half, whose record is what is wanted.
        wanted: what it should be.
        tree: all files that are wanted.
        paths: the files, relative to the half; what should not be there is taken away.

    Raises:
        AlteredError: a file of the store is not what it was.
        OSError: the disk refuses.
    """
    assert half.stamp, half.path
    stamp.unsync(half.path, half.stamp)
    places = tops.known(half.record)
    for path in paths:
        folder, _, name = path.rpartition("/")
        leaf = tree.files.get(folder, {}).get(name)
        if path in tree.files:
            apply(half.path, tree, [path])
        elif leaf is None:
            remove(f"{half.path}/{path}")
        else:
            os.makedirs(f"{half.path}/{folder}", exist_ok=True)
            draft = f"{half.path}/{stamp.STATE}/repaired"
            remove(draft)
            make(draft, leaf)
            _replace(draft, f"{half.path}/{path}")
    owned = tops.owners(wanted.parts, places)
    _finish(half, wanted, places, _lines(half.path, owned, wanted.layout))


def _replace(draft: str, path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove(path)
    os.replace(draft, path)


def whole_tree(wanted: Wanted) -> Tree:
    """Return all files that are wanted."""
    tree = Tree()
    for part in wanted.parts:
        for folder, leaves in part.leaves(wanted.layout):
            tree.add(folder, leaves)
    tree.check()
    return tree


def _usable_record(half: Half, wanted: Wanted) -> Record | None:
    """Return what a half has, if it is a half to begin with; if not, take it away."""
    # What was replaced at `.venv` may have been a link, which is not followed, or a file.
    is_folder = os.path.isdir(half.path) and not os.path.islink(half.path)
    if is_folder and not (half.record and half.record.interpreter != wanted.interpreter):
        return half.record
    remove(half.path)
    return None


def _shelves(wanted: Wanted, known: Places) -> dict[str, Shelf]:
    """Return the shelves of those parts that come new, by their identity."""
    found = {}
    for part in wanted.parts:
        if isinstance(part, Distribution) and not part.copy and identity(part) not in known:
            shelf = ready.find(wanted.home.shelves, part, wanted.layout)
            if shelf:
                found[identity(part)] = shelf
    return found


def _places(wanted: Wanted, known: Places, shelves: Mapping[str, Shelf]) -> Places:
    """Return the tops of each part, by its identity."""
    places = {}
    for part in wanted.parts:
        own = identity(part)
        if own in known:
            places[own] = known[own]
        elif own in shelves:
            places[own] = shelves[own].tops
        else:
            places[own] = tops.of_part(part, wanted.layout)
    return places


def _free(
    root: str,
    shelves: Mapping[str, Shelf],
    owned: Mapping[str, list[str]],
    before: Mapping[str, list[str]],
    touched: set[str],
) -> dict[str, list[str]]:
    """Return, by shelf, the tops in whose places nothing is, or all of it is another part's."""
    free = {}
    for own, shelf in shelves.items():
        mine = [top for top in shelf.ready if top in touched and owned[top] == [own]]
        free[own] = [top for top in mine if top in before or not os.path.lexists(f"{root}/{top}")]
    return free


def _check(
    shelves: Mapping[str, Shelf], free: Mapping[str, list[str]], beside: Callable[[], None]
) -> None:
    """Make sure that what is to be moved is as it was made, and do something else beside it."""
    folders = sum(len(shelves[own].ready[top]) for own, found in free.items() for top in found)
    count = min(os.cpu_count() or 1, folders // _WORTH_A_PROCESS)

    def check(some: Iterable[str]) -> None:
        for own in some:
            ready.check(shelves[own], free[own])

    if count:
        every = list(free)
        works: list[Callable[[], None]] = [
            beside,
            *(partial(check, every[start::count]) for start in range(count)),
        ]
        process.side_by_side(works)
    else:
        check(free)
        beside()


def _move_in(
    root: str, wanted: Wanted, shelves: Mapping[str, Shelf], free: Mapping[str, list[str]]
) -> Lines:
    """Move in what shelves have; return it without what somebody else took meanwhile."""
    moved: Lines = {}
    for part in wanted.parts:
        own = identity(part)
        if isinstance(part, Distribution) and own in free:
            _throw_away(root, free[own], wanted)
            moved |= ready.take(root, shelves[own], part, free[own], wanted.layout)
    return moved


def _throw_away(root: str, unwanted: Iterable[str], wanted: Wanted) -> None:
    """Take tops away: folders at once out of the way, and file by file when nobody waits."""
    for number, top in enumerate(sorted(unwanted)):
        path = f"{root}/{top}"
        if wanted.completed and os.path.isdir(path) and not os.path.islink(path):
            name = f"{os.getpid()}-{number}-{os.path.basename(top)}"
            try:
                os.rename(path, f"{wanted.home.rubbish}/{name}")
                continue
            except OSError:
                pass  # on another filesystem, or the name is taken
        remove(path)


def _tree(wanted: Wanted, places: Places, shelves: Mapping[str, Shelf], rest: set[str]) -> Tree:
    """Return the wanted files in what is left to be done."""
    tree = Tree()
    for part in wanted.parts:
        own = identity(part)
        if rest.isdisjoint(places[own]):
            continue
        shelf = shelves.get(own)
        if isinstance(part, Distribution) and shelf and rest.isdisjoint(shelf.stored):
            tops.add(tree, part.own_leaves(wanted.layout), rest, wanted.layout)
        else:
            tops.add(tree, part.leaves(wanted.layout), rest, wanted.layout)
    tree.check()
    return tree


def _lines(path: str, touched: Iterable[str], layout: Layout) -> list[str]:
    """Return the lines of the folders in some tops, and of the folders that have tops in them."""
    return [
        *(stamp.folder_line(path, folder) for folder in layout.containers),
        *(
            stamp.folder_line(path, folder, top)
            for top in sorted(touched)
            for folder in folders_of(path, top)
        ),
    ]


def _finish(half: Half, wanted: Wanted, places: Places, folders: list[str]) -> None:
    """Write what is known of a finished half; the stamp comes last."""
    found = tuple(records.recorded(part, places[identity(part)]) for part in wanted.parts)
    half.record = Record(location=wanted.home.live, interpreter=wanted.interpreter, parts=found)
    records.write(half.path, half.record)
    stamp.write_folders(half.path, folders)
    restamp(half, wanted, changed=True)
