"""The two halves: the spare is patched to what is wanted, and changes places with `.venv`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from envkit.changes import Change, between
from envkit.environment import record as records
from envkit.environment import stamp, tops, visibility
from envkit.environment.exchange import UNAVAILABLE, ExchangeUnavailableError, exchange
from envkit.environment.home import Home
from envkit.environment.parts import Distribution, Part
from envkit.environment.record import identity
from envkit.environment.tree import Layout, differences
from envkit.errors import UsageError
from envkit.interpreter import Interpreter

# Parts that every environment has, and that no lock speaks of.
_UNSPOKEN = {"virtualenv-skeleton", "seed-pip", visibility.NAME}


class Wanted(NamedTuple):
    """What an environment is to be.

    Attributes:
        home: where it is and where its other half is.
        interpreter: its Python.
        parts: in their order.
        groups: the names of the groups.
        configured: whether all this is as the settings say, no option standing against them.
        completed: whether byte-code that it lacks is compiled behind the exchange.
        inputs: the files that all this was read from, each with its state before it was read.
        content: the digest, in hex, of what these files held.
        overrides: the lines for the files that stand above the settings, as they were then.
        summary: what a user is told when there is nothing to do.
        has_files: whether the project wants files beside it, of which notes are kept.
    """

    home: Home
    interpreter: Interpreter
    parts: tuple[Part, ...]
    groups: tuple[str, ...]
    configured: bool
    completed: bool
    inputs: Mapping[str, str]
    content: str
    overrides: tuple[str, ...]
    summary: str
    has_files: bool

    @property
    def layout(self) -> Layout:
        """Where it has things."""
        return Layout.of(self.interpreter.short_version)


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
        if self.stamp and stamp.is_settled(self.path):
            return stamp.changed_folders(self.path, self.stamp["container"])
        lines = self.folder_lines()
        return [""] if lines is None else stamp.changed_folders(self.path, lines)

    def folder_lines(self) -> list[str] | None:
        """Return the lines for its folders as they were; None if they cannot be read."""
        try:
            return stamp.read_folders(self.path)
        except (OSError, ValueError):
            return None

    def has(self, wanted: Wanted) -> bool:
        """Return whether the record is what is wanted, byte-code aside.

        Nothing is said of what somebody changed since.
        """
        return (
            self.record is not None
            and self.record.location == wanted.home.live
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


def versions(half: Half | None) -> dict[str, str]:
    """Return the distributions that a user knows an environment to have: name -> version."""
    parts = half.record.parts if half and half.record else ()
    return {part.name: part.version for part in parts if part.name not in _UNSPOKEN}


def changes(half: Half, new: Mapping[str, str]) -> tuple[Change, ...]:
    """Return what will be different to a user.

    Args:
        half: the environment as it is.
        new: the distributions that it will have: name -> version.
    """
    return between(versions(half), {name: new[name] for name in new.keys() - _UNSPOKEN})


def drift(half: Half, wanted: Wanted) -> list[tuple[str, str]]:
    """Return what came, went or was replaced in a half since it was made what is wanted.

    Only folders whose mtime changed are looked into; a file that was written in place, through
    its link, is not seen.

    Returns:
        Path relative to the environment and "added", "missing" or "altered", sorted.
    """
    layout = wanted.layout
    changed = half.changed_folders()
    known = tops.known(half.record)
    places = {
        own: known.get(own) or tops.of_part(part, layout)
        for part in wanted.parts
        for own in [identity(part)]
    }
    owned = tops.owners(wanted.parts, places)
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
        if kind != "byte-code" and not (kind == "added" and path in ours)
    )


def swap(live: Half, spare: Half) -> bool:
    """Let the spare become `.venv`, and `.venv`, if there is one, the spare.

    Returns:
        Whether this could be done in one step; if not, nothing was done.
    """
    try:
        if live.exists:
            exchange(spare.path, live.path)
        else:
            os.rename(spare.path, live.path)
    except ExchangeUnavailableError:
        return False
    except OSError as error:
        if error.errno not in UNAVAILABLE:
            raise
        return False
    return True


def restamp(half: Half, wanted: Wanted, *, changed: bool = False) -> None:
    """Bring the stamp of a half that is what is wanted up to date with the files it came from.

    Args:
        half: the half.
        wanted: what it is.
        changed: whether anything in it is not as it was when it was stamped before.
    """
    lacking = wanted.completed and half.lacks_bytecode(wanted)
    # Byte-code that it lacks is linked in as it is made.
    known = half.stamp if half.stamp and not (changed or lacking) else stamp.unsynced()
    python = wanted.interpreter.executable
    stamp.write(
        half.path,
        {
            "location": [wanted.home.live],
            "variables": [stamp.variables()],
            "group": list(wanted.groups),
            "configured": ["yes" if wanted.configured else "no"],
            "spare": [wanted.home.spare],
            "mutex": [wanted.home.mutex],
            "lacking": [wanted.home.background if lacking else "nothing"],
            "summary": [wanted.summary],
            "gpu": [visibility.summary(wanted.parts)],
            "files": ["noted" if wanted.has_files else "nothing"],
            "content": [wanted.content],
            "record": [stamp.identity(half.path, stamp.RECORD)],
            "overrides": list(wanted.overrides),
            "input": [f"{file}\t{state}" for file, state in wanted.inputs.items()],
            "interpreter": [f"{python}\t{stamp.state_of(python)}"],
            "container": [
                stamp.folder_line(half.path, folder) for folder in ("bin", wanted.layout.site)
            ],
            "unsynced": known["unsynced"],
        },
    )
