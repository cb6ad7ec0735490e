"""The two halves: the spare is patched to what is wanted, and changes places with `.venv`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from envkit.changes import Change, between
from envkit.environment import record as records
from envkit.environment import stamp, tops
from envkit.environment.exchange import ExchangeUnavailableError, exchange
from envkit.environment.parts import Distribution, Part
from envkit.environment.record import Record, identity
from envkit.environment.tree import Layout, Tree, apply, differences, remove
from envkit.errors import UsageError
from envkit.interpreter import Interpreter

# Parts that every environment has, and that no lock speaks of.
_UNSPOKEN = {"virtualenv-skeleton", "seed-pip"}


class Wanted(NamedTuple):
    """What an environment is to be.

    Attributes:
        location: the path of `.venv`, absolute.
        interpreter: its Python.
        parts: in their order.
        groups: the names of the groups.
        configured: whether all this is as the settings say, no option standing against them.
        spare: the path of the other half.
        mutex: the file on which a lock is held while the halves are worked on.
        inputs: the files that all this was read from, each with its state before it was read.
        summary: what a user is told when there is nothing to do.
    """

    location: str
    interpreter: Interpreter
    parts: tuple[Part, ...]
    groups: tuple[str, ...]
    configured: bool
    spare: str
    mutex: str
    inputs: Mapping[str, str]
    summary: str


class Half:
    """One of the two folders, as it is found.

    Attributes:
        path: the folder.
        stamp: its stamp; None if it is not there or not finished.
        record: what it has; None likewise.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.stamp = stamp.read(path)
        self.record = records.read(path) if self.stamp else None
        self._state = stamp.state_of(f"{path}/{stamp.STAMP}")

    def refreshed(self) -> Half:
        """Return the half as it is now; this very object if it has not been stamped anew."""
        return (
            self if stamp.state_of(f"{self.path}/{stamp.STAMP}") == self._state else Half(self.path)
        )

    @property
    def exists(self) -> bool:
        """Whether there is anything at the path."""
        return os.path.lexists(self.path)

    def changed_folders(self) -> list[str]:
        """Return the folders in which something came, went or was replaced since the stamp."""
        try:
            return stamp.changed_folders(self.path, stamp.read_folders(self.path))
        except OSError:
            return [""]

    def has(self, wanted: Wanted) -> bool:
        """Return whether the record is what is wanted, byte-code aside.

        Nothing is said of what somebody changed since.
        """
        return (
            self.record is not None
            and self.record.location == wanted.location
            and self.record.interpreter == wanted.interpreter
            and [part.source for part in self.record.parts]
            == [part.source for part in wanted.parts]
        )

    def is_drifted(self, interpreter: Interpreter) -> bool:
        """Return whether this is another Python's, or something came or went at the top of it."""
        return (
            self.stamp is None
            or self.record is None
            or self.record.interpreter != interpreter
            or bool(stamp.changed_folders(self.path, self.stamp["container"]))
        )

    def lacks_bytecode(self, wanted: Wanted) -> bool:
        """Return whether a distribution has less byte-code than is wanted, or none at all."""
        recorded = self.record.parts if self.record else ()
        return any(
            not part.compiled or old.compiled != part.compiled
            for part, old in zip(wanted.parts, recorded, strict=True)
            if isinstance(part, Distribution)
        )


def refuse_foreign(path: str) -> None:
    """Make sure that `.venv` is one that may be replaced.

    Raises:
        UsageError: somebody else made it.
    """
    if not os.path.lexists(path):
        return
    if os.path.islink(path) or not os.path.isdir(path):
        raise UsageError(f"{path} is not a folder", "Move it away, then run it again.")
    if os.path.isdir(f"{path}/{stamp.STATE}") or not os.listdir(path):
        return
    raise UsageError(
        f"{path} was not made by envkit, and is left as it is",
        "Move it away (`mv .venv .venv.mine`), or take it over with `envkit install --replace`.",
    )


def changes(half: Half, new: Mapping[str, str]) -> tuple[Change, ...]:
    """Return what will be different to a user.

    Args:
        half: the environment as it is.
        new: the distributions that it will have: name -> version.
    """
    parts = half.record.parts if half.record else ()
    old = {part.name: part.version for part in parts if part.name not in _UNSPOKEN}
    return between(old, {name: new[name] for name in new.keys() - _UNSPOKEN})


def drift(half: Half, wanted: Wanted) -> list[tuple[str, str]]:
    """Return what came, went or was replaced in a half since it was made what is wanted.

    Only folders whose mtime changed are looked into; a file that was written in place, through
    its link, is not seen.

    Returns:
        Path relative to the environment and "added", "missing" or "altered", sorted.
    """
    layout = Layout.of(wanted.interpreter.short_version)
    changed = half.changed_folders()
    places, owned = tops.owners(half.record, wanted.parts, layout)
    touched = {layout.top(folder) for folder in changed if folder not in layout.containers}
    if set(changed) & {*layout.containers}:
        touched = set(owned)
    tree = tops.tree_of(wanted.parts, places, touched, layout)
    ours = {stamp.STATE, *(top for top in owned if "/" not in top)}
    return sorted(
        (path, kind)
        for folder in changed
        if folder in tree.files
        for path, kind in differences(half.path, folder, tree)
        if not (kind == "added" and path in ours)
    )


def patch(half: Half, wanted: Wanted) -> None:
    """Make a half what is wanted, by difference, and stamp it.

    Until it is stamped it counts as unfinished: whoever comes next looks at every file of it.

    Raises:
        AlteredError: a file of the store is not what it was.
        OSError: the disk refuses.
    """
    layout = Layout.of(wanted.interpreter.short_version)
    old = half.record
    # What was replaced at `.venv` may have been a link, which is not followed, or a file.
    is_folder = os.path.isdir(half.path) and not os.path.islink(half.path)
    if not is_folder or (old and old.interpreter != wanted.interpreter):
        remove(half.path)
        old = None
    dirty = half.changed_folders() if old else []
    os.makedirs(f"{half.path}/{stamp.STATE}", exist_ok=True)
    remove(f"{half.path}/{stamp.STAMP}")
    places, owned = tops.owners(old, wanted.parts, layout)
    if old and old.location == wanted.location:
        touched = tops.differing(old.parts, owned)
        touched |= tops.touched_by(half.path, dirty, owned, old, layout)
    else:
        touched = {*owned, *tops.present(half.path, layout.containers, layout)}
    tree = tops.tree_of(wanted.parts, places, touched, layout)
    apply(half.path, tree, touched)
    known = stamp.read_folders(half.path) if old else []
    _finish(half.path, wanted, places, _folder_lines(half.path, known, touched, layout))


def add_bytecode(half: Half, wanted: Wanted) -> bool:
    """Link byte-code that was compiled after a half was finished; its sources stay untouched.

    Returns:
        Whether the half has what is wanted, byte-code aside; if not, nothing was done.
    """
    if not half.has(wanted):
        return False
    layout = Layout.of(wanted.interpreter.short_version)
    tree = Tree()
    for part in wanted.parts:
        if isinstance(part, Distribution):
            # With the sources, as one that replaces another's has no use for its byte-code.
            for folder, leaves in part.leaves(layout):
                tree.add(folder, leaves)
    caches = [folder for folder in tree.files if folder.endswith("/__pycache__")]
    apply(half.path, tree, (folder for folder in caches if tree.files[folder]))
    places, owned = tops.owners(half.record, wanted.parts, layout)
    _finish(half.path, wanted, places, _folder_lines(half.path, [], {*owned}, layout))
    return True


def swap(live: Half, spare: Half) -> bool:
    """Let the spare become `.venv`, and `.venv`, if there is one, the spare.

    Returns:
        Whether this could be done in one step; if not, nothing was done.
    """
    if not live.exists:
        os.rename(spare.path, live.path)
        return True
    try:
        exchange(spare.path, live.path)
    except ExchangeUnavailableError:
        return False
    return True


def restamp(half: Half, wanted: Wanted) -> None:
    """Bring the stamp of a half that is what is wanted up to date with the files it came from."""
    layout = Layout.of(wanted.interpreter.short_version)
    stamp.write(half.path, _stamp(half.path, wanted, layout))


def _folder_lines(path: str, known: Sequence[str], touched: set[str], layout: Layout) -> list[str]:
    """Return the state of all folders of a half, looking only where something was touched.

    Args:
        path: the half.
        known: the lines as they were before.
        touched: the tops that were worked on.
        layout: where the containers are, which are always looked at.
    """
    kept = [
        line
        for line in known
        if (folder := line.partition("\t")[2]) not in layout.containers
        and layout.top(folder) not in touched
    ]
    return kept + stamp.folder_lines(
        path,
        [
            *layout.containers,
            *(folder for top in sorted(touched) for folder in _folders(path, top)),
        ],
    )


def _finish(
    path: str, wanted: Wanted, places: Mapping[str, tuple[str, ...]], folders: list[str]
) -> None:
    """Write what is known of a finished half; the stamp comes last."""
    found = tuple(records.recorded(part, places[identity(part)]) for part in wanted.parts)
    records.write(
        path,
        Record(location=wanted.location, interpreter=wanted.interpreter, parts=found),
    )
    stamp.write_folders(path, folders)
    layout = Layout.of(wanted.interpreter.short_version)
    stamp.write(path, _stamp(path, wanted, layout))


def _folders(path: str, top: str) -> Iterator[str]:
    """Yield a top and the folders in it; nothing if it is a file or not there."""
    if not os.path.isdir(f"{path}/{top}") or os.path.islink(f"{path}/{top}"):
        return
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        yield folder
        with os.scandir(f"{path}/{folder}") as entries:
            waiting += [
                f"{folder}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)
            ]


def _stamp(path: str, wanted: Wanted, layout: Layout) -> stamp.Stamp:
    python = wanted.interpreter.executable
    return {
        "location": [wanted.location],
        "variables": [stamp.variables()],
        "group": list(wanted.groups),
        "configured": ["yes" if wanted.configured else "no"],
        "spare": [wanted.spare],
        "mutex": [wanted.mutex],
        "summary": [wanted.summary],
        "content": [stamp.content_digest(list(wanted.inputs))],
        "input": [f"{file}\t{state}" for file, state in wanted.inputs.items()],
        "interpreter": [f"{python}\t{stamp.state_of(python)}"],
        "container": stamp.folder_lines(path, ["bin", layout.site]),
    }
